"""Average precision of key points: what misleads the evaluators does not reach them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from saccade import InputError
from saccade.tasks.pose.evaluation import Detection, KeypointScores, Person, keypoint_scores

pytest.importorskip("faster_coco_eval")

SIGMAS = (0.05, 0.1, 0.08)


def person(image: Any = "a.png", x: float = 100.0, **fields: Any) -> Person:
    points = np.array([[x, 100.0, 2], [x + 30, 120, 1], [x + 10, 160, 2]])
    return Person(image, points, **{"box": (x - 10, 90.0, 60.0, 80.0), "area": 3000.0} | fields)


def exact(of: Person, score: float = 0.9, **fields: Any) -> Detection:
    return replace(Detection(of.image, of.points[:, :2], score), **fields)


def scores(people: list[Person], detections: list[Detection], **options: Any) -> KeypointScores:
    return keypoint_scores(people, detections, SIGMAS, **options)


def test_a_perfect_person_is_found_whatever_its_ids_and_counts() -> None:
    """With an id of 0, repeated ids, images named by words, or areas of their own, the evaluators lose it."""
    people = [person("b.png"), person("a.png"), person("a.png", 400.0)]
    found = scores(people, [exact(one) for one in people])
    assert found.values["AP"] == found.values["AR"] == found.values["APM"] == 1
    assert found.values["APL"] is None
    assert not found.remarks
    assert {name: table.shape for name, table in found.similarities.items()} == {"b.png": (1, 1), "a.png": (2, 2)}


def test_no_detection_is_no_precision_and_no_person_no_measure() -> None:
    assert scores([person()], []).values["AP"] == 0
    nothing = scores([], [exact(person())], images=["a.png"])
    assert set(nothing.values.values()) == {None}
    assert nothing.remarks == ("there is no annotated object",)


def test_an_area_that_is_missing_is_said() -> None:
    found = scores([person(area=None), person(x=400)], [exact(person()), exact(person(x=400))])
    assert found.remarks == ("1 of 2 objects have no area: 0.53 of their box was taken",)
    assert found.values["AP"] == 1


def test_unlabelled_joints_and_people_count_for_nothing() -> None:
    hidden = person()
    hidden.points[1] = [np.nan, -5, 0]
    wrong = exact(person(), points=np.where(np.arange(3)[:, None] == 1, 9999.0, person().points[:, :2]))
    assert scores([hidden], [wrong]).values["AP"] == 1
    nobody = person(x=400)
    nobody.points[:, 2] = 0
    assert scores([person(), nobody], [exact(person()), exact(nobody, 0.95)]).values["AP"] == 1


def test_a_crowd_takes_several_detections() -> None:
    crowd = person(x=400, crowd=True)
    assert scores([person(), crowd], [exact(person(), 0.5), exact(crowd, 0.9), exact(crowd, 0.8)]).values["AP"] == 1


@pytest.mark.parametrize(
    ("people", "detections", "message"),
    [
        ([person()], [exact(person(), points=np.full((3, 2), np.nan))], "detection 1 of image a.png: expected finite"),
        ([person()], [exact(person(), float("nan"))], "expected a finite score; received nan"),
        ([person()], [exact(person(), image="c.png")], "the data have no such image"),
        (
            [person()],
            [exact(person(), points=np.zeros((4, 2)))],
            r"expected points of shape \(3, 2\); received \(4, 2\)",
        ),
        ([replace(person(), points=np.zeros((3, 2)))], [], r"expected points of shape \(3, 3\)"),
        ([person(area=-1.0)], [], "expected an area of at least 0; received -1"),
        ([person(box=(0, 0, float("nan"), 1))], [], "expected a box"),
    ],
)
def test_what_is_not_finite_or_does_not_fit_is_refused(people: Any, detections: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        scores(people, detections)


def test_both_evaluators_agree() -> None:
    """On people of three joints, near misses, a crowd and an image without anyone."""
    coco, cocoeval = pytest.importorskip("pycocotools.coco"), pytest.importorskip("pycocotools.cocoeval")
    draw = np.random.default_rng(3)
    people = [person(f"{i % 4}.png", 60.0 * i, area=float(500 * 3**i), crowd=i == 5) for i in range(7)]
    detections = [
        exact(one, float(draw.uniform()), points=one.points[:, :2] + draw.normal(scale=scale, size=(3, 2)))
        for one in people
        for scale in (2, 6)
    ]
    ours = scores(people, detections, images=[f"{i}.png" for i in range(5)])

    annotations = [
        {
            "id": i + 1, "image_id": int(one.image[0]), "category_id": 1, "iscrowd": int(one.crowd), "area": one.area,
            "bbox": list(one.box), "keypoints": one.points.reshape(-1).tolist(), "num_keypoints": 3,
        }
        for i, one in enumerate(people)
    ]  # fmt: skip
    truth = coco.COCO()
    truth.dataset = {"images": [{"id": i} for i in range(5)], "annotations": annotations, "categories": [{"id": 1}]}
    truth.createIndex()
    results = [
        {
            "image_id": int(one.image[0]), "category_id": 1, "score": one.score,
            "keypoints": np.concatenate([one.points, np.ones((3, 1))], axis=1).reshape(-1).tolist(),
        }
        for one in detections
    ]  # fmt: skip
    theirs = cocoeval.COCOeval(truth, truth.loadRes(results), "keypoints")
    theirs.params.kpt_oks_sigmas = np.array(SIGMAS)
    theirs.evaluate()
    theirs.accumulate()
    np.testing.assert_allclose(ours.precision, theirs.eval["precision"][:, :, 0, :, 0], atol=1e-12)
    np.testing.assert_allclose(ours.recall, theirs.eval["recall"][:, 0, :, 0], atol=1e-12)
    assert 0 < ours.values["AP"] < 1  # type: ignore[operator]
