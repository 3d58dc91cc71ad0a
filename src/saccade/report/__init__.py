"""The page a comparison ends in: one HTML file that needs neither network nor server."""

from saccade.report.build import build_report

__all__ = ["build_report"]
