"""What the reference lists: the names a user may touch, and every class that their signatures and fields lead to.

The list is derived, never kept: a name that is added to a module below, a new mechanism or a new field of a result
appears by itself.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from types import ModuleType
from typing import Any

import saccade
from saccade import catalog, tasks

MODULES = (
    "saccade.catalog",
    "saccade.insertion",
    "saccade.inspection",
    "saccade.networks.heads",
    "saccade.networks.own",
    "saccade.ops",
    "saccade.official",
    "saccade.errors",
    "saccade.tasks",
    "saccade.testing",
)
"""Modules whose public names a user may import, besides those of saccade itself and the mechanisms."""

MECHANISMS = "saccade.mechanisms"


@dataclass
class Reference:
    """Pages of the reference.

    Args:
        names: Dotted names of the objects on each page, by the page's title.
        mechanisms: Name in the catalog of each mechanism, by the dotted name of its class.
        known: Dotted name of every object on a page, by the object's identity.
    """

    names: dict[str, list[str]] = field(default_factory=dict)
    mechanisms: dict[str, str] = field(default_factory=dict)
    known: dict[int, str] = field(default_factory=dict)

    def add(self, page: str, name: str, thing: Any) -> bool:
        """Put an object on a page, unless it is on one already."""
        if id(thing) in self.known:
            return False
        self.known[id(thing)] = name
        self.names.setdefault(page, []).append(name)
        return True


@cache
def reference() -> Reference:
    """Return the pages with all that they list."""
    found = Reference()
    waiting = []
    for name in sorted(saccade.__all__, key=lambda name: (not name[0].islower(), name)):  # functions come first
        thing = getattr(saccade, name)
        found.add("saccade", f"saccade.{name}", thing)
        waiting.append(thing)
    for name, entry in catalog.CATALOG.items():
        mechanism = entry.load()
        path = _path(mechanism)
        found.mechanisms[path] = name
        found.add(MECHANISMS, path, mechanism)
        waiting.append(mechanism)
    waiting += tasks.every_task()
    for module in MODULES:
        for name, thing in _public(importlib.import_module(module)):
            found.add(module, f"{module}.{name}", thing)
            waiting.append(thing)
    while waiting:
        for thing in _led_to(waiting.pop(0)):
            if found.add(_page_of(thing), _path(thing), thing):
                waiting.append(thing)
    return found


def resolve(target: str, module: str | None = None, inside: str | None = None) -> str | None:
    """Return the name under which the reference lists what a docstring calls `target`, if it lists it.

    Args:
        target: A name as it stands in a docstring or signature: whole, or relative to its class, its module or saccade.
        module: Module of the docstring.
        inside: Class of the docstring.
    """
    for thing, attributes in _meanings(target, module, inside):
        if id(thing) in reference().known:
            return ".".join([reference().known[id(thing)], *attributes])
    return None


def meaning(target: str, module: str | None = None, inside: str | None = None) -> bool:
    """Return whether `target` means anything at all where it stands, in the reference or not."""
    return any(True for _ in _meanings(target, module, inside))


def _meanings(target: str, module: str | None, inside: str | None) -> Iterator[tuple[Any, list[str]]]:
    """Yield the objects that a name may stand for, each as a function, class or module and the attributes after it."""
    first, *rest = target.split(".")
    starts = [first, *([f"{module}.{inside}.{first}"] if inside else []), *([f"{module}.{first}"] if module else [])]
    for start in (*starts, f"saccade.{first}"):
        thing, words = _import([*start.split("."), *rest])
        if thing is not None and (not words or (inspect.isclass(thing) and _has(thing, words))):
            yield thing, words
    for home in _homes(module) if module else ():
        if (thing := _global(home, first)) is not None and _has(thing, rest):
            yield thing, rest
    for name in reference().known.values():  # the name alone, as in the part Raises of a docstring
        if name.rpartition(".")[2] == first and _has(thing := _import(name.split("."))[0], rest):
            yield thing, rest


@cache
def _homes(module: str) -> tuple[str, ...]:
    """Return the modules in which the objects of a page are defined: there their docstrings' names have a meaning."""
    things = (_import(name.split("."))[0] for name in reference().names.get(module, ()))
    return tuple(dict.fromkeys([module, *(thing.__module__ for thing in things if hasattr(thing, "__module__"))]))


def _has(thing: Any, words: list[str]) -> bool:
    for word in words:
        fields = getattr(thing, "__annotations__", {})
        if not hasattr(thing, word):
            return word in fields
        thing = getattr(thing, word)
    return True


