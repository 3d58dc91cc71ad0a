"""The embedded demos of a comparison: their data, network, arms and lengths."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from torch import nn

from saccade.data import Arrays, OnProgress
from saccade.networks.make import DEMO_NETWORKS


class Load(Protocol):
    """Function that draws a demo's pictures, or takes them from its cache."""

    def __call__(self, cache: Path, *, kind: str, seed: int, on_progress: OnProgress | None) -> Arrays: ...


@dataclass(frozen=True)
class Demo:
    """One demo.

    Args:
        name: Name, also that of its network.
        size: Side of its pictures in pixels.
        arms: The arms unless others are named.
        steps: Training steps of each run.
        start_steps: Training steps of the shared start, as a multiple of those of a run.
        rate: Largest learning rate of a run.
        start_rate: Largest learning rate of the shared start.
        load: Function that gives its data, of the kind ``"task"`` or ``"start"``.
    """

    name: str
    size: int
    arms: tuple[str, ...]
    steps: int
    start_steps: int
    rate: float
    start_rate: float
    load: Load

    def network(self, classes: int) -> nn.Module:
        """Make its network with random weights."""
        return DEMO_NETWORKS[self.name](classes)


def _notes(cache: Path, *, kind: str, seed: int, on_progress: OnProgress | None) -> Arrays:
    from saccade.data.notes import load_notes

    return load_notes(cache, kind="start" if kind == "start" else "task", seed=seed, on_progress=on_progress)


def _chips(cache: Path, *, kind: str, seed: int, on_progress: OnProgress | None) -> Arrays:
    from saccade.data.chips import load_chips

    return load_chips(cache, kind="start" if kind == "start" else "task", seed=seed, on_progress=on_progress)


NOTES = Demo("notes", 96, ("none", "se", "cbam", "non_local", "conv3x3"), 300, 2, 3e-3, 6e-3, _notes)
CHIPS = Demo(
    "chips",
    64,
    ("none", "psa", "non_local", "conv3x3[width=7]", "conv3x3[width=7,dilation=4]"),
    350,
    3,
    5e-3,
    1e-2,
    _chips,
)
DEMOS: dict[str, Demo] = {one.name: one for one in (NOTES, CHIPS)}


def find_demo(name: str | None) -> Demo:
    """Return a demo by name; None: the first."""
    return NOTES if name is None else DEMOS[name]
