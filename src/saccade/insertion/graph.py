"""Questions about a traced forward: what lies upstream of what, which additions are residual, where stages end.

Everything is decided on operations and shapes; no rule knows the name or the class of a module.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property

from saccade.insertion.trace import Op, Trace

LAYOUT = frozenset(
    (
        "view", "_unsafe_view", "reshape", "permute", "transpose", "t", "clone", "contiguous", "alias", "detach",
        "expand", "squeeze", "unsqueeze", "flatten", "_to_copy", "slice", "select", "split", "split_with_sizes",
        "chunk", "unbind", "as_strided", "pixel_shuffle", "pixel_unshuffle", "channel_shuffle", "roll", "lift_fresh",
    )
)  # fmt: skip
PAD = frozenset(("constant_pad_nd", "reflection_pad2d", "replication_pad2d", "pad"))
NORM = frozenset(
    (
        "native_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_no_training", "cudnn_batch_norm",
        "batch_norm", "native_layer_norm", "native_group_norm", "_fused_rms_norm", "rms_norm",
    )
)  # fmt: skip
POOL = frozenset(("avg_pool2d", "max_pool2d_with_indices", "max_pool2d"))
GLOBAL_POOL = frozenset(("mean", "sum", "amax", "_adaptive_avg_pool2d", "adaptive_avg_pool2d", "adaptive_max_pool2d"))
UPSAMPLING = frozenset(
    f"{prefix}upsample_{kind}2d{suffix}"
    for prefix in ("", "_")
    for kind in ("nearest", "nearest_exact", "bilinear", "bicubic")
    for suffix in ("", "_aa")
)
PRODUCTS = frozenset(("mul", "div", "matmul", "mm", "bmm", "baddbmm", "einsum"))
SCALING = frozenset(("mul", "div", "add", "sub", "neg"))
# With one operand from the input these are linear in it; any other operation counts as an activation.
LINEAR = (
    LAYOUT | PAD | NORM | GLOBAL_POOL | UPSAMPLING | SCALING
    | {"convolution", "mm", "addmm", "bmm", "cat", "stack", "avg_pool2d", "max_pool2d_with_indices", "dropout",
       "native_dropout", "copy", "written", "fill"}
)  # fmt: skip
BOUNDED = frozenset(("sigmoid", "hardsigmoid", "tanh", "softmax", "_softmax", "clamp", "hardtanh"))


@dataclass(frozen=True)
class Residual:
    """An addition of a branch to a shortcut.

    Args:
        op: The addition.
        branch: The value that enters it at the end of the branch.
        fork: The value branch and shortcut both start from.
        region: The operations between fork and branch.
    """

    op: Op
    branch: int
    fork: int
    region: tuple[Op, ...]

    @property
    def convolutions(self) -> list[Op]:
        """The branch's convolutions."""
        return [op for op in self.region if op.convolution]

    @property
    def spatial(self) -> bool:
        """Whether one of them mixes positions."""
        return any(op.convolution and op.convolution.spatial for op in self.region)


