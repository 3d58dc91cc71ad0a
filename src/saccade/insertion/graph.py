"""Queries on a traced forward pass: ancestors of a value, sources of the outputs, values on every path.

Every decision depends on operations and shapes only; no rule knows the name or the class of a module.
"""

from __future__ import annotations

import math
from collections import defaultdict
from functools import cached_property

from saccade.insertion.maps import BATCH_NORM, PADS, UPSAMPLING, layouts, map_dims, sides_of
from saccade.insertion.trace import Op, Trace

LAYOUT = frozenset(
    (
        "view", "_unsafe_view", "reshape", "permute", "transpose", "t", "clone", "contiguous", "alias", "detach",
        "expand", "squeeze", "unsqueeze", "flatten", "_to_copy", "slice", "select", "split", "split_with_sizes",
        "chunk", "unbind", "as_strided", "pixel_shuffle", "pixel_unshuffle", "channel_shuffle", "roll", "lift_fresh",
    )
)  # fmt: skip
PAD = PADS | {"constant_pad_nd", "pad"}
NORM = BATCH_NORM | {"native_layer_norm", "native_group_norm", "_fused_rms_norm", "rms_norm"}
GLOBAL_POOL = frozenset(
    ("mean", "sum", "amax", *(f"{kind}_pool{dims}d" for kind in ("_adaptive_avg", "adaptive_avg", "adaptive_max")
                              for dims in (1, 2, 3)))
)  # fmt: skip
PRODUCTS = frozenset(("mul", "div", "matmul", "mm", "bmm", "baddbmm", "einsum"))
SCALING = frozenset(("mul", "div", "add", "sub", "neg"))
MATRIX = frozenset(("addmm", "mm"))
BOUNDED = frozenset(("sigmoid", "hardsigmoid", "tanh", "softmax", "_softmax", "_safe_softmax", "clamp", "hardtanh"))
_SOFTMAX = frozenset(("softmax", "_softmax", "_safe_softmax"))
_ANSWERING = (
    LAYOUT | BOUNDED | SCALING | {name for name in UPSAMPLING if name != "conv_transpose"}
    | {"cat", "stack", "exp", "log", "pow", "sqrt", "_log_softmax", "max", "argmax", "topk", "sort", "gather", "index"}
)  # fmt: skip


