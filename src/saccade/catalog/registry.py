"""One registry: the mechanisms of the table, those of installed plug-ins, and those a program registers."""

from __future__ import annotations

import inspect
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any

from saccade.catalog.entry import Cost, Entry, NaturalPlace
from saccade.catalog.imports import imported, install, name_code, path_of
from saccade.catalog.table import CATALOG
from saccade.errors import InputError, SaccadeWarning, near

if TYPE_CHECKING:
    from torch import nn

PLUG_INS = "saccade.mechanisms"
"""Group of entry points for distributions that bring mechanisms."""

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_RESERVED = "none"  # the unchanged network, among the arms of a comparison
_registered: dict[str, Entry] = {}


def register(
    name: str | Entry,
    mechanism: Callable[..., Any] | str | None = None,
    *,
    place: NaturalPlace | str = "residual",
    family: str = "own",
    attends: str = "",
    title: str = "",
    paper: str = "",
    held_to: str = "",
    cost: Cost | None = None,
    identity: bool = False,
    added: bool = False,
    aliases: Iterable[str] = (),
    identity_options: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    schematic: str = "",
) -> Entry:
    """Register a mechanism under a name, which is then valid wherever saccade takes the name of one.

    A distribution that brings mechanisms need not call this: it declares entry points of the group
    ``saccade.mechanisms``, which name a class or an :class:`Entry`.

    Args:
        name: Lower-case letters, digits and underscores; or a whole row, and nothing else.
        mechanism: Class or function that makes the module from the number of channels and its options by name; or its
            import path, ``"my_package.blocks:MyBlock"``, which is imported when the first is made.
        place: Natural place: a :class:`NaturalPlace`, or a value for `at` of :func:`saccade.insert`.
        family: Family in lists: one of saccade's, or any other word.
        attends: ``"channel"``, ``"spatial"`` or ``"both"``, if it is one of these.
        title: Title for display; by default the name.
        paper: Paper that describes it.
        held_to: Published code whose numbers it reproduces.
        cost: Cost of the default form, as formulas.
        identity: True if a new module returns its input; shown in lists, while insertion asks the module itself.
        added: True if it is a branch that is added to the feature map, rather than a new form of the map.
        aliases: Other names.
        identity_options: Options that make a new module return its input.
        options: Names and defaults of its options; by default read from the signature.
        schematic: Drawing, in the language of :mod:`saccade.inspection.schematic_table`.

    Returns:
        The row.

    Raises:
        InputError: A name that is taken or malformed, or a module instead of a class or function.
        TypeError: A mechanism that is neither a string nor can be called.

    Example:
        >>> import saccade
        >>> from torch import nn
        >>> entry = saccade.register("depthwise", lambda channels: nn.Conv2d(channels, channels, 3, 1, 1, 1, channels))
        >>> saccade.create("depthwise", 64).groups
        64
        >>> saccade.catalog.unregister("depthwise")
    """
    if isinstance(name, Entry):
        entry = name
    else:
        source = None if isinstance(mechanism, str) else _maker(mechanism)
        entry = Entry(
            name, mechanism if isinstance(mechanism, str) else path_of(_maker(mechanism)), family, attends,
            place if isinstance(place, NaturalPlace) else NaturalPlace(place), title or str(name), paper, held_to, cost,
            identity=identity, added=added, aliases=tuple(aliases), identity_options=dict(identity_options or {}),
            options=options, schematic=schematic, source=source,
        )  # fmt: skip
    _check_free(entry, {**CATALOG, **_registered})
    name_code(entry.path)
    _registered[entry.name] = entry
    return entry


def unregister(name: str) -> None:
    """Remove a mechanism that :func:`register` added.

    Raises:
        InputError: No mechanism of that name was registered.
    """
    if _registered.pop(name, None) is None:
        raise InputError(f"no mechanism {name!r} was registered", f"registered: {', '.join(_registered) or 'none'}")


def entries() -> Mapping[str, Entry]:
    """Return the rows of all mechanisms by name: saccade's own, those of plug-ins, those registered."""
    return {**CATALOG, **_plug_ins(), **_registered}


def list_mechanisms(*, family: str | None = None, attends: str | None = None) -> tuple[str, ...]:
    """Names of the mechanisms, in alphabetical order; controls only if their family is requested.

    Args:
        family: ``"gate"``, ``"position"``, ``"channel"``, ``"both"``, ``"gather"`` or ``"control"``; for mechanisms
            from outside ``"own"`` or the word they declare.
        attends: ``"channel"``, ``"spatial"`` or ``"both"``.

    Example:
        >>> import saccade
        >>> "cbam" in saccade.list_mechanisms(family="gate")
        True
    """
    every = entries().values()
    for option, value in (("family", family), ("attends", attends)):
        known = sorted({getattr(entry, option) for entry in every} - {""})
        if value is not None and value not in known:
            raise InputError(f"list_mechanisms: unknown {option}={value!r}", near(value, known))
    return tuple(
        sorted(
            entry.name
            for entry in every
            if entry.family == (family or entry.family)
            and (family == "control" or entry.family != "control")
            and entry.attends == (attends or entry.attends)
        )
    )


