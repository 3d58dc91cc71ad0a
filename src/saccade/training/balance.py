"""The options for rare and frequent classes: weights of the loss, the order of the samples, the score that decides."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from saccade.errors import InputError
from saccade.files import at_home
from saccade.options import Option, Options

BALANCED = "balanced"
_HEADER = ("class", "name", "label", "classes")


@dataclass(frozen=True, kw_only=True)
class BalanceOptions(Options):
    """What is done about rare classes, in training and in scoring."""

    class_weights: Annotated[
        str | os.PathLike[str] | Mapping[str, float] | None,
        Option(
            "Weights of the classes in the loss: `balanced` (the rarer a class in training, the larger, see "
            "docs/training.md), a file with a line `CLASS,WEIGHT` per class, or `CLASS=WEIGHT,...` (in Python a dict).",
            default="all alike",
            typed=str | None,
            metavar="FILE",
        ),
    ] = None
    sampling: Annotated[
        Literal["balanced"] | None,
        Option(
            "`balanced` draws every class equally often, its images in turn, instead of every image once an epoch.",
            default="every image once an epoch",
        ),
    ] = None
    score: Annotated[
        str | None,
        Option(
            "The score that chooses the best checkpoint, ends training by `patience` and decides verdicts: `accuracy`, "
            "`balanced_accuracy` or `macro_f1`; for segmentation `mIoU` or `mIoU_present`, which leaves out classes "
            "that no image has.",
            default="that of the task: accuracy, mIoU",
        ),
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sampling not in (None, BALANCED):
            hint = "leave it out for the usual order"
            raise InputError(f"sampling must be {BALANCED}; received {self.sampling!r}", hint)
        object.__setattr__(self, "class_weights", given_weights(self.class_weights))


def given_weights(given: Any) -> str | dict[str, float] | None:
    """Return class weights as they are recorded: None, ``"balanced"``, or a weight by the name of each class.

    Args:
        given: One of these, ``"CLASS=WEIGHT,..."``, or the path of a file with a line ``CLASS,WEIGHT`` per class.

    Raises:
        InputError: No such file, a line of another form, a class named twice, or a weight that is not above 0.
    """
    if given is None:
        return None
    if given == BALANCED:
        return BALANCED
    if isinstance(given, Mapping):
        return _checked([("", str(name), weight) for name, weight in given.items()])
    path = at_home(given)
    if path.is_file():
        return _checked(_read(path))
    if isinstance(given, str) and "=" in given:
        pairs = [text.rpartition("=") for text in next(csv.reader([given]))]
        return _checked([("", name, weight) for name, _, weight in pairs])
    raise InputError(
        f"--class-weights {given}: no such file",
        f"give {BALANCED}, a file with a line CLASS,WEIGHT per class, or CLASS=WEIGHT,...",
    )


def _read(path: Path) -> list[tuple[str, str, str]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as cause:
        raise InputError(f"--class-weights {path}: cannot be read ({cause})", "save it as text in UTF-8") from cause
    lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    found = []
    for number, line in lines:
        parts = next(([*cells] for mark in ",;\t" if len(cells := next(csv.reader([line], delimiter=mark))) == 2), None)
        if parts is None:
            said = f"{path}, line {number}: expected CLASS,WEIGHT; received {line.strip()!r}"
            raise InputError(said, "such as cat,2.5")
        if number == lines[0][0] and parts[0].strip().lower() in _HEADER and _number(parts[1]) is None:
            continue
        found.append((f"{path}, line {number}: ", parts[0].strip(), parts[1]))
    return found


def _checked(rows: Sequence[tuple[str, str, Any]]) -> dict[str, float]:
    found: dict[str, float] = {}
    for place, name, given in rows:
        weight = _number(given)
        if weight is None or not 0 < weight < math.inf:
            raise InputError(f"{place}the weight of class {name!r} must be a number above 0; received {given!r}")
        if name in found:
            raise InputError(f"{place}class {name!r} has two weights", "name each class once")
        found[name] = weight
    if not found:
        raise InputError("--class-weights: no class has a weight", "give a line CLASS,WEIGHT per class")
    return found


def _number(given: Any) -> float | None:
    try:
        return float(given)
    except (TypeError, ValueError):
        return None
