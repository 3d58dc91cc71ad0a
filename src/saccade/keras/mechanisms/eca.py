"""Efficient channel attention: scale each channel by a gate computed from its neighbours' means.

Q. Wang, B. Wu, P. Zhu, P. Li, W. Zuo, Q. Hu, "ECA-Net: Efficient Channel Attention for Deep Convolutional Neural
Networks", CVPR 2020, arXiv:1910.03151.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from saccade.keras.base import Mechanism
from saccade.keras.pieces import Kernel, as_torch
from saccade.keras.reading import mean, spread
from saccade.mechanisms.widths import neighbours


@keras.saving.register_keras_serializable(package="saccade")
class EfficientChannelAttention(Mechanism):
    """Scale each channel by a gate computed from the means of k neighbouring channels.

    The Keras layer of :class:`saccade.mechanisms.eca.EfficientChannelAttention`, which states equation, options and
    sources.
    """

    key, label = "eca", "ECA"

    def __init__(
        self,
        *,
        k: int | None = None,
        shared: bool = True,
        circular: bool = False,
        data_format: str | None = None,
        dims: int = 2,
        **layer: Any,
    ) -> None:
        super().__init__({"k": k, "shared": shared, "circular": circular}, data_format, layer, dims)
        neighbours(self.label, None, k, circular)

    def assemble(self, channels: int) -> None:
        self.k = neighbours(self.label, channels, self.options["k"], self.options["circular"])
        filters = 1 if self.options["shared"] else channels
        self.conv = Kernel((self.k, 1, filters), as_torch(self.k), name="conv", dtype=self.dtype_policy)
        self.conv.build()

    def compute(self, x: Any, training: bool) -> Any:
        return x * spread(self._gate(x), x)

    def gates(self, x: Any) -> dict[str, Any]:
        """Return the channel gate, (B, C)."""
        return {"channel": self._gate(self.view(x))}

    def _gate(self, x: Any) -> Any:
        z, side = mean(x), self.k // 2
        if self.options["circular"] and side:
            z = ops.concatenate([z[:, -side:], z, z[:, :side]], axis=1)
        else:
            z = ops.pad(z, [(0, 0), (side, side)])
        weights = ops.cast(self.conv.kernel, z.dtype)
        logits = sum(weights[j] * z[:, j : j + self.channels] for j in range(self.k))
        return ops.cast(ops.sigmoid(logits), x.dtype)
