"""The places of a network: ends of residual branches, before their last convolution, blocks, ends of stages."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property

from saccade.errors import InputError
from saccade.insertion.graph import Graph, Residual
from saccade.insertion.locate import Location, enclosing, locate, makes, shrinks, usable
from saccade.insertion.trace import Call, Trace

KINDS = ("residual", "inner", "stage", "block")
# Where the rest of the network is a head or a neck, its convolutions are no stages.
_BACKBONES = ("backbone.body", "backbone", "encoder")


@dataclass(frozen=True)
class Place:
    """One point of a network where a mechanism can be attached.

    Args:
        name: The module that gets it.
        side: ``"after"`` or ``"before"`` that module.
        kind: ``"residual"``, ``"inner"``, ``"stage"``, ``"block"``, or ``"named"`` when asked for by name.
        channels: C of the map there.
        height: H of it, at the traced input.
        width: W of it.
        stride: Side of the input over side of the map, as a power of two.
        layout: ``"NCHW"`` or ``"NHWC"``: the order of the map's axes in the network.
        block: Class of the module that the place belongs to.
        stage: Number of its stage, from 0 (usually the stem).
        depth: Its number among the network's places of this kind, from 0.
        note: What is unusual about it, or empty.
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

    def __str__(self) -> str:
        return self.name if self.side == "after" else f"before:{self.name}"


