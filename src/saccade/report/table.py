"""The results as tables: aligned text for a terminal, or Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from saccade.comparison.results import ArmResult, Results, Tuned
from saccade.comparison.statistics import Difference
from saccade.report.sensitivity import settings_of, spread_text
from saccade.report.verdict import tie_texts, tuned_texts, unseen_texts

Rows = Sequence[Sequence[str]]
Draw = Callable[[Rows, int], list[str]]


def text(results: Results, folder: Path | None = None) -> str:
    """Return the arms with score, difference and its simultaneous interval, verdict and costs as aligned lines.

    Further tables follow: the other scores of the task, and the score by groups where there are some.
    """
    return _drawn(results, _aligned)


def markdown(results: Results, folder: Path | None = None) -> str:
    """Return the same tables in Markdown."""
    return _drawn(results, _piped)


def _drawn(results: Results, draw: Draw) -> str:
    columns = ("verdict", "params", "MMACs", "ms", "peak MiB", "train s")
    head = ("arm", results.metric, f"difference from {results.reference.name}", *columns)
    lines = draw([head, *(_row(arm, results) for arm in results.arms)], 4)
    others = _others(results)
    lines += ["", *draw(others, 1)] if others else []
    tuned = _tuned(results)
    lines += ["", *draw(tuned, 4)] if tuned else []
    groups = _groups(results)
    lines += ["", *draw(groups, 1)] if groups else []
    seeds = f"{len(results.seeds)} seed{'s' * (len(results.seeds) > 1)}"
    if results.plan:
        every = results.plan.seeds * len(results.arms)
        seeds = f"seeds in stages of {', '.join(map(str, results.plan.stages))}: {results.runs} of {every} runs"
    foot = f"{seeds}, {results.steps} steps, {results.test_images} validation images; "
    further = [found[0] for found in (tuned_texts(results), tie_texts(results), unseen_texts(results)) if found]
    notes = [foot + "intervals of differences are simultaneous, 95%", *further]
    return "\n".join([*lines, "", *notes])


def _row(arm: ArmResult, results: Results) -> tuple[str, ...]:
    noted = [f"{len(arm.scores)} seeds"] if results.plan else []
    score, difference, verdict = _judged(arm, arm.difference, noted)
    costs = (f"{arm.params:,}", f"{arm.macs / 1e6:,.1f}", f"{arm.latency_ms:.2f}", f"{arm.peak_mib:,.0f}")
    return (arm.name, score, difference, verdict, *costs, f"{arm.train_seconds:.1f}")


def _judged(one: ArmResult | Tuned, found: Difference | None, noted: Sequence[str] = ()) -> tuple[str, str, str]:
    """Score, difference and verdict, in words."""
    score, difference, verdict = f"{one.mean:.3f}", "", ""
    if one.interval:
        score += f" ± {(one.interval[1] - one.interval[0]) / 2:.3f}"
    if found:
        difference = f"{found.mean:+.3f}"
        if found.interval:
            difference += f"  [{found.interval[0]:+.3f}, {found.interval[1]:+.3f}]"
        said = [*([found.reason] if found.reason else []), *noted]
        verdict = found.verdict + (f" ({', '.join(said)})" if said else "")
    return score, difference, verdict


def _tuned(results: Results) -> Rows:
    """Scores and verdicts with tuned settings, and these settings: their geometric mean and ends over the seeds."""
    rows = [
        (arm.name, *_judged(arm.tuned, arm.tuned.difference), *map(spread_text, settings_of(arm.tuned)))
        for arm in results.arms
        if arm.tuned
    ]
    head = ("tuned", results.metric, f"difference from {results.reference.name}", "verdict", "learning rate")
    return [(*head, "gate factor"), *rows] if rows else []


def _others(results: Results) -> Rows:
    """Means of the scores that do not decide."""
    names = list(results.arms[0].others)
    if not names or any(list(arm.others) != names for arm in results.arms):
        return []
    return [["other scores", *names], *([arm.name, *(f"{arm.others[n]:.3f}" for n in names)] for arm in results.arms)]


def _groups(results: Results) -> Rows:
    parts = [(group, name) for group, found in results.groups.items() for name in found.names]
    arms = [arm for arm in results.arms if arm.details]
    if not parts or not arms:
        return []
    count = Counter(name for _, name in parts)  # a name may stand in two groups: "medium" size, "medium" thinness
    head = [f"{name} {group}" if count[name] > 1 else name for group, name in parts]
    rows = [[arm.details.get(group, {}).get(name) for group, name in parts] for arm in arms]
    cells = [[arm.name, *("-" if v is None else f"{v:.3f}" for v in row)] for arm, row in zip(arms, rows, strict=True)]
    return [[f"{results.metric} by {' and '.join(results.groups)}", *head], *cells]


def _aligned(rows: Rows, words: int) -> list[str]:
    """Rows as lines: the first `words` columns aligned left, the others right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if place < words else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines


def _piped(rows: Rows, words: int) -> list[str]:
    rule = ["---"] * words + ["--:"] * (len(rows[0]) - words)
    return ["| " + " | ".join(cell.replace("|", r"\|") for cell in row) + " |" for row in (rows[0], rule, *rows[1:])]
