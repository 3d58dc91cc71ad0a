"""Rows of the catalog: their fields, and the natural places and costs they contain."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from saccade.catalog.imports import imported, is_installed
from saccade.errors import InputError

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class NaturalPlace:
    """A natural place: the places `insert` uses if `at` is not given.

    Args:
        at: See :func:`saccade.insert`.
        every: Use every n-th place of a stage only; a shorter stage keeps its last place.
        strides: Keep places at these strides of the map only (input side / map side); all, if the network has none.
    """

    at: str
    every: int = 1
    strides: tuple[int, ...] = ()


@dataclass(frozen=True)
class Cost:
    """Resolution and cost of the default form, as formulas in C channels, H rows, W columns and N = H W positions.

    Args:
        keeps: The resolution each branch keeps: ``"none"`` for vectors, ``"H x W"`` for maps.
        nonlinear: Its non-linearities.
        params: Learnable numbers.
        macs: Multiply-adds of the convolutions and matrix products for one sample.
        entries: Numbers in its attention maps for one sample; 0 for gates.
        where: Definitions of the other letters of the formulas, as ``"d = C//8; M = N//4"``.
    """

    keeps: str
    nonlinear: str
    params: str
    macs: str
    entries: str = "0"
    where: str = ""

    @staticmethod
    def written(formula: str) -> str:
        """Return a formula, or the letters, in mathematical notation; divisions round down, to 1 at least.

        Example:
            >>> Cost.written("C**2 + 2*C*h; h = max(1, C//16)")
            'C² + 2 C h; h = C/16'
        """
        formula = re.sub(r"max\(1, ([^()]+)\)", r"\1", formula)
        return formula.replace("**2", "²").replace("//", "/").replace("*", " ")


@dataclass(frozen=True)
class Entry:
    """One row of the catalog.

    Args:
        name: Name, in lower case; an import path for a mechanism outside the catalog.
        path: Import path of its class, or of a function that makes it.
        family: ``"gate"``, ``"position"``, ``"channel"``, ``"both"``, ``"gather"``, ``"control"``, or another word.
        attends: ``"channel"``, ``"spatial"`` or ``"both"``; empty if unknown.
        place: Natural place.
        title: Title for display.
        paper: Paper that describes it.
        held_to: Published code whose numbers it reproduces.
        cost: Resolution and cost of the default form.
        identity: True if a new module in its default form returns its input; shown in lists.
        added: True if it is a branch that is added to the feature map, rather than a new form of the map.
        aliases: Other names.
        identity_options: Options that make a new module return its input; :func:`saccade.insert` takes them.
        options: Names and defaults of its options; None means those of the signature, which needs its file imported.
        flat: Reason why it takes maps of two axes only; empty if there is none.
        schematic: Drawing in the language of :mod:`saccade.inspection.schematic_table`, if that table has none.
        source: The class or function itself, if it was given.
    """

    name: str
    path: str
    family: str
    attends: str
    place: NaturalPlace
    title: str
    paper: str = ""
    held_to: str = ""
    cost: Cost | None = None
    identity: bool = False
    added: bool = False
    aliases: tuple[str, ...] = ()
    identity_options: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] | None = None
    flat: str = ""
    schematic: str = ""
    source: Callable[..., Any] | None = field(default=None, compare=False, repr=False)

    def load(self) -> Callable[..., Any]:
        """Return the class or function that makes it; imports its file.

        Raises:
            InputError: It is not part of saccade, and neither named by the user nor trusted, see
                :mod:`saccade.catalog.imports`.
        """
        return imported(self.path) if self.source is None else self.source

    def make(self, channels: int, **options: Any) -> nn.Module:
        """Return a new module for feature maps of some channels.

        Raises:
            InputError: The options are wrong; or code that is not part of saccade raised an error, or returned
                something other than a module.
        """
        made_by = self.load()
        if is_installed(self.path):
            made: nn.Module = made_by(channels, **options)
            return made
        try:
            made = made_by(channels, **options)
        except InputError:
            raise
        except Exception as cause:  # foreign code may raise anything
            raise InputError(
                f"{self.name} could not be made for {channels} channels ({type(cause).__name__}: {cause})",
                "it is called with the number of channels, and with its options by name",
            ) from cause
        if not hasattr(made, "forward") or isinstance(made, type):
            raise InputError(f"{self.name} made a {type(made).__name__}; expected a torch.nn.Module")
        return made

    def to_json(self) -> dict[str, Any]:
        """Return the data from which another process, or a later one, can insert the same mechanism."""
        return {
            "path": self.path, "place": asdict(self.place), "added": self.added,
            "identity_options": dict(self.identity_options),
        }  # fmt: skip

    @classmethod
    def from_json(cls, name: str, row: Mapping[str, Any]) -> Entry:
        """Return the row that :meth:`to_json` wrote."""
        place = NaturalPlace(**{**row["place"], "strides": tuple(row["place"]["strides"])})
        return cls(
            name, row["path"], "own", "", place, name, added=row["added"], identity_options=row["identity_options"]
        )
