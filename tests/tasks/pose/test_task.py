"""Folders of key points through training, evaluation, prediction and comparison."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

import saccade
from saccade.data.check import check_data
from saccade.data.reading import Reading
from saccade.data.sheet import draw_sheet
from saccade.errors import InputError
from saccade.report.scenes import Answer, Box, Case
from saccade.runs.options import RunSpec
from saccade.tasks.pose.augmenting import augmented
from saccade.tasks.pose.described import given_joints, pairs_by_name
from saccade.tasks.pose.samples import AUGMENTATIONS, crop_size, find_augmentation
from saccade.tasks.pose.task import Pose
from tests.comparison.inline import InlinePool

from . import figures

NET = "simple_baseline[deconv_channels=8]"
HOW = {"size": 64, "device": "cpu", "progress": False}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return figures.tree(tmp_path_factory.mktemp("data") / "figures")


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "figures"
    return saccade.train(folder, NET, backbone="test_resnet", steps=2, batch=4, workers=0, out=out, **HOW)


def loaded(folder, **given):
    return Pose.load(RunSpec(data=str(folder), network=NET, size=64, **{"augment": "none", **given}))


def exact(data):
    """Evidence of a network that finds every point of the targets."""
    rows = [data.val.samples[index][1] for index in range(len(data.val))]
    targets = torch.utils.data.default_collate(rows)
    seen = targets["visible"]
    predictions = {"points": targets["points"], "scores": torch.where(seen > 0, 0.9, 0.0)}
    return data.task.settled(data.task.evidence(predictions, targets))


def test_the_folder_is_checked(folder, tmp_path):
    found = check_data(folder)
    assert (found.task, found.images, found.bad, found.good) == ("pose", 20, {}, True)
    text = str(found)
    for words in (
        "joints: head, left_hand", "mirror pairs (by their names): left_hand - right_hand, left_foot - right_foot",
        "all 0.06", "training: 16 objects in 16 images: 16 learned from", "validation: 4 objects", "visibility 2",
    ):  # fmt: skip
        assert words in text, words
    assert draw_sheet(folder, tmp_path / "sheet.png").exists()


def test_it_trains_is_evaluated_and_predicts(run, folder, tmp_path):
    assert list(run.results["scores"])[:3] == ["AP", "AP50", "AP75"]
    found = saccade.evaluate(folder, run.folder, device="cpu", workers=0, progress=False)
    assert found.results["images"] == 4
    assert "mirrored crop, codec udp" in found.results["protocol"]
    assert found.results["what"] == "the validation side, annotated boxes"
    assert set(found.results["by_class"]) == set(figures.NAMES)
    boxes = tmp_path / "boxes.json"
    boxes.write_text(json.dumps([{"image_id": 501, "category_id": 1, "bbox": [4, 4, 50, 56], "score": 0.5}]))
    one = folder / "val" / "0501.png"
    seen = saccade.predict(
        [one], run.folder, out=tmp_path / "out", boxes=boxes, protocol="plain", device="cpu", heat_maps=True
    )
    (row,) = seen.rows
    (result,) = json.loads((tmp_path / "out" / "keypoints.json").read_text())
    assert (result["image_id"], len(result["keypoints"]), "bbox" in result) == (501, 18, False)
    line = (tmp_path / "out" / "labels" / "0501.txt").read_text().split()
    assert len(line) == 5 + 3 * 6
    assert float(line[5]) * 64 == pytest.approx(row["joints"]["head"]["x"], abs=0.01)
    assert (tmp_path / "out" / "predictions.csv").read_text().startswith("image,left,top,width,height,score,head x")
    with Image.open(tmp_path / "out" / "pictures" / "0501.png") as picture:
        assert picture.size == (320, 344)  # enlarged, and a legend
    with Image.open(tmp_path / "out" / "heatmaps" / "0501-1.png") as picture:
        assert picture.size == (6 * 164, 180)
    with pytest.raises(InputError, match="--heat-maps: they are written to a folder"):
        saccade.predict([one], run.folder, heat_maps=True, device="cpu")
    scored = saccade.evaluate(
        folder, run.folder, boxes=boxes, protocol="plain", device="cpu", workers=0, progress=False
    ).results  # fmt: skip
    assert scored["what"].endswith("boxes of boxes.json")
    assert scored["images"] == 4  # of which three have an object and no box


def test_an_interrupted_training_ends_with_the_same_weights(folder, tmp_path, monkeypatch):
    from safetensors.torch import load_file

    def call(out):
        return saccade.train(
            folder, NET, backbone="test_resnet", steps=2, batch=4, workers=0, out=out, augment="full", **HOW
        )

    whole = call(tmp_path / "whole").folder / "model.safetensors"

    class Once:
        def __enter__(self):
            return lambda: True

        def __exit__(self, *_):
            return False

    with monkeypatch.context() as patch:
        patch.setattr("saccade.runs.train.stop_on_signals", lambda **_: Once())
        with pytest.raises(KeyboardInterrupt):
            call(tmp_path / "parts")
    again = call(tmp_path / "parts").folder / "model.safetensors"
    one, other = load_file(whole), load_file(again)
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("codec", ["biased", "dark", "udp", "udp_offset"])
def test_what_is_cut_out_is_put_back(folder, codec):
    data = loaded(folder, codec=codec)
    scores = data.task.scores(exact(data))
    assert (scores["AP"], scores["PCK"], scores["sides exchanged"]) == (1.0, 1.0, 0.0)
    assert scores["mean error in px"] < 1e-4
    image, targets = data.train.samples[0]
    assert image.shape == (3, 64, 64)
    outputs = torch.zeros(1, 6 * data.task.codec.maps_per_joint, 16, 16)
    total, count = data.task.loss(outputs, {name: targets[name][None] for name in ("points", "visible")})
    assert (float(total) > 0, int(count)) == (True, 1)


def colours(image, points):
    """``"red"`` or ``"blue"`` for the pixels under the left and the right hand; None where one is near the edge."""
    found = []
    for x, y in points[1:3].round().long().tolist():
        if not (1 <= x < 63 and 1 <= y < 63):
            return None
        red, _, blue = image[:, y - 1 : y + 2, x - 1 : x + 2].float().mean(dim=(1, 2))
        found.append("red" if red > blue else "blue")
    return tuple(found)


def turn(points):
    """The sign of the turn from the left to the right hand, seen from the head."""
    (a, b), (c, d) = (points[1] - points[0]).tolist(), (points[2] - points[0]).tolist()
    return a * d - b * c > 0


def test_a_mirrored_crop_has_its_joints_in_mirrored_order(folder):
    """Left hands are red; in a mirror a red hand is a right one, and the order of the hands stays what it was."""
    plain, samples = loaded(folder).train.samples, loaded(folder, augment="full").train.samples
    seen = []
    for index in range(16):
        for seed in range(3):
            torch.manual_seed(seed)
            image, targets = samples[index]
            seen.append(colours(image, targets["points"]))
            assert turn(targets["points"]) == turn(plain[index][1]["points"])
    assert set(seen) - {None} == {("red", "blue"), ("blue", "red")}


def test_a_crop_of_a_comparison_moves_with_its_points(folder):
    data = loaded(folder)
    image, targets = data.train.samples[3]
    keys = [(0, 0, number) for number in range(12)]
    batch = {"points": targets["points"].repeat(12, 1, 1), "visible": targets["visible"].repeat(12, 1)}
    change = augmented(find_augmentation("light"), data.task.codec, data.task.joints)
    images, moved = change(image.repeat(12, 1, 1, 1), batch, size=64, keys=keys)
    seen = [colours(*one) for one in zip(images, moved["points"], strict=True)]
    assert set(seen) - {None} == {("red", "blue"), ("blue", "red")}
    assert {turn(points) for points in moved["points"]} == {turn(targets["points"])}
    again, _ = change(image.repeat(12, 1, 1, 1), batch, size=64, keys=keys)
    assert torch.equal(images, again)


def test_exchanged_sides_and_far_points_are_counted(folder):
    data = loaded(folder)
    rows = [data.val.samples[index][1] for index in range(len(data.val))]
    targets = torch.utils.data.default_collate(rows)
    swapped = targets["points"][:, [0, 2, 1, 4, 3, 5]]
    found = data.task.settled(data.task.evidence({"points": swapped, "scores": torch.ones(4, 6)}, targets))
    scores = data.task.scores(found)
    assert scores["sides exchanged"] == 1.0
    assert scores["PCK"] == pytest.approx(2 / 6)
    assert data.task.by_class(found)["head"] == 1.0
    assert data.task.by_class(found)["left_hand"] == 0.0
    weights = np.array([[1.0, 1, 1, 1], [0, 2, 0, 2]])
    assert data.task.resampled(found, weights) == pytest.approx([data.task.score(found, row) for row in weights])


@pytest.mark.parametrize(
    ("size", "aspect", "wanted"), [(256, (3, 4), (192, 256)), (384, (3, 4), (288, 384)), (64, (1, 1), (64, 64))]
)
def test_crops_have_the_sizes_of_the_papers(size, aspect, wanted):
    assert crop_size(size, aspect) == wanted
    assert set(AUGMENTATIONS) == {"full", "light", "none"}


@pytest.mark.parametrize(
    ("names", "pairs"),
    [
        (("left_eye", "right_eye", "nose"), ((0, 1),)),
        (("LKnee", "RKnee"), ((0, 1),)),
        (("l_hip", "r_hip"), ((0, 1),)),
        (("lShoulder", "rShoulder"), ((0, 1),)),
        (("paw-L", "paw-R", "tail"), ((0, 1),)),
        (("Left Eye", "Right Eye"), ((0, 1),)),
        (("L1", "R1", "L2", "R2"), ((0, 1), (2, 3))),
        (("kneeL", "kneeR"), ((0, 1),)),
        (("左肩", "右肩"), ((0, 1),)),
        (("earl", "rear"), None),
        (("pin 1", "pin 2"), None),
        (("left_eye", "nose"), None),
    ],
)
def test_pairs_are_read_off_names(names, pairs):
    assert pairs_by_name(names)[0] == pairs


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"pairs": [["a", "b"], ["b", "c"]]}, "in two pairs"),
        ({"flip_idx": [1, 2, 0]}, "mirroring twice"),
        ({"sigmas": [0.1]}, "expected 3"),
        ({"sigmas": [0.1, 0.0, 0.1]}, "above 0"),
        ({"pairs": [["a", "d"]]}, "'d' is not a joint"),
        ({"skeleton": [["a"]]}, "skeleton to be pairs"),
        ({"skeleton": [9]}, "skeleton to be pairs"),
        ({"colour": 1}, "unknown key"),
        ({"names": ["a", "a", "b"]}, "twice"),
        ([], "received list"),
    ],
)
def test_a_description_of_joints_that_does_not_fit_is_refused(tmp_path, content, message):
    path = tmp_path / "joints.json"
    path.write_text(json.dumps({"names": ["a", "b", "c"], **content} if isinstance(content, dict) else content))
    with pytest.raises(InputError, match=message):
        given_joints(str(path), None)


def test_other_tasks_refuse_options_of_key_points(tmp_path):
    from tests.comparison.folders import classification

    folder = classification(tmp_path / "data", count=2, side=16)
    with pytest.raises(InputError, match="--codec: makes no sense for classification"):
        check_data(folder, reading=Reading(codec="dark"))


def test_turned_objects_are_counted_apart(folder):
    """Only where the data say what a turned object looks like, and every labelled joint that moves is compared."""
    data = loaded(folder)
    order = [3, 4, 2, 0, 1, 5]  # hands and feet change places
    task = Pose(data.task.classes, **{**data.task.facts, "turned": order}, size=64)
    rows = [data.val.samples[index][1] for index in range(len(data.val))]
    targets = torch.utils.data.default_collate(rows)
    for exchanged, wanted in ((list(range(6)), 0.0), (order, 1.0)):
        predictions = {"points": targets["points"][:, exchanged], "scores": targets["visible"]}
        evidence = task.settled(task.evidence(predictions, targets))
        assert task.scores(evidence)["turned by half"] == wanted
    assert "turned by half" not in data.task.scores(exact(data))


def test_truth_and_answers_of_a_report_are_skeletons(folder):
    data = loaded(folder)
    _, target = data.val.samples[0]
    case = Case(0, "one", "typical", "", "", Box(0, 0))
    data.task.draw_truth(case, target)
    answer = Answer(1, "se")
    data.task.draw_answer(case, answer, target, {"points": target["points"], "scores": target["visible"]})
    assert case.truth is not None
    assert answer.regions is not None
    assert case.truth.uri == answer.regions.uri
    assert case.truth.uri.startswith("data:image/png;base64,")
    assert "100" in answer.regions.caption


@pytest.fixture(scope="module")
def groups(tmp_path_factory):
    """Images with up to four objects: some hidden, a crowd, one without labels; boxes with repetitions."""
    folder = tmp_path_factory.mktemp("groups")
    content = figures.document(8, 64, folder=folder)
    rng, rows = np.random.default_rng(3), []
    for image in range(1, 9):
        for place in range(int(rng.integers(1, 5))):
            points = figures.figure(rng, 64) * rng.uniform(0.5, 1) + rng.uniform(-8, 8, 2)
            row = figures.annotation(points, len(rows) + 1, image, iscrowd=int(place == 3))
            if place == 2:
                row["keypoints"] = [0] * 18
            elif place == 1:
                row["keypoints"][3:6] = [0, 0, 0]
            rows.append(row)
    content["annotations"] = rows
    boxes = [{"image_id": one["image_id"], "category_id": 1, "bbox": one["bbox"], "score": 0.5} for one in rows[2:]]
    boxes += [{**one, "score": 0.4} for one in boxes[:5]]
    (folder / "results.json").write_text(json.dumps(boxes))
    return figures.written(folder, content)


@pytest.mark.full
def test_it_is_compared(groups, tmp_path, monkeypatch):
    """Samples are objects, and what is drawn again are images, of which some have several."""
    monkeypatch.setattr("saccade.comparison.compare.Pool", InlinePool)
    found = saccade.compare(
        groups, "none,se", backbone="test_resnet", seeds=3, steps=2, batch=4, jobs=1, out=tmp_path / "out", split=0.5,
        codec="udp_offset", **HOW,
    )  # fmt: skip
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert (results["task"], results["metric"]) == ("pose", "AP")
    assert results["test_images"] < results["data"]["val"]
    assert "AP" in str(found)
    shown = json.loads((tmp_path / "out" / "pictures" / "index.json").read_text())
    assert all(image["index"] < results["data"]["val"] for image in shown["images"])


@pytest.mark.parametrize("detected", [False, True])
def test_objects_of_one_image_are_one_piece_of_evidence(groups, detected):
    """AP of noisy points is that of the evaluator on what is left after suppression; an image counts as a whole."""
    data = loaded(groups, split=0.5, **({"boxes": str(groups / "results.json")} if detected else {}))
    samples = data.val.samples
    targets = torch.utils.data.default_collate([samples[index][1] for index in range(len(samples))])
    torch.manual_seed(0)
    points = targets["points"] + 3 * torch.randn(targets["points"].shape)
    if detected:  # which know no points: the first annotated object of their image
        points = torch.rand(points.shape) * 64
    predictions = {"points": points, "scores": torch.rand(points.shape[:2])}
    raw = data.task.evidence(predictions, targets)
    found = data.task.settled(raw)
    images = {entry.number for entry in samples.entries}
    assert len(found["positives"]) == len(images) < len(samples)
    assert data.task.pictured(found).tolist() == [
        min(index for index, entry in enumerate(samples.entries) if entry.number == number) for number in sorted(images)
    ]
    people = [
        one
        for number, name in {(entry.number, entry.image) for entry in samples.entries}
        for one in Pose.files(groups, Reading(split=0.5)).reader.people[name]
        if one.labelled and not one.crowd
    ]
    assert found["positives"][:, 0].sum() == len(people)
    halves = data.task.resampled(found, np.stack([np.arange(len(images)) % 2, (np.arange(len(images)) + 1) % 2]))
    assert halves.shape == (2,)


def test_all_objects_are_judged_as_the_evaluator_does(groups):
    from saccade.tasks.pose.evaluation import Detection, Person, keypoint_scores

    pytest.importorskip("faster_coco_eval", exc_type=ImportError)
    data = loaded(groups, split=0.5)
    samples = data.val.samples
    targets = torch.utils.data.default_collate([samples[index][1] for index in range(len(samples))])
    torch.manual_seed(1)
    points = targets["points"] + 2 * torch.randn(targets["points"].shape)
    raw = data.task.evidence({"points": points, "scores": 0.3 + 0.7 * torch.rand(points.shape[:2])}, targets)
    found = data.task.settled(raw)
    files = Pose.files(groups, Reading(split=0.5))
    held = {entry.image for entry in samples.entries}
    people = [
        Person(image, one.points, one.box, one.area, one.crowd)
        for image in held
        for one in files.reader.people[image]
    ]  # fmt: skip
    scores = np.where(raw["joint_scores"] > 0.2, raw["joint_scores"], 0)
    scores = scores.sum(axis=1) / np.maximum(1, (scores > 0).sum(axis=1))
    detections = [
        Detection(entry.image, place, score)
        for entry, place, score in zip(samples.entries, raw["points"], scores, strict=True)
    ]
    assert len(found["scores"]) == len(detections)  # none is that similar to another
    wanted = keypoint_scores(people, detections, data.task.joints.sigmas).values
    mine = data.task.scores(found)
    for name, value in wanted.items():
        assert mine.get(name) == pytest.approx(value, abs=1e-6), name
