"""Find the ends of a network's stages: the last feature map of each size that all paths go through."""

from __future__ import annotations

from saccade.insertion.graph import MATRIX, PAD, Graph
from saccade.insertion.locate import enclosing, makes, shrinks
from saccade.insertion.residuals import LINEAR, is_table
from saccade.insertion.trace import CUTS, Call

# Convolutions without padding shrink a map by a row or two, which does not begin a new stage.
_NEARLY = 1.25


def stage_ends(graph: Graph, scope: int) -> tuple[int, ...]:
    """Return the values at the ends of the stages, in order.

    In dilated networks, whose last stages have one size, a stage of that size also ends before the channels grow
    for good; a block that widens and narrows again is not a stage.
    """
    ends: list[int] = []
    dilated = _dilated_sizes(graph, scope)
    for value in graph.trunk(scope):
        if not graph.is_map(value) or not _ends_mixing(graph, value, scope) or _on_the_way_down(graph, value):
            continue
        while ends and _same_stage(graph.size(ends[-1]), graph.size(value), dilated):
            ends.pop()
        ends.append(value)
    return (*ends[:-1], _finished(graph, ends[-1], scope)) if ends else ()


def mixing(graph: Graph, call: Call, until: int | None = None) -> int:
    """Count the operations inside a call, up to one of them, that mix positions by learned weights."""
    ops = graph.trace.ops[call.begin : call.end if until is None else until + 1]
    return sum((op.convolution is not None and op.spatial) or op.name in CUTS or is_table(op) for op in ops)


def _dilated_sizes(graph: Graph, scope: int) -> set[tuple[int, ...]]:
    """Return the sizes at which convolutions are dilated instead of strided; not next to others that read the map."""
    found = set[tuple[int, ...]]()
    for op in graph.trace.ops:
        window = op.convolution
        if window and max(window.dilation) > 1 and graph.is_map(op.outputs[0]) and graph.trace.inside(op.call, scope):
            made = graph.trace.producer[op.inputs[0]]
            beside = [reader for value in (made.outputs if made else op.inputs) for reader in graph.readers[value]]
            if sum(reader.convolution is not None and reader.spatial for reader in beside) == 1:
                found.add(graph.size(op.outputs[0])[1:])
    return found


def _finished(graph: Graph, value: int, scope: int) -> int:
    """Return a sum of branches after the 1x1 convolution, norm and activation that alone read it."""
    op = graph.trace.producer[value]
    if op is None or op.call != scope or op.name != "add" or len(op.inputs) < 2:
        return value
    last, names = value, list[str]()
    while len(graph.readers[last]) == 1 and graph.is_map(last):
        op = graph.readers[last][0]
        if len(op.inputs) > 1 or op.spatial or not graph.is_map(op.outputs[0]):
            break
        last = op.outputs[0]
        names.append(op.name)
    activated = any(name not in LINEAR for name in names)
    return last if names[:1] == ["convolution"] and activated else value


def _same_stage(early: tuple[int, ...], late: tuple[int, ...], dilated: set[tuple[int, ...]]) -> bool:
    if early[1:] == late[1:] and early[1:] in dilated:
        return early[0] >= late[0]
    return all(before <= _NEARLY * after for before, after in zip(early[1:], late[1:], strict=True))


def _ends_mixing(graph: Graph, value: int, scope: int) -> bool:
    """Return whether a map is the end of something that mixes positions, and not of a 1x1 convolution of a head."""
    op = graph.trace.producer[value]
    if op is not None and op.name in PAD:
        return False
    blocks = [call for call in enclosing(graph, op.call if op else None) if call.index != scope and call.path]
    if any(makes(call, value) and shrinks(graph, call) <= 2 and mixing(graph, call) for call in blocks):
        return True
    if graph.trace.flat:
        return _closes_a_block(graph, value)
    seen, waiting = set[int](), [op]
    while waiting:
        op = waiting.pop()
        if op is None or op.index in seen:
            continue
        seen.add(op.index)
        if op.convolution is None and op.name not in MATRIX:
            waiting += [graph.trace.producer[source] for source in op.inputs]
        elif op.convolution and op.convolution.spatial:
            return True
    return False


def _closes_a_block(graph: Graph, value: int) -> bool:
    """Return whether a map follows a convolution of neighbours, or one 1x1 convolution that ends its block.

    A 1x1 convolution of joined branches does not end their block: it is one of a transition or a head.
    """
    seen, waiting = set[tuple[int, bool]](), [(graph.trace.producer[value], False)]
    while waiting:
        op, narrowed = waiting.pop()
        if op is None or (op.index, narrowed) in seen or (narrowed and op.name in ("add", "cat")):
            continue
        seen.add((op.index, narrowed))
        if op.convolution and op.convolution.spatial:
            return True
        if op.convolution or op.name in MATRIX:
            if narrowed:
                continue
            narrowed = True
        waiting += [(graph.trace.producer[source], narrowed) for source in op.inputs]
    return False


def _on_the_way_down(graph: Graph, value: int) -> bool:
    """Return whether a map lies inside a module that enters at its size, leaves smaller, and has hardly begun."""
    op, size = graph.trace.producer[value], graph.size(value)[1:]
    for call in enclosing(graph, op.call if op else None):
        enters = any(graph.is_map(v) and graph.size(v)[1:] == size for v in call.inputs)
        leaves = [graph.area(v) for v in call.outputs if graph.is_map(v)]
        if op and enters and leaves and min(leaves) < graph.area(value) and mixing(graph, call, op.index) < 2:
            return True
    return False
