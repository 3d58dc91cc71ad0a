"""``saccade report``: write the page of a comparison again."""

from __future__ import annotations

from pathlib import Path

from saccade.cli.answer import Answer, Given


def report(directory: Path, /, *, settings: Given) -> Answer:
    """Write `report.html` of a comparison again, from the results and pictures saved in its folder.

    Args:
        directory: The folder a comparison wrote (its `--out`), such as `saccade-compare/demo`.
    """
    from saccade.report.build import build_report

    page = build_report(directory)
    return Answer({"report": str(page)}, str(page))
