"""Bottleneck attention: one gate for channels and positions together, from two branches.

J. Park, S. Woo, J.-Y. Lee, I. S. Kweon, "BAM: Bottleneck Attention Module", BMVC 2018, arXiv:1807.06514.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import keras
from keras import ops

from saccade.errors import InputError
from saccade.keras.base import Mechanism
from saccade.keras.pieces import conv, dense, kaiming, norm
from saccade.keras.reading import first, mean, spread
from saccade.mechanisms.rules import choose, positive
from saccade.mechanisms.widths import hidden_width


@keras.saving.register_keras_serializable(package="saccade")
class BAM(Mechanism):
    """Scale a feature map by 1 plus a gate computed from a channel branch and a spatial branch.

    The Keras layer of :class:`saccade.mechanisms.bam.BAM`, which states equation, options and sources.
    """

    key, label = "bam", "BAM"

    def __init__(
        self,
        *,
        combine: str = "product",
        window: str = "whole",
        reduction: int = 16,
        dilation: int = 4,
        parts: str = "both",
        num_layers: int = 1,
        num_convs: int = 2,
        final_norm: bool = False,
        inner_channels: int | None = None,
        data_format: str | None = None,
        dims: int = 2,
        **layer: Any,
    ) -> None:
        options = {
            "combine": combine, "window": window, "reduction": reduction, "dilation": dilation, "parts": parts,
            "num_layers": num_layers, "num_convs": num_convs, "final_norm": final_norm,
            "inner_channels": inner_channels,
        }  # fmt: skip
        super().__init__(options, data_format, layer, dims)
        choose(self.label, "combine", combine, ("product", "sum"))
        choose(self.label, "window", window, ("whole", "released"))
        choose(self.label, "parts", parts, ("both", "channel", "spatial"))
        positive(self.label, dilation=dilation, num_layers=num_layers, num_convs=num_convs)
        if window == "released" and dims != 2:
            raise InputError(
                f"{self.label}: the released window is a square of a map with two axes; received {dims=}",
                "window='whole' takes maps of any axes",
            )
        hidden_width(self.label, 1, reduction, inner_channels)

    def assemble(self, channels: int) -> None:
        given = self.options
        width = hidden_width(self.label, channels, given["reduction"], given["inner_channels"])
        self.channel = self.spatial = None
        if given["parts"] != "spatial":
            self.channel = ChannelBranch(
                channels, width, given["num_layers"], given["final_norm"], name="channel", dtype=self.dtype_policy
            )
            self.channel.build()
        if given["parts"] != "channel":
            self.spatial = SpatialBranch(
                (channels, width), (given["num_convs"], given["dilation"]), given["final_norm"], self.dims,
                name="spatial", dtype=self.dtype_policy,
            )  # fmt: skip
            self.spatial.build()

    def compute(self, x: Any, training: bool) -> Any:
        return x * (1 + self._gate(x, training))

    def gate(self, x: Any) -> Any:
        """Return the gate of both branches together, (B, C, H, W) or broadcast to it, which scales by 1 + itself."""
        return first(self._gate(self.view(x), False))

    def gates(self, x: Any) -> dict[str, Any]:
        """Return the gate that each branch would make alone, (B, C) and (B, 1, H, W)."""
        x = self.view(x)
        channel, spatial = self._logits(x, False)
        gates = {} if channel is None else {"channel": ops.sigmoid(ops.reshape(channel, (-1, self.channels)))}
        return gates if spatial is None else gates | {"spatial": first(ops.sigmoid(spatial))}

    @classmethod
    def options_of(cls, module: Any) -> dict[str, Any]:
        branches = [branch for branch in (module.channel, module.spatial) if branch is not None]
        return {"final_norm": any(branch.final_norm is not None for branch in branches)}

    def check(self, shape: tuple[int | None, ...], training: bool) -> None:
        batch, *sizes, _ = shape
        has_channel = self.options["parts"] != "spatial"
        if has_channel and self.options["window"] == "released" and None not in sizes:
            height, width = (int(size or 0) for size in sizes)
            if not height <= width < 2 * height:
                raise InputError(
                    f"{self.label}: the released window needs H <= W < 2 H; received shape {shape}",
                    "window='whole' takes any map, and is the same on square ones",
                )
        if training and has_channel and batch == 1:
            raise InputError(
                f"{self.label}: in training the norm of its channel branch needs more than one sample; received shape "
                f"{shape}",
                "take a larger batch, training=False, or parts='spatial', which has no such norm",
            )
        if training and batch == 1 and all(size == 1 for size in sizes):
            raise InputError(
                f"{self.label}: in training its norms need more than one position; received shape {shape}",
                "take a larger batch or map, or training=False",
            )

    def _gate(self, x: Any, training: bool) -> Any:
        channel, spatial = self._logits(x, training)
        if channel is None or spatial is None:
            return ops.sigmoid(spatial if channel is None else channel)
        return ops.sigmoid(channel * spatial if self.options["combine"] == "product" else channel + spatial)

    def _logits(self, x: Any, training: bool) -> tuple[Any, Any]:
        channel = None
        if self.channel is not None:
            seen = x if self.options["window"] == "whole" else x[:, :, : ops.shape(x)[1]]
            channel = spread(self.channel(ops.cast(mean(seen), x.dtype), training=training), x)
        return channel, None if self.spatial is None else self.spatial(x, training=training)


class ChannelBranch(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    """Compute one logit per channel from the channel means: (B, C) to (B, C)."""

    def __init__(self, channels: int, width: int, num_layers: int, final_norm: bool, **layer: Any) -> None:
        super().__init__(**layer)
        self.channels, self.width, self.num_layers, self.has_final_norm = channels, width, num_layers, final_norm

    def build(self, input_shape: Any = None) -> None:
        widths = [self.channels] + [self.width] * self.num_layers
        self.layers = [dense(self, f"layers_{i}", *pair, bias_start="zeros") for i, pair in enumerate(pairwise(widths))]
        self.norms = [norm(self, f"norms_{i}", width) for i, width in enumerate(widths[1:])]
        self.expand = dense(self, "expand", self.width, self.channels, bias_start="zeros")
        self.final_norm = norm(self, "final_norm", self.channels) if self.has_final_norm else None

    def call(self, mean: Any, training: bool | None = None) -> Any:
        """Compute the logits."""
        for layer, normalise in zip(self.layers, self.norms, strict=True):
            mean = ops.relu(normalise(layer(mean), training=training))
        logits = self.expand(mean)
        return logits if self.final_norm is None else self.final_norm(logits, training=training)


class SpatialBranch(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    """Compute one logit per position from a wide neighbourhood: (B, H, W, C) to (B, H, W, 1)."""

    def __init__(
        self, widths: tuple[int, int], convs: tuple[int, int], final_norm: bool, dims: int, **layer: Any
    ) -> None:
        super().__init__(**layer)
        self.widths, self.wanted, self.has_final_norm, self.dims = widths, convs, final_norm, dims

    def build(self, input_shape: Any = None) -> None:
        (channels, width), (count, dilation) = self.widths, self.wanted
        start = kaiming("fan_out")
        self.reduce = dense(self, "reduce", channels, width, start=start)
        self.reduce_norm = norm(self, "reduce_norm", width)
        self.convs = [
            conv(self, f"convs_{i}", width, width, (3,) * self.dims, dilation=dilation, start=start)
            for i in range(count)
        ]
        self.norms = [norm(self, f"norms_{i}", width) for i in range(count)]
        self.project = dense(self, "project", width, 1, start=start)
        self.final_norm = norm(self, "final_norm", 1) if self.has_final_norm else None

    def call(self, x: Any, training: bool | None = None) -> Any:
        """Compute the logits."""
        x = ops.relu(self.reduce_norm(self.reduce(x), training=training))
        for convolve, normalise in zip(self.convs, self.norms, strict=True):
            x = ops.relu(normalise(convolve(x), training=training))
        logits = self.project(x)
        return logits if self.final_norm is None else self.final_norm(logits, training=training)
