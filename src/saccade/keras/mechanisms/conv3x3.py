"""A zero-started 3x3 convolution: the control with a mechanism's number of parameters and no attention."""

from __future__ import annotations

from typing import Any

import keras

from saccade.keras.base import Mechanism
from saccade.keras.pieces import conv, norm
from saccade.mechanisms.rules import positive


@keras.saving.register_keras_serializable(package="saccade")
class Conv3x3(Mechanism):
    """Add a normalised 3x3 convolution of the feature map, started at zero.

    The Keras layer of :class:`saccade.mechanisms.conv3x3.Conv3x3`, which states equation and options.
    """

    key, label = "conv3x3", "Conv3x3"

    def __init__(
        self,
        *,
        width: int | None = None,
        dilation: int = 1,
        data_format: str | None = None,
        dims: int = 2,
        **layer: Any,
    ) -> None:
        super().__init__({"width": width, "dilation": dilation}, data_format, layer, dims)
        positive(self.label, dilation=dilation)
        if width is not None:
            positive(self.label, width=width)

    def assemble(self, channels: int) -> None:
        width = self.options["width"]
        if width is None:
            self.body = [self._conv("body_0", channels, channels)]
        else:
            self.body = [
                self._conv("body_0", channels, width),
                norm(self, "body_1", width),
                keras.layers.ReLU(name="body_2", dtype=self.dtype_policy),
                self._conv("body_3", width, channels),
            ]
        self.norm = norm(self, "norm", channels, start=0.0)

    @property
    def starts_as_identity(self) -> bool:
        return True

    def compute(self, x: Any, training: bool) -> Any:
        y = x
        for layer in [*self.body, self.norm]:
            y = layer(y, training=training) if isinstance(layer, keras.layers.BatchNormalization) else layer(y)
        return x + y

    def _conv(self, name: str, channels: int, out_channels: int) -> keras.layers.Layer:
        size, dilation = (3,) * self.dims, self.options["dilation"]
        return conv(self, name, channels, out_channels, size, dilation=dilation, bias=False)
