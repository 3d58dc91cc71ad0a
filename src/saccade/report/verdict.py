"""The result in one sentence, in both languages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from saccade.catalog import CATALOG
from saccade.comparison.detecting import POWER, detected
from saccade.comparison.results import ArmResult, Results
from saccade.comparison.statistics import TIE, UNLIKELY, Difference, images_to_show
from saccade.report import numbers
from saccade.report.texts import SPACE, TEXTS, both, breakable, known, pair, shown

Judged = tuple[ArmResult, Difference]
"""An arm with its difference from the reference."""

NAMED = 4
"""Largest number of arms of one verdict that a sentence names; the others are counted."""
LETTERS = 80
"""Largest length of these names together, in letters."""
SMALL = 0.02
"""Difference of accuracies that a tie is measured by."""


def is_control(arm: ArmResult) -> bool:
    """Return True for an arm that adds parameters without attention, which is reported but not counted."""
    entry = CATALOG.get(arm.mechanism or "")
    return entry is not None and entry.family == "control"


def judged_arms(arms: Sequence[ArmResult]) -> list[Judged]:
    """Return the arms that are compared with the reference, with their differences."""
    return [(arm, arm.difference) for arm in arms if arm.difference is not None]


def headline(arms: Sequence[ArmResult], seeds: int) -> str:
    """Return the sentence that says which mechanisms helped, which hurt, and for which one can't tell (HTML)."""
    return shown(*map(breakable, headline_texts(arms, seeds)))


def headline_texts(arms: Sequence[ArmResult], seeds: int) -> tuple[str, str]:
    """Return the sentence in English and in Chinese, as plain text."""
    compared = judged_arms(arms)
    judged = [(arm, difference) for arm, difference in compared if not is_control(arm)] or compared
    if not judged:
        return TEXTS["nothing_compared"]
    if seeds < 3:
        return pair("too_few_seeds", seeds=seeds)
    groups = {verdict: _largest_first(judged, verdict) for verdict in ("better", "worse", "can't tell")}
    if not groups["better"] and not groups["worse"]:
        return pair("all_unclear", names=_joined([arm.name for arm, _ in judged], "joined_or"))
    parts = []
    for verdict, key in (("better", "helped"), ("worse", "hurt")):
        names = [f"{arm.name}\u00a0({numbers.signed(difference.mean)})" for arm, difference in groups[verdict]]
        parts += [pair(key, names=_joined(names))] if names else []
    if groups["can't tell"]:
        parts.append(pair("unclear", names=_joined([arm.name for arm, _ in groups["can't tell"]])))
    return "; ".join(english for english, _ in parts) + ".", "\uff1b".join(chinese for _, chinese in parts) + "。"


def _largest_first(judged: Sequence[Judged], verdict: str) -> list[Judged]:
    chosen = [one for one in judged if one[1].verdict == verdict]
    return sorted(chosen, key=lambda one: -abs(one[1].mean))


def _joined(names: list[str], key: str = "joined") -> tuple[str, str]:
    """``a, b and c`` in both languages, or ``a, b and 5 more`` if that is too long."""
    kept = names[:1]
    while len(kept) < min(len(names), NAMED) and sum(map(len, names[: len(kept) + 1])) <= LETTERS:
        kept = names[: len(kept) + 1]
    if len(names) == 1:
        return names[0], names[0]
    if len(kept) < len(names):
        first = (", ".join(kept), "、".join(kept))
        return pair("joined_more", first=first, rest=len(names) - len(kept), count=len(names))
    return pair(key, first=(", ".join(names[:-1]), "、".join(names[:-1])), last=names[-1])


def is_field_control(arm: ArmResult) -> bool:
    """Return True for a control whose convolutions are dilated, so that it has a larger field."""
    dilation = arm.options.get("dilation", 1)
    return is_control(arm) and (max(dilation) if isinstance(dilation, (list, tuple)) else dilation) > 1


def control_note(results: Results) -> str:
    """Return what the controls say about the gains of the others (HTML); empty when nothing follows from them."""
    judged = judged_arms(results.arms)
    helped = [one for one in judged if one[1].verdict == "better" and not is_control(one[0])]
    if not helped:
        return ""
    best = max(helped, key=lambda one: one[1].mean)
    controls = [one for one in judged if is_control(one[0])]
    return SPACE.join(_control_text(results, control, found, best) for control, found in controls)


def _control_text(results: Results, control: ArmResult, found: Difference, best: Judged) -> str:
    kind = "field" if is_field_control(control) else "control"
    gained = found.verdict == "better"
    return both(
        f"{kind}_better" if gained else f"{kind}_same",
        name=control.name,
        params=numbers.count(control.params - results.reference.params),
        gain=numbers.signed(found.mean),
        verdict=known(found.verdict),
        best=best[0].name,
        part=numbers.percent(min(1.0, max(0.0, found.mean / best[1].mean))),
    )


def tie_texts(results: Results) -> tuple[str, str] | None:
    """Return what could have shown, where scores tie because one image moves them much, in English and in Chinese."""
    ties = [difference.reason == TIE for _, difference in judged_arms(results.arms)]
    if not any(ties) or results.metric != "accuracy":
        return None
    images, needed = results.test_images, images_to_show(SMALL, len(ties))
    step = numbers.figures(1 / images)
    return pair("tied", images=numbers.count(images), step=step, wanted=SMALL, needed=numbers.count(needed))


def tuned_texts(results: Results) -> tuple[str, str] | None:
    """Return the result with tuned settings in a sentence, in English and in Chinese; None without trials."""
    arms = [replace(arm, difference=arm.tuned.difference) for arm in results.arms if arm.tuned]
    first = results.arms[0].tuned
    if first is None:
        return None
    return pair("tuned_verdict", trials=len(first.trials[0]), verdict=headline_texts(arms, len(results.seeds)))


def unseen_texts(results: Results) -> tuple[str, str] | None:
    """Return what difference would have been found of each arm that one can't tell, in English and in Chinese."""
    arms = len(judged_arms(results.arms))
    found = []
    for arm, difference in judged_arms(results.arms):
        if difference.verdict == "can't tell" and difference.reason in (None, UNLIKELY) and difference.interval:
            low, high = difference.interval
            if high > low and len(arm.scores) > 1:
                least = detected((high - low) / 2, arms, len(arm.scores))
                found.append(f"{arm.name} {numbers.figures(least, 2)}")
    return pair("unseen", found=", ".join(found), power=numbers.percent(POWER)) if found else None


def lead(results: Results) -> str:
    """Return what was compared with what (HTML)."""
    seeds = len(results.seeds)
    return both(
        "lead_one" if seeds == 1 else "lead_stages" if results.plan else "lead",
        metric=results.metric,
        reference=results.reference.name,
        score=numbers.score(results.reference.mean),
        steps=numbers.count(results.steps),
        seeds=seeds,
        images=numbers.count(results.test_images),
    )
