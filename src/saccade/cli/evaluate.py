"""``saccade evaluate``: score a trained network on images it was not trained on."""

from __future__ import annotations

from typing import Any

import saccade
from saccade.cli.answer import Answer, Given
from saccade.cli.options import takes
from saccade.runs.options import EvaluateOptions


@takes(EvaluateOptions)
def evaluate(data: str, /, *, settings: Given, **given: Any) -> Answer | None:
    """Score a trained network on images it was not trained on; torchrun does it on several devices, with equal scores.

    - `saccade evaluate photos --model saccade-train/photos`
    """
    found = saccade.evaluate(data, **given)
    return Answer(found.results, str(found)) if found.writes else None
