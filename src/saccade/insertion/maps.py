"""Decide which values of a trace are feature maps, and in which order their axes are.

Maps have one, two or three axes of positions, all maps of a network the same number. A tensor with as many axes may be
a feature map or a table of attention, heads of tokens or windows. The inputs and outputs of convolutions and poolings
are maps; the property then propagates through operations that keep positions.
"""

from __future__ import annotations

from collections import Counter

from saccade.insertion.trace import Op, Trace

UPSAMPLING = frozenset(
    (
        "conv_transpose",
        *(
            f"{prefix}upsample_{kind}{suffix}"
            for prefix in ("", "_")
            for kind in ("nearest1d", "nearest2d", "nearest3d", "nearest_exact1d", "nearest_exact2d", "nearest_exact3d",
                         "linear1d", "bilinear2d", "bicubic2d", "trilinear3d")
            for suffix in ("", "_aa")
        ),
    )
)  # fmt: skip
BATCH_NORM = frozenset(
    (
        "native_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_no_training", "cudnn_batch_norm",
        "batch_norm",
    )
)  # fmt: skip
POOLS = frozenset(
    f"{kind}_pool{dims}d{suffix}"
    for kind, suffix in (("avg", ""), ("max", ""), ("max", "_with_indices"))
    for dims in (1, 2, 3)
)
_CHANNELS_FIRST = (
    UPSAMPLING
    | BATCH_NORM
    | POOLS
    | {"convolution", "native_group_norm", "pixel_shuffle", "pixel_unshuffle", "channel_shuffle", "grid_sampler_2d",
       "grid_sampler_3d", "_adaptive_avg_pool2d", "adaptive_max_pool2d", "_adaptive_avg_pool3d", "adaptive_max_pool3d"}
)  # fmt: skip
PADS = frozenset(f"{kind}_pad{dims}d" for kind in ("reflection", "replication") for dims in (1, 2, 3))
_CROPPING = PADS | {"slice", "constant_pad_nd", "pad", "roll", "index"}
_RESHAPING = frozenset(("view", "_unsafe_view", "reshape", "permute", "transpose", "unflatten", "squeeze", "unsqueeze"))
_TABLES = frozenset(("bmm", "matmul", "mm", "addmm", "baddbmm"))
FIRST = {1: "NCL", 2: "NCHW", 3: "NCDHW"}
"""Layout of a map with channels first, by its number of axes."""
LAST = {1: "NLC", 2: "NHWC", 3: "NDHWC"}
"""Layout of a map with channels last, by its number of axes."""
ROW = "NC1L"
"""Layout of a sequence in a map of one row, as torch pools and resizes it."""
_TO_LAST = {(0, *range(2, 2 + dims), 1): dims for dims in (1, 2, 3)}
_TO_FIRST = {(0, 1 + dims, *range(1, 1 + dims)): dims for dims in (1, 2, 3)}


def map_dims(trace: Trace) -> int:
    """Return the number of axes of the network's maps: that of most of its convolutions that mix positions.

    A convolution of one axis runs over channels in a gate and over tokens in a transformer, so it counts only in a
    network without others.
    """
    count = Counter(len(op.convolution.kernel) for op in trace.ops if op.convolution and max(op.convolution.kernel) > 1)
    count.update({dims: 0 for op in trace.ops if op.convolution for dims in (len(op.convolution.kernel),)})
    most = max((2, 3), key=lambda dims: (count[dims], dims in count, -dims))
    return most if most in count else 1 if 1 in count else 2


def sides_of(shape: tuple[int, ...], layout: str) -> tuple[int, ...]:
    """Return the sides of a map of some shape and layout."""
    if layout == ROW:
        return shape[3:]
    return shape[2:] if layout[1] == "C" else shape[1:-1]


def layouts(trace: Trace, dims: int) -> list[str | None]:
    """Return the layout of every value, such as ``"NCHW"`` or ``"NHWC"``, or None for one that is not a map."""
    found: list[str | None] = []
    sides: set[tuple[int, ...]] = set()
    batch = next((trace.shapes[op.inputs[0]][0] for op in trace.ops if op.convolution), 1)
    for value, op in enumerate(trace.producer):
        shape, layout = trace.shapes[value], None
        if len(shape) == 2 + dims and shape[0] == batch:  # windows are stacked as a longer batch
            layout = FIRST[dims] if op is None else _layout(trace, op, shape, found, sides, dims)
        elif dims == 1 and op is not None and len(shape) == 4 and shape[0] == batch and shape[2] == 1:
            layout = _of_a_row(trace, op, shape, found)
        if op is not None and op.window and len(trace.shapes[op.inputs[0]]) == 2 + dims:
            found[op.inputs[0]] = FIRST[dims]
        if layout and min(sides_of(shape, layout)) > (1 if dims < 3 else 0):
            sides.add(sides_of(shape, layout))
        found.append(layout)
    return found


def _of_a_row(trace: Trace, op: Op, shape: tuple[int, ...], known: list[str | None]) -> str | None:
    """Return the layout of a sequence that was made a map of one row, or that such a map was computed from."""
    source = op.inputs[0]
    return ROW if known[source] == ROW or (known[source] == "NCL" and op.name == "unsqueeze") else None


def _layout(
    trace: Trace, op: Op, shape: tuple[int, ...], known: list[str | None], sides: set[tuple[int, ...]], dims: int
) -> str | None:
    if op.name in _CHANNELS_FIRST:
        return FIRST[dims]
    if op.name in _TABLES:
        return None
    source = op.inputs[0]
    own = known[source]
    if own == ROW:
        return "NCL"
    if op.dims or (op.name in _RESHAPING and shape != trace.shapes[source]):
        if own and op.dims in _TO_LAST and own == FIRST[dims]:
            return LAST[dims]
        if own and op.dims in _TO_FIRST and own == LAST[dims]:
            return FIRST[dims]
        return _by_sides(trace, op, shape, sides, dims)
    for source in op.inputs:
        own = known[source]
        if own and (op.name in _CROPPING or sides_of(trace.shapes[source], own) == sides_of(shape, own)):
            return own
    return None


def _by_sides(trace: Trace, op: Op, shape: tuple[int, ...], sides: set[tuple[int, ...]], dims: int) -> str | None:
    """Decide the layout of tokens reshaped to a map: channels by their last axis, sides from an earlier map."""
    if dims == 1 and op.name in ("view", "_unsafe_view", "reshape"):  # heads and groups of channels have one side too
        source = trace.shapes[op.inputs[0]]
        kept = [layout for layout in (LAST[1], FIRST[1]) if sides_of(shape, layout) in sides and source[-1] == shape[2]]
        return kept[0 if len(source) == 2 else -1] if kept else None  # a matrix is one of tokens
    if shape[1:-1] in sides and (op.name == "transpose" or trace.shapes[op.inputs[0]][-1] == shape[-1]):
        return LAST[dims]
    return FIRST[dims] if shape[2:] in sides else None
