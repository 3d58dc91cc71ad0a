"""The report of a comparison: one HTML file that needs neither network nor server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from saccade.report.build import build_report

__all__ = ["build_report"]


def __getattr__(name: str) -> Any:
    """Import on first use: the page of ``saccade list --html`` needs neither torch nor numpy."""
    if name != "build_report":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from saccade.report.build import build_report

    return build_report
