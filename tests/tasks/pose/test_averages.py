"""Average precision with weights of images is COCO's, by both evaluators, on copies of the images."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np
import pytest

from saccade.tasks.pose.averages import MEASURES, Truths, average_precision, matched, measures
from saccade.tasks.pose.evaluation import Detection, Person, keypoint_scores

pytest.importorskip("faster_coco_eval", exc_type=ImportError)

SIGMAS = np.array([0.05, 0.03, 0.1, 0.07, 0.2])
JOINTS, IMAGES = 5, 10


def crowded(rng: Any) -> list[tuple[list[Person], list[tuple[Any, float]]]]:
    """Objects and detections of some images: hidden joints, crowds, no object, equal scores, any size."""
    found = []
    for image in range(IMAGES):
        people, detections = [], []
        for _ in range(rng.integers(0, 4)):
            center, scale = rng.uniform(0, 300, 2), rng.uniform(10, 150)
            seen = rng.choice([0, 1, 2], (JOINTS, 1), p=[0.2, 0.3, 0.5]) * (rng.random() > 0.15)
            points = np.concatenate([center + rng.uniform(-scale, scale, (JOINTS, 2)), seen], axis=1)
            points[points[:, 2] == 0] = 0
            box = [*(center - scale), 2 * scale, 2 * scale]
            people.append(Person(image, points, box, 2 * scale**2, bool(rng.random() < 0.1)))
            for _ in range(rng.integers(0, 3)):
                moved = points[:, :2] + rng.normal(0, scale * rng.choice([0.01, 0.1, 0.3]), (JOINTS, 2))
                detections.append((moved, round(float(rng.random()), 1)))
        found.append((people, detections))
    return found


def collected(images: Any) -> tuple[Any, ...]:
    rows = []
    for people, detections in images:
        truths = Truths(
            np.array([one.points for one in people]).reshape(-1, JOINTS, 3),
            np.array([one.box for one in people]).reshape(-1, 4),
            np.array([one.area for one in people], dtype=float),
            np.array([one.crowd for one in people], dtype=bool),
        )
        points = np.array([one for one, _ in detections]).reshape(-1, JOINTS, 2)
        rows.append(matched(points, np.array([score for _, score in detections]), truths, SIGMAS))
    scores, states, positives = zip(*rows, strict=True)
    owner = np.repeat(np.arange(len(rows)), [len(one) for one in scores])
    return np.concatenate(scores), np.concatenate(states), owner, np.array(positives)


@pytest.mark.parametrize("seed", range(3))
def test_weights_of_images_are_copies_of_them(seed: int) -> None:
    rng = np.random.default_rng(seed)
    images = crowded(rng)
    rows = np.stack([np.ones(IMAGES), rng.integers(0, 3, IMAGES)]).astype(float)
    found = measures(*collected(images), rows)
    for draw, weights in enumerate(rows):
        names = [(image, copy) for image, count in enumerate(weights) for copy in range(int(count))]
        people = [
            Person(name, one.points, one.box, one.area, one.crowd) for name in names for one in images[name[0]][0]
        ]
        detections = [Detection(name, *one) for name in names for one in images[name[0]][1]]
        wanted = keypoint_scores(people, detections, SIGMAS, images=names).values
        for name in MEASURES:
            value = found[name][draw]
            assert (None if np.isnan(value) else value) == pytest.approx(wanted[name], abs=1e-12), name
    assert average_precision(*collected(images), rows) == pytest.approx(found["AP"], abs=1e-12)


def test_the_other_evaluator_says_the_same() -> None:
    pytest.importorskip("pycocotools")
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    images = crowded(np.random.default_rng(7))
    truth = [
        {
            "id": number, "image_id": one.image + 1, "category_id": 1, "iscrowd": int(one.crowd), "area": one.area,
            "keypoints": one.points.reshape(-1).tolist(), "num_keypoints": int((one.points[:, 2] > 0).sum()),
            "bbox": list(one.box),
        }
        for number, one in enumerate((one for people, _ in images for one in people), start=1)
    ]  # fmt: skip
    results = [
        {
            "image_id": image + 1, "category_id": 1, "score": score,
            "keypoints": np.concatenate([points, np.ones((JOINTS, 1))], axis=1).reshape(-1).tolist(),
        }
        for image, (_, detections) in enumerate(images)
        for points, score in detections
    ]  # fmt: skip
    with contextlib.redirect_stdout(io.StringIO()):
        known = COCO()
        known.dataset = {
            "images": [{"id": image + 1} for image in range(IMAGES)], "annotations": truth,
            "categories": [{"id": 1, "name": "figure"}],
        }  # fmt: skip
        known.createIndex()
        evaluator = COCOeval(known, known.loadRes(results), "keypoints")
        evaluator.params.kpt_oks_sigmas = SIGMAS
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    found = measures(*collected(images), np.ones((1, IMAGES)))
    assert [float(found[name][0]) for name in MEASURES] == pytest.approx(evaluator.stats.tolist(), abs=1e-12)


def test_no_detection_is_no_precision_and_no_object_no_measure() -> None:
    images = crowded(np.random.default_rng(1))
    empty = measures(*collected([(people, []) for people, _ in images]), np.ones((1, IMAGES)))
    assert (empty["AP"][0], empty["AR"][0]) == (0.0, 0.0)
    none = measures(*collected([([], detections) for _, detections in images]), np.ones((1, IMAGES)))
    assert np.isnan(none["AP"][0])
    assert average_precision(*collected(images), np.zeros((1, IMAGES)))[0] == 0.0
