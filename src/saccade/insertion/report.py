"""Steps, plan and report of an insertion: places and costs, as tables to print."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from saccade.catalog import Spec
from saccade.insertion.places import Place

if TYPE_CHECKING:
    from saccade.insertion.attach import Attachment


@dataclass(frozen=True)
class Step:
    """One mechanism at one place.

    Args:
        place: Place of the mechanism.
        mechanism: The mechanism, with all options that are not its defaults.
        wrapped: True if it is mixed in by a learned number g that starts at 0.
        added: True if it is a branch added to the feature map, rather than a new form of the map.
        params: Learned numbers added, g included.
        macs: Multiply-adds added for one input of the traced size; None if they were not counted.
        copied: True if its output is copied in training: its backward pass needs it, and the network may write to it.
    """

    place: Place
    mechanism: Spec
    wrapped: bool
    added: bool
    params: int
    macs: int | None
    copied: bool = False


@dataclass(frozen=True)
class Plan:
    """Places and costs of an insertion. ``print(plan)`` shows them as a table.

    Args:
        network: Class of the network.
        mechanism: Mechanism as given; several that follow each other are joined by ``+``.
        at: Places as given; None means the mechanism's natural places.
        start: ``"identity"`` or ``"paper"``.
        input_shape: Shape of the traced input; maps and MACs are for this size.
        steps: Mechanisms with their places, in the order of the forward pass.
        unused: Places found and not used, with the reason, one sentence each.
        present: Attention that the network has already, one sentence for each kind.
        remarks: Remarks before training: branches that start at zero, modules that can be folded.
        example: The traced inputs, without values.
        training: True if the traced pass is one of training, since the places run in no other.
    """

    network: str
    mechanism: str
    at: str | None
    start: str
    input_shape: tuple[int, ...]
    steps: tuple[Step, ...]
    unused: tuple[str, ...]
    present: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    example: tuple[Any, ...] = field(default=(), repr=False, compare=False)
    training: bool = False

    @property
    def places(self) -> tuple[Place, ...]:
        """The places, each listed once."""
        return tuple(dict.fromkeys(step.place for step in self.steps))

    @property
    def params(self) -> int:
        """Total number of learned numbers added."""
        return sum(step.params for step in self.steps)

    @property
    def macs(self) -> int:
        """Total multiply-adds added, for one input of `input_shape`."""
        return sum(step.macs or 0 for step in self.steps)

    def __str__(self) -> str:
        shape = " x ".join(map(str, self.input_shape))
        count = f"{len(self.places)} place{'s' if len(self.places) > 1 else ''}"
        head = f"{self.mechanism} in {self.network}: {count}, start={self.start}, input {shape}"
        rows = [_HEADINGS, *(_row(step) for step in self.steps)]
        rows.append(("total", *[""] * (len(_HEADINGS) - 3), f"{self.params:,}", f"{self.macs:,}"))
        notes = [f"not used: {what}" for what in self.unused]
        notes += [f"already there: {what}" for what in self.present]
        notes += [f"note: {what}" for what in (*_noted(self.places), *self.remarks)]
        return "\n".join([head, "", *_aligned(rows), *([""] if notes else []), *notes])


@dataclass(frozen=True)
class Report:
    """The insertions made in a network, found as ``model.saccade_report``. ``print(report)`` shows them.

    Args:
        plans: Plans carried out, in order. Each mechanism was checked to be called exactly once.
        attached: First attachment at each place, by module and side, to restore what a conversion drops.
    """

    plans: tuple[Plan, ...]
    attached: Mapping[tuple[str, str], Attachment] = field(default_factory=dict, repr=False, compare=False)

    @property
    def steps(self) -> tuple[Step, ...]:
        """All mechanisms with their places."""
        return tuple(step for plan in self.plans for step in plan.steps)

    @property
    def places(self) -> tuple[Place, ...]:
        """All places, each module and side listed once."""
        return tuple({(place.name, place.side): place for plan in self.plans for place in plan.places}.values())

    @property
    def params(self) -> int:
        """Total number of learned numbers added."""
        return sum(plan.params for plan in self.plans)

    @property
    def macs(self) -> int:
        """Total multiply-adds added, each plan for its own input size."""
        return sum(plan.macs for plan in self.plans)

    def __str__(self) -> str:
        return "\n\n".join(f"inserted, each called exactly once per forward:\n{plan}" for plan in self.plans)


_HEADINGS = (
    "place", "side", "kind", "in", "shape", "layout", "stride", "mechanism", "start", "params", "MACs"
)  # fmt: skip


def _row(step: Step) -> tuple[str, ...]:
    place = step.place
    start = ("g = 0" if step.wrapped else "its own") + (", added" if step.added else "")
    return (
        place.name, place.side, place.kind, place.block, " x ".join(map(str, (place.channels, *place.sides))),
        place.layout, str(place.stride), str(step.mechanism), start, f"{step.params:,}",
        "" if step.macs is None else f"{step.macs:,}",
    )  # fmt: skip


def _noted(places: tuple[Place, ...]) -> list[str]:
    """Return the notes on places, grouped by kind."""
    found: dict[str, list[Place]] = {}
    for place in places:
        if place.note:
            found.setdefault(place.note, []).append(place)
    return [f"{note}: {listed(map(str, group))}" for note, group in found.items()]


def listed(names: Any) -> str:
    """Join names, only the first and the last of many."""
    names = list(names)
    return ", ".join(names) if len(names) <= 4 else f"{', '.join(names[:3])} ... {names[-1]} ({len(names)})"


def _aligned(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(_HEADINGS))]
    right = (*[False] * (len(_HEADINGS) - 2), True, True)
    return [
        "  ".join(cell.rjust(w) if r else cell.ljust(w) for cell, w, r in zip(row, widths, right, strict=True)).rstrip()
        for row in rows
    ]
