"""The forms in which results are rendered. To add one, write a function in a file of its own and add a row here."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from saccade.comparison.results import Results
from saccade.report import build, table

Renderer = Callable[[Results, Path], str]
"""A function that returns results as text; it reads the pictures and logs in the folder if it shows them."""


def as_json(results: Results, folder: Path) -> str:
    """Return the content of ``results.json``."""
    return json.dumps(results.to_json(), indent=2, ensure_ascii=False, allow_nan=False)


RENDERERS: dict[str, Renderer] = {
    "html": build.render,
    "text": table.text,
    "markdown": table.markdown,
    "json": as_json,
}
