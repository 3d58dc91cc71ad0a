"""Resolve `at=`: words, numbers of stages, globs of module names, lists and functions."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from saccade.catalog import NaturalPlace
from saccade.errors import InputError
from saccade.insertion.named import named
from saccade.insertion.places import KINDS, Place, Places

At = str | Sequence[str] | Callable[[Place], bool]

_STAGE = re.compile(r"stage:(-?\d+)(?:-(-?\d+))?")


def select(places: Places, at: At | None, natural: NaturalPlace, every: int | None = None) -> tuple[Place, ...]:
    """Return the places that `at` names, or the mechanism's natural ones; of these every n-th of each stage.

    Raises:
        InputError: No place is named, or something that is not a place.
        TypeError: `at` or `every` is of another type.
    """
    if every is not None and (not isinstance(every, int) or isinstance(every, bool) or every < 1):
        raise TypeError(f"every= takes a whole number of at least 1, the step between used places; received {every!r}")
    found = _natural(places, natural) if at is None else _asked(places, at)
    every = every or (natural.every if at is None else 1)
    return _every(found, every) if every > 1 else found


def _asked(places: Places, at: At) -> tuple[Place, ...]:
    if isinstance(at, str):
        return _word(places, at)
    if callable(at):
        chosen = tuple(place for kind in KINDS for place in places.of(kind) if at(place))
        return _once(chosen) or _nothing("the function given as at= accepted none of the places", places)
    if isinstance(at, Iterable):
        words = tuple(at)
        if words and all(isinstance(word, str) for word in words):
            return _once([place for word in words for place in _word(places, word)])
    raise TypeError(f"at= takes a word, a glob, a list of these or a function; received {at!r}")


def _natural(places: Places, natural: NaturalPlace) -> tuple[Place, ...]:
    try:
        found = _word(places, natural.at)
    except InputError:
        found = _instead(places, natural.at)
        if not found:
            raise
    sized = tuple(place for place in found if place.stride in natural.strides)
    return sized or found


def _instead(places: Places, word: str) -> tuple[Place, ...]:
    """Return the nearest places to natural ones that a network does not have, and note it.

    Networks that join instead of adding have no residual places. Their papers' gates follow a block of several
    convolutions; where there are no such blocks, the end of a stage.
    """
    stages = places.of("stage")
    offers = {
        "residual": places.of("residual") if word == "inner" else (),
        "block": tuple(p for p in places.of("block") if places.within or places.convolutions(p) > 1),
        "stage": stages,
    }
    if word.startswith("stage"):
        offers = {"stage": stages[:-1] or stages}
    kind, found = next(((kind, found) for kind, found in offers.items() if found), ("", ()))
    if found:
        places.notes.append(
            f"there is no {word} place, the natural one of this mechanism; {kind} places are used instead"
        )
    return found


def _every(found: tuple[Place, ...], every: int) -> tuple[Place, ...]:
    stages = defaultdict[int, list[Place]](list)
    for place in found:
        stages[place.stage].append(place)
    return tuple(place for stage in stages.values() for place in stage[every - 1 :: every] or stage[-1:])


def _word(places: Places, word: str) -> tuple[Place, ...]:
    if word in KINDS:
        part = f" in {', '.join(places.within[:3])}" if places.within else ""
        return places.of(word) or _nothing(f"{_title(places)} has no {word} place{part}", places)
    numbers = _STAGE.fullmatch(word)
    if numbers:
        return _stages(places, word, int(numbers[1]), int(numbers[2] or numbers[1]))
    return _glob(places, word)


def _stages(places: Places, word: str, first: int, last: int) -> tuple[Place, ...]:
    stages = places.of("stage")
    count = len(stages)
    first, last = (number + count if number < 0 else number for number in (first, last))
    if not 0 <= first <= last < count:
        listed = ", ".join(f"{i} {place}" for i, place in enumerate(stages))
        raise InputError(
            f"at={word!r}: {_title(places)} has {count} stages, counted from 0", f"they end at: {listed or 'no place'}"
        )
    return stages[first : last + 1]


def _glob(places: Places, word: str) -> tuple[Place, ...]:
    side = "before" if word.startswith("before:") else "after"
    names = places.matching(word.removeprefix("before:"), option="at", words=KINDS)
    inside = [name for name in names if places.includes(name)]
    if not inside:
        return _nothing(f"at={word!r} names no module in {', '.join(places.within[:3])} (within=)", places)
    found, refused = list[Place](), dict[str, InputError]()
    for name in inside:
        try:
            found += named(places, name, side)
        except InputError as cause:
            refused[name] = cause
    if not found:
        raise next(iter(refused.values()))
    places.unused |= {name: cause.message.removeprefix(f"{name}: ") for name, cause in refused.items()}
    return _once(found)


def _once(found: Sequence[Place]) -> tuple[Place, ...]:
    unique: dict[tuple[str, str], Place] = {}
    for place in found:
        unique.setdefault((place.name, place.side), place)
    return tuple(unique.values())


def _nothing(message: str, places: Places) -> tuple[Place, ...]:
    counts = ", ".join(f"{len(places.of(kind))} {kind}" for kind in KINDS)
    reasons = "".join(f"; {what}: {why}" for what, why in places.unused.items())
    raise InputError(message, f"its places by kind: {counts}; choose with at=, such as at='stage:-1'{reasons}")


def _title(places: Places) -> str:
    return type(places.trace.calls[0].module).__name__