def find(name: str) -> Entry:
    """Return the row called `name`, by key, alias or import path; an unknown name is refused with the nearest ones.

    An import path is imported if the user has named it, see :mod:`saccade.catalog.imports`.
    """
    if not isinstance(name, str):
        raise TypeError(f"a mechanism is named by a string; received {name!r}")
    if ":" in name:
        return _at(name.strip())
    key = name.strip().lower().replace("-", "_")
    for known in ({**CATALOG, **_registered}, _plug_ins):
        for entry in (known() if callable(known) else known).values():
            if key == entry.name or key in entry.aliases:
                return entry
    words = [(entry.name, *entry.aliases) for entry in entries().values()]
    starting = [own[0] for own in words if any(word.startswith(key) for word in own) and key]
    if len(starting) > 1:
        raise InputError(f"ambiguous mechanism {name!r}", f"it could be {', '.join(starting)}")
    raise InputError(f"unknown mechanism {name!r}", near(key, [word for own in words for word in own]))


def entry_for(made_by: Any) -> Entry:
    """Return the row of a class or function that makes a mechanism: its own, or a new one outside the registry.

    Raises:
        InputError: A module was given instead of a class or function.
        TypeError: It cannot be called.
    """
    _maker(made_by)
    path = path_of(made_by)
    for entry in ({**CATALOG, **_registered}).values():
        if entry.source is made_by or (entry.source is None and entry.path == path and entry.load() is made_by):
            return entry
    return outside(path, made_by)


def outside(path: str, source: Callable[..., Any]) -> Entry:
    """Return a row for a mechanism outside the catalog, named by its import path."""
    title = path.partition(":")[2]
    return Entry(path, path, "own", "", NaturalPlace("residual"), title, source=source)


def create(name: str, channels: int, **options: Any) -> nn.Module:
    """Create a mechanism for feature maps of `channels` channels.

    Args:
        name: A name or alias in the catalog, see :func:`list_mechanisms`; or an import path.
        channels: Number of channels of the input and the output.
        options: The mechanism's own options; a misspelt one is refused with the nearest ones.

    Example:
        >>> import saccade
        >>> saccade.create("cbam", channels=256, reduction=8).channels
        256
    """
    name_code(name)
    entry = find(name)
    check_options(entry, options)
    return entry.make(channels, **options)


def option_names(entry: Entry) -> tuple[str, ...]:
    """Return the options a mechanism takes, in the order of its signature."""
    return tuple(entry.options) if entry.options is not None else tuple(signature_options(entry))


def signature_options(entry: Entry) -> dict[str, Any]:
    """Return names and defaults of the options in a signature: of all parameters but the first, the channels."""
    named = list(_parameters(entry))[1:]
    return {p.name: p.default for p in named if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}


def check_options(entry: Entry, options: Mapping[str, Any]) -> None:
    """Refuse an option that the mechanism does not have."""
    if not options:
        return
    known = option_names(entry)
    if entry.options is None and any(p.kind is p.VAR_KEYWORD for p in _parameters(entry)):
        return
    for option in options:
        if option == "dims" and entry.flat:
            raise InputError(f"{entry.name} takes maps of two axes only: {entry.flat}", "leave dims= out")
        if option not in known:
            raise InputError(
                f"{entry.name}: unknown option {option!r}",
                near(option, known) if known else f"{entry.name} has no options",
            )


def _parameters(entry: Entry) -> Iterator[inspect.Parameter]:
    yield from inspect.signature(entry.load()).parameters.values()


def _at(path: str) -> Entry:
    """Return the row of an import path: that of the catalog for a class that has one."""
    known = next((entry for entry in ({**CATALOG, **_registered}).values() if entry.path == path), None)
    return known if known is not None and known.source is None else outside(path, imported(path))


def _maker(given: Any) -> Callable[..., Any]:
    if hasattr(given, "forward") and not isinstance(given, type):
        raise InputError(
            f"expected the class {type(given).__name__}; received an instance of it, which cannot serve several places",
            f"give the class, {type(given).__name__}, or a function that makes one from the number of channels",
        )
    if not callable(given):
        raise TypeError(
            "a mechanism is a string, a dict, or a class or function that makes one from the number of channels; "
            f"received {given!r}"
        )
    made: Callable[..., Any] = given
    return made


def _check_free(entry: Entry, taken: Mapping[str, Entry]) -> None:
    for word in (entry.name, *entry.aliases):
        if not isinstance(word, str) or not _NAME.fullmatch(word):
            raise InputError(
                f"{word!r} cannot be the name of a mechanism", "use lower-case letters, digits and underscores"
            )
        for other in taken.values():
            if word in (other.name, *other.aliases):
                hint = f"choose another name; saccade.catalog.unregister({other.name!r}) forgets that one"
                raise InputError(
                    f"a mechanism called {word!r} exists already: {other.title}",
                    hint if other.name in _registered else "choose another name",
                )
        if word == _RESERVED:
            raise InputError(f"{word!r} stands for the network without a mechanism", "choose another name")


@cache
def _plug_ins() -> Mapping[str, Entry]:
    """Return the rows of the mechanisms that installed distributions bring; one that fails to load is a warning."""
    found: dict[str, Entry] = {}
    for point in entry_points(group=PLUG_INS):
        try:
            entry = _plugged(point)
            _check_free(entry, {**CATALOG, **found, **_registered})
        except Exception as cause:  # foreign code may raise anything, and saccade must work without it
            name = point.dist.name if point.dist else point.value
            said = cause.message if isinstance(cause, InputError) else f"{type(cause).__name__}: {cause}"
            warnings.warn(
                f"the mechanism {point.name!r} of the distribution {name} is skipped: {said}",
                SaccadeWarning,
                stacklevel=2,
            )
            continue
        install([entry.path])
        found[entry.name] = entry
    return found


def _plugged(point: EntryPoint) -> Entry:
    given = point.load()
    if isinstance(given, Entry):
        return given
    return replace(outside(point.value, _maker(given)), name=point.name)
