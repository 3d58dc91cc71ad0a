"""Whatever is wrong in files of key points is named with its file and id, or is put right and counted."""

from __future__ import annotations

import copy
import json
import math
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

import saccade
from saccade.data.check import check_data
from saccade.data.reading import Reading
from saccade.errors import InputError
from saccade.runs.options import RunSpec
from saccade.tasks.pose.boxes import read_boxes
from saccade.tasks.pose.layout import find_files
from saccade.tasks.pose.samples import region_of
from saccade.tasks.pose.task import Pose

from . import figures

NET = "simple_baseline[deconv_channels=8]"


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Six images, and their annotations as Python has them."""
    folder = tmp_path_factory.mktemp("bad") / "figures"
    return folder, figures.document(6, 32, folder=folder)


@pytest.fixture
def folder(drawn, tmp_path):
    shutil.copytree(drawn[0], tmp_path / "figures")
    return tmp_path / "figures"


def changed(drawn, change):
    content = copy.deepcopy(drawn[1])
    change(content)
    return content


def put(folder, content):
    figures.written(folder, content)
    return find_files(folder, Reading(), "coco-keypoints")


def first(key, value):
    """A change of one field of the third annotation, or of one of its numbers."""

    def change(content):
        row = content["annotations"][2]
        if isinstance(key, tuple):
            row[key[0]][key[1]] = value
        elif value is None:
            del row[key]
        else:
            row[key] = value

    return change


def image(key, value):
    def change(content):
        content["images"][2][key] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (first(("keypoints", 0), math.inf), "millions of pixels: annotations.json: annotation 3"),
        (first(("keypoints", 1), -1e300), "coordinates must be finite, and not of millions of pixels"),
        (first(("keypoints", 1), 10**400), "coordinates must be finite, and not of millions of pixels"),
        (first("bbox", [0, 0, 1e300, 4]), "bbox must be left, top, width and height"),
        (first("area", 10**400), "area must be a finite number"),
        (first(("keypoints", 0), "12"), "keypoints must be numbers: annotations.json: annotation 3: '12'"),
        (first(("keypoints", 0), [1]), "keypoints must be numbers"),
        (first(("keypoints", 2), 3), "visibility must be 0, 1 or 2: annotations.json: annotation 3: 3"),
        (first(("keypoints", 2), 0.5), "visibility must be 0, 1 or 2"),
        (first(("keypoints", 2), True), "keypoints must be numbers"),
        (first("keypoints", [1, 2, 2]), "keypoints must be 18 numbers"),
        (first("keypoints", "none"), "keypoints must be 18 numbers"),
        (first("bbox", [1, 2, 3]), "bbox must be left, top, width and height"),
        (first("bbox", [1, 2, -3, 4]), "bbox must be left, top, width and height"),
        (first("bbox", [1, 2, math.nan, 4]), "bbox must be left, top, width and height"),
        (first("bbox", "1 2 3 4"), "bbox must be left, top, width and height"),
        (first("area", math.nan), "area must be a finite number"),
        (first("area", -1), "area must be a finite number"),
        (first("area", "5"), "area must be a finite number"),
        (first("iscrowd", "yes"), "iscrowd must be 0 or 1"),
        (first("image_id", 77), "must belong to a listed image: annotations.json: annotation 3: image_id 77"),
        (first("image_id", None), "annotations must belong to a listed image"),
        (first("category_id", None), "annotations must have a category_id"),
        (image("file_name", "gone.png"), "missing, there is no such image: annotations.json: image 3, 'gone.png'"),
        (image("file_name", "../../../etc/passwd"), "image missing, its name leads out of the folder"),
        (image("file_name", 5), "image missing, without a file name"),
        (image("id", 2), "images must have an id of their own: annotations.json: image 2"),
        (image("id", None), "images must have an id, a number or text"),
        (image("width", "wide"), "width and height must be numbers of pixels"),
        (image("height", 0), "width and height must be numbers of pixels"),
        (image("file_name", "images/0001.png"), "images must be listed once"),
    ],
)  # fmt: skip
def test_a_damaged_field_is_named(drawn, folder, change, message):
    files = put(folder, changed(drawn, change))
    assert any(message in problem for problem in files.problems), files.problems
    with pytest.raises(InputError, match="saccade data check shows them all"):
        files.under(folder, "pose")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(images=[1, 2]), "expected 'images' to be a list of objects"),
        (lambda c: c.update(categories={}), "expected 'categories' to be a list"),
        (lambda c: c["categories"][0].update(sigmas=[0.1] * 5), "expected 6, one per joint; received 5"),
        (lambda c: c["categories"][0].update(sigmas=[0.0] * 6), "above 0"),
        (lambda c: c["categories"][0].update(sigmas=[10**400] * 6), "expected a list of numbers"),
        (lambda c: c["categories"][0].update(sigmas="x"), "expected a list of numbers"),
        (lambda c: c["categories"][0].update(flip_idx=[1, 2, 0, 3, 4, 5]), "mirroring twice"),
        (lambda c: c["categories"][0].update(flip_pairs=[[0, 1], [1, 2]]), "in two pairs"),
        (lambda c: c["categories"][0].update(keypoints=["a"] * 6), "'a' is there twice"),
        (
            lambda c: (c["categories"].append(figures.category(id=2, name="cat")), first("category_id", 2)(c)),
            "2 categories have key points: figure, cat",
        ),
        (lambda c: c.update(images=[]), "no image can be used"),
        (lambda c: c.update(categories=[{}]), "no category has key points"),
        (lambda c: c.update(annotations=[{"keypoints": [1, 2, 3]}], categories=[]), "no category has key points"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_at_all_is_refused(drawn, folder, change, message):
    with pytest.raises(InputError, match=message):
        put(folder, changed(drawn, change))


def test_nobody_and_nothing_labelled_is_said(drawn, folder):
    for change in (
        lambda c: [row.update(keypoints=[0] * 18) for row in c["annotations"]],
        lambda c: [row.update(area=0) for row in c["annotations"]],
        lambda c: [row.update(iscrowd=1) for row in c["annotations"]],
    ):
        files = put(folder, changed(drawn, change))
        assert any("no object with a labelled joint, an area and a box" in one for one in files.problems)


def test_numbers_add_up(drawn, folder):
    def change(content):
        rows = content["annotations"]
        rows[0]["keypoints"][0:3] = [math.nan, 4, 2]
        rows[1]["keypoints"] = [0] * 18
        rows[2]["iscrowd"] = 1
        rows[3]["num_keypoints"] = 99
        rows[4]["bbox"] = [1, 1, 0, 0]
        del rows[4]["area"]
        content["annotations"].pop()
        content["annotations"].append({"id": 0, "image_id": 1, "category_id": 9})

    found = check_data(figures.written(folder, changed(drawn, change)))
    text = str(found)
    for words in (
        "objects in 5 images:", "1 objects have joints without coordinates (NaN): no label",
        "3 objects have a num_keypoints that contradicts", "1 annotations are of other categories than 'figure'",
        "1 of 3 objects have no area", "a box of no area in their image",
    ):  # fmt: skip
        assert words in text, (words, text)
    counts = [line for line in text.splitlines() if " objects in " in line]
    assert sum(int(line.split(": ")[1].split()[0]) for line in counts) == 5
    assert "1 without a labelled joint" in text
    assert "1 crowds" in text
    assert "1 images without any" in text


def test_odd_but_readable_annotations_are_found(drawn, folder):
    def change(content):
        rows = content["annotations"]
        rows[0]["keypoints"][0] = 90.0
        rows[1]["bbox"] = [0, 0, 4, 4]
        rows[2]["id"], rows[3]["id"], rows[4]["id"] = "three", 0, 0
        rows.append({**copy.deepcopy(rows[5]), "id": 44})
        del rows[5]["bbox"]

    text = str(check_data(figures.written(folder, changed(drawn, change))))
    for words in (
        "a labelled joint outside their image: 0001.png, annotation 1", "a box that does not hold their joints",
        "1 annotations have an id that is text", "2 annotations have an id of 0", "an id that another one has",
        "objects are there twice: 0006.png, annotation 44", "1 objects have no box",
    ):  # fmt: skip
        assert words in text, (words, text)


def test_swapped_sides_are_found(tmp_path):
    rng = np.random.default_rng(0)
    names = [f"{side}_{part}" for part in ("eye", "hand", "foot") for side in ("left", "right")]
    content = figures.document(15, 32, folder=tmp_path)
    content["categories"] = [figures.category(names, skeleton=[])]
    for row in content["annotations"]:
        x = rng.uniform(10, 20)
        points = [(x + 5, 4), (x - 5, 4), (x - 6, 12), (x + 6, 12), (x + 4, 28), (x - 4, 28)]
        row["keypoints"] = [value for point in points for value in (*point, 2)]
    text = str(check_data(figures.written(tmp_path, content)))
    assert "left_hand and right_hand seem swapped: they lie the other way than the rest in 100%" in text
    assert "left_eye and right_eye seem swapped" not in text


def test_a_category_without_names_is_counted_and_never_mirrored(drawn, folder):
    content = changed(drawn, lambda c: c["categories"][0].pop("keypoints"))
    files = put(folder, content)
    assert files.classes == tuple(f"joint {place}" for place in range(1, 7))
    assert any("images are not mirrored" in line for line in files.meaning)


@pytest.mark.parametrize("joints", [1, 2])
def test_few_joints_train_and_are_scored(tmp_path, joints):
    content = figures.document(6, 32, folder=tmp_path)
    content["categories"] = [{"id": 1, "name": "thing", "keypoints": ["a", "b"][:joints]}]
    for row in content["annotations"]:
        row["keypoints"] = row["keypoints"][: 3 * joints]
    figures.written(tmp_path, content)
    data = Pose.load(RunSpec(data=str(tmp_path), network=NET, size=32, augment="full"))
    image, targets = data.train.samples[0]
    assert image.shape == (3, 32, 32)
    total, _ = data.task.loss(torch.zeros(1, joints, 8, 8), {key: value[None] for key, value in targets.items()})
    assert torch.isfinite(total)
    assert len(data.task.joints.sigmas) == joints


@pytest.mark.parametrize("box", [(0, 0, 1, 1), (5, 5, 0.2, 900), (-30, -30, 4000, 4000), (3999, 3999, 9, 9)])
@pytest.mark.parametrize("codec", ["biased", "dark", "udp"])
def test_boxes_of_any_size_are_cut_out(box, codec):
    from saccade.tasks.pose.samples import codec_for, cut

    made = codec_for(codec, (32, 32))
    region = region_of(made, tuple(map(float, box)), (4000, 4000))
    crop = cut(torch.full((3, 4000, 4000), 7, dtype=torch.uint8), made.matrix(*region), made)
    assert crop.shape == (3, 32, 32)
    assert int(crop.max()) == 7


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"image_id": 77, "category_id": 1, "bbox": [1, 1, 9, 9], "score": 1}], "boxes are of images that"),
        ([{"image_id": 1, "category_id": 5, "bbox": [1, 1, 9, 9], "score": 1}], "boxes of the categories 5"),
        ([{"image_id": 1, "category_id": 1, "bbox": [1, 1, 9], "score": 1}], "four finite numbers"),
        ([{"image_id": 1, "category_id": 1, "bbox": [1, 1, 9, math.nan], "score": 1}], "four finite numbers"),
        ([{"image_id": 1, "category_id": 1, "bbox": [1, 1, 9, 9], "score": math.nan}], "expected a finite score"),
        ([{"image_id": 1, "category_id": 1, "bbox": [100, 1, 9, 9], "score": 1}], "no box lies in an image"),
        ([1], "expected image_id, bbox and score"),
        ([], "expected a list"),
        ({"a": 1}, "expected a list"),
        ({"images": 5, "annotations": [{"image_id": 77, "category_id": 1, "bbox": [1, 1, 9, 9]}]}, "of images that"),
    ],
)
def test_boxes_of_a_detector_that_do_not_fit_are_refused(drawn, folder, tmp_path, rows, message):
    files = put(folder, drawn[1])
    path = tmp_path / "boxes.json"
    path.write_text(json.dumps(rows))
    with pytest.raises(InputError, match=message):
        read_boxes(path, files.reader, "figure", folder)


def test_a_network_of_other_joints_is_refused(drawn, folder, tmp_path):
    put(folder, drawn[1])
    run = saccade.train(
        folder, NET, backbone="test_resnet", steps=1, batch=1, size=64, workers=0, device="cpu", out=tmp_path / "run",
        progress=False,
    )  # fmt: skip
    content = changed(drawn, lambda c: c["categories"][0].update(keypoints=[f"part {k}" for k in range(6)]))
    figures.written(folder, content)
    with pytest.raises(InputError, match=r"its joints are part 0, .*, those of the network head, left_hand"):
        saccade.evaluate(folder, run.folder, device="cpu", workers=0, progress=False)
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for name, size in (("one.png", (1, 1)), ("wide.png", (400, 3))):
        Image.new("RGB", size).save(pictures / name)
    (pictures / "broken.png").write_bytes(b"no image")
    found = saccade.predict([pictures], run.folder, device="cpu")
    assert len(found.rows) == 2
    assert len(found.failed) == 1
    boxes = tmp_path / "boxes.json"
    boxes.write_text(json.dumps([{"image_id": "x.png", "bbox": [0, 0, 9, 9]}]))
    with pytest.raises(InputError, match="none of its 1 boxes is of these images"):
        saccade.predict([pictures], run.folder, boxes=boxes, device="cpu")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"codec": "darc"}, "did you mean dark"),
        ({"aspect": "3x4"}, "expected WIDTH:HEIGHT"),
        ({"aspect": "1:900"}, "from 1:8 to 8:1"),
        ({"category": "dog"}, "no such category"),
        ({"joints": "coco"}, "these are 17 joints, and the data have 6"),
    ],
)
def test_options_that_do_not_fit_are_refused(drawn, folder, given, message):
    put(folder, drawn[1])
    with pytest.raises(InputError, match=message):
        find_files(folder, Reading(**given), "coco-keypoints")


def test_a_network_for_other_data_is_refused(drawn, folder, tmp_path):
    put(folder, drawn[1])
    with pytest.raises(InputError, match="resnet18 is not a network for them"):
        saccade.train(folder, "resnet18", out=tmp_path / "run", device="cpu")
    with pytest.raises(InputError, match="has 1 maps for each joint, the network 3"):
        saccade.train(
            folder, "simple_baseline[head=offset]", backbone="test_resnet", codec="udp", size=32,
            out=tmp_path / "run", device="cpu", progress=False,
        )  # fmt: skip
    with pytest.raises(InputError, match="--hardest-joints 9: there are 6"):
        saccade.train(
            folder, NET, backbone="test_resnet", hardest_joints=9, size=32, out=tmp_path / "run", device="cpu",
            progress=False,
        )  # fmt: skip


def test_parts_of_whole_bodies_are_read_from_their_own_keys(tmp_path):
    from saccade.tasks.pose.described import KNOWN
    from saccade.tasks.pose.joints import mirrored_order

    body = KNOWN["coco-wholebody"]
    assert (len(body.names), len(body.sigmas), len(set(body.names))) == (133, 133, 133)
    order = mirrored_order(body.pairs, 133)
    assert torch.equal(order[order], torch.arange(133))
    assert [body.names[order[place]] for place in (9, 17, 23, 91)] == [
        "right_wrist", "right_big_toe", "face_17", "right_hand_1",
    ]  # fmt: skip
    content = figures.document(5, 32, folder=tmp_path)
    content["categories"] = [figures.category(KNOWN["coco"].names, name="person")]
    for row in content["annotations"]:
        row["keypoints"] = [5, 5, 2] * 17
        row |= {"foot_kpts": [6, 6, 2] * 6, "face_kpts": [7, 7, 1] * 68, "face_box": [2, 2, 12, 12]}
    figures.written(tmp_path, content)
    whole = find_files(tmp_path, Reading(joints="coco-wholebody"), "coco-keypoints").reader
    (one,) = whole.people[tmp_path / "images" / "0001.png"]
    assert one.labelled == 17 + 6 + 68
    assert whole.aspect == (3, 4)
    face = find_files(tmp_path, Reading(joints="coco-wholebody-face"), "coco-keypoints").reader
    (one,) = face.people[tmp_path / "images" / "0001.png"]
    assert (one.labelled, one.box, one.area) == (68, (2, 2, 12, 12), None)
