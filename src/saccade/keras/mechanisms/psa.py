"""Polarized self-attention: a gate for each channel and a gate for each position, each from half the channels.

H. Liu, F. Liu, X. Fan, D. Huang, "Polarized Self-Attention: Towards High-quality Pixel-wise Regression",
arXiv:2107.00782.
"""

from __future__ import annotations

import warnings
from typing import Any

import keras
from keras import ops

from saccade.errors import SaccadeWarning
from saccade.keras.base import Mechanism
from saccade.keras.pieces import dense, kaiming, layer_norm, multiply, softmax, wide, wide_policy
from saccade.keras.reading import first, flat, mean, spread, unflat
from saccade.mechanisms.rules import choose, reduced

VARIANTS = ("parallel", "sequential", "paper_parallel", "paper_sequential")


@keras.saving.register_keras_serializable(package="saccade")
class PolarizedSelfAttention(Mechanism):
    """Scale channels and positions, each by a gate that pools the other kind with a softmax.

    The Keras layer of :class:`saccade.mechanisms.psa.PolarizedSelfAttention`, which states equations, options and
    sources. Maps are pooled before they are projected, so no projected map is made but the one of ``sequential``.
    """

    key, label = "psa", "PSA"

    def __init__(
        self,
        *,
        variant: str = "parallel",
        parts: str = "both",
        data_format: str | None = None,
        dims: int = 2,
        **layer: Any,
    ) -> None:
        super().__init__({"variant": variant, "parts": parts}, data_format, layer, dims)
        choose(self.label, "variant", variant, VARIANTS)
        choose(self.label, "parts", parts, ("both", "channel", "spatial"))
        self.in_sequence = variant.endswith("sequential")

    def assemble(self, channels: int) -> None:
        variant, parts, policy = self.options["variant"], self.options["parts"], wide_policy(self)
        self.channel = self.spatial = None
        if parts != "spatial":
            self.channel = ChannelBranch(channels, variant, name="channel", dtype=policy)
            self.channel.build()
            if self.channel.is_constant:
                warnings.warn(
                    f"PSA: variant={variant!r} with {channels} channels normalises one number, so its channel gate "
                    "ignores the input; take more channels or another variant",
                    SaccadeWarning,
                    stacklevel=3,
                )
        if parts != "channel":
            self.spatial = SpatialBranch(channels, variant, name="spatial", dtype=policy)
            self.spatial.build()

    def compute(self, x: Any, training: bool) -> Any:
        given, x = x.dtype, wide(x)
        if self.channel is None or self.spatial is None:
            (branch,) = (part for part in (self.channel, self.spatial) if part is not None)
            y = x * (branch(x) if branch is self.spatial else spread(branch(x), x))
        else:
            channel = self.channel(x)
            spatial = self.spatial(x, channel) if self.in_sequence else self.spatial(x)
            gate = spread(channel, x)
            y = x * (gate * spatial) if self.in_sequence else x * (gate + spatial)
        return ops.cast(y, given)

    def gates(self, x: Any) -> dict[str, Any]:
        """Return the gates: ``"channel"`` (B, C), and ``"spatial"`` (B, 1, H, W) of the map it is applied to."""
        x, gates = wide(self.view(x)), {}
        if self.channel is not None:
            gates["channel"] = self.channel(x)
            x = x * spread(gates["channel"], x) if self.in_sequence else x
        if self.spatial is not None:
            gates["spatial"] = first(self.spatial(x))
        return gates


class ChannelBranch(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    """Compute one factor per channel from a softmax-weighted mean of the positions: (B, C)."""

    def __init__(self, channels: int, variant: str, **layer: Any) -> None:
        super().__init__(**layer)
        self.channels, self.variant = channels, variant

    def build(self, input_shape: Any = None) -> None:
        channels, half, variant = self.channels, reduced(self.channels, 2), self.variant
        biased = variant.startswith("paper")
        start = None if biased else kaiming("fan_in")
        self.query = dense(self, "query", channels, 1, bias=biased, start=start)
        self.value = dense(self, "value", channels, half, bias=biased, start=start)
        if variant == "parallel":
            self.up = [dense(self, "up_0", half, channels, bias=False)]
        elif variant == "sequential":
            hidden = reduced(half, 4)
            self.up = [
                dense(self, "up_0", half, hidden),
                layer_norm(self, "up_1", hidden),
                keras.layers.ReLU(name="up_2", dtype=self.dtype_policy),
                dense(self, "up_3", hidden, channels),
            ]
        else:
            self.up = [dense(self, "up_0", half, channels), layer_norm(self, "up_1", channels)]

    @property
    def is_constant(self) -> bool:
        """True if a LayerNorm over a single number makes this branch ignore its input."""
        norms = (layer for layer in self.up if isinstance(layer, keras.layers.LayerNormalization))
        return any(layer.gamma.shape == (1,) for layer in norms)

    def call(self, x: Any) -> Any:
        """Compute the factors."""
        positions = flat(x)
        weights = softmax(self.query(positions), axis=1)  # (B, N, 1)
        # They sum to 1, so W_v of their mean is their mean of W_v: C^2 / 2 in place of C^2 N / 2.
        context = ops.squeeze(multiply(ops.transpose(weights, (0, 2, 1)), positions), 1)
        logits = self.value(context)
        for layer in self.up:
            logits = layer(logits)
        return ops.sigmoid(logits)


class SpatialBranch(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    """Compute one factor per position from its similarity to a query made of the mean of all: (B, H, W, 1)."""

    def __init__(self, channels: int, variant: str, **layer: Any) -> None:
        super().__init__(**layer)
        self.channels, self.variant = channels, variant

    def build(self, input_shape: Any = None) -> None:
        channels, half = self.channels, reduced(self.channels, 2)
        biased = self.variant.startswith("paper")
        start = None if biased else kaiming("fan_in")
        self.query = dense(self, "query", channels, half, bias=biased, start=start)
        self.value = dense(self, "value", channels, half, bias=biased, start=start)

    def call(self, x: Any, scale: Any = None) -> Any:
        """Compute the factors of a map; if `scale`, (B, C), is given, those of the map times it."""
        positions, means = flat(x), mean(x)
        query = self.query(means if scale is None else means * scale)  # (B, C / 2)
        kernel = ops.cast(self.value.kernel, x.dtype)  # (C, C / 2)
        if self.variant == "sequential":
            if scale is not None:
                kernel = kernel * ops.expand_dims(scale, 2)
            shares = softmax(multiply(positions, kernel), axis=1)
            logits = multiply(shares, ops.expand_dims(query, 2))
            return unflat(ops.sigmoid(logits), x)
        if self.variant != "parallel":
            query = softmax(query, axis=-1)
        vector = multiply(query, ops.transpose(kernel))  # through W_v^T q: no value is ever computed
        if scale is not None:
            vector = vector * scale
        logits = multiply(positions, ops.expand_dims(vector, 2))
        if self.value.bias is not None:
            bias = ops.cast(self.value.bias, x.dtype)
            logits = logits + ops.reshape(multiply(query, ops.expand_dims(bias, 1)), (-1, 1, 1))
        logits = softmax(logits, axis=1) if self.variant == "parallel" else logits
        return unflat(ops.sigmoid(logits), x)