class Graph:
    """A trace with its dependencies: `ancestors[v]` has bit u set if v was computed from u (or is u)."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.ancestors: list[int] = []
        self.readers: dict[int, list[Op]] = defaultdict(list)
        self.dims = map_dims(trace)
        self.layout = layouts(trace, self.dims) if trace.layouts is None else trace.layouts
        for value, op in enumerate(trace.producer):
            upstream = 1 << value
            for source in op.inputs if op else ():
                upstream |= self.ancestors[source]
            self.ancestors.append(upstream)
        for op in trace.ops:
            for source in op.inputs:
                self.readers[source].append(op)

    def size(self, value: int) -> tuple[int, ...]:
        """Return channels and sides of a map in either order of axes."""
        shape, layout = self.trace.shapes[value], self.layout[value] or "NC"
        return (shape[layout.index("C")], *sides_of(shape, layout))

    def area(self, value: int) -> int:
        """Return the number of positions of a map."""
        return math.prod(self.size(value)[1:])

    def is_map(self, value: int) -> bool:
        """Return whether a value is a feature map with more than one position."""
        return self.layout[value] is not None and self.area(value) > 1

    def reaches(self, early: int, late: int) -> bool:
        """Return whether `late` was computed from `early`."""
        return bool(self.ancestors[late] >> early & 1)

    def between(self, early: int, late: int) -> tuple[Op, ...]:
        """Return the operations on all paths from one value to another, the last one's own included."""
        first, last = self.trace.producer[early], self.trace.producer[late]
        span = self.trace.ops[first.index + 1 if first else 0 : last.index + 1 if last else 0]
        return tuple(
            op for op in span if any(self.reaches(early, out) and self.reaches(out, late) for out in op.outputs)
        )

    @cached_property
    def carriers(self) -> int:
        """The values the outputs are computed from, as bits, without those that only become a gate's factors."""
        return self._carriers(BOUNDED)

    @cached_property
    def _carriers_and_queries(self) -> int:
        """The same with what becomes the weights of a softmax, such as the queries of attention."""
        return self._carriers(BOUNDED - _SOFTMAX)

    def _carriers(self, bounded: frozenset[str]) -> int:
        seen, waiting = 0, list(self.trace.outputs)
        while waiting:
            value = waiting.pop()
            if seen >> value & 1:
                continue
            seen |= 1 << value
            op = self.trace.producer[value]
            if op is None:
                continue
            found = [self.gate_of(source) if is_product(op) else None for source in op.inputs]
            gates = [source for source, gate in zip(op.inputs, found, strict=True) if gate and gate.name in bounded]
            waiting += [source for source in op.inputs if source not in gates or len(gates) == len(op.inputs)]
        return seen

    def only_a_gate(self, value: int) -> bool:
        """Return whether the outputs depend on a value, but only by the factors of a gate, and not of a softmax."""
        return not self._carriers_and_queries >> value & 1 and any(
            self.reaches(value, out) for out in self.trace.outputs
        )

    def gate_of(self, value: int) -> Op | None:
        """Return the bounded function whose result, reshaped or rescaled, a value is; None if it is not a gate."""
        op = self.trace.producer[value]
        while op is not None and len(op.inputs) == 1 and (op.name in LAYOUT or op.name in UPSAMPLING):
            op = self.trace.producer[op.inputs[0]]
        return op if op is not None and op.name in BOUNDED else None

    def trunk(self, scope: int) -> list[int]:
        """Return every value on each path from the input to the deepest map made inside the call `scope`, in order."""
        deepest = self._deepest(scope)
        if deepest is None:
            return []
        return self._on_every_path(self._ways_to(deepest), (deepest,))

    def _on_every_path(self, backward: dict[int, int], targets: tuple[int, ...]) -> list[int]:
        """Return the values that every path from the input to one of the targets goes through, in order."""
        forward = self._ways_from_input()
        total = sum(forward[target] for target in targets)
        return [v for v in range(max(targets, default=-1) + 1) if forward[v] * backward.get(v, 0) == total]

    @cached_property
    def neck(self) -> int:
        """The values of a neck and of its heads, as bits: all that is made of maps that were enlarged again.

        0 if every output is computed from one map after that, as in a decoder or a network that fuses resolutions: a
        detector's heads each read a map of another size.
        """
        alone = self._on_every_path(self._ways_to(*self.trace.outputs), self.trace.outputs)
        return 0 if any(self.is_map(v) and self._risen >> v & 1 for v in alone) else self._risen

    @cached_property
    def _risen(self) -> int:
        """The values computed from a map that an upsampling made larger, as bits."""
        grown = sum(1 << op.outputs[0] for op in self.growing)
        return sum(1 << value for value, ancestors in enumerate(self.ancestors) if ancestors & grown)

    @cached_property
    def growing(self) -> list[Op]:
        """The operations that enlarge a map of features, except a gate's factors and the image itself."""
        features = sum(1 << value for op in self.trace.ops if op.convolution is not None for value in op.outputs)
        ops = (op for op in self.trace.ops if op.name in UPSAMPLING and self.carriers >> op.outputs[0] & 1)
        ops = (op for op in ops if (self.ancestors[op.inputs[0]] | 1 << op.inputs[0]) & features)
        maps = (op for op in ops if self.is_map(op.inputs[0]) and self.is_map(op.outputs[0]))
        return [op for op in maps if self.area(op.outputs[0]) > self.area(op.inputs[0])]

    def is_prediction(self, value: int) -> bool:
        """Return whether a convolution made a map whose channels are the network's answer, not features.

        Nothing learned, no norm and no activation but a bounded one stands between it and an output.
        """
        made = self.trace.producer[value]
        if made is None or made.convolution is None:
            return False
        seen, waiting, returned = set[int](), [value], False
        while waiting:
            last = waiting.pop()
            returned = returned or last in self.trace.outputs
            for op in self.readers[last]:
                if op.name not in _ANSWERING or not set(op.inputs).isdisjoint(self.trace.inputs):
                    return False
                waiting += [out for out in op.outputs if out not in seen]
                seen.update(op.outputs)
        return returned

    def _deepest(self, scope: int) -> int | None:
        """Return the last of the smallest maps of the backbone, before any pooling of whole maps.

        It lies before any neck and is not a prediction, if there are such maps.
        """
        before = 0
        if scope == 0 and self.neck:
            for op in self.growing:
                before |= self.ancestors[op.inputs[0]]
            before &= ~self.neck
        found = self._smallest(scope, before) if before else None
        return self._smallest(scope) if found is None else found

    def _smallest(self, scope: int, among: int = -1) -> int | None:
        """Return the last of the smallest maps among values given as bits; predictions only for want of others."""
        trace, carriers = self.trace, self.carriers & among
        reached, best = set(trace.inputs), None
        found: list[int] = []
        for op in trace.ops:
            if op.name in GLOBAL_POOL or not any(source in reached for source in op.inputs):
                continue
            reached.update(op.outputs)
            for out in op.outputs:
                if not (carriers >> out & 1 and self.is_map(out) and trace.inside(op.call, scope)):
                    continue
                if best is None or self.area(out) <= self.area(best):
                    found.append(out)
                    best = out
        return next((value for value in reversed(found) if not self.is_prediction(value)), best)

    def _ways_from_input(self) -> list[int]:
        ways: list[int] = []
        for op in self.trace.producer:
            ways.append(1 if op is None else sum(ways[source] for source in op.inputs))
        return ways

    def _ways_to(self, *targets: int) -> dict[int, int]:
        ways = defaultdict[int, int](int, dict.fromkeys(targets, 1))
        for value in range(max(targets, default=-1), -1, -1):
            op = self.trace.producer[value]
            if op is not None and ways[value]:
                for source in op.inputs:
                    ways[source] += ways[value]
        return ways


def is_product(op: Op) -> bool:
    """Return whether an operation multiplies two values."""
    return op.name in PRODUCTS and len(op.inputs) > 1
