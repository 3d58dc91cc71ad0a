"""The metric by object gives what all images at once do, and what is scored agrees with counts by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from saccade.segmentation.metrics import ObjectIoU
from saccade.segmentation.objects import iou_by_object, match_objects
from saccade.training.metrics import score
from saccade.training.tasks import Segmentation

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


@pytest.mark.parametrize("background", [True, False])
def test_images_one_by_one_are_all_at_once(background: bool) -> None:
    metric = ObjectIoU(K, background=background)
    images = [drawn(seed) for seed in range(4)]
    for prediction, mask in images:
        metric.update(prediction, mask)
    predictions, masks = (torch.cat(part).numpy() for part in zip(*images, strict=True))
    expected = iou_by_object(*match_objects(predictions, masks, K), background=background)
    for values, found in zip(metric.compute().tolist(), expected, strict=True):
        assert found.limits is not None
        assert values == pytest.approx([*found.iou.values(), *found.limits])
    metric.reset()
    metric.update(torch.zeros(1, 5, 2, dtype=torch.uint8), torch.zeros(1, 5, 2, dtype=torch.uint8))
    assert metric.compute().isnan().all()


def test_scores_of_the_task_are_those_of_its_counts() -> None:
    task = Segmentation(K)
    metrics = task.metrics(by_class=True)
    right = total = 0
    counts = []
    for seed in range(3):
        prediction, mask = drawn(seed, (20 + seed, 31))
        for metric in metrics.values():
            metric.update(prediction, mask)
        counts.append(task.counts(prediction, mask))
        valid = mask != 255
        right, total = right + int((prediction == mask)[valid].sum()), total + int(valid.sum())
    hit, union = np.concatenate(counts).sum(axis=0).T
    each = metrics["by class"].compute()
    assert each.isnan().tolist() == (union == 0).tolist() == [False, False, False, True, False]
    assert each[union > 0].tolist() == pytest.approx((hit[union > 0] / union[union > 0]).tolist())
    assert metrics["mIoU"].compute().item() == pytest.approx(score(np.concatenate(counts)))
    assert metrics["pixel accuracy"].compute().item() == pytest.approx(right / total)
