"""Key points in the report of a comparison: true and predicted skeletons over the image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from saccade.report import numbers
from saccade.report.pictures import TARGET, data_uri
from saccade.report.scenes import Layer
from saccade.report.texts import attribute, both
from saccade.tasks.pose.drawing import skeletons

if TYPE_CHECKING:
    from saccade.report.scenes import Answer, Case
    from saccade.tasks.pose.task import Pose


def truth(task: Pose, case: Case, target: Any) -> Layer:
    """True key points of a crop."""
    sure = (np.asarray(target["visible"]) > 0).astype(np.float64)
    alt = attribute("alt", "alt_true_skeleton", name=case.name)
    return Layer(_over(task, np.asarray(target["points"]), sure), alt, both("truth"))


def skeleton(task: Pose, case: Case, answer: Answer, prediction: Any) -> Layer:
    """Predicted key points of a crop."""
    sure = np.asarray(prediction["scores"], dtype=np.float64)
    alt = attribute("alt", "alt_skeleton", name=case.name, arm=answer.name)
    caption = both("confidence", value=numbers.percent(float(np.clip(sure, 0, 1).mean())))
    return Layer(_over(task, np.asarray(prediction["points"]), sure), alt, caption)


def legend() -> Sequence[str]:
    """Lines of the legend (HTML)."""
    return [both("legend_sides")]


def _over(task: Pose, points: Any, sure: Any) -> str:
    width, height = task.crop
    factor = max(1.0, TARGET / max(width, height))
    size = (round(width * factor), round(height * factor))
    return data_uri(skeletons(size, [((points + 0.5) * factor - 0.5, sure)], task.joints), optimize=True)
