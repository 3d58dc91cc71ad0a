"""Convolutional block attention: a gate for each channel, then a gate for each position.

S. Woo, J. Park, J.-Y. Lee, I. S. Kweon, "CBAM: Convolutional Block Attention Module", ECCV 2018, arXiv:1807.06521.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
from keras import ops

from saccade.errors import InputError
from saccade.keras.base import Mechanism
from saccade.keras.pieces import conv, dense, kaiming, mean_over, norm, wide
from saccade.keras.reading import first, flat, largest, spread
from saccade.mechanisms.rules import choose, positive, several
from saccade.mechanisms.widths import hidden_width


def _root_of_squares(positions: Any) -> Any:
    squares = ops.sum(ops.square(wide(positions)), axis=1)
    empty = squares == 0  # where the root's gradient is infinite, and the norm's 0
    return ops.where(empty, 0.0, ops.sqrt(ops.where(empty, 1.0, squares)))


POOLS: Mapping[str, Callable[[Any], Any]] = {
    "avg": lambda positions: mean_over(wide(positions), (1,)),
    "max": lambda positions: largest(positions, 1),
    "lp": _root_of_squares,
    "lse": lambda positions: ops.logsumexp(wide(positions), axis=1),
}


@keras.saving.register_keras_serializable(package="saccade")
class CBAM(Mechanism):
    """Scale each channel, then each position, by gates computed from their means and maxima.

    The Keras layer of :class:`saccade.mechanisms.cbam.CBAM`, which states equation, options and sources.
    """

    key, label = "cbam", "CBAM"

    def __init__(
        self,
        *,
        variant: str = "official",
        reduction: int = 16,
        pools: Sequence[str] | str = ("avg", "max"),
        kernel_size: int = 7,
        parts: str = "both",
        spatial: bool = True,
        bias: bool | None = None,
        inner_channels: int | None = None,
        data_format: str | None = None,
        dims: int = 2,
        **layer: Any,
    ) -> None:
        options = {
            "variant": variant, "reduction": reduction, "pools": pools, "kernel_size": kernel_size, "parts": parts,
            "spatial": spatial, "bias": bias, "inner_channels": inner_channels,
        }  # fmt: skip
        super().__init__(options, data_format, layer, dims)
        choose(self.label, "variant", variant, ("official", "popular", "timm"))
        choose(self.label, "parts", parts, ("both", "channel", "spatial"))
        positive(self.label, kernel_size=kernel_size)
        if not spatial and parts == "spatial":
            raise InputError(
                f"{self.label}: no part is left; received {spatial=}, {parts=}",
                "spatial=False keeps the channel gate alone; parts='spatial' the spatial gate alone",
            )
        if kernel_size % 2 == 0:
            raise InputError(
                f"{self.label}: `kernel_size` must be odd, to keep the map's size; received {kernel_size=}"
            )
        self.pools = several(self.label, "pools", pools, tuple(POOLS))
        self.parts = parts if spatial else "channel"
        self._width(1)

    def assemble(self, channels: int) -> None:
        variant, bias = self.options["variant"], self.options["bias"]
        official = variant == "official"
        self.channel = self.spatial = None
        if self.parts != "spatial":
            biased = official if bias is None else bias
            self.channel = ChannelGate(
                channels, self._width(channels), self.pools, biased, official, name="channel", dtype=self.dtype_policy
            )
            self.channel.build()
        if self.parts != "channel":
            momentum = {"official": 0.01, "popular": None, "timm": 0.1}[variant]
            self.spatial = SpatialGate(
                (self.options["kernel_size"],) * self.dims, momentum, official, name="spatial", dtype=self.dtype_policy
            )
            self.spatial.build()

    def start_open(self) -> None:
        if self.spatial is not None and self.spatial.norm is not None:
            gamma = self.spatial.norm.gamma
            gamma.assign(ops.ones(gamma.shape, gamma.dtype))  # JAX takes no variable in `ones_like`

    def compute(self, x: Any, training: bool) -> Any:
        if self.channel is not None:
            x = x * self.channel(x)
        return x if self.spatial is None else x * self.spatial(x, training=training)

    def gates(self, x: Any) -> dict[str, Any]:
        """Return the gates, ``"channel"`` (B, C) and ``"spatial"`` (B, 1, H, W), the latter of the scaled map."""
        x, gates = self.view(x), {}
        if self.channel is not None:
            gate = self.channel(x)
            gates["channel"], x = ops.reshape(gate, (-1, self.channels)), x * gate
        if self.spatial is not None:
            gates["spatial"] = first(self.spatial(x))
        return gates

    def check(self, shape: tuple[int | None, ...], training: bool) -> None:
        normalises = self.parts != "channel" and self.options["variant"] != "popular"
        if training and normalises and all(size == 1 for size in shape[:-1]):
            raise InputError(
                f"{self.label}: in training its norm needs more than one position; received shape {shape}",
                "take a larger batch or map, training=False, or variant='popular', which has no norm",
            )

    def _width(self, channels: int) -> int:
        rounding = 1 if self.options["variant"] == "timm" else None
        given = (self.options["reduction"], self.options["inner_channels"])
        return hidden_width(self.label, channels, *given, multiple_of=rounding)


class ChannelGate(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    """First stage: one factor per channel, from summaries of its positions."""

    def __init__(
        self, channels: int, width: int, pools: tuple[str, ...], bias: bool, official: bool, **layer: Any
    ) -> None:
        super().__init__(**layer)
        self.channels, self.width, self.pools, self.bias, self.official = channels, width, pools, bias, official

    def build(self, input_shape: Any = None) -> None:
        start = "zeros" if self.official else None
        self.reduce = dense(self, "reduce", self.channels, self.width, bias=self.bias, bias_start=start)
        self.expand = dense(self, "expand", self.width, self.channels, bias=self.bias, bias_start=start)

    def call(self, x: Any) -> Any:
        """Return the gate, with an axis of 1 for each axis of positions."""
        positions = flat(x)
        summaries = [ops.cast(POOLS[pool](positions), self.compute_dtype) for pool in self.pools]
        logits = self.expand(ops.relu(self.reduce(ops.stack(summaries, axis=1))))  # (B, pools, C)
        return spread(ops.sigmoid(ops.sum(logits, axis=1)), x)


class SpatialGate(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    """Second stage: one factor per position, from the maximum and the mean of its channels."""

    def __init__(self, kernel_size: tuple[int, ...], momentum: float | None, official: bool, **layer: Any) -> None:
        super().__init__(**layer)
        self.kernel_size, self.momentum, self.official = kernel_size, momentum, official

    def build(self, input_shape: Any = None) -> None:
        start = kaiming("fan_out") if self.official else None
        self.conv = conv(self, "conv", 2, 1, self.kernel_size, bias=False, start=start)
        self.norm = None
        if self.momentum is not None:
            self.norm = norm(self, "norm", 1, momentum=self.momentum, start=0.0 if self.official else 1.0)

    def call(self, x: Any, training: bool | None = None) -> Any:
        """Return the gate, (B, H, W, 1)."""
        means = ops.cast(mean_over(wide(x), (-1,), keepdims=True), x.dtype)
        logits = self.conv(ops.concatenate([largest(x, -1, keepdims=True), means], axis=-1))
        return ops.sigmoid(logits if self.norm is None else self.norm(logits, training=training))
