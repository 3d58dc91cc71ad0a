"""Projects of DeepLabCut and SLEAP become folders that the commands on key points take."""

from __future__ import annotations

import gc
import json

import numpy as np
import pytest
from PIL import Image

import saccade
from saccade.data.check import check_data
from saccade.data.importing.key_points import key_points_in
from saccade.data.importing.source import Source
from saccade.errors import InputError, MissingExtraError

TABLE = """scorer,,,me,me,me,me
bodyparts,,,left_ear,left_ear,right_ear,right_ear
coords,,,x,y,x,y
labeled-data,vid,img000.png,3,4,30,14
labeled-data,vid,img001.png,5,6,,
labeled-data,vid,img002.png,,,,
labeled-data,vid,img003.png,8,9,25,19
labeled-data,vid,gone.png,8,9,25,19
"""


@pytest.fixture
def project(tmp_path):
    folder = tmp_path / "project" / "labeled-data" / "vid"
    folder.mkdir(parents=True)
    for number in range(4):
        Image.new("RGB", (40, 30), (number * 40, 0, 0)).save(folder / f"img{number:03}.png")
    (folder / "CollectedData_me.csv").write_text(TABLE)
    return tmp_path / "project"


def test_it_is_recognised_and_the_extra_is_named(project, tmp_path, monkeypatch):
    assert key_points_in(Source(project)) == "deeplabcut"
    monkeypatch.setitem(__import__("sys").modules, "sleap_io", None)
    with pytest.raises(MissingExtraError, match="formats"):
        saccade.import_data(project, tmp_path / "out")
    with pytest.raises(InputError, match="are about masks; these are key points"):
        saccade.import_data(project, tmp_path / "out", boxes=True)
    assert not (tmp_path / "out").exists()


def test_deeplabcut(project, tmp_path):
    done = saccade.import_data(project, tmp_path / "out")
    assert (done.images["found"], done.images["written"]) == (5, 4)
    assert done.objects["written"] == 3
    content = json.loads((tmp_path / "out" / "annotations.json").read_text())
    assert content["categories"][0]["keypoints"] == ["left_ear", "right_ear"]
    assert content["annotations"][1]["keypoints"] == [5.0, 6.0, 2.0, 0.0, 0.0, 0.0]
    found = check_data(tmp_path / "out")
    assert "left_ear - right_ear" in str(found)
    assert "3 objects have no box" in str(found)


def test_sleap(project, tmp_path):
    import sleap_io as sleap

    skeleton = sleap.Skeleton(["a", "b"], edges=[("a", "b")], symmetries=[("a", "b")])
    pictures = [str(project / "labeled-data" / "vid" / f"img{number:03}.png") for number in range(3)]
    video = sleap.Video.from_filename(pictures)
    points = np.array([[1.0, 2.0], [np.nan, np.nan]])
    mine = sleap.Instance.from_numpy(points, skeleton=skeleton)
    theirs = sleap.PredictedInstance.from_numpy(points, skeleton=skeleton, score=0.5)
    frame = sleap.LabeledFrame(video=video, frame_idx=1, instances=[mine, theirs])
    (project / "labeled-data" / "vid" / "CollectedData_me.csv").unlink()
    sleap.Labels([frame]).save(str(project / "labels.slp"))
    done = saccade.import_data(project, tmp_path / "out")
    assert list(done.objects["left_out"]) == ["a prediction of the tool"]
    content = json.loads((tmp_path / "out" / "annotations.json").read_text())
    assert content["categories"][0]["flip_pairs"] == [[0, 1]]
    assert content["images"][0]["file_name"] == "images/labeled-data/vid/img001.png"
    assert content["annotations"][0]["keypoints"] == [1.0, 2.0, 2.0, 0.0, 0.0, 0.0]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # imageio leaves pipes of ffmpeg open