class Places:
    """All places of a traced network, each kind found when asked for.

    Attributes:
        unused: What was found and cannot be used or was left out, with the reason.
    """

    def __init__(self, trace: Trace) -> None:
        self.trace, self.graph = trace, Graph(trace)
        self.unused: dict[str, str] = {}
        self.scope = _scope(trace, self.graph)

    def of(self, kind: str) -> tuple[Place, ...]:
        """The places of one of `KINDS`, in the order of the forward."""
        return {"residual": self.residual, "inner": self.inner, "stage": self.stage, "block": self.block}[kind]

    @cached_property
    def residual(self) -> tuple[Place, ...]:
        """The values that enter a residual addition as its branch."""
        return self._located(
            "residual", [(residual.branch, self._holder(residual), f"{i}") for i, residual in enumerate(self.residuals)]
        )

    @cached_property
    def inner(self) -> tuple[Place, ...]:
        """The inputs of the last convolution of each residual branch."""
        found = []
        for residual in self.residuals:
            place = self._before_last_convolution(residual)
            if place is None:
                self.unused[f"inner of {self._holder(residual).path}"] = "its last convolution is called several times"
            else:
                found.append(place)
        return _numbered(found)

    @cached_property
    def stage(self) -> tuple[Place, ...]:
        """The last maps of each size that everything goes through."""
        root = self.trace.calls[self.scope]
        return self._located("stage", [(value, root, f"{i}") for i, value in enumerate(self.stage_ends)])

    @cached_property
    def block(self) -> tuple[Place, ...]:
        """The outputs of the modules that hold a residual addition; without any, of convolutions on the trunk."""
        if not self.residuals:
            return self._plain_blocks()
        holders = Counter(self._holder(residual).index for residual in self.residuals)
        wanted = []
        for i, residual in enumerate(self.residuals):
            holder = self._holder(residual)
            if holders[holder.index] == 1 and usable(self.graph, holder) and self._one_map(holder):
                parent = self.trace.calls[holder.parent or 0]
                wanted.append((holder.outputs[0], parent, f"{i}"))
            else:  # several additions in one forward: each one's sum, with what is applied to it
                wanted.append((self._settled(residual.op.outputs[0]), holder, f"{i}"))
        return self._located("block", wanted)

    @cached_property
    def residuals(self) -> tuple[Residual, ...]:
        """The residual additions of the backbone."""
        found, left_out = self.graph.residuals()
        for reason, count in left_out.items():
            self.unused[f"{count} addition{'s' if count > 1 else ''}"] = reason
        return tuple(residual for residual in found if self.trace.inside(residual.op.call, self.scope))

    @cached_property
    def stage_ends(self) -> tuple[int, ...]:
        """The values at the ends of the stages, in order."""
        graph, ends = self.graph, dict[tuple[int, ...], int]()
        dilated = {
            graph.size(op.outputs[0])[1:]
            for op in self.trace.ops
            if op.convolution and max(op.convolution.dilation) > 1 and self.trace.inside(op.call, self.scope)
        }
        for value in graph.trunk(self.scope):
            if graph.is_map(value) and self._ends_convolutions(value) and not self._on_the_way_down(value):
                channels, *side = graph.size(value)
                key = (*side, channels) if tuple(side) in dilated else tuple(side)
                ends[key] = value
        return tuple(sorted(ends.values()))

    def named(self, path: str, side: str) -> Place:
        """The place at a module the caller named; a container stands for its last (or first) value.

        Raises:
            InputError: The module is not called once, or what passes there is no map.
        """
        calls = [call for call in self.trace.calls if call.path == path]
        if len(calls) != 1:
            raise InputError(
                f"{path}: it is called {len(calls)} times in one forward, a mechanism there would be too; expected 1",
                "name the module around it, or one that is called once" if calls else "name a module that is called",
            )
        call = calls[0]
        value = call.first if side == "before" else call.outputs[0] if call.single and call.outputs else None
        if value is None or not self.graph.is_map(value):
            shapes = [self.trace.shapes[v] for v in (call.inputs if side == "before" else call.outputs)]
            what = "first argument" if side == "before" else "output"
            raise InputError(
                f"{path} ({type(call.module).__name__}): its {what} is no single feature map (B, C, H, W); "
                f"its tensors have the shapes {', '.join(map(str, shapes)) or 'none'}",
                "name a module inside it that returns one map",
            )
        location: Location | None = Location(path, side, value)
        if not usable(self.graph, call):
            location = self._inside_container(call, value, side)
        if location is None:
            raise InputError(
                f"{path} ({type(call.module).__name__}): it iterates its children, so it cannot hold one more, and no "
                "module in it makes this value",
                "name a module inside it",
            )
        return self._place("named", location, call, 0)

    def _inside_container(self, call: Call, value: int, side: str) -> Location | None:
        if side == "after":
            return locate(self.graph, value, call.index)
        inside = [c for c in self.trace.calls if self.trace.inside(c.index, call.index) and usable(self.graph, c)]
        return next((Location(c.path, "before", value) for c in inside if c.first == value), None)

    def _located(self, kind: str, wanted: list[tuple[int, Call, str]]) -> tuple[Place, ...]:
        found: list[Place] = []
        for value, holder, label in wanted:
            location = locate(self.graph, value, holder.index)
            if location is None or not self.graph.is_map(location.value):
                self.unused[f"{kind} {label} in {holder.path or type(holder.module).__name__}"] = (
                    "no module that is called once makes or reads this value alone"
                )
                continue
            place = self._place(kind, location, holder, len(found))
            if (place.name, place.side) not in {(other.name, other.side) for other in found}:
                found.append(place)
        return tuple(found)

    def _place(self, kind: str, location: Location, holder: Call, depth: int) -> Place:
        channels, height, width = self.graph.size(location.value)
        note = f"{location.steps} elementwise operations earlier" if location.steps else ""
        block = type(holder.module).__name__
        if kind in ("stage", "block"):
            block = next(type(c.module).__name__ for c in self.trace.calls if c.path == location.path)
        return Place(
            location.path, location.side, kind, channels, height, width, self._stride(height),
            "NHWC" if location.value in self.graph.channels_last else "NCHW", block,
            bisect_left(self.stage_ends, location.value), depth, note,
        )  # fmt: skip

    def _stride(self, height: int) -> int:
        return int(2 ** round(math.log2(max(1.0, self.trace.input_shape[-2] / height))))

    def _holder(self, residual: Residual) -> Call:
        """The innermost module that holds both the addition and its branch."""
        begin = residual.region[0].index
        return next(call for call in enclosing(self.graph, residual.op.call) if call.begin <= begin)

    def _one_map(self, call: Call) -> bool:
        return call.single and len(call.outputs) == 1 and self.graph.is_map(call.outputs[0])

    def _settled(self, value: int) -> int:
        """A sum after the activation or norm that alone reads it."""
        while len(self.graph.readers[value]) == 1:
            op = self.graph.readers[value][0]
            if len(op.inputs) > 1 or op.convolution or self.trace.shapes[op.outputs[0]] != self.trace.shapes[value]:
                break
            value = op.outputs[0]
        return value

    def _before_last_convolution(self, residual: Residual) -> Place | None:
        carriers, size = self.graph.carriers, self.graph.size(residual.branch)[1:]
        last = [
            op
            for op in residual.convolutions
            if self.graph.size(op.outputs[0])[1:] == size and carriers >> op.outputs[0] & 1
        ][-1:]
        for op in last:
            holder, value = self._holder(residual), op.inputs[0]
            call = self.trace.calls[op.call]
            if call.first == value and usable(self.graph, call):
                return self._place("inner", Location(call.path, "before", value), holder, 0)
            location = locate(self.graph, value, holder.index)
            return self._place("inner", location, holder, 0) if location else None
        return None

    def _plain_blocks(self) -> tuple[Place, ...]:
        graph, trunk = self.graph, set(self.graph.trunk(self.scope))
        found: list[Call] = []
        for call in self.trace.calls:
            if call.index == self.scope or not self.trace.inside(call.index, self.scope) or not usable(graph, call):
                continue
            outer = any(self.trace.inside(call.index, other.index) for other in found)
            convolutions = self._spatial(call)
            if outer or not convolutions or not self._one_map(call) or call.outputs[0] not in trunk:
                continue
            if shrinks(graph, call) <= 2 or convolutions == 1:
                found.append(call)
        return tuple(
            self._place("block", Location(call.path, "after", call.outputs[0]), call, depth)
            for depth, call in enumerate(found)
        )

    def _spatial(self, call: Call, until: int | None = None) -> int:
        """Spatial convolutions inside a call, up to an operation."""
        ops = self.trace.ops[call.begin : call.end if until is None else until + 1]
        return sum(op.convolution is not None and op.convolution.spatial for op in ops)

    def _ends_convolutions(self, value: int) -> bool:
        """Whether a map is the end of something with a spatial convolution, and not of a 1x1 convolution of a head."""
        op = self.trace.producer[value]
        blocks = [c for c in enclosing(self.graph, op.call if op else None) if c.index != self.scope and c.path]
        if any(makes(c, value) and shrinks(self.graph, c) <= 2 and self._spatial(c) for c in blocks):
            return True
        seen, waiting = set[int](), [op]
        while waiting:
            op = waiting.pop()
            if op is None or op.index in seen:
                continue
            seen.add(op.index)
            if op.convolution is None and op.name not in ("addmm", "mm"):
                waiting += [self.trace.producer[source] for source in op.inputs]
            elif op.convolution and op.convolution.spatial:
                return True
        return False

    def _on_the_way_down(self, value: int) -> bool:
        """Whether a map lies inside a module that enters at its size, leaves smaller, and has hardly begun."""
        op, size = self.trace.producer[value], self.graph.size(value)[1:]
        for call in enclosing(self.graph, op.call if op else None):
            enters = any(self.graph.is_map(v) and self.graph.size(v)[1:] == size for v in call.inputs)
            leaves = [self.graph.area(v) for v in call.outputs if self.graph.is_map(v)]
            if op and enters and leaves and min(leaves) < self.graph.area(value) and self._spatial(call, op.index) < 2:
                return True
        return False


def _numbered(places: list[Place]) -> tuple[Place, ...]:
    return tuple(replace(place, depth=depth) for depth, place in enumerate(places))


def _scope(trace: Trace, graph: Graph) -> int:
    """The call of the backbone in a larger network; the network itself where there is none."""
    for path in _BACKBONES:
        for call in trace.calls:
            if call.path == path and any(graph.is_map(value) for value in call.outputs):
                return call.index
    return 0
