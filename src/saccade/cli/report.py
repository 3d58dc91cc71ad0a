"""``saccade report``: write the page of a comparison again, or print its results in another form."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from saccade.cli.answer import Answer, Given


def report(
    directory: Path, /, *, format: Literal["html", "text", "markdown", "json"] = "html", settings: Given
) -> Answer:
    """Write `report.html` of a comparison again, from the results and pictures saved in its folder.

    Args:
        directory: The folder a comparison wrote (its `--out`), such as `saccade-compare/demo`.
        format: `html` writes the page; `text`, `markdown` and `json` print the results instead.
    """
    if format == "html":
        from saccade.report.build import build_report

        page = build_report(directory)
        return Answer({"report": str(page)}, str(page))
    from saccade.comparison.results import read_results
    from saccade.report.renderers import RENDERERS

    results = read_results(directory)
    return Answer(results.to_json(), RENDERERS[format](results, directory))
