"""The places of a network: ends of residual branches, before their last convolution, blocks, ends of stages."""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass, replace
from functools import cached_property

from saccade.insertion.graph import Graph
from saccade.insertion.locate import Location, enclosing, locate, shrinks, usable
from saccade.insertion.maps import FIRST
from saccade.insertion.names import matching
from saccade.insertion.residuals import Residual, find_residuals
from saccade.insertion.scope import backbone
from saccade.insertion.stages import mixing, stage_ends
from saccade.insertion.trace import Call, Op, Trace

KINDS = ("residual", "inner", "stage", "block")


@dataclass(frozen=True)
class Place:
    """One point of a network where a mechanism can be attached.

    Args:
        name: Module that the mechanism is attached to.
        side: ``"after"`` or ``"before"`` that module.
        kind: ``"residual"``, ``"inner"``, ``"stage"``, ``"block"``, or ``"named"`` if chosen by name.
        channels: Channels C of the feature map there.
        height: Height H of the map at the traced input; 1 for a sequence.
        width: Width W of the map at the traced input, or length of the sequence.
        stride: Side of the input over side of the map, as a power of two.
        layout: Order of the map's axes in the network: ``"NCHW"`` or ``"NHWC"``; in a network on volumes or clips
            ``"NCDHW"`` or ``"NDHWC"``, in one on sequences ``"NCL"`` or ``"NLC"``.
        block: Class of the module that contains the place.
        stage: Number of its stage, from 0 (usually the stem).
        depth: Number among the network's places of this kind, from 0.
        note: Unusual property of the place, or empty.
        frames: Sides of the map before its height: the depth of a volume, the frames of a clip.
    """

    name: str
    side: str
    kind: str
    channels: int
    height: int
    width: int
    stride: int
    layout: str
    block: str
    stage: int
    depth: int
    note: str = ""
    frames: tuple[int, ...] = ()

    @property
    def dims(self) -> int:
        """The number of the map's axes: 1 of a sequence, 2 of an image, 3 of a volume or a clip."""
        return len(self.layout) - 2

    @property
    def sides(self) -> tuple[int, ...]:
        """The sides of the map at the traced input."""
        return (self.width,) if self.dims == 1 else (*self.frames, self.height, self.width)

    def __str__(self) -> str:
        return self.name if self.side == "after" else f"before:{self.name}"


