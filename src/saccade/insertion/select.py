"""What `at=` means: words, numbers of stages, globs of module names, lists and functions."""

from __future__ import annotations

import difflib
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from saccade.entry import Placement
from saccade.errors import InputError
from saccade.insertion.places import KINDS, Place, Places

At = str | Sequence[str] | Callable[[Place], bool]

_STAGE = re.compile(r"stage:(-?\d+)(?:-(-?\d+))?")


def select(places: Places, at: At | None, natural: Placement) -> tuple[Place, ...]:
    """The places that `at` names, or the mechanism's natural ones.

    Raises:
        InputError: Nothing is named, or something that is no place.
        TypeError: `at` is of another kind.
    """
    if at is None:
        return _natural(places, natural)
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


def _natural(places: Places, natural: Placement) -> tuple[Place, ...]:
    found = _word(places, natural.at)
    sized = tuple(place for place in found if place.stride in natural.strides)
    return _every(sized or found, natural.every)


def _every(found: tuple[Place, ...], every: int) -> tuple[Place, ...]:
    stages = defaultdict[int, list[Place]](list)
    for place in found:
        stages[place.stage].append(place)
    return tuple(place for stage in stages.values() for place in stage[every - 1 :: every] or stage[-1:])


def _word(places: Places, word: str) -> tuple[Place, ...]:
    if word in KINDS:
        return places.of(word) or _nothing(f"{_title(places)} has no {word} place", places)
    numbers = _STAGE.fullmatch(word)
    if numbers:
        return _stages(places, word, int(numbers[1]), int(numbers[2] or numbers[1]))
    return _glob(places, word)


def _stages(places: Places, word: str, first: int, last: int) -> tuple[Place, ...]:
    count = len(places.stage)
    first, last = (number + count if number < 0 else number for number in (first, last))
    if not 0 <= first <= last < count:
        listed = ", ".join(f"{i} {place}" for i, place in enumerate(places.stage))
        raise InputError(
            f"at={word!r}: {_title(places)} has {count} stages, counted from 0", f"they end at: {listed or 'no place'}"
        )
    return places.stage[first : last + 1]


def _glob(places: Places, word: str) -> tuple[Place, ...]:
    side = "before" if word.startswith("before:") else "after"
    pattern = word.removeprefix("before:")
    expression = _expression(pattern)
    names = [name for name, _ in places.trace.calls[0].module.named_modules() if name]
    attached = re.compile(r"(^|\.)saccade(_before)?($|\.)")
    names = [name for name in names if not attached.search(name)]
    matched = [name for name in names if expression.fullmatch(name)]
    if not matched:
        raise InputError(
            f"at={word!r}: no module of {_title(places)} has such a name, and it is no kind of place",
            _near(pattern, names),
        )
    order = {call.path: call.index for call in reversed(places.trace.calls)}
    matched.sort(key=lambda name: order.get(name, len(order)))
    return _once([places.named(name, side) for name in matched])


def _near(pattern: str, names: list[str]) -> str:
    """What may have been meant: a near word or name, else modules with the same last part, else the words there are."""
    close = difflib.get_close_matches(pattern, [*KINDS, *names], n=3, cutoff=0.75)
    last = pattern.rpartition(".")[2]
    found = close or [name for name in names if name.rpartition(".")[2] == last][:3]
    globs = "in a glob * stands for one part of a name and ** for several"
    if found:
        return f"did you mean {', '.join(found)}? {globs}"
    return f"give {', '.join(KINDS)}, stage:1-3, stage:-1, or names of modules such as {', '.join(names[-3:])}; {globs}"


def _expression(pattern: str) -> re.Pattern[str]:
    """A glob over the parts of a dotted name as a regular expression."""
    wild = {"**": ".*", "*": "[^.]*", "?": "[^.]"}
    parts = re.split(r"(\*\*|\*|\?|\[[\w!-]+\])", pattern)
    return re.compile(
        "".join(part.replace("[!", "[^") if part.startswith("[") else wild.get(part, re.escape(part)) for part in parts)
    )


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
