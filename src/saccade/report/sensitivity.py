"""Results of the trials before the runs: the settings that were chosen, and the score over the learning rate."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

from saccade.comparison.results import ArmResult, Tuned
from saccade.comparison.tuning import WIDTH, typical
from saccade.report.charts import Curve, curve_chart
from saccade.report.numbers import NONE

PARTS = 7
"""Number of equal parts of the logarithm of the learning rate, in each of which scores are averaged."""


def settings_of(tuned: Tuned) -> tuple[list[float], list[float]]:
    """Return the learning rates and the gate factors of all seeds; no factor where none was tried."""
    tried = {trial.gate_lr_factor for trials in tuned.trials for trial in trials}
    rates = [one.learning_rate for one in tuned.settings]
    return rates, [one.gate_lr_factor for one in tuned.settings] if len(tried) > 1 else []


def spread_text(values: Sequence[float]) -> str:
    """Return a geometric mean, and where values differ the smallest and the largest: ``0.0024 (0.0012 to 0.0041)``."""
    if not values:
        return NONE
    low, high = min(values), max(values)
    ends = f" ({low:.2g} to {high:.2g})" if f"{low:.2g}" != f"{high:.2g}" else ""
    return f"{typical(values):.2g}{ends}"


def sensitivity_chart(arms: Sequence[ArmResult]) -> str:
    """Return a line for each arm: the score of its trials over the learning rate, with the smallest and the largest."""
    curves = {index: curve for index, arm in enumerate(arms) if arm.tuned and (curve := sensitivity(arm.tuned))[0]}
    return curve_chart(arms, curves, x_text=lambda power: f"{10**power:.1g}")


def sensitivity(tuned: Tuned) -> Curve:
    """Return powers of ten of learning rates, and mean, smallest and largest score of the trials near them."""
    found: dict[int, list[tuple[float, float]]] = defaultdict(list)
    trials = [trial for one in tuned.trials for trial in one if trial.score is not None]
    middle = tuned.trials[0][0].learning_rate  # the first trial is the untuned setting
    for trial in trials:
        place = (math.log10(trial.learning_rate / middle) / math.log10(WIDTH) + 1) / 2 * PARTS
        found[min(PARTS - 1, max(0, int(place)))].append((math.log10(trial.learning_rate), trial.score or 0.0))
    parts = [found[number] for number in sorted(found)]
    scores = [[score for _, score in part] for part in parts]
    return (
        [sum(power for power, _ in part) / len(part) for part in parts],
        [sum(part) / len(part) for part in scores],
        [min(part) for part in scores],
        [max(part) for part in scores],
    )
