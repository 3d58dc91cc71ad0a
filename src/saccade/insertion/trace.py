"""A traced forward pass: modules called, operations run, and the values each value was computed from.

Only values that derive from the input are numbered. An operation in place gives its tensor a new number.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

CUTS = frozenset(("im2col", "unfold"))


@dataclass(frozen=True)
class Window:
    """Kernel, stride and dilation of a convolution or a pooling.

    Args:
        kernel: Its sides.
        stride: Step along each axis.
        dilation: Distance of what it reads along each axis.
        alone: True if all convolutions of the network have one axis; in others such a one runs over channels or tokens.
    """

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    alone: bool = False

    @property
    def spatial(self) -> bool:
        """True if it mixes positions of a map."""
        return max(self.kernel) > 1 and (len(self.kernel) > 1 or self.alone)

    @property
    def overlapping(self) -> bool:
        """True if windows share positions: False for 1x1 and for cutting into patches."""
        return any(k > s for k, s in zip(self.kernel, self.stride, strict=True))


@dataclass(frozen=True)
class Op:
    """One tensor operation; `name` without the underscore of an operation in place."""

    index: int
    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    call: int
    window: Window | None = None
    dims: tuple[int, ...] = ()

    @property
    def convolution(self) -> Window | None:
        """Its window, if it is a convolution (transposed ones have another name)."""
        return self.window if self.name == "convolution" else None

    @property
    def spatial(self) -> bool:
        """True if it mixes neighbouring positions: a convolution, a pooling or a cutting into windows."""
        return self.name in CUTS or (self.window is not None and self.window.spatial)


@dataclass
class Call:
    """One call of one module.

    Args:
        index: Number of the call; 0 is the network itself.
        path: Name of the module.
        module: The module, or a layer of another library.
        parent: Number of the enclosing call.
        inputs: Values among its arguments.
        first: The value given as first positional argument, or None.
        begin: Number of the first operation inside it.
        outputs: Values it returned.
        single: True if it returned one tensor and nothing else.
        end: One more than the number of the last operation inside it.
        iterates: True if the module runs over all its children, so that an additional one would run too.
    """

    index: int
    path: str
    module: Any
    parent: int | None
    inputs: tuple[int, ...]
    first: int | None
    begin: int
    outputs: tuple[int, ...] = ()
    single: bool = False
    end: int = -1
    iterates: bool = False


@dataclass
class Trace:
    """A recorded forward pass.

    Args:
        ops: Operations in the order they ran; a value's number is larger than those it was made from.
        calls: Calls in the order they began.
        shapes: Shape of every value.
        producer: The operation that made each value; None for the input.
        inputs: Values given to the network.
        outputs: Values it returned.
        input_shape: Shape of the first input, as run.
        attachments: Shapes that each attachment was called with, by path.
        layouts: Order of the axes of every value, ``"NCHW"``, ``"NHWC"`` or None, if the layers state it; else it is
            found from the operations.
        flat: True if the calls are single layers: blocks are then seen in the graph alone.
        ended: Reason why the forward pass stopped early, or empty: it asked for numbers, which stand-ins do not have.
    """

    ops: list[Op] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    shapes: list[tuple[int, ...]] = field(default_factory=list)
    producer: list[Op | None] = field(default_factory=list)
    inputs: tuple[int, ...] = ()
    outputs: tuple[int, ...] = ()
    input_shape: tuple[int, ...] = ()
    attachments: dict[str, list[tuple[int, ...]]] = field(default_factory=dict)
    layouts: list[str | None] | None = None
    flat: bool = False
    ended: str = ""

    def __post_init__(self) -> None:
        self._times: Counter[str] = Counter()

    def read_as_sequences(self) -> None:
        """Let convolutions of one axis mix positions."""
        alone = [replace(op, window=replace(op.window, alone=True)) if op.window else op for op in self.ops]
        self.producer = [None if op is None else alone[op.index] for op in self.producer]
        self.ops = alone

    def times_called(self, path: str) -> int:
        """Return how often a module ran."""
        if not self._times:
            self._times.update(call.path for call in self.calls)
        return self._times[path]

    def inside(self, inner: int | None, outer: int) -> bool:
        """Return whether a call was made in another, directly or not (or is it)."""
        while inner is not None and inner != outer:
            inner = self.calls[inner].parent
        return inner is not None
