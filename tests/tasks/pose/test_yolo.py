"""YOLO's folders of key points say the same as COCO's."""

from __future__ import annotations

import numpy as np
import pytest

from saccade.data.check import check_data
from saccade.data.reading import Reading
from saccade.errors import InputError
from saccade.tasks.pose.layout import find_files, pose_readings

from . import figures

SHAPE = "kpt_shape: [6, 3]\nflip_idx: [0, 2, 1, 4, 3, 5]\nnames: {0: figure}\n"


def write(folder, yaml=SHAPE, columns=3, side=32, change=lambda words: words):
    """Both sides of a small data set; `change` edits the words of the first training line."""
    for what, count, first in (("train", 4, 1), ("val", 2, 9)):
        content = figures.document(count, side, folder=folder, inside=f"images/{what}", first=first)
        (folder / "labels" / what).mkdir(parents=True)
        for row in content["annotations"]:
            left, top, width, height = row["bbox"]
            points = np.array(row["keypoints"]).reshape(-1, 3) / (side, side, 1)
            values = [(left + width / 2) / side, (top + height / 2) / side, width / side, height / side]
            words = ["0", *map(str, values), *map(str, points[:, :columns].reshape(-1))]
            words = change(words) if row["id"] == 1 else words
            (folder / "labels" / what / f"{row['image_id']:04}.txt").write_text(" ".join(words) + "\n")
    (folder / "data.yaml").write_text(f"path: .\ntrain: images/train\nval: images/val\n{yaml}")
    return folder


def read(folder, **how):
    return find_files(folder, Reading(**how), "yolo-pose")


@pytest.mark.parametrize("columns", [2, 3])
def test_it_is_what_coco_says(tmp_path, columns):
    folder = write(tmp_path, SHAPE.replace("6, 3", f"6, {columns}"), columns)
    assert set(pose_readings(folder)) == {"yolo-pose"}
    files = read(folder)
    assert (len(files.train), len(files.val), files.problems) == (4, 2, ())
    marks = files.reader
    assert (marks.joints.pairs, marks.category) == (((1, 2), (3, 4)), "figure")
    wanted = figures.document(4, 32)["annotations"]
    for item, row in zip(files.train, wanted, strict=True):
        (one,) = marks.people[item.image]
        assert one.points.reshape(-1) == pytest.approx(row["keypoints"], abs=1e-9)
        assert one.box == pytest.approx(row["bbox"], abs=1e-9)
    assert "6 of 6 objects have no area: 0.53 of the box is taken" in str(check_data(folder))


def test_names_and_sigmas_of_the_yaml_count(tmp_path):
    more = SHAPE + "kpt_oks_sigmas: [0.1, 0.2, 0.2, 0.3, 0.3, 0.1]\nkpt_names: {0: [a, b, c, d, e, f]}\n"
    marks = read(write(tmp_path, more)).reader
    assert marks.joints.names == tuple("abcdef")
    assert marks.joints.sigmas == (0.1, 0.2, 0.2, 0.3, 0.3, 0.1)


@pytest.mark.parametrize(
    ("yaml", "message"),
    [
        (SHAPE.replace("[6, 3]", "[6, 4]"), "kpt_shape must be the number of joints and 2 or 3"),
        (SHAPE.replace("[6, 3]", "six"), "kpt_shape must be"),
        (SHAPE.replace("[0, 2, 1, 4, 3, 5]", "[0, 2, 1, 4, 3]"), "flip_idx has 5 joints, kpt_shape 6"),
        (SHAPE.replace("[0, 2, 1, 4, 3, 5]", "[1, 2, 0, 4, 3, 5]"), "mirroring twice"),
        (SHAPE + "kpt_oks_sigmas: [0.1]\n", "expected 6, one per joint; received 1"),
        (SHAPE + "a: [\n", "not valid YAML"),
    ],
)
def test_a_yaml_that_does_not_fit_is_refused(tmp_path, yaml, message):
    with pytest.raises(InputError, match=message):
        read(write(tmp_path, yaml))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda words: words[:-1], "lines must have 23 numbers"),
        (lambda words: [*words[:5], "x", *words[6:]], "lines must hold numbers: 0001.txt, line 1"),
        (lambda words: [*words[:7], "5", *words[8:]], "visibility must be 0, 1 or 2: 0001.txt, line 1"),
        (lambda words: ["0", "nan", *words[2:]], "boxes must be finite numbers"),
        (lambda words: [*words[:5], "inf", *words[6:]], "coordinates must be finite"),
    ],
)
def test_a_damaged_line_is_named(tmp_path, change, message):
    problems = read(write(tmp_path, change=change)).problems
    assert any(message in problem for problem in problems), problems


def test_labels_without_an_image_and_several_classes_are_said(tmp_path):
    folder = write(tmp_path, SHAPE.replace("{0: figure}", "{0: figure, 1: cat}"))
    (folder / "labels" / "train" / "gone.txt").write_text("0 0.5\n")
    assert any("labels without an image: labels/train/gone.txt" in one for one in read(folder).problems)
    (folder / "labels" / "train" / "gone.txt").unlink()
    file = folder / "labels" / "train" / "0002.txt"
    file.write_text("1" + file.read_text()[1:])
    with pytest.raises(InputError, match="labels are of 2 classes: figure, cat"):
        read(folder)
    files = read(folder, category="figure")
    assert any("1 lines are of other classes than 'figure'" in line for line in files.meaning)


def test_an_index_of_its_own_mirrors_without_exchange(tmp_path):
    marks = read(write(tmp_path, SHAPE.replace("[0, 2, 1, 4, 3, 5]", "[0, 1, 2, 3, 4, 5]"))).reader
    assert marks.joints.pairs == ()
