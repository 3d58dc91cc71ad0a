"""A zero-started 3x3 convolution: the control with a mechanism's number of parameters and no attention."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from saccade.errors import InputError
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
        dilation: int | Sequence[int] = 1,
        data_format: str | None = None,
        dims: int = 2,
        **layer: Any,
    ) -> None:
        super().__init__({"width": width, "dilation": dilation}, data_format, layer, dims)
        self.several = not isinstance(dilation, int)
        self.dilations = tuple(dilation) if isinstance(dilation, Sequence) else (dilation,)
        for one in self.dilations:
            positive(self.label, dilation=one)
        if width is not None:
            positive(self.label, width=width)
        if self.several and (width is None or not self.dilations):
            raise InputError(
                f"{self.label}: several dilations need a width and at least one; received {width=}, {dilation=}",
                "give both, for example conv3x3[width=16,dilation=(1,3,9)]",
            )

    def assemble(self, channels: int) -> None:
        width, dilations = self.options["width"], self.dilations
        self.body: list[keras.layers.Layer] = []
        if self.several:
            self._add(channels, width, None)
            for one in dilations:
                self._add_norm(width)
                self._add(width, width, one)
            self._add_norm(width)
            self._add(width, channels, None)
        elif width is not None:
            self._add(channels, width, dilations[0])
            self._add_norm(width)
            self._add(width, channels, dilations[0])
        else:
            self._add(channels, channels, dilations[0])
        self.norm = norm(self, "norm", channels, start=0.0)

    @property
    def starts_as_identity(self) -> bool:
        return True

    def compute(self, x: Any, training: bool) -> Any:
        y = x
        for layer in [*self.body, self.norm]:
            y = layer(y, training=training) if isinstance(layer, keras.layers.BatchNormalization) else layer(y)
        return x + y

    def _add(self, channels: int, out_channels: int, dilation: int | None) -> None:
        """Append a 3x3 convolution; without a dilation a 1x1 one."""
        name, size = f"body_{len(self.body)}", (1 if dilation is None else 3,) * self.dims
        self.body.append(conv(self, name, channels, out_channels, size, dilation=dilation or 1, bias=False))

    def _add_norm(self, width: int) -> None:
        self.body.append(norm(self, f"body_{len(self.body)}", width))
        self.body.append(keras.layers.ReLU(name=f"body_{len(self.body)}", dtype=self.dtype_policy))