class Graph:
    """A trace with its arrows followed: `ancestors[v]` has bit u set when v was made from u (or is u)."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.ancestors: list[int] = []
        self.readers: dict[int, list[Op]] = defaultdict(list)
        self.channels_last: set[int] = set()
        for value, op in enumerate(trace.producer):
            upstream = 1 << value
            for source in op.inputs if op else ():
                upstream |= self.ancestors[source]
            self.ancestors.append(upstream)
        for op in trace.ops:
            for source in op.inputs:
                self.readers[source].append(op)
            if op.dims == (0, 2, 3, 1) or (op.inputs[0] in self.channels_last and not _to_channels_first(op)):
                self.channels_last.update(op.outputs)

    def size(self, value: int) -> tuple[int, int, int]:
        """Channels, height and width of a map, whichever order its axes are in."""
        _, *axes = self.trace.shapes[value]
        if value in self.channels_last:
            return axes[2], axes[0], axes[1]
        return axes[0], axes[1], axes[2]

    def area(self, value: int) -> int:
        """Positions of a map."""
        _, height, width = self.size(value)
        return height * width

    def is_map(self, value: int) -> bool:
        """Whether a value has four axes and more than one position."""
        return len(self.trace.shapes[value]) == 4 and self.area(value) > 1

    def reaches(self, early: int, late: int) -> bool:
        """Whether `late` was made from `early`."""
        return bool(self.ancestors[late] >> early & 1)

    def between(self, early: int, late: int) -> tuple[Op, ...]:
        """The operations on the ways from one value to another, the last one's own included."""
        first, last = self.trace.producer[early], self.trace.producer[late]
        span = self.trace.ops[first.index + 1 if first else 0 : last.index + 1 if last else 0]
        return tuple(
            op for op in span if any(self.reaches(early, out) and self.reaches(out, late) for out in op.outputs)
        )

    def residuals(self) -> tuple[list[Residual], dict[str, int]]:
        """The residual additions in their order, and how many others were left out for which reason."""
        found, left_out = [], defaultdict[str, int](int)
        for op in self.trace.ops:
            if op.name != "add" or len(op.inputs) != 2:
                continue
            residual = self._residual(op)
            reason = self._refuse(residual) if residual else None
            if reason:
                left_out[reason] += 1
            elif residual:
                found.append(residual)
        if any(residual.spatial for residual in found):
            flat = [residual for residual in found if not residual.spatial]
            if flat:
                left_out["the branch has no spatial convolution (an MLP half)"] += len(flat)
            found = [residual for residual in found if residual.spatial]
        kept = _without_nested(self.trace, found)
        if len(kept) < len(found):
            left_out["nested in another residual branch, or a long skip over blocks"] += len(found) - len(kept)
        return kept, dict(left_out)

    def _residual(self, op: Op) -> Residual | None:
        shapes = self.trace.shapes
        first, second = op.inputs
        if shapes[first] != shapes[second]:
            return None
        for branch, shortcut in ((first, second), (second, first)):
            for fork in self._shortcut(shortcut):
                if fork == branch or not self.reaches(fork, branch):
                    continue
                region = self.between(fork, branch)
                if any(inner.convolution or inner.name in ("addmm", "mm") for inner in region):
                    return Residual(op, branch, fork, region)
                break
        return None

    def _shortcut(self, value: int) -> list[int]:
        """The values that `value` is only a shortcut away from, nearest first."""
        found = [value]
        while True:
            op = self.trace.producer[found[-1]]
            if op is None or len(op.inputs) != 1 or not _is_shortcut(op):
                return found
            found.append(op.inputs[0])

    def _refuse(self, residual: Residual) -> str | None:
        trace = self.trace
        if not self.is_map(residual.branch):
            return "an addition of tokens or vectors, not of maps"
        if all(op.name in LINEAR and not _is_product(op) for op in residual.region):
            return "the branch is linear (a sum that is folded into one convolution)"
        last = trace.producer[residual.branch]
        while last is not None and (last.name in LAYOUT or last.name in NORM):
            last = trace.producer[last.inputs[0]]
        if last is not None and last.name in UPSAMPLING:
            return "the branch ends in an upsampling (a fusion of levels)"
        own = trace.producer[residual.branch]
        if own is not None and own.name == "add" and len(own.inputs) == 2 and own.call == residual.op.call:
            return "the branch is itself a sum"
        return None

    @cached_property
    def carriers(self) -> int:
        """The values the outputs are made of, as bits: not those that only become a gate's factors."""
        seen, waiting = 0, list(self.trace.outputs)
        while waiting:
            value = waiting.pop()
            if seen >> value & 1:
                continue
            seen |= 1 << value
            op = self.trace.producer[value]
            if op is None:
                continue
            gates = [source for source in op.inputs if _is_product(op) and self._is_gate(source)]
            waiting += [source for source in op.inputs if source not in gates or len(gates) == len(op.inputs)]
        return seen

    def _is_gate(self, value: int) -> bool:
        op = self.trace.producer[value]
        while op is not None and len(op.inputs) == 1 and (op.name in LAYOUT or op.name in UPSAMPLING):
            op = self.trace.producer[op.inputs[0]]
        return op is not None and op.name in BOUNDED

    def trunk(self, scope: int) -> list[int]:
        """Every value on each way from the input to the deepest map made inside the call `scope`, in order."""
        deepest = self._deepest(scope)
        if deepest is None:
            return []
        forward, backward = self._ways_from_input(), self._ways_to(deepest)
        return [v for v in range(deepest + 1) if forward[v] * backward.get(v, 0) == forward[deepest]]

    def _deepest(self, scope: int) -> int | None:
        """The last of the smallest maps on the way to the output, before any pooling of whole maps."""
        trace, carriers = self.trace, self.carriers
        reached, best = set(trace.inputs), None
        for op in trace.ops:
            if op.name in GLOBAL_POOL or not any(source in reached for source in op.inputs):
                continue
            reached.update(op.outputs)
            for out in op.outputs:
                if not (carriers >> out & 1 and self.is_map(out) and trace.inside(op.call, scope)):
                    continue
                if best is None or self.area(out) <= self.area(best):
                    best = out
        return best

    def _ways_from_input(self) -> list[int]:
        ways: list[int] = []
        for op in self.trace.producer:
            ways.append(1 if op is None else sum(ways[source] for source in op.inputs))
        return ways

    def _ways_to(self, target: int) -> dict[int, int]:
        ways = defaultdict[int, int](int, {target: 1})
        for value in range(target, -1, -1):
            op = self.trace.producer[value]
            if op is not None and ways[value]:
                for source in op.inputs:
                    ways[source] += ways[value]
        return ways


def _to_channels_first(op: Op) -> bool:
    return op.dims == (0, 3, 1, 2) or op.convolution is not None


def _is_product(op: Op) -> bool:
    return op.name in PRODUCTS and len(op.inputs) > 1


def _is_shortcut(op: Op) -> bool:
    if op.convolution:
        return not op.convolution.overlapping
    return op.name in LAYOUT or op.name in PAD or op.name in NORM or op.name in POOL or op.name == "cat"


def _without_nested(trace: Trace, found: list[Residual]) -> list[Residual]:
    """Drop additions inside another branch; but a skip over three or more blocks as wide as itself loses to them."""
    kept: list[Residual] = []
    for outer in sorted(found, key=lambda residual: len(residual.region)):
        ops = {op.index for op in outer.region}
        inner = [residual for residual in kept if residual.op.index in ops]
        alike = [residual for residual in inner if trace.shapes[residual.branch] == trace.shapes[outer.branch]]
        if len(alike) < 3:
            kept = [residual for residual in kept if residual not in inner]
            kept.append(outer)
    return sorted(kept, key=lambda residual: residual.op.index)