@pytest.mark.parametrize("kind", ["embedded", "movie"])
def test_frames_of_sleap(tmp_path, kind):
    """Pictures inside a .slp and frames of a movie; green ones stay green, and grey ones have one channel."""
    import sleap_io as sleap

    frames = np.zeros((3, 32, 48, 3), dtype=np.uint8)
    frames[0, ..., 1], frames[1, ..., 1], frames[2] = 60, 200, 120
    source = tmp_path / "project"
    source.mkdir()
    if kind == "movie":
        sleap.save_video(frames, str(source / "mice.mp4"))
        video = sleap.Video.from_filename(str(source / "mice.mp4"))
    else:
        for number, frame in enumerate(frames):
            Image.fromarray(frame).save(tmp_path / f"{number}.png")
        video = sleap.Video.from_filename([str(tmp_path / f"{number}.png") for number in range(3)], grayscale=False)
    skeleton = sleap.Skeleton(["a", "b"])
    mine = [sleap.Instance.from_numpy(np.array([[n, 2.0], [3.0, 4.0]]), skeleton=skeleton) for n in (1, 2)]
    labelled = [sleap.LabeledFrame(video=video, frame_idx=n, instances=[one]) for n, one in enumerate(mine, 1)]
    name = "mice.slp" if kind == "movie" else "mice.pkg.slp"
    sleap.Labels(labelled).save(str(source / name), embed=kind == "embedded", verbose=False)
    done = saccade.import_data(source, tmp_path / "out")
    assert (done.images["written"], done.objects["written"]) == (2, 2)
    content = json.loads((tmp_path / "out" / "annotations.json").read_text())
    assert [one["keypoints"][0] for one in content["annotations"]] == [1.0, 2.0]
    green, grey = (np.asarray(Image.open(tmp_path / "out" / one["file_name"])) for one in content["images"])
    assert abs(green.reshape(-1, 3).mean(0) - (0, 200, 0)).max() < (8 if kind == "movie" else 1e-9)
    assert abs(grey.astype(float) - 120).max() < 8
    assert grey.ndim == 2
    gc.collect()


def region(kind, number, **value):
    size = {"original_width": 40, "original_height": 30}
    return {
        "id": number,
        "type": kind,
        **size,
        "value": value,
        **({"parentID": value.pop("of")} if "of" in value else {}),
    }


def point(label, x, y, **more):
    return region("keypointlabels", f"{label}{x}", x=x, y=y, width=1, keypointlabels=[label], **more)


def test_label_studio(tmp_path):
    """Percent of the image, parents, and orphans: alone they are one object, twice the same joint is none."""
    source = tmp_path / "export"
    (source / "images").mkdir(parents=True)
    for name in "abc":
        Image.new("RGB", (40, 30), (50, ord(name), 0)).save(source / "images" / f"{name}.png")
    box = region("rectanglelabels", "b1", x=10, y=10, width=50, height=60, rectanglelabels=["mouse"])
    results = {
        "a": [box, point("left_ear", 25, 50, of="b1"), point("right_ear", 50, 50, of="b1"), point("left_ear", 75, 50)],
        "b": [point("right_ear", 50, 100), point("left_ear", 0, 10)],
        "c": [point("left_ear", 1, 1), point("left_ear", 2, 2)],
        "gone": [point("left_ear", 1, 1)],
    }
    tasks = [
        {"id": number, "data": {"image": f"/data/upload/1/01234567-{name}.png"}, "annotations": [{"result": result}]}
        for number, (name, result) in enumerate(results.items())
    ]
    (source / "project.json").write_text(json.dumps(tasks))
    done = saccade.import_data(source, tmp_path / "out")
    assert (done.format, done.images["written"], done.objects["found"], done.objects["written"]) == (
        "label-studio-keypoints", 3, 5, 3,
    )  # fmt: skip
    content = json.loads((tmp_path / "out" / "annotations.json").read_text())
    first, orphan, other = content["annotations"]
    assert content["categories"][0]["keypoints"] == ["left_ear", "right_ear"]
    assert (first["bbox"], first["keypoints"]) == ([4, 3, 20, 18], [10, 15, 2, 20, 15, 2])
    assert orphan["keypoints"] == [30, 15, 2, 0, 0, 0]
    assert other["keypoints"] == [0, 3, 2, 20, 30, 2]
