"""Options declared once: one line gives the Python call, the command line, the help and the record of a run.

An options class is a frozen dataclass whose fields are annotated with an :class:`Option`::

    steps: Annotated[int | None, Option("Length of each run in steps.", default="300 on the demo")] = None
"""

from __future__ import annotations

import csv
import dataclasses
import inspect
import io
import os
import textwrap
import types
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, fields
from functools import cache, wraps
from pathlib import Path
from typing import Any, Literal, ParamSpec, TypeVar, Union, get_args, get_origin

from saccade.errors import InputError, near
from saccade.ranges import OneOf, Range, check, shortened
from saccade.synonyms import hint_for, meant

P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Option:
    """The description of a field that makes it an option.

    Args:
        help: One sentence, which the command line and the docstring of the Python call show.
        range: Values it takes; every option that is a number has one. A value of None stands for "not given".
        default: The default in words, if it is decided later, by the data or by another option.
        recorded: True if the folder of a run records the value, so that a resumed run must have the same one. Options
            that do not affect the result, or are contained in another option, are not recorded.
        typed: Type on the command line, if it is not that of Python; None makes the option one of Python only.
        flag: Name on the command line, if it differs.
        argument: Name in the help, if the command line takes it by position.
        metavar: Placeholder for the value in the help.
        negative: True if the command line also takes ``--no-NAME``.
        several: True if the command line takes any number of them by position.
    """

    help: str
    range: Range | None = None
    default: str | None = None
    recorded: bool = True
    typed: Any = ...
    flag: str = ""
    argument: str = ""
    metavar: str | None = None
    negative: bool = False
    several: bool = False


@dataclass(frozen=True)
class Declared:
    """An option together with the data of its field.

    Args:
        name: Name of the field, as in Python.
        annotation: Type in Python.
        default: Default of the field; `inspect.Parameter.empty` if a value is required.
        option: The description.
        positional: True if Python takes it by position too.
        words: The default in words.
    """

    name: str
    annotation: Any
    default: Any
    option: Option
    positional: bool
    words: str

    @property
    def required(self) -> bool:
        """True if it has no default."""
        return self.default is inspect.Parameter.empty

    @property
    def range(self) -> Range | None:
        """Values it takes: as declared, else the words of a ``Literal``."""
        words = [word for part in _kinds(self.annotation) if get_origin(part) is Literal for word in get_args(part)]
        return self.option.range or (OneOf(tuple(words)) if words else None)

    @property
    def path(self) -> bool:
        """True if a path is one of the values it takes."""
        return any(get_origin(kind) is os.PathLike for kind in _kinds(self.annotation))

    @property
    def flag(self) -> str:
        """Its name on the command line, with underscores."""
        return self.option.flag or self.name

    @property
    def typed(self) -> Any:
        """Its type on the command line; None if the command line does not take it."""
        return self.annotation if self.option.typed is ... else self.option.typed


@dataclass(frozen=True, kw_only=True)
class Options:
    """Base of the classes that declare options."""

    given: frozenset[str] = field(init=False, default=frozenset(), repr=False, compare=False)
    """Names of the options that the caller gave, to tell a requested value from an equal default."""

    def __post_init__(self) -> None:
        """Refuse values out of their declared ranges.

        Raises:
            InputError: Naming the option, its range and the value.
        """
        for one in declared(type(self)):
            value, within = getattr(self, one.name), one.range
            if within is not None and value is not None:
                check(one.name, value, within)

    @classmethod
    def default_in_words(cls, name: str, default: Any) -> str:
        """Return the displayed default of a field whose :class:`Option` has no words for it."""
        return in_words(default)

    def recorded(self) -> dict[str, Any]:
        """Return the values that decide the result, as plain values in the order of declaration."""
        skipped = {one.name for one in declared(type(self)) if not one.option.recorded}
        return {name: value for name, value in self.plain().items() if name not in skipped}

    def plain(self) -> dict[str, Any]:
        """Return all values as plain ones, in the order of declaration."""
        return {one.name: _plain(getattr(self, one.name)) for one in fields(self) if one.init}

    def words(self, *, without: Collection[str] = ()) -> list[str]:
        """Return the words of a command line that gives the recorded values, except defaults and those in `without`."""
        found: list[str] = []
        for one in declared(type(self)):
            value = getattr(self, one.name)
            shown = one.option.recorded and one.typed is not None and one.name not in without
            if shown and (one.required or value != one.default):
                found += _words(one, value)
        return found


def in_words(default: Any) -> str:
    """Return a default as the help shows it."""
    if default is None or default == ():
        return "none"
    if isinstance(default, bool):
        return "on" if default else "off"
    return f"{default:g}" if isinstance(default, float) else str(default)


def declared(kind: type[Options]) -> tuple[Declared, ...]:
    """Return the options of a class, those of its bases first."""
    found: tuple[Declared, ...] = _declared(kind)  # type: ignore[arg-type]
    return found


@cache
def _declared(kind: type[Options]) -> tuple[Declared, ...]:
    annotations = dict(_annotations(kind))
    found = []
    for one in fields(kind):
        if one.name not in annotations:
            continue
        annotation, option = annotations[one.name]
        default = _default(one)
        words = option.default or (
            "" if default is inspect.Parameter.empty else kind.default_in_words(one.name, default)
        )
        found.append(Declared(one.name, annotation, default, option, not one.kw_only, words))
    return tuple(found)


def _annotations(kind: type[Options]) -> Iterator[tuple[str, tuple[Any, Option]]]:
    """Yield the type and the description of each field; a class that only narrows a field's type keeps both."""
    for base in reversed(kind.__mro__):
        for name, annotation in inspect.get_annotations(base, eval_str=True).items():
            described = [one for one in getattr(annotation, "__metadata__", ()) if isinstance(one, Option)]
            if described:
                yield name, (annotation.__origin__, described[0])