def _public(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """Yield what a module offers: the names in its ``__all__``, or else the functions and classes it defines."""
    if hasattr(module, "__all__"):
        yield from ((name, getattr(module, name)) for name in module.__all__)
    else:
        for name, thing in vars(module).items():
            if not name.startswith("_") and callable(thing) and getattr(thing, "__module__", None) == module.__name__:
                yield name, thing


def _page_of(thing: Any) -> str:
    """Return the page of an object that no module above lists: that of its package."""
    for module in MODULES:
        if f"{thing.__module__}.".startswith(f"{module}."):
            return module
    return ".".join(thing.__module__.split(".")[:2])


def _path(thing: Any) -> str:
    return f"{thing.__module__}.{thing.__qualname__}"


def _led_to(thing: Any) -> Iterator[Any]:
    """Yield the classes of saccade that an object's signature, fields, methods and bases name."""
    if inspect.isclass(thing):
        yield from (base for base in thing.__bases__ if _is_ours(base))
        yield from _annotated(thing.__module__, vars(thing).get("__annotations__", {}).values())
        members = [getattr(thing, name) for name in vars(thing) if not name.startswith("_") or name == "__init__"]
        functions = [getattr(member, "fget", member) for member in members]
    else:
        functions = [thing] if inspect.isfunction(thing) else []
    for function in filter(inspect.isfunction, functions):
        # A decorated function has its result in its signature alone.
        annotations = (*function.__annotations__.values(), inspect.signature(function).return_annotation)
        yield from _annotated(function.__module__, annotations)
    for documented in (thing, *functions):
        if (text := documented.__doc__) and hasattr(thing, "__module__"):
            yield from _raised(thing.__module__, text)
            yield from _linked(thing.__module__, text)


def _linked(module: str, text: str) -> Iterator[Any]:
    for name in re.findall(r":class:`~?([\w.]+)`", text):
        things = (_global(module, name), _import(name.split("."))[0])
        yield from filter(_is_ours, things)


def _raised(module: str, text: str) -> Iterator[Any]:
    for name in re.findall(r"^ +([A-Z]\w+): ", text, flags=re.M):
        for home in (module, *(loaded for loaded in list(sys.modules) if loaded.startswith("saccade."))):
            thing = _global(home, name) if home == module else getattr(sys.modules[home], name, None)
            if _is_ours(thing) and issubclass(thing, BaseException):
                yield thing
                break


def _annotated(module: str, annotations: Iterable[Any]) -> Iterator[Any]:
    for annotation in annotations:
        if inspect.isclass(annotation):
            things = [annotation]
        else:
            things = [_global(module, name) for name in re.findall(r"(?<![\w.])[A-Za-z]\w*", str(annotation))]
            things += [_import(name.split("."))[0] for name in re.findall(r"\bsaccade\.[\w.]+", str(annotation))]
        yield from filter(_is_ours, things)


def _is_ours(thing: Any) -> bool:
    return inspect.isclass(thing) and thing.__module__.startswith("saccade.") and not thing.__name__.startswith("_")


def _global(module: str, name: str) -> Any:
    """Return what a name means in a module, also where only type checkers import it."""
    if module in sys.modules and name in vars(sys.modules[module]):
        return vars(sys.modules[module])[name]
    source, original = _imported_for_types(module).get(name, ("", ""))
    try:
        thing = importlib.import_module(source) if source else None
    except ImportError:
        return None
    return getattr(thing, original, None) if original else thing


@cache
def _imported_for_types(module: str) -> dict[str, tuple[str, str]]:
    """Return from where a module imports its names, at any place in it, and what they are called there."""
    try:
        tree = ast.parse(inspect.getsource(importlib.import_module(module)))
    except (ImportError, OSError, TypeError):
        return {}
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {alias.asname or alias.name: (node.module, alias.name) for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.asname: (alias.name, "") for alias in node.names if alias.asname}
    return found


def _import(words: list[str]) -> tuple[Any, list[str]]:
    """Return the class, function or module that begins a dotted name, and the words that follow it."""
    thing: Any = None
    while words:
        module, *words = words if thing is None else [f"{thing.__name__}.{words[0]}", *words[1:]]
        try:
            thing = importlib.import_module(module)
        except ImportError:
            if thing is None:
                return None, words
            words = [module.rpartition(".")[2], *words]
            break
    if words and (found := getattr(thing, words[0], None)) is not None:
        return found, words[1:]
    return thing, words
