"""Cases to measure: each mechanism at the sizes of its papers, or at sizes for a laptop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from saccade.bench.authors import FORMULATIONS
from saccade.catalog import find
from saccade.errors import InputError, near


@dataclass(frozen=True)
class Case:
    """One case: a mechanism with options, and the shape (B, C, ...) of its input."""

    name: str
    mechanism: str
    shape: tuple[int, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    without: tuple[str, ...] = ()
    """Layers removed from both forms, as they are not part of the attention."""


_DOT = {"pairwise": "dot_product", "sub_sample": False}
_GAUSSIAN = {"sub_sample": False}
_CONCATENATION = {"pairwise": "concatenation", "sub_sample": False}
_A2 = {"value_channels": 128, "key_channels": 128}
_END = ("conv", "norm")
_SEG, _CLS, _VOLUME = (1, 512, 96, 96), (8, 256, 56, 56), (1, 64, 32, 64, 64)

PAPER = (
    Case("pam", "pam", _SEG),
    Case("non_local gaussian", "non_local", (1, 512, 64, 64), _GAUSSIAN),
    Case("non_local dot product", "non_local", _SEG, _DOT),
    Case("non_local concatenation", "non_local", (1, 32, 28, 28), _CONCATENATION),
    Case("non_local clip", "non_local", (1, 512, 32, 28, 28), {"dims": 3} | _DOT),
    Case("sagan", "sagan", (16, 64, 32, 32), {"variant": "popular"}),
    Case("sagan official", "sagan", (1, 512, 64, 64)),
    Case("cam", "cam", _SEG),
    Case("dual", "dual", (1, 512, 64, 64)),
    Case("cs", "cs", (1, 512, 64, 64)),
    Case("fla", "fla", _SEG),
    Case("fla attention", "fla", _SEG, {}, _END),
    Case("fla attention lean", "fla", _SEG, {"lean": True}, _END),
    Case("psa", "psa", _SEG),
    Case("psa sequential", "psa", _SEG, {"variant": "sequential"}),
    Case("gc", "gc", _SEG),
    Case("simplified_nl", "simplified_nl", _SEG),
    Case("a2", "a2", _SEG, _A2),
    Case("a2 clip", "a2", (1, 512, 32, 28, 28), {"dims": 3} | _A2),
    Case("gsop", "gsop", (8, 512, 28, 28)),
    Case("cbam", "cbam", _CLS),
    Case("bam", "bam", _CLS),
    Case("se", "se", _CLS),
    Case("eca", "eca", _CLS),
    *(Case(f"{name} volume", name, _VOLUME, {"dims": 3}) for name in ("cbam", "se", "eca", "gc")),
)


def cases(names: Sequence[str], size: str, shape: Sequence[int] | None) -> list[Case]:
    """Return the cases to measure.

    Args:
        names: Names of cases or of mechanisms; empty means all.
        size: ``"paper"``, or ``"small"``: a quarter of the channels, half of each side.
        shape: (B, C, H, W) that replaces the cases' own; cases of clips and volumes are skipped.

    Raises:
        InputError: A name is neither a case nor a mechanism with one.
    """
    known = [case.name for case in PAPER]
    chosen: list[Case] = []
    for name in names:
        found = [case for case in PAPER if case.name == name and case.mechanism != name]
        found = found or [case for case in PAPER if case.mechanism == _key(name, known)]
        chosen += [case for case in found if case not in chosen]
    chosen = chosen or list(PAPER)
    if shape is not None:
        return [_with(case, tuple(shape)) for case in chosen if len(case.shape) == len(shape)]
    return [_with(case, _smaller(case.shape)) if size == "small" else case for case in chosen]


def _key(name: str, known: Sequence[str]) -> str:
    """Return the catalog's name of a mechanism that has a formulation to compare with."""
    try:
        key = find(name).name
    except InputError as error:
        raise InputError(f"bench: unknown mechanism {name!r}", near(name, [*FORMULATIONS, *known])) from error
    if key not in FORMULATIONS:
        raise InputError(
            f"bench: {key} has no other formulation to compare with", f"choose from {', '.join(FORMULATIONS)}"
        )
    return key


def _smaller(shape: tuple[int, ...]) -> tuple[int, ...]:
    batch, channels, *sides = shape
    return (batch, max(32, channels // 4), *(max(1, side // 2) for side in sides))


def _with(case: Case, shape: tuple[int, ...]) -> Case:
    return replace(case, shape=shape)
