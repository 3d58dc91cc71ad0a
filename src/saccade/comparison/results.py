"""From the finished runs to ``results.json`` and the table: the numbers everything else shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saccade.comparison.arms import Arm
from saccade.comparison.experiment import Experiment, evidence_of
from saccade.comparison.statistics import Difference, bootstrap_se, differences, mean_interval
from saccade.data import Dataset
from saccade.environment import environment
from saccade.files import read_json
from saccade.runs.names import RESULT
from saccade.tasks.evidence import Evidence
from saccade.version import __version__

SCHEMA = 1


def collect(experiment: Experiment, data: Dataset, *, command: str, jobs: int) -> dict[str, Any]:
    """Everything ``results.json`` holds; reads the run folders."""
    arms, settings = experiment.arms, experiment.settings
    runs = {arm.name: [_run(experiment, arm, index) for index in range(settings.seeds)] for arm in arms}
    scores = np.array([[run["score"] for run in runs[arm.name]] for arm in arms])
    costs = read_json(experiment.folder / "costs.json")
    found = _differences(experiment, data, scores)
    breakdowns = [run["breakdown"] for run in runs[arms[0].name]]
    return {
        "schema": SCHEMA,
        "saccade": __version__,
        "finished": True,
        "task": data.task,
        "metric": experiment.task(data).metric,
        "seeds": list(range(settings.seeds)),
        "steps": experiment.steps,
        "batch": experiment.batch,
        "size": settings.size,
        "start": _start(experiment),
        "data": {
            "name": data.name, "demo": experiment.demo, "note": data.note, "classes": list(data.classes),
            "facts": dict(data.facts),
            "train": len(data.train.images), "val": len(data.val.images),
        },
        "network": {"name": settings.backbone, "params": costs["arms"][arms[0].name]["params"]},
        "environment": environment(settings.device, jobs=jobs, threads=costs["threads"]),
        "command": command,
        "settings": settings.to_json(),
        "macs_input": costs["macs_input"],
        "latency_batch": 1,
        "peak_batch": experiment.batch,
        "test_images": len(data.val.images),
        "buckets": breakdowns[0] and breakdowns[0]["buckets"],
        "arms": [
            _arm(arm, experiment, runs[arm.name], row, difference, costs["arms"][arm.name])
            for arm, row, difference in zip(arms, scores, found, strict=True)
        ],
    }  # fmt: skip


def _run(experiment: Experiment, arm: Arm, index: int) -> dict[str, Any]:
    found: dict[str, Any] = read_json(experiment.run_folder(arm, index) / RESULT)
    return found


def _evidence(experiment: Experiment, arm: Arm) -> list[Evidence]:
    return [evidence_of(experiment.run_folder(arm, index)) for index in range(experiment.settings.seeds)]


def _differences(experiment: Experiment, data: Dataset, scores: NDArray[np.float64]) -> list[Difference | None]:
    control, resampled = _evidence(experiment, experiment.arms[0]), experiment.task(data).resampled
    test = [bootstrap_se(control, _evidence(experiment, arm), resampled=resampled) for arm in experiment.arms[1:]]
    return [None, *differences(scores, np.array(test))]


def _arm(
    arm: Arm, experiment: Experiment, runs: list[dict[str, Any]], scores: Any, difference: Any, costs: dict[str, Any]
) -> dict[str, Any]:
    mean, low, high = mean_interval(scores)
    return {
        "name": arm.name,
        "folder": arm.folder,
        "mechanism": arm.mechanism,
        "options": dict(arm.options),
        "place": read_json(experiment.folder / "places.json")[arm.name],
        "scores": [float(score) for score in scores],
        "mean": mean,
        "interval": [low, high],
        "difference": None if difference is None else asdict(difference),
        **costs,
        "train_seconds": float(np.mean([run["train_seconds"] for run in runs])),
        "by_size": _mean_of(runs, "size"),
        "by_thinness": _mean_of(runs, "thinness"),
    }


def _mean_of(runs: list[dict[str, Any]], group: str) -> dict[str, float | None] | None:
    found = [run["breakdown"][group] for run in runs if run["breakdown"]]
    if not found:
        return None
    means: dict[str, float | None] = {}
    for name in found[0]:
        values = [one[name] for one in found if one[name] is not None]
        means[name] = float(np.mean(values)) if values else None
    return means


def _start(experiment: Experiment) -> str:
    if experiment.start_steps:
        return "fresh" if experiment.settings.fresh_start else "shared"
    return "pretrained" if experiment.settings.pretrained else "random"


def table(results: dict[str, Any]) -> str:
    """The results as lines of text: arm, score, difference with its simultaneous interval, verdict, costs.

    Of segmentation a second table follows: mean IoU by size and by thinness of the objects.
    """
    head = ("arm", results["metric"], "difference to none", "verdict", "params", "MMACs", "ms", "peak MiB", "train s")
    lines = _aligned([head, *(_row(arm) for arm in results["arms"])], words=4)
    seeds = len(results["seeds"])
    foot = f"{seeds} seed{'s' * (seeds > 1)}, {results['steps']} steps, {results['test_images']} held-out images; "
    return "\n".join([*lines, *_by_object(results), "", foot + "intervals of differences are simultaneous, 95%"])


def _by_object(results: dict[str, Any]) -> list[str]:
    arms = [arm for arm in results["arms"] if arm["by_size"] and arm["by_thinness"]]
    if not arms:
        return []
    kinds = [(by, name) for by in ("by_size", "by_thinness") for name in arms[0][by]]
    # "medium" is a size, and a thinness too
    head = ("mIoU of objects", *(f"{name} {by[3:]}" if name == "medium" else name for by, name in kinds))
    cells = [
        [arm["name"], *("-" if (v := arm[by][name]) is None else f"{v:.3f}" for by, name in kinds)] for arm in arms
    ]
    return ["", *_aligned([head, *cells], words=1)]


def _aligned(rows: Sequence[Sequence[str]], *, words: int) -> list[str]:
    """Rows as lines: the first `words` columns to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if place < words else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines


def _row(arm: dict[str, Any]) -> tuple[str, ...]:
    low, high = arm["interval"] or (None, None)
    score = f"{arm['mean']:.3f}" if low is None else f"{arm['mean']:.3f} ± {(high - low) / 2:.3f}"
    difference = verdict = ""
    if found := arm["difference"]:
        low, high = found["interval"] or (None, None)
        difference = f"{found['mean']:+.3f}" + ("" if low is None else f"  [{low:+.3f}, {high:+.3f}]")
        verdict = found["verdict"] + (f" ({found['reason']})" if found["reason"] else "")
    costs = (f"{arm['params']:,}", f"{arm['macs'] / 1e6:,.1f}", f"{arm['latency_ms']:.2f}", f"{arm['peak_mib']:,.0f}")
    return (arm["name"], score, difference, verdict, *costs, f"{arm['train_seconds']:.1f}")
