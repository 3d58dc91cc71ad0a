"""Code outside saccade, by import path (``my_package.blocks:MyBlock``): imported only if the user names it.

A path that was typed or given in a call counts as named, a path that a file mentions does not: while a file is read,
only the paths that the user trusts for that file are imported.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from saccade.errors import InputError, near

Made = Callable[..., Any]
Trust = str | Made | Iterable[str | Made]
"""Import paths, or the classes and functions themselves."""

_NAME = r"[^\W\d]\w*"
_PATH = re.compile(rf"{_NAME}(\.{_NAME})*:{_NAME}(\.{_NAME})*")
_HINT = "an import path is written package.module:Name"

_named: dict[str, str | None] = {}  # import path -> folder to find its module in; None: Python's search path
_installed: set[str] = set()  # paths of saccade's own table and of installed plug-ins
_searched = {"here": False}


@dataclass(frozen=True)
class _Reading:
    """The file being read, its name in errors, and the paths that are trusted for it."""

    file: str
    trusted: Mapping[str, Made | None]


_reading: ContextVar[_Reading | None] = ContextVar("reading", default=None)


def is_import_path(text: object) -> bool:
    """Return whether a text is an import path, with or without options in brackets.

    Example:
        >>> is_import_path("my_package.blocks:MyBlock[reduction=4]"), is_import_path("stage:-1"), is_import_path("se")
        (True, False, False)
    """
    return isinstance(text, str) and _PATH.fullmatch(text.strip().partition("[")[0]) is not None


def name_code(text: object) -> None:
    """Record that the user has named an import path, so that it may be imported; any other text is ignored.

    Inside :func:`mentioned_in` nothing is recorded: the content of a file is not the user's word.
    """
    if _reading.get() is None and is_import_path(text):
        path = str(text).strip().partition("[")[0]
        _named.setdefault(path, os.getcwd() if _searched["here"] else None)


def named_code() -> tuple[str, ...]:
    """Import paths the user has named in this process."""
    return tuple(_named)


def search_here() -> None:
    """Find the modules of import paths in the current folder as well, as ``python -m`` does."""
    _searched["here"] = True


def install(paths: Iterable[str]) -> None:
    """Let these paths be imported at any time: they belong to saccade or to an installed plug-in."""
    _installed.update(paths)


def is_installed(path: str) -> bool:
    """Return whether a path belongs to saccade or to an installed plug-in."""
    return path in _installed


@contextmanager
def mentioned_in(file: str | os.PathLike[str], trust: Trust = ()) -> Iterator[None]:
    """Import, while a file is read, nothing that it mentions except what the user trusts.

    Args:
        file: The file, as named in errors.
        trust: Import paths that may be imported, or classes and functions in place of their paths.
    """
    trusted: dict[str, Made | None] = {}
    for given in [trust] if isinstance(trust, str) or callable(trust) else trust:
        if isinstance(given, str):
            _check(given)
            name_code(given)
            trusted[given] = None
        else:
            trusted[path_of(given)] = given
    token = _reading.set(_Reading(str(file), trusted))
    try:
        yield
    finally:
        _reading.reset(token)


def imported(path: str) -> Made:
    """Return the class or function that an import path names.

    Raises:
        InputError: The user has not named or trusted the path, its module or name does not exist, importing it raised
            an error, or the object cannot be called.
    """
    reading = _reading.get()
    if path in _installed:
        return _called(path)
    if reading is not None:
        if path not in reading.trusted:
            raise InputError(
                f"{reading.file} needs code that is not part of saccade, {path}; such code is not imported unless "
                "you trust it",
                f"if you trust that code: trust=[{path!r}] in Python, --trust {path} on the command line"
                if is_import_path(path)
                else "it has no import path: give the class or function itself, trust=[...]",
            )
        given = reading.trusted[path]
        return _called(path) if given is None else given
    _check(path)
    if path not in _named:
        raise InputError(
            f"{path}: code that is not part of saccade is imported only if you name it",
            "name it in this call, as mechanism or backbone",
        )
    return _called(path)


def path_of(made_by: Made) -> str:
    """Return the import path of a class or function, whether or not it can be imported by it."""
    module = getattr(made_by, "__module__", None) or type(made_by).__module__
    name = getattr(made_by, "__qualname__", None) or f"{type(made_by).__qualname__}()"
    return f"{module}:{name}"


def check_importable(path: str, made_by: Made, why: str) -> None:
    """Refuse a class or function that another process cannot import by its path.

    Args:
        path: The import path.
        made_by: The class or function.
        why: The reason, as the beginning of a sentence.

    Raises:
        InputError: It is defined in a script, a notebook or a function, or has no name.
    """
    module, _, name = path.partition(":")
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    if module == "__main__" or found is not made_by:
        raise InputError(
            f"{why}, which cannot import {path}", "define it in a module of its own, a .py file, and import it there"
        )


def hand_on(paths: Collection[str]) -> dict[str, str | None]:
    """Return import paths with the folders of their modules, for :func:`accept` in another process."""
    return {path: _folder(path) for path in paths}


def accept(paths: Mapping[str, str | None]) -> None:
    """Accept the import paths that the user has named in another process, see :func:`hand_on`."""
    _named.update(paths)


def _check(path: str) -> None:
    if _PATH.fullmatch(path) is None and path not in _installed:
        raise InputError(f"{path!r} is not an import path", _HINT)


def _called(path: str) -> Made:
    _check(path)
    module, _, name = path.partition(":")
    found: Any = _module(module, path)
    for part in name.split("."):
        if not hasattr(found, part):
            known = [key for key, value in vars(found).items() if key[0] != "_" and callable(value)]
            raise InputError(f"{path}: {module} has no {part!r}", near(part, known) if known else None)
        found = getattr(found, part)
    if not callable(found):
        raise InputError(
            f"{path}: expected a class or a function; received {type(found).__name__}", "name what makes the module"
        )
    made: Made = found
    return made


def _module(module: str, path: str) -> Any:
    with _first(_named.get(path)):
        try:
            return importlib.import_module(module)
        except ModuleNotFoundError as cause:
            if cause.name is None or not f"{module}.".startswith(f"{cause.name}."):
                raise InputError(f"{path}: importing {module} failed, since {cause.name} is not installed") from cause
            where = _named.get(path)
            raise InputError(
                f"{path}: module {cause.name!r} does not exist",
                f"it was looked for in {where} and among the installed packages"
                if where
                else "add the folder that holds it to PYTHONPATH",
            ) from cause
        except Exception as cause:
            raise InputError(f"{path}: importing {module} raised {type(cause).__name__}: {cause}") from cause


@contextmanager
def _first(folder: str | None) -> Iterator[None]:
    """Search for modules in a folder first; afterwards last, since a file there may have the same name as Python's."""
    if folder is None:
        yield
        return
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)
        if folder not in sys.path:
            sys.path.append(folder)


def _folder(path: str) -> str | None:
    """Return the folder that contains the module of an import path, or the package it belongs to."""
    top = sys.modules.get(path.partition(":")[0].partition(".")[0])
    places = list(getattr(top, "__path__", ())) or [getattr(top, "__file__", None)]
    return str(Path(places[0]).resolve().parent) if places[0] else _named.get(path)
