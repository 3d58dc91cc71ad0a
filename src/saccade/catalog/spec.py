"""Notation for mechanisms, ``psa[variant=sequential]``: reading, checking and writing it."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from saccade.catalog.entry import Entry
from saccade.catalog.imports import name_code
from saccade.catalog.registry import check_options, entry_for, find
from saccade.errors import InputError


@dataclass(frozen=True)
class Spec:
    """A mechanism with its options, as a user writes it: ``psa[variant=sequential]``.

    Args:
        name: Name in the catalog, or the import path of a mechanism outside it.
        options: Options that differ from the defaults.
        row: Row of the catalog for a class or function that was given, which the name alone does not find.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    row: Entry | None = field(default=None, compare=False, repr=False)

    @property
    def entry(self) -> Entry:
        """Its row of the catalog."""
        return self.row or find(self.name)

    def __str__(self) -> str:
        if not self.options:
            return self.name
        return f"{self.name}[{','.join(f'{k}={_written(v)}' for k, v in self.options.items())}]"


Given = str | Mapping[str, Any] | Spec | Callable[..., Any]
"""A mechanism: a name, an import path, a dict with ``name``, or the class or function that makes it."""

Chain = Given | Sequence[Given]
"""One mechanism, or several that follow each other."""


def parse(given: Given) -> Spec:
    """Parse a mechanism as users write it, and check its name and the names of its options.

    Args:
        given: ``"psa[variant=sequential]"``; ``{"name": "psa", "variant": "sequential"}``; the import path of your own
            mechanism, ``"my_package.blocks:MyBlock[reduction=4]"``, which is imported; or the class or function that
            makes it from a number of channels.

    Raises:
        InputError: An unknown name or option (with the nearest ones), or a module instead of a class or function.
        TypeError: `given` is of another type.

    Example:
        >>> from saccade.catalog import parse
        >>> parse("cbam[pools=(avg,max),reduction=8]").options
        {'pools': ('avg', 'max'), 'reduction': 8}
    """
    if isinstance(given, Spec):
        return given
    options: dict[str, Any] = {}
    name: Any = given
    if isinstance(given, Mapping):
        options = dict(given)
        name = options.pop("name", None)
        if name is None:
            raise InputError(f"a mechanism given as a dict needs a 'name'; received {dict(given)!r}")
    elif isinstance(given, str):
        name, options = name_and_options(given)
    elif isinstance(given, partial) and not given.args:  # its keywords are options, which a file can hold
        name, options = given.func, dict(given.keywords)
    if isinstance(name, str):
        name_code(name)
        entry = find(name)
    else:
        entry = entry_for(name)
    check_options(entry, options)
    return Spec(entry.name, options, entry)


def parse_chain(given: Chain) -> tuple[Spec, ...]:
    """Parse one mechanism, or several that follow each other: a list of them, or ``"cam+pam"``.

    Raises:
        InputError: See :func:`parse`.
        TypeError: `given` is of another type.
    """
    if isinstance(given, str):
        parts: list[Given] = [*split_top(given, "+")]
    elif isinstance(given, (Mapping, Spec)) or callable(given):
        parts = [given]
    elif isinstance(given, Sequence) and given:
        parts = list(given)
    else:
        raise TypeError(
            "a mechanism is a string, a dict, a class or function that makes one, or a list of these; "
            f"received {given!r}"
        )
    return tuple(parse(part) for part in parts)


def name_and_options(given: str) -> tuple[str, dict[str, Any]]:
    """Split ``name[option=value,option=value]`` of a mechanism or a network; neither part is checked."""
    name, bracket, inside = given.strip().partition("[")
    if bracket and not inside.endswith("]"):
        raise InputError(f"{given!r}: the options are not closed", "write name[option=value,option=value]")
    pairs = [_option(given, part) for part in split_top(inside[:-1]) if part] if bracket else []
    options = dict(pairs)
    if len(options) < len(pairs):
        twice = next(key for key in options if sum(key == name for name, _ in pairs) > 1)
        raise InputError(f"{given!r}: {twice!r} is given twice", "give it once")
    return name, options


def split_top(text: str, separator: str = ",") -> list[str]:
    """Split at the separators outside of all brackets."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "([") - (letter in ")]")
        if letter == separator and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts]


def _option(given: str, part: str) -> tuple[str, Any]:
    name, equals, value = part.partition("=")
    if not equals:
        raise InputError(f"{given!r}: {part!r} is not an option", "write name[option=value,option=value]")
    return name.strip(), _read(value.strip())


def _read(text: str) -> Any:
    """Parse a Python literal, a tuple in parentheses of such, or true and false in any case; else return the word."""
    if text.startswith("(") and text.endswith(")"):
        return tuple(_read(part) for part in split_top(text[1:-1]) if part)
    named = {"true": True, "false": False, "none": None}
    if text.lower() in named:
        return named[text.lower()]
    if "/" in text and all(side.strip().isdigit() for side in text.split("/", 1)):  # a ratio such as 1/16
        above, below = (int(side) for side in text.split("/"))
        return above / below if below else text
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _written(value: Any) -> str:
    return f"({','.join(map(_written, value))})" if isinstance(value, (tuple, list)) else str(value)
