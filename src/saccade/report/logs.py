"""The runs' logs, averaged over the seeds of an arm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from saccade.comparison.results import Results
from saccade.errors import InputError
from saccade.report.charts import Curve
from saccade.training.log import read_rows

POINTS = 60
"""Largest number of points of a curve; the values between two of them are averaged."""


def read_curves(directory: Path, results: Results, column: str) -> dict[int, Curve]:
    """Return the curves of ``score`` or ``loss`` by the index of the arm, without arms of fewer than two points."""
    curves = {}
    for index, arm in enumerate(results.arms):
        paths = [directory / "runs" / arm.folder / str(seed) / "log.csv" for seed in results.seeds]
        runs = [_column(path, column) for path in paths if path.exists()]
        curve = _over_seeds([run for run in runs if run])
        if len(curve[0]) > 1:
            curves[index] = curve
    return curves


def _column(path: Path, column: str) -> dict[int, float]:
    """Values of a column by their step."""
    rows = read_rows(
        path, "restore it from a copy; without it the report is drawn without these curves: move it elsewhere"
    )
    try:
        return {int(row["step"]): float(row[column]) for row in rows if row.get(column)}
    except (TypeError, ValueError) as cause:
        raise InputError(f"{path}: {cause}", "restore it from a copy, or move it elsewhere") from cause


def _over_seeds(runs: Sequence[Mapping[int, float]]) -> Curve:
    """Mean, smallest and largest value at the steps that all runs have."""
    if not runs:
        return [], [], [], []
    steps = sorted(set(runs[0]).intersection(*runs[1:]))
    size = -(-len(steps) // POINTS) or 1
    groups = [steps[k : k + size] for k in range(0, len(steps), size)]
    averages = [[sum(run[step] for step in group) / len(group) for run in runs] for group in groups]
    return (
        [sum(group) / len(group) for group in groups],
        [sum(values) / len(values) for values in averages],
        [min(values) for values in averages],
        [max(values) for values in averages],
    )
