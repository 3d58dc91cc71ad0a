"""Find a module at which a hook can reach a value of the graph."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from saccade.insertion.graph import LAYOUT, NORM, SCALING, Graph
from saccade.insertion.maps import UPSAMPLING
from saccade.insertion.trace import Call, Op

_STEPS = 8


@dataclass(frozen=True)
class Location:
    """A module and a side on which a hook reaches a value.

    Args:
        path: Name of the module.
        side: ``"after"`` or ``"before"`` it.
        value: The value that the hook receives.
        steps: Number of elementwise operations between this value and the wanted one.
    """

    path: str
    side: str
    value: int
    steps: int = 0


def usable(graph: Graph, call: Call) -> bool:
    """Return whether a module may get a child and a hook: called once, not the network, not iterating its children."""
    return bool(call.path) and graph.trace.times_called(call.path) == 1 and not call.iterates


def locate(graph: Graph, value: int, scope: int, *, steps: int = 0) -> Location | None:
    """Return the location for a value, inside the call `scope`; None if there is none.

    Candidates in this order: after the outermost module that made it; before a module that passes it through; before
    the only module that reads it; at the nearest earlier value with one of these, across elementwise operations.
    """
    inside = [call for call in graph.trace.calls if call.index != scope and graph.trace.inside(call.index, scope)]
    inside = [call for call in inside if usable(graph, call)]
    made = [call for call in inside if makes(call, value)]
    made = [call for call in made if shrinks(graph, call) <= 2] or made[-1:]  # a stage at most, not a whole backbone
    if made:
        return Location(made[0].path, "after", value, steps)
    before = reader(graph, value, scope)
    if before:
        return Location(before.path, "before", value, steps)
    op = graph.trace.producer[value]
    if op is None or steps == _STEPS or not _elementwise(graph, op) or not _only_for(graph, op):
        return None
    return locate(graph, op.inputs[0], scope, steps=steps + 1)


def reader(graph: Graph, value: int, scope: int) -> Location | None:
    """Return the location before a module that passes a value on, or before the only one that reads it."""
    calls = [call for call in graph.trace.calls if call.first == value and call.index != scope]
    calls = [call for call in calls if graph.trace.inside(call.index, scope) and usable(graph, call)]
    passing = [call for call in calls if call.single and call.outputs == (value,)]
    found = passing or [call for call in calls if _reads_alone(graph, call, value)]
    return Location(found[0].path, "before", value) if found else None


def makes(call: Call, value: int) -> bool:
    """Return whether a module returned this value and nothing else, and did not merely pass it on."""
    return call.single and call.outputs == (value,) and value not in call.inputs


def shrinks(graph: Graph, call: Call) -> float:
    """Return the ratio of a map's side before a module to that after it; 1 without a map."""
    before = [graph.size(v)[1:] for v in call.inputs if graph.is_map(v)]
    after = [graph.size(v)[1:] for v in call.outputs if graph.is_map(v)]
    if not before or not after:
        return 1.0
    ratios = (max(b) / min(a) for b, a in zip(zip(*before, strict=True), zip(*after, strict=True), strict=True))
    return float(max(ratios))


def enclosing(graph: Graph, call: int | None) -> Iterator[Call]:
    """Yield a call and those it was made in, innermost first."""
    while call is not None:
        yield graph.trace.calls[call]
        call = graph.trace.calls[call].parent


def _reads_alone(graph: Graph, call: Call, value: int) -> bool:
    readers = graph.readers[value]
    return value not in graph.trace.outputs and all(call.begin <= op.index < call.end for op in readers)


def _only_for(graph: Graph, op: Op) -> bool:
    """Return whether only this operation, or only slices (a sum over part of the channels), read its input."""
    names = [reader.name for reader in graph.readers[op.inputs[0]]]
    return len(names) == 1 or set(names) == {"slice"}


def _elementwise(graph: Graph, op: Op) -> bool:
    if len(op.inputs) != 1 or not graph.is_map(op.inputs[0]):
        return False
    if op.name in SCALING or op.name in LAYOUT or op.name in NORM:
        return True
    same_size = graph.trace.shapes[op.inputs[0]] == graph.trace.shapes[op.outputs[0]]
    return same_size and op.convolution is None and op.name not in UPSAMPLING
