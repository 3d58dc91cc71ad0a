"""The result in one sentence, in both languages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from saccade.catalog import CATALOG
from saccade.report import numbers
from saccade.report.texts import TEXTS, both, breakable, pair, shown

Arm = Mapping[str, Any]

NAMED = 4
"""A sentence names at most so many arms of one verdict, and counts the others."""
LETTERS = 80
"""And no more of them than fit into so many letters."""


def is_control(arm: Arm) -> bool:
    """Parameters without attention: it belongs beside the verdict, not into it."""
    entry = CATALOG.get(str(arm["mechanism"] or "").partition("[")[0])
    return entry is not None and entry.family == "control"


def headline(arms: Sequence[Arm], seeds: int) -> str:
    """Which mechanisms helped, which hurt, and for which one can't tell (HTML)."""
    return shown(*map(breakable, headline_texts(arms, seeds)))


def headline_texts(arms: Sequence[Arm], seeds: int) -> tuple[str, str]:
    """The sentence in English and in Chinese, as plain text."""
    compared = [arm for arm in arms if arm["difference"]]
    judged = [arm for arm in compared if not is_control(arm)] or compared
    if not judged:
        return TEXTS["nothing_compared"]
    if seeds < 3:
        return pair("too_few_seeds", seeds=seeds)
    groups = {verdict: _by_size(judged, verdict) for verdict in ("better", "worse", "can't tell")}
    if not groups["better"] and not groups["worse"]:
        return pair("all_unclear", names=_joined([arm["name"] for arm in judged], "joined_or"))
    parts = []
    for verdict, key in (("better", "helped"), ("worse", "hurt")):
        names = [f"{arm['name']}\u00a0({numbers.signed(arm['difference']['mean'])})" for arm in groups[verdict]]
        parts += [pair(key, names=_joined(names))] if names else []
    if groups["can't tell"]:
        parts.append(pair("unclear", names=_joined([arm["name"] for arm in groups["can't tell"]])))
    return "; ".join(english for english, _ in parts) + ".", "\uff1b".join(chinese for _, chinese in parts) + "。"


def _by_size(arms: Sequence[Arm], verdict: str) -> list[Arm]:
    chosen = [arm for arm in arms if arm["difference"]["verdict"] == verdict]
    return sorted(chosen, key=lambda arm: -abs(arm["difference"]["mean"] or 0))


def _joined(names: list[str], key: str = "joined") -> tuple[str, str]:
    """``a, b and c`` in both languages; when that grows long, ``a, b and 5 more``."""
    kept = names[:1]
    while len(kept) < min(len(names), NAMED) and sum(map(len, names[: len(kept) + 1])) <= LETTERS:
        kept = names[: len(kept) + 1]
    if len(names) == 1:
        return names[0], names[0]
    if len(kept) < len(names):
        first = (", ".join(kept), "、".join(kept))
        return pair("joined_more", first=first, rest=len(names) - len(kept), count=len(names))
    return pair(key, first=(", ".join(names[:-1]), "、".join(names[:-1])), last=names[-1])


def control_note(arms: Sequence[Arm], reference: Arm) -> str:
    """What the control says about the gains of the others (HTML); empty when nothing follows from it."""
    control = next((arm for arm in arms if is_control(arm) and arm["difference"]), None)
    helped = any(arm["difference"] and arm["difference"]["verdict"] == "better" and arm is not control for arm in arms)
    if control is None or not helped or control["params"] is None or reference["params"] is None:
        return ""
    key = {"can't tell": "control_same", "better": "control_better"}.get(control["difference"]["verdict"])
    if key is None:
        return ""
    more = numbers.count(control["params"] - reference["params"])
    return both(key, name=control["name"], params=more, gain=numbers.signed(control["difference"]["mean"]))


def lead(results: Mapping[str, Any], reference: Arm) -> str:
    """What was compared with what (HTML)."""
    seeds = len(results["seeds"])
    return both(
        "lead_one" if seeds == 1 else "lead",
        metric=results["metric"],
        reference=reference["name"],
        score=numbers.score(reference["mean"]),
        steps=numbers.count(results["steps"]),
        seeds=seeds,
        images=numbers.count(results["test_images"]),
    )
