"""``saccade predict``: what a trained network says of images."""

from __future__ import annotations

from typing import Any

import saccade
from saccade.cli.answer import DONE, FOUND_WRONG, Answer, Given
from saccade.cli.options import takes
from saccade.runs.options import PredictOptions


@takes(PredictOptions)
def predict(*images: str, settings: Given, **given: Any) -> Answer:
    """Say what a trained network sees in images. Those that cannot be read are named; the exit status is then 1.

    - `saccade predict photos --model saccade-train/photos --out predictions`
    """
    from saccade.comparison.progress import ComparisonProgress

    with ComparisonProgress(shown=not settings.quiet, steps=0) as showing:
        found = saccade.predict(
            images, **given, on_progress=lambda done, total: showing.counting(done, total, "predicting")
        )
    return Answer(found.to_json(), str(found), FOUND_WRONG if found.failed else DONE)
