"""``saccade export``: a trained network as a file for another runtime, verified there."""

from __future__ import annotations

import sys
from typing import Any

import saccade
from saccade.cli.answer import FOUND_WRONG, Answer, Given
from saccade.cli.options import takes
from saccade.exporting.options import ExportOptions


@takes(ExportOptions)
def export(model: str, /, *, settings: Given, **given: Any) -> Answer:
    """Write a trained network as a file for another runtime, run it there, and keep it only if it is the same network.

    - `saccade export saccade-train/photos --to onnx --out photos.onnx`
    - `saccade predict photos --model photos.onnx`
    """
    from saccade.exporting.export import WrongExportError

    shown = not settings.quiet and not settings.json
    say = (lambda what: print(what, file=sys.stderr)) if shown else (lambda what: None)
    try:
        found = saccade.export(model, **given, on_progress=say)
    except WrongExportError as wrong:
        data = {"verified": False, "problem": str(wrong), "cases": [case.to_json() for case in wrong.cases]}
        return Answer(data, str(wrong), FOUND_WRONG)
    return Answer(found.to_json(), str(found))
