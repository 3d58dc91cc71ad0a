"""The arms of a comparison: names, mechanisms, folders and seeds."""

from __future__ import annotations

import hashlib
import re
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from saccade.catalog import PRESETS, Entry, Spec, entries, name_code, parse, split_top
from saccade.catalog.imports import check_importable, is_installed
from saccade.comparison.options import DEMO_ARMS, MOST_SEEDS, NONE
from saccade.errors import InputError, SaccadeWarning, near

_SEEDS_APART = MOST_SEEDS  # a second arm of one name runs on seeds this far from the first's
_LONGEST = 120  # characters of a folder's name; file systems take 255 bytes
Given = str | Mapping[str, Any] | Callable[..., Any]


@dataclass(frozen=True)
class Arm:
    """One arm of a comparison.

    Args:
        name: Name as given; a repeated name gets ``-2``, ``-3``.
        mechanism: Name in the catalog, or import path; None for the network as it is.
        options: The mechanism's.
        at: Places; None means the mechanism's natural places.
        seed_offset: Added to each seed: 0, except for an arm named a second time.
        label: The name without ``-2``.
        row: Row of a mechanism that is not part of saccade, as :meth:`saccade.catalog.Entry.to_json` writes it.
    """

    name: str
    mechanism: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    at: str | None = None
    seed_offset: int = 0
    label: str = ""
    row: Mapping[str, Any] | None = None

    @property
    def folder(self) -> str:
        """Its name as a folder: anything a file system may refuse becomes an underscore, and long names are cut."""
        safe = re.sub(r"[^\w.,=+()\[\]-]", "_", self.name)
        return safe if len(safe) <= _LONGEST else f"{safe[:_LONGEST]}-{hashlib.sha256(safe.encode()).hexdigest()[:8]}"

    @property
    def spec(self) -> Spec | None:
        """Mechanism to insert; None for the network as it is."""
        if self.mechanism is None:
            return None
        entry = None if self.row is None else Entry.from_json(self.mechanism, self.row)
        return Spec(self.mechanism, self.options, entry)


def resolve_arms(
    mechanisms: str | Sequence[Given] | None,
    preset: str | None,
    at: str | None,
    default: Sequence[Given] = DEMO_ARMS,
) -> tuple[Arm, ...]:
    """Return the arms in the order given, the first ``none`` in front; it is added when missing.

    Raises:
        InputError: Both or an unknown preset, an unknown mechanism or option, no mechanism at all, or one that worker
            processes could not import.
    """
    if preset is not None:
        if mechanisms is not None:
            raise InputError("give either mechanisms or a preset, not both")
        mechanisms = _preset(preset)
    if mechanisms is None:
        mechanisms = default
    if isinstance(mechanisms, str):
        mechanisms = split_top(mechanisms)
    given = [m for m in mechanisms if m != ""]
    if not given:
        raise InputError("no mechanisms were given", 'name some, for example --mechanisms "none,se,cbam"')
    named = [_named(m) for m in given]
    if all(spec is not None for _, spec in named):
        named.insert(0, (NONE, None))
    named.insert(0, named.pop(next(i for i, (_, spec) in enumerate(named) if spec is None)))
    repeated: Counter[str] = Counter()
    arms: list[Arm] = []
    for label, spec in named:
        repeated[str(spec)] += 1
        taken = sum(arm.label == label for arm in arms)
        name = f"{label}-{taken + 1}" if taken else label
        offset = _SEEDS_APART * (repeated[str(spec)] - 1)
        if spec is None:
            arms.append(Arm(name, label=label, seed_offset=offset))
        else:
            arms.append(Arm(name, spec.name, dict(spec.options), at, offset, label, _row(spec.entry)))
    if len(arms) == 1:
        raise InputError("there is nothing to compare `none` with", 'add a mechanism, or "none,none" for an A/A test')
    folders: dict[str, str] = {}
    for arm in arms:
        other = folders.setdefault(arm.folder.casefold(), arm.name)
        if other != arm.name:
            raise InputError(f"the arms {other!r} and {arm.name!r} would share a folder", "leave one of them out")
    return tuple(arms)


def _row(entry: Entry) -> dict[str, Any] | None:
    """The row of a mechanism that is not part of saccade, which the worker processes are to import."""
    if is_installed(entry.path):
        return None
    name_code(entry.path)
    check_importable(entry.path, entry.load(), "every arm runs in a process of its own")
    return entry.to_json()


def _named(given: Given) -> tuple[str, Spec | None]:
    """The label of an arm, and the mechanism it inserts."""
    word = given.get("name") if isinstance(given, Mapping) and len(given) == 1 else given
    if isinstance(word, str) and word.strip().lower() == NONE:
        return NONE, None
    spec = parse(given)
    return "".join(given.split()) if isinstance(given, str) else str(spec), spec


def _preset(name: str) -> list[str]:
    if name not in PRESETS:
        raise InputError(f"unknown preset {name!r}", near(name, PRESETS))
    wanted = PRESETS[name]
    known = entries()
    there = [word for word in wanted if word.partition("[")[0] in known]
    missing = sorted({word.partition("[")[0] for word in wanted} - set(known))
    if not there:
        raise InputError(f"preset {name!r}: none of its mechanisms is in this version: {', '.join(missing)}")
    if missing:
        warnings.warn(
            f"preset {name!r} runs without {', '.join(missing)}: not in this version", SaccadeWarning, stacklevel=4
        )
    return [NONE, *there]
