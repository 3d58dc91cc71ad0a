"""Decide which additions of a network are residual: a branch with learned layers, added to a shortcut past it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from saccade.insertion.graph import GLOBAL_POOL, LAYOUT, MATRIX, NORM, PAD, SCALING, Graph, is_product
from saccade.insertion.maps import BATCH_NORM, POOLS, UPSAMPLING
from saccade.insertion.trace import Op

# With one operand from the input these are linear in it; any other operation counts as an activation, as do norms
# that divide by their input's own statistics.
LINEAR = (
    LAYOUT | PAD | POOLS | BATCH_NORM | GLOBAL_POOL | UPSAMPLING | SCALING | MATRIX
    | {"convolution", "bmm", "cat", "stack", "dropout", "native_dropout",
       "copy", "written", "fill"}
)  # fmt: skip
_BLOCKS_OF_A_STAGE = 3


@dataclass(frozen=True)
class Residual:
    """An addition of a branch to a shortcut.

    Args:
        op: The addition.
        branch: The value at the end of the branch, which enters the addition.
        fork: The value from which branch and shortcut both start.
        region: The operations between fork and branch.
    """

    op: Op
    branch: int
    fork: int
    region: tuple[Op, ...]

    @property
    def maps(self) -> list[Op]:
        """The branch's convolutions and matrices."""
        return [op for op in self.region if op.convolution or op.name in MATRIX]

    @property
    def spatial(self) -> bool:
        """True if an operation in it mixes neighbouring positions."""
        return any(op.spatial for op in self.region)

    @property
    def attends(self) -> bool:
        """True if it weights positions or channels by a table."""
        return any(is_table(op) for op in self.region)


def is_table(op: Op) -> bool:
    """Return whether an operation mixes positions as attention does, by a product of two matrices made from the map."""
    return (
        "dot_product" in op.name
        or op.name == "recurrence"
        or (op.name in ("bmm", "matmul", "mm", "baddbmm") and is_product(op))
    )


def find_residuals(graph: Graph) -> tuple[list[Residual], dict[str, int]]:
    """Return the residual additions in their order, and the number of others by the reason for skipping them."""
    found, left_out = [], defaultdict[str, int](int)
    for op in graph.trace.ops:
        residual = _residual(graph, op) if op.name == "add" and len(op.inputs) == 2 else None
        reason = _refuse(graph, residual) if residual else None
        if reason:
            left_out[reason] += 1
        elif residual:
            found.append(residual)
    if any(residual.spatial for residual in found):
        flat = [residual for residual in found if not (residual.spatial or residual.attends)]
        if flat:
            left_out["the branch mixes no positions (an MLP half)"] += len(flat)
        found = [residual for residual in found if residual not in flat]
    kept = _without_nested(graph, found)
    if len(kept) < len(found):
        left_out["nested in another residual branch, or a long skip over blocks"] += len(found) - len(kept)
    return kept, dict(left_out)


def _residual(graph: Graph, op: Op) -> Residual | None:
    shapes = graph.trace.shapes
    first, second = op.inputs
    if shapes[first] != shapes[second]:
        return None
    for branch, shortcut in ((first, second), (second, first)):
        for fork in _shortcut(graph, shortcut):
            if fork == branch or not graph.reaches(fork, branch):
                continue
            region = graph.between(fork, branch)
            if any(inner.convolution or inner.name in MATRIX or inner.spatial for inner in region):
                return Residual(op, branch, fork, region)
            break
    return None


def _shortcut(graph: Graph, value: int) -> list[int]:
    """Return the values that `value` is separated from by a shortcut only, nearest first."""
    found = [value]
    while True:
        op = graph.trace.producer[found[-1]]
        if op is None or len(op.inputs) != 1 or not _is_shortcut(op):
            return found
        found.append(op.inputs[0])


def _is_shortcut(op: Op) -> bool:
    if op.convolution:
        return not op.convolution.overlapping
    known = op.name in LAYOUT or op.name in PAD or op.name in NORM or op.name in SCALING
    return known or op.window is not None or op.name == "cat"


def _refuse(graph: Graph, residual: Residual) -> str | None:
    trace = graph.trace
    if not graph.is_map(residual.branch):
        return "an addition of tokens or vectors, not of maps"
    if graph.only_a_gate(residual.op.outputs[0]):
        return "the sum only becomes the factors of a gate"
    if all(op.name in LINEAR and not is_product(op) for op in residual.region):
        return "the branch is linear (a sum that is folded into one convolution)"
    last = trace.producer[residual.branch]
    while last is not None and (last.name in LAYOUT or last.name in NORM):
        last = trace.producer[last.inputs[0]]
    if last is not None and last.name in UPSAMPLING and not _is_block(last, residual):
        return "the branch ends in an upsampling (a fusion of levels)"
    own = trace.producer[residual.branch]
    if own is not None and own.name == "add" and len(own.inputs) == 2 and own.call == residual.op.call:
        return "the branch is itself a sum"
    return None


def _is_block(last: Op, residual: Residual) -> bool:
    """Return whether a branch goes down and up again by a learned upsampling, rather than through levels."""
    return last.name == "conv_transpose" and sum(op.spatial for op in residual.region) <= _BLOCKS_OF_A_STAGE


def _without_nested(graph: Graph, found: list[Residual]) -> list[Residual]:
    """Drop additions inside another branch; a skip over several blocks, or over smaller maps, yields to them."""
    kept: list[Residual] = []
    for outer in sorted(found, key=lambda residual: len(residual.region)):
        ops = {op.index for op in outer.region}
        inner = [residual for residual in kept if residual.op.index in ops]
        alike = [r for r in inner if graph.trace.shapes[r.branch] == graph.trace.shapes[outer.branch]]
        smaller = [r for r in inner if _narrows_to(graph, r.branch, outer.branch)]
        if len(alike) < _BLOCKS_OF_A_STAGE and not smaller:
            kept = [residual for residual in kept if residual not in inner]
            kept.append(outer)
    return sorted(kept, key=lambda residual: residual.op.index)


def _narrows_to(graph: Graph, inner: int, outer: int) -> bool:
    """Return whether a map is a smaller one of no fewer channels: that of an hourglass, not of a gate."""
    return graph.area(inner) < graph.area(outer) and graph.size(inner)[0] >= graph.size(outer)[0]
