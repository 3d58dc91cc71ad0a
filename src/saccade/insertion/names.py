"""Names of modules: globs over their dotted parts, and the nearest names for a glob without a match."""

from __future__ import annotations

import difflib
import re

from saccade.errors import InputError
from saccade.insertion.trace import Trace

_INSERTED = re.compile(r"(^|\.)saccade(_before)?($|\.)")


def module_names(trace: Trace) -> list[str]:
    """Return the names of a traced network's modules, without those of earlier insertions."""
    names = (name for name, _ in trace.calls[0].module.named_modules() if name)
    return [name for name in names if not _INSERTED.search(name)]


def matching(trace: Trace, pattern: str, *, option: str = "within", words: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Return the modules that a glob matches, in the order in which they are called.

    Raises:
        InputError: There is no match; the hint lists the nearest names and `words`, which may be given as well.
    """
    names, fits = module_names(trace), expression(pattern, option)
    matched = [name for name in names if fits.fullmatch(name)]
    if not matched:
        network = type(trace.calls[0].module).__name__
        also = ", and it is not a kind of place" if words else ""
        raise InputError(
            f"{option}={pattern!r}: no module of {network} has that name{also}", near_names(pattern, names, words)
        )
    order = {call.path: call.index for call in reversed(trace.calls)}
    return tuple(sorted(matched, key=lambda name: order.get(name, len(order))))


def near_names(
    pattern: str, names: list[str], words: tuple[str, ...], *, separator: str = ".", kind: str = "modules"
) -> str:
    """Return a hint: a near word or name, else modules with the same last part, else the words."""
    close = difflib.get_close_matches(pattern.removeprefix("before:"), [*words, *names], n=3, cutoff=0.75)
    last = pattern.rpartition(separator)[2]
    found = close or [name for name in names if name.rpartition(separator)[2] == last][:3]
    globs = "in a glob * stands for one part of a name and ** for several"
    if found:
        return f"did you mean {', '.join(found)}? {globs}"
    kinds = f"{', '.join(words)}, stage:1-3, stage:-1, or " if words else ""
    return f"give {kinds}names of {kind} such as {', '.join(names[-3:])}; {globs}"


def expression(pattern: str, option: str, separator: str = ".") -> re.Pattern[str]:
    """Convert a glob over the parts of a dotted name, or of a path, to a regular expression.

    Raises:
        InputError: A range of characters that no expression has, such as ``[z-a]``.
    """
    parts = re.split(rf"(\*\*|\*|\?|{_SET})", pattern)
    try:
        return re.compile("".join(_part(part, separator) for part in parts))
    except re.error as cause:
        raise InputError(f"{option}={pattern!r} is not a glob of names of modules: {cause}") from cause


_SET = r"\[!?[\w-]+\]"


def _part(part: str, separator: str) -> str:
    if re.fullmatch(_SET, part):
        return part.replace("[!", "[^")
    one = f"[^{re.escape(separator)}]"
    return {"**": ".*", "*": f"{one}*", "?": one}.get(part, re.escape(part))