def _kinds(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)


def _typed(one: Declared, value: Any) -> Any:
    """Return a value that a caller gave, a path with the home folder in the place of ``~``.

    Raises:
        InputError: It is empty, holds a character that no name has, or is of another kind than the option.
    """
    if isinstance(value, str) and (not value.strip() or "\0" in value):
        raise InputError(f"{one.name} must not be empty or hold a null character; received {shortened(value)}")
    if one.path and isinstance(value, (str, os.PathLike)):
        found = os.path.expanduser(os.fspath(value))
        return found if isinstance(value, str) else Path(found)
    kinds = [get_origin(kind) or kind for kind in _kinds(one.annotation)]
    plain = all(kind in (bool, str, tuple, os.PathLike, types.NoneType) for kind in kinds)
    if plain and not isinstance(value, tuple(kinds)):
        wanted = " or ".join(_CALLED[kind] for kind in kinds if kind in _CALLED)
        raise InputError(f"{one.name} must be {wanted}; received {shortened(value)}")
    return value


_CALLED = {bool: "True or False", str: "a string", os.PathLike: "a path", tuple: "a pair of Datasets"}


def _default(one: dataclasses.Field[Any]) -> Any:
    if one.default is not dataclasses.MISSING:
        return one.default
    return inspect.Parameter.empty if one.default_factory is dataclasses.MISSING else one.default_factory()


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    return dict(value) if isinstance(value, Mapping) else value


def _words(one: Declared, value: Any) -> list[str]:
    if one.option.argument:
        return [str(value)]
    flag = f"--{one.flag.replace('_', '-')}"
    if isinstance(value, Mapping):
        return [flag, _joined(value)]
    if isinstance(value, bool):
        return [flag if value else f"--no-{flag.removeprefix('--')}"]
    if isinstance(value, tuple) and all(isinstance(part, tuple) for part in value):
        return [word for part in value for word in (flag, "=".join(map(str, part)))]
    return [flag, ",".join(map(str, value)) if isinstance(value, tuple) else str(value)]


def _joined(pairs: Mapping[str, Any]) -> str:
    """Return ``NAME=VALUE,...``; a name with a comma is quoted as in a CSV file."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(f"{name}={value!r}" for name, value in pairs.items())
    return line.getvalue()


def called_with(kind: Callable[P, T], name: str) -> Callable[[Callable[[T], R]], Callable[P, R]]:
    """Turn a function of one options object into a function of the options.

    The signature and the ``Args`` of the docstring follow from the declarations. An unknown option is an
    :class:`saccade.InputError` that names similar ones; words of other tools are understood, see `saccade.synonyms`.

    Args:
        kind: The options class.
        name: Name of the function in messages.
    """

    def decorate(function: Callable[[T], R]) -> Callable[P, R]:
        options: Any = kind
        signature = signature_of(options, inspect.signature(function).return_annotation)

        @wraps(function)
        def call(*args: P.args, **given: P.kwargs) -> R:
            named = understood(given, options, name)
            try:
                bound = signature.bind(*args, **named).arguments
            except TypeError as cause:
                raise TypeError(f"{name}: {cause}") from None
            by_name = {one.name: one for one in declared(options)}
            asked = {
                key: _typed(by_name[key], value)
                for key, value in bound.items()
                if value is not None or by_name[key].required
            }
            made: Any = options(**asked)
            object.__setattr__(made, "given", frozenset(asked))
            return function(made)

        call.__signature__ = signature  # type: ignore[attr-defined]
        call.__annotations__ = {one.name: one.annotation for one in signature.parameters.values()}
        call.__doc__ = documented(function.__doc__ or "", options)
        return call

    return decorate


def signature_of(kind: type[Options], returns: Any = inspect.Signature.empty) -> inspect.Signature:
    """Return the signature of a function of these options."""
    parameters = [
        inspect.Parameter(
            one.name,
            inspect.Parameter.POSITIONAL_OR_KEYWORD if one.positional else inspect.Parameter.KEYWORD_ONLY,
            default=one.default,
            annotation=one.annotation,
        )
        for one in sorted(declared(kind), key=lambda one: not one.positional)
    ]
    return inspect.Signature(parameters, return_annotation=returns)


def documented(doc: str, kind: type[Options]) -> str:
    """Return a docstring with an ``Args`` section for the options, before ``Raises`` if there is one."""
    lines = [
        textwrap.fill(
            f"{one.name}: {one.option.help}{_said(one)}",
            width=116,
            initial_indent="    ",
            subsequent_indent="        ",
            break_long_words=False,
            break_on_hyphens=False,
        )
        for one in declared(kind)
    ]
    section = "\n".join(["Args:", *lines, "", ""])
    before, raises, after = inspect.cleandoc(doc).partition("Raises:")
    return f"{before.rstrip()}\n\n{section}{raises}{after}".rstrip() + "\n"


def _said(one: Declared) -> str:
    return "" if one.required else f" Default: {one.words}."


def understood(given: Mapping[str, Any], kind: type[Options], name: str) -> dict[str, Any]:
    """Return the options under our names.

    Raises:
        InputError: An option is unknown, or is given under two names.
    """
    known = [one.name for one in declared(kind)]
    found: dict[str, Any] = {}
    for word, value in given.items():
        ours = word if word in known else meant(word, known)
        if ours is None:
            raise InputError(f"{name}: unknown option {word!r}", hint_for(word, name) or near(word, known))
        if ours in found:
            raise InputError(f"{name}: {ours!r} is given twice, the other time as {word!r}", "give it once")
        found[ours] = value
    return found
