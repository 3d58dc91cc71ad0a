"""Segmentation in the report of a comparison: true and predicted regions over the image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from saccade.data import IGNORE
from saccade.report import numbers, pictures
from saccade.report.scenes import Box, Layer
from saccade.report.texts import attribute, both

if TYPE_CHECKING:
    from saccade.report.scenes import Answer, Case, Gallery
    from saccade.tasks.segmentation.task import Segmentation

GROUND_FRACTION = 0.4
"""A class that fills more of the shown images than this is the ground, and stays without colour."""
LABELS, LEAST_AREA = 12, 0.015
"""Number of regions that carry their name, and the least fraction of the picture that one must fill."""


def ground_of(targets: Any) -> int | None:
    """The class that fills most of the shown images, if it fills enough to be the ground."""
    counts = np.bincount(targets[targets != IGNORE].astype(np.int64).ravel(), minlength=1)
    return int(counts.argmax()) if counts.max() > GROUND_FRACTION * counts.sum() else None


def truth(task: Segmentation, case: Case, target: Any) -> Layer:
    """True regions of an image."""
    nothing_wrong = np.zeros(target.shape, bool)
    alt = attribute("alt", "alt_truth", name=case.name)
    return _regions(task, case, target, nothing_wrong, alt, both("truth"))


def regions(task: Segmentation, case: Case, answer: Answer, target: Any, prediction: Any) -> Layer:
    """Predicted regions, with wrong pixels striped."""
    wrong = (prediction != target) & (target != IGNORE)
    share = numbers.percent(float(wrong.sum()) / max(1, int((target != IGNORE).sum())))
    alt = attribute("alt", "alt_prediction", name=case.name, arm=answer.name, share=share)
    return _regions(task, case, prediction, wrong, alt, both("wrong_pixels", share=share))


def legend(gallery: Gallery) -> Sequence[str]:
    """Lines of the legend (HTML)."""
    lines = [
        f'<i class="stripes"></i>{both("legend_wrong")}',
        f'<span class="tag">7</span>{both("legend_name")}',
        f'<span class="tag wrong">7</span>{both("legend_wrong_name")}',
    ]
    return [
        *lines,
        *([f'<i class="clear"></i>{both("unmarked_class", name=gallery.ground)}'] if gallery.ground else []),
    ]


def _regions(task: Segmentation, case: Case, classes: Any, wrong: Any, alt: str, caption: str) -> Layer:
    uri = pictures.region_overlay(classes, wrong, case.ground)
    step = max(1, max(classes.shape) // 96)  # names need no more detail than that
    coarse, coarse_wrong = classes[::step, ::step], wrong[::step, ::step]
    boxes = []
    for label, mask in pictures.components(coarse, case.ground)[:LABELS]:
        if mask.mean() < LEAST_AREA:
            break
        down, across = pictures.centre(mask)
        name = task.classes[label] if label < len(task.classes) else str(label)
        boxes.append(Box(100 * down, min(max(100 * across, 8), 92), name, bool(coarse_wrong[mask].mean() > 0.5)))
    return Layer(uri, alt, caption, boxes=boxes)
