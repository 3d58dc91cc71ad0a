"""Decide which values of a trace are feature maps, and in which order their axes are.

A tensor with four axes may be a feature map or a table of attention, heads of tokens or windows. The inputs and
outputs of convolutions and poolings are maps; the property then propagates through operations that keep positions.
"""

from __future__ import annotations

from saccade.insertion.trace import Op, Trace

UPSAMPLING = frozenset(
    (
        "conv_transpose",
        *(
            f"{prefix}upsample_{kind}2d{suffix}"
            for prefix in ("", "_")
            for kind in ("nearest", "nearest_exact", "bilinear", "bicubic")
            for suffix in ("", "_aa")
        ),
    )
)
BATCH_NORM = frozenset(
    (
        "native_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_no_training", "cudnn_batch_norm",
        "batch_norm",
    )
)  # fmt: skip
_CHANNELS_FIRST = (
    UPSAMPLING
    | BATCH_NORM
    | {"convolution", "avg_pool2d", "max_pool2d", "max_pool2d_with_indices", "native_group_norm", "pixel_shuffle",
       "pixel_unshuffle", "channel_shuffle", "grid_sampler_2d", "_adaptive_avg_pool2d", "adaptive_max_pool2d"}
)  # fmt: skip
_CROPPING = frozenset(("slice", "constant_pad_nd", "reflection_pad2d", "replication_pad2d", "pad", "roll", "index"))
_RESHAPING = frozenset(("view", "_unsafe_view", "reshape", "permute", "transpose", "unflatten", "squeeze", "unsqueeze"))
_TABLES = frozenset(("bmm", "matmul", "mm", "addmm", "baddbmm"))
_ORDERS: dict[tuple[str, tuple[int, ...]], str] = {("NCHW", (0, 2, 3, 1)): "NHWC", ("NHWC", (0, 3, 1, 2)): "NCHW"}
_SIDES = {"NCHW": slice(2, 4), "NHWC": slice(1, 3)}


def layouts(trace: Trace) -> list[str | None]:
    """Return ``"NCHW"``, ``"NHWC"`` or None (not a map) for every value."""
    found: list[str | None] = []
    sides: set[tuple[int, ...]] = set()
    batch = next((trace.shapes[op.inputs[0]][0] for op in trace.ops if op.convolution), 1)
    for value, op in enumerate(trace.producer):
        shape, layout = trace.shapes[value], None
        if len(shape) == 4 and shape[0] == batch:  # windows are stacked as a longer batch
            layout = "NCHW" if op is None else _layout(trace, op, shape, found, sides)
        if op is not None and op.window and len(trace.shapes[op.inputs[0]]) == 4:
            found[op.inputs[0]] = "NCHW"
        if layout and min(shape[_SIDES[layout]]) > 1:
            sides.add(shape[_SIDES[layout]])
        found.append(layout)
    return found


def _layout(
    trace: Trace, op: Op, shape: tuple[int, ...], known: list[str | None], sides: set[tuple[int, ...]]
) -> str | None:
    if op.name in _CHANNELS_FIRST:
        return "NCHW"
    if op.name in _TABLES:
        return None
    source = op.inputs[0]
    own = known[source]
    if op.dims or (op.name in _RESHAPING and shape != trace.shapes[source]):
        return _ORDERS[own, op.dims] if own and (own, op.dims) in _ORDERS else _by_sides(trace, op, shape, sides)
    for source in op.inputs:
        own = known[source]
        if own and (op.name in _CROPPING or trace.shapes[source][_SIDES[own]] == shape[_SIDES[own]]):
            return own
    return None


def _by_sides(trace: Trace, op: Op, shape: tuple[int, ...], sides: set[tuple[int, ...]]) -> str | None:
    """Decide the layout of tokens reshaped to a map: channels by their last axis, sides from an earlier map."""
    if shape[1:3] in sides and (op.name == "transpose" or trace.shapes[op.inputs[0]][-1] == shape[3]):
        return "NHWC"
    return "NCHW" if shape[2:4] in sides else None
