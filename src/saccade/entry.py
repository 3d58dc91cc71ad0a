"""What a row of the catalog is made of."""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from saccade.mechanisms.base import Mechanism


@dataclass(frozen=True)
class Placement:
    """A natural place: what `insert` does when `at` is not given.

    Args:
        at: As for :func:`saccade.insert`.
        every: Keep each such place only, counted in each stage; a stage with fewer keeps its last.
        strides: Keep places at these sizes of the map only (input side / map side); all, if the network has none.
    """

    at: str
    every: int = 1
    strides: tuple[int, ...] = ()


@dataclass(frozen=True)
class Cost:
    """What the default form keeps and costs, as formulas in C channels, H rows, W columns and N = H W positions.

    Args:
        keeps: The resolution each branch keeps: ``"none"`` for vectors, ``"H x W"`` for maps.
        nonlinear: Its non-linearities.
        params: Learnable numbers.
        macs: Multiply-adds of the convolutions and matrix products for one sample.
        entries: Numbers in its attention maps for one sample; 0 for gates.
        where: The other letters of the formulas, as ``"d = C//8; M = N//4"``.
    """

    keeps: str
    nonlinear: str
    params: str
    macs: str
    entries: str = "0"
    where: str = ""

    @staticmethod
    def written(formula: str) -> str:
        """A formula, or the letters, as people write them; divisions round down, to 1 at least.

        Example:
            >>> Cost.written("C**2 + 2*C*h; h = max(1, C//16)")
            'C² + 2 C h; h = C/16'
        """
        formula = re.sub(r"max\(1, ([^()]+)\)", r"\1", formula)
        return formula.replace("**2", "²").replace("//", "/").replace("*", " ")


@dataclass(frozen=True)
class Entry:
    """One row of the catalog."""

    name: str
    path: str
    family: str
    attends: str
    place: Placement
    title: str
    paper: str
    held_to: str
    cost: Cost
    identity: bool = False
    """Whether a new module in its default form returns its input; insertion wraps the others."""
    aliases: tuple[str, ...] = ()
    identity_options: Mapping[str, Any] = field(default_factory=dict)

    def load(self) -> type[Mechanism]:
        """The class; imports its file."""
        module, _, name = self.path.partition(":")
        found: type[Mechanism] = getattr(importlib.import_module(module), name)
        return found
