"""Frozen dataclasses as the one declaration of a JSON document: written from them, read into them, checked by them."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from saccade.errors import InputError, near

T = TypeVar("T")


def to_json(value: Any) -> Any:
    """Return a dataclass as plain values that :mod:`json` writes: objects, lists, numbers, strings, booleans, null."""
    if is_dataclass(value):
        return {one.name: to_json(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_json(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(one) for one in value]
    return value


def from_json(kind: type[T], content: Any, *, source: str, hint: str | None = None, others: bool = False) -> T:
    """Return plain values as the dataclass `kind`, every one checked against its annotation.

    A field with a default may be missing. An unknown key is refused, as reading and writing again would lose it, unless
    `others` is True.

    Args:
        kind: A dataclass whose fields are annotated with ``Any``, None, bool, int, float, str, ``Literal``, unions,
            tuples, ``Mapping[str, ...]`` and other dataclasses.
        content: Value that :func:`json.loads` returned.
        source: Name of the document, for messages.
        hint: Advice for a document that does not fit.
        others: Ignore unknown keys of the document itself.

    Raises:
        InputError: A key is missing or unknown, or a value is of another type; the message names its place.
    """
    if others and isinstance(content, dict):
        names = {one.name for one in fields(kind)}  # type: ignore[arg-type]
        content = {key: value for key, value in content.items() if key in names}
    try:
        found: T = _read(kind, content, "")
    except _MismatchError as problem:
        raise InputError(f"{source}: {problem}", hint) from None
    return found


class _MismatchError(Exception):
    """Mismatch of a value and its declared type, with its path."""

    def __init__(self, place: str, expected: str, value: Any) -> None:
        super().__init__(f"{place.lstrip('.') or 'the document'}: expected {expected}; received {_short(value)}")


_PLAIN = {bool: "true or false", int: "a whole number", float: "a number", str: "a string", types.NoneType: "null"}


def _read(kind: Any, value: Any, place: str) -> Any:
    origin = get_origin(kind)
    if kind is Any:
        return value
    if kind in _PLAIN:
        return _plain(kind, value, place)
    if origin is Literal:
        if value not in get_args(kind):
            raise _MismatchError(place, f"one of {', '.join(map(repr, get_args(kind)))}", value)
        return value
    if origin in (Union, types.UnionType):
        return _any_of(get_args(kind), value, place)
    if origin is tuple:
        return _tuple(get_args(kind), value, place)
    if not isinstance(value, dict):
        raise _MismatchError(place, "an object", value)
    if is_dataclass(kind):
        return _object(kind, value, place)
    return {key: _read(get_args(kind)[1], one, f"{place}.{key}") for key, one in value.items()}


def _plain(kind: Any, value: Any, place: str) -> Any:
    allowed = (int, float) if kind is float else kind
    if not isinstance(value, allowed) or (isinstance(value, bool) and kind is not bool):
        raise _MismatchError(place, _PLAIN[kind], value)
    return float(value) if kind is float else value


def _any_of(kinds: tuple[Any, ...], value: Any, place: str) -> Any:
    if value is None and types.NoneType in kinds:
        return None
    problems = []
    for kind in (kind for kind in kinds if kind is not types.NoneType):
        try:
            return _read(kind, value, place)
        except _MismatchError as problem:
            problems.append(problem)
    if len(problems) == 1:
        raise problems[0]
    raise _MismatchError(place, " or ".join(_PLAIN.get(kind, "an object") for kind in kinds), value)


def _tuple(kinds: tuple[Any, ...], value: Any, place: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise _MismatchError(place, "a list", value)
    if kinds[-1] is ...:
        kinds = (kinds[0],) * len(value)
    if len(kinds) != len(value):
        raise _MismatchError(place, f"a list of {len(kinds)}", value)
    return tuple(_read(kind, one, f"{place}[{k}]") for k, (kind, one) in enumerate(zip(kinds, value, strict=True)))


def _object(kind: Any, value: dict[str, Any], place: str) -> Any:
    hints, declared = get_type_hints(kind), {one.name: one for one in fields(kind)}
    for key in value:
        if key not in declared:
            raise _MismatchError(f"{place}.{key}", f"no such key ({near(key, declared)})", value[key])
    for name, one in declared.items():
        if name not in value and one.default is MISSING and one.default_factory is MISSING:
            raise _MismatchError(f"{place}.{name}", "a value", MISSING)
    return kind(**{key: _read(hints[key], one, f"{place}.{key}") for key, one in value.items()})


def _short(value: Any) -> str:
    if value is MISSING:
        return "nothing"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