class Places:
    """All places of a traced network, each kind found on access.

    Attributes:
        unused: Found places that cannot be used or were excluded, with the reason.
        notes: Notes on the choice of places.
    """

    def __init__(self, trace: Trace, within: str | None = None) -> None:
        self.trace, self.graph = trace, Graph(trace)
        self.unused: dict[str, str] = {}
        self.notes: list[str] = []
        self.within = self.matching(within) if within else ()
        self.scope = self._scope()

    def of(self, kind: str) -> tuple[Place, ...]:
        """Return the places of one of `KINDS` in the searched parts, in the order of the forward pass."""
        found = {"residual": self.residual, "inner": self.inner, "stage": self.stage, "block": self.block}[kind]
        return tuple(place for place in found if self.includes(place.name))

    def matching(self, pattern: str, *, option: str = "within", words: tuple[str, ...] = ()) -> tuple[str, ...]:
        """Return the modules that a glob matches, see :func:`saccade.insertion.names.matching`."""
        return matching(self.trace, pattern, option=option, words=words)

    def includes(self, path: str) -> bool:
        """Return whether a module lies in the parts given by ``within=``."""
        return not self.within or any(path == part or path.startswith(f"{part}.") for part in self.within)

    def convolutions(self, place: Place) -> int:
        """Return the number of convolutions in the module of a place."""
        calls = (call for call in self.trace.calls if call.path == place.name)
        return sum(op.convolution is not None for call in calls for op in self.trace.ops[call.begin : call.end])

    def _scope(self) -> int:
        """Return the call to search: the only part asked for, or the backbone, or the network."""
        calls = [call for call in self.trace.calls if call.path in self.within]
        if len(calls) == 1 and any(self.graph.is_map(value) for value in calls[0].outputs):
            return calls[0].index
        found = backbone(self.graph)
        return found if all(self.trace.inside(call.index, found) for call in calls) else 0

    @cached_property
    def residual(self) -> tuple[Place, ...]:
        """The values that enter a residual addition as its branch."""
        return self._located(
            "residual", [(residual.branch, self.holder(residual), f"{i}") for i, residual in enumerate(self.residuals)]
        )

    @cached_property
    def inner(self) -> tuple[Place, ...]:
        """The inputs of the last convolution of each residual branch."""
        found = []
        for residual in self.residuals:
            place = self._before_last_convolution(residual)
            if place is None:
                self.unused[f"inner of {self.holder(residual).path}"] = (
                    "what its last convolution (or linear layer) reads is not a map, or passes no module called once"
                    if residual.maps
                    else "its branch has no convolution"
                )
            else:
                found.append(place)
        return _numbered(found)

    @cached_property
    def stage(self) -> tuple[Place, ...]:
        """The last maps of each size that all paths go through."""
        root = self.trace.calls[self.scope]
        return self._located("stage", [(value, root, f"{i}") for i, value in enumerate(self.stage_ends)])

    @cached_property
    def block(self) -> tuple[Place, ...]:
        """The outputs of modules with a residual addition, or of a decoder's; else of convolutions on the trunk."""
        found = self._decoder_blocks()
        if found:
            return found
        if not any(self.includes(self.holder(residual).path) for residual in self.residuals):
            return self._plain_blocks()
        wanted: dict[int, tuple[int, Call, str]] = {}
        for i, residual in enumerate(self.residuals):
            holder = self.holder(residual)
            if holder.index != self.scope and usable(self.graph, holder) and self._one_map(holder):
                value, holder = holder.outputs[0], self.trace.calls[holder.parent or 0]
            else:  # the addition stands in the forward of the network: its sum, with what is applied to it
                value = self._settled(residual.op.outputs[0])
            wanted.setdefault(value, (value, holder, f"{i}"))
        return self._located("block", list(wanted.values()))

    @cached_property
    def residuals(self) -> tuple[Residual, ...]:
        """The residual additions of the backbone."""
        found, left_out = find_residuals(self.graph)
        for reason, count in left_out.items():
            self.unused[f"{count} addition{'s' if count > 1 else ''}"] = reason
        inside = [residual for residual in found if self.trace.inside(residual.op.call, self.scope)]
        kept = tuple(r for r in inside if self.within or not self.graph.neck >> r.branch & 1)
        if len(kept) < len(inside):
            self.unused[f"{len(inside) - len(kept)} residual additions"] = (
                "in the neck or a head; within= searches there"
            )
        return kept

    @cached_property
    def stage_ends(self) -> tuple[int, ...]:
        """The values at the ends of the stages, in order."""
        return stage_ends(self.graph, self.scope)

    def _located(self, kind: str, wanted: list[tuple[int, Call, str]]) -> tuple[Place, ...]:
        found: list[Place] = []
        for value, holder, label in wanted:
            location = locate(self.graph, value, holder.index)
            if location is None or not self.graph.is_map(location.value):
                self.unused[f"{kind} {label} in {holder.path or type(holder.module).__name__}"] = (
                    "no module that is called once makes or reads this value alone"
                )
                continue
            place = self.place(kind, location, holder, len(found))
            if (place.name, place.side) not in {(other.name, other.side) for other in found}:
                found.append(place)
        return tuple(found)

    def place(self, kind: str, location: Location, holder: Call, depth: int = 0) -> Place:
        """Build the place at a location."""
        channels, *sides = self.graph.size(location.value)
        *frames, height, width = [1] * (2 - len(sides)) + sides
        note = f"{location.steps} elementwise operations earlier" if location.steps else ""
        block = type(holder.module).__name__
        if kind in ("stage", "block"):
            block = next(type(c.module).__name__ for c in self.trace.calls if c.path == location.path)
        return Place(
            location.path, location.side, kind, channels, height, width, self._stride(sides),
            self.graph.layout[location.value] or FIRST[self.graph.dims], block,
            bisect_left(self.stage_ends, location.value), depth, note, tuple(frames),
        )  # fmt: skip

    def _stride(self, sides: list[int]) -> int:
        first = next((op.inputs[0] for op in self.trace.ops if op.convolution), self.trace.inputs[0])
        axis = -1 if len(sides) == 1 else -2
        image = max(self.trace.input_shape[axis], self.trace.shapes[first][axis])  # detectors enlarge the image first
        return int(2 ** round(math.log2(max(1.0, image / sides[axis]))))

    def holder(self, residual: Residual) -> Call:
        """Return the innermost module that contains both the addition and its branch."""
        begin = residual.region[0].index
        return next(call for call in enclosing(self.graph, residual.op.call) if call.begin <= begin)

    def _one_map(self, call: Call) -> bool:
        return call.single and len(call.outputs) == 1 and self.graph.is_map(call.outputs[0])

    def _settled(self, value: int) -> int:
        """Return a sum after the activation or norm that alone reads it."""
        while len(self.graph.readers[value]) == 1:
            op = self.graph.readers[value][0]
            if len(op.inputs) > 1 or op.convolution or self.trace.shapes[op.outputs[0]] != self.trace.shapes[value]:
                break
            value = op.outputs[0]
        return value

    def _before_last_convolution(self, residual: Residual) -> Place | None:
        carriers, size = self.graph.carriers, self.graph.size(residual.branch)[1:]
        maps = [
            (op, behind)
            for op in residual.maps
            if carriers >> op.outputs[0] & 1 and (behind := self._map_of(op, op.outputs[0])) is not None
        ]
        same = [(op, behind) for op, behind in maps if self.graph.size(behind)[1:] == size]
        for op, _ in (same or maps)[-1:]:
            holder, call, value = self.holder(residual), self.trace.calls[op.call], self._map_of(op, op.inputs[0])
            if value is not None and call.first == value and usable(self.graph, call):
                return self.place("inner", Location(call.path, "before", value), holder)
            location = None if value is None else locate(self.graph, value, holder.index)
            return self.place("inner", location, holder) if location else None
        return None

    def _map_of(self, op: Op, value: int) -> int | None:
        """Return the map that an operation reads or makes: a linear layer reshapes its map to a matrix and back."""
        if self.graph.is_map(value):
            return value
        call = self.trace.calls[op.call]
        around = call.first if value in op.inputs else next(iter(call.outputs), None)
        return around if around is not None and self.graph.is_map(around) else None

    def _plain_blocks(self) -> tuple[Place, ...]:
        """Return the outermost modules on the trunk with a convolution, or their values; no whole networks."""
        graph, trunk = self.graph, set(self.graph.trunk(self.scope))
        found: list[Call] = []
        for call in self.trace.calls:
            outer = any(self.trace.inside(call.index, other.index) for other in found)
            if call.index == self.scope or outer or not self.trace.inside(call.index, self.scope):
                continue
            convolutions = mixing(graph, call)
            if not convolutions or not self._one_map(call) or call.outputs[0] not in trunk:
                continue
            if (shrinks(graph, call) <= 2 or convolutions == 1) and (
                usable(graph, call) or not self._parts(call, trunk)
            ):
                found.append(call)
        wanted = [(c.outputs[0], self.trace.calls[c.parent or 0], f"{i}") for i, c in enumerate(found)]
        return self._located("block", wanted)

    def _decoder_blocks(self) -> tuple[Place, ...]:
        """Return the outermost modules with a convolution in the parts asked for, if these enlarge maps.

        A decoder's blocks read maps of the encoder too, so that no path goes through all of them.
        """
        graph, parts = self.graph, [call for call in self.trace.calls if call.path in self.within]
        if not any(self._enlargements(part) for part in parts):
            return ()
        found: list[Call] = []
        for call in self.trace.calls:
            inner = any(call.index != part.index and self.trace.inside(call.index, part.index) for part in parts)
            if not inner or any(self.trace.inside(call.index, other.index) for other in found):
                continue
            carries = self._one_map(call) and graph.carriers >> call.outputs[0] & 1
            answers = carries and graph.is_prediction(call.outputs[0])
            ops, grown = self.trace.ops[call.begin : call.end], self._enlargements(call)
            mixes = mixing(graph, call) or (grown and any(op.convolution for op in ops))
            if mixes and carries and not answers and grown < 2:
                found.append(call)
        wanted = [(c.outputs[0], self.trace.calls[c.parent or 0], f"{i}") for i, c in enumerate(found)]
        return self._located("block", wanted)

    def _enlargements(self, call: Call) -> int:
        return sum(call.begin <= op.index < call.end for op in self.graph.growing)

    def _parts(self, call: Call, trunk: set[int]) -> bool:
        """Return whether a container's parts are on the trunk themselves."""
        inside = (c for c in self.trace.calls[call.index + 1 :] if self.trace.inside(c.index, call.index))
        return any(mixing(self.graph, c) and trunk.intersection(c.outputs) for c in inside)


def _numbered(places: list[Place]) -> tuple[Place, ...]:
    return tuple(replace(place, depth=depth) for depth, place in enumerate(places))
