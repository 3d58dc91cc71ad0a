"""Squeeze-and-excitation: scale each channel by a gate computed from all channel means.

J. Hu, L. Shen, G. Sun, "Squeeze-and-Excitation Networks", CVPR 2018, arXiv:1709.01507.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from saccade.keras.base import Mechanism
from saccade.keras.pieces import dense
from saccade.keras.reading import mean, spread
from saccade.mechanisms.rules import choose
from saccade.mechanisms.widths import hidden_width


@keras.saving.register_keras_serializable(package="saccade")
class SqueezeExcitation(Mechanism):
    """Scale each channel by a gate computed from all channel means.

    The Keras layer of :class:`saccade.mechanisms.se.SqueezeExcitation`, which states equation, options and sources.
    """

    key, label = "se", "SE"

    def __init__(
        self,
        *,
        reduction: int = 16,
        bias: bool = True,
        variant: str = "official",
        inner_channels: int | None = None,
        data_format: str | None = None,
        dims: int = 2,
        **layer: Any,
    ) -> None:
        options = {"reduction": reduction, "bias": bias, "variant": variant, "inner_channels": inner_channels}
        super().__init__(options, data_format, layer, dims)
        choose(self.label, "variant", variant, ("official", "timm"))
        self._width(1)

    def assemble(self, channels: int) -> None:
        width, bias = self._width(channels), self.options["bias"]
        self.reduce = dense(self, "reduce", channels, width, bias=bias)
        self.expand = dense(self, "expand", width, channels, bias=bias)

    def compute(self, x: Any, training: bool) -> Any:
        return x * spread(self._gate(x), x)

    def gates(self, x: Any) -> dict[str, Any]:
        """Return the channel gate, (B, C)."""
        return {"channel": self._gate(self.view(x))}

    def _width(self, channels: int) -> int:
        rounding = 8 if self.options["variant"] == "timm" else None
        given = (self.options["reduction"], self.options["inner_channels"])
        return hidden_width(self.label, channels, *given, multiple_of=rounding)

    def _gate(self, x: Any) -> Any:
        return ops.sigmoid(self.expand(ops.relu(self.reduce(mean(x)))))
