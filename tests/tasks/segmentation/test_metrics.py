"""Scores of segmentation agree with torchmetrics, and those by object with all images at once."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torchmetrics.classification import MulticlassAccuracy, MulticlassJaccardIndex

from saccade.tasks.evidence import Evidence, joined
from saccade.tasks.segmentation.objects import iou_by_object, match_objects
from saccade.tasks.segmentation.task import Segmentation

K = 5


def drawn(seed: int, shape: tuple[int, int] = (40, 50)) -> tuple[torch.Tensor, torch.Tensor]:
    """Rectangles of every size on class 0, class 3 nowhere, some ignored; predictions mostly right."""
    draw = np.random.default_rng(seed)
    mask = np.zeros(shape, dtype=np.uint8)
    for _ in range(12):
        top, left = draw.integers(0, shape[0]), draw.integers(0, shape[1])
        mask[top : top + draw.integers(1, 12), left : left + draw.integers(1, 12)] = draw.choice([0, 1, 2, 4, 255])
    predictions = np.where(draw.random(shape) < 0.7, np.where(mask == 255, 0, mask), 1).astype(np.uint8)
    return torch.from_numpy(predictions)[None], torch.from_numpy(mask)[None]


def evidence(task: Segmentation, images: list[tuple[torch.Tensor, torch.Tensor]]) -> Evidence:
    return joined(task.evidence(prediction, mask, full=True) for prediction, mask in images)


@pytest.mark.parametrize("background", [True, False])
def test_objects_of_images_one_by_one_are_those_of_all_at_once(background: bool) -> None:
    images = [drawn(seed) for seed in range(4)]
    task = Segmentation(("background" if background else "street", *"abcd"))
    predictions, masks = (torch.cat(part).numpy() for part in zip(*images, strict=True))
    expected = iou_by_object(*match_objects(predictions, masks, K), background=background)
    for found, by in zip(task.groups(evidence(task, images)).values(), expected, strict=True):
        assert found.limits == by.limits is not None
        assert list(found.values.values()) == list(by.iou.values())
    nothing = [(torch.zeros(1, 5, 2, dtype=torch.uint8), torch.zeros(1, 5, 2, dtype=torch.uint8))]
    if background:
        assert all(set(group.values.values()) == {None} for group in task.groups(evidence(task, nothing)).values())


def test_scores_are_those_of_torchmetrics() -> None:
    task, images = Segmentation(tuple("abcde")), [drawn(seed, (20 + seed, 31)) for seed in range(3)]
    theirs = [
        MulticlassJaccardIndex(K, ignore_index=255), MulticlassAccuracy(K, average="micro", ignore_index=255),
        MulticlassJaccardIndex(K, ignore_index=255, average="none", zero_division=math.nan),
    ]  # fmt: skip
    for metric in theirs:
        for prediction, mask in images:
            metric.update(prediction, mask)
    mean, pixels, each = (metric.compute() for metric in theirs)
    found = evidence(task, images)
    scores = task.scores(found)
    assert [scores["mIoU"], scores["pixel accuracy"]] == pytest.approx([mean.item(), pixels.item()])
    ours = list(task.by_class(found).values())
    assert [value is None for value in ours] == each.isnan().tolist() == [False, False, False, True, False]
    assert [value for value in ours if value is not None] == pytest.approx(each[~each.isnan()].tolist())


def test_weights_repeat_images_or_leave_them_out() -> None:
    task, images = Segmentation(tuple("abcde")), [drawn(seed) for seed in range(4)]
    weights = np.array([[2.0, 0, 1, 0], [1, 1, 1, 1]])
    chosen = [images[0], images[0], images[2]]
    found = evidence(task, images)
    assert task.resampled(found, weights) == pytest.approx(
        [task.score(evidence(task, chosen)), task.score(found)], rel=1e-12
    )
    assert task.scores(found, weights[0]) == pytest.approx(task.scores(evidence(task, chosen)))


def test_an_image_is_as_right_as_its_pixels() -> None:
    """The report's success and failure follow the wrong pixels that its pictures show."""
    task, images = Segmentation(tuple("abcde")), [drawn(seed) for seed in range(4)]
    right = []
    for image in images:
        labelled = image[1] != 255
        right.append(float((image[0] == image[1])[labelled].float().mean()))
    assert task.image_scores(evidence(task, images)) == pytest.approx(right)
