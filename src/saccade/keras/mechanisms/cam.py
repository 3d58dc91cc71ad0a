"""Channel attention module of DANet: every channel gathers from every other.

J. Fu, J. Liu, H. Tian, Y. Li, Y. Bao, Z. Fang, H. Lu, "Dual Attention Network for Scene Segmentation", CVPR 2019,
arXiv:1809.02983.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from saccade.keras.base import Mechanism
from saccade.keras.pieces import multiply, softmax, wide
from saccade.keras.reading import flat, unflat
from saccade.mechanisms.queries import rows_of
from saccade.mechanisms.rules import choose


@keras.saving.register_keras_serializable(package="saccade")
class ChannelAttention(Mechanism):
    """Add to each channel an average of all channels, weighted by dissimilarity (or similarity, as printed).

    The Keras layer of :class:`saccade.mechanisms.cam.ChannelAttention`, which states equation, options and sources.
    """

    key, label = "cam", "CAM"

    def __init__(self, *, sign: str = "released", data_format: str | None = None, dims: int = 2, **layer: Any) -> None:
        super().__init__({"sign": sign}, data_format, layer, dims)
        choose(self.label, "sign", sign, ("released", "printed"))

    def assemble(self, channels: int) -> None:
        self.gamma = self.add_weight(shape=(1,), initializer="zeros", name="gamma")

    @property
    def starts_as_identity(self) -> bool:
        return True

    def start_open(self) -> None:
        self.gamma.assign(ops.ones(self.gamma.shape, self.gamma.dtype))

    def compute(self, x: Any, training: bool) -> Any:
        positions = flat(x)
        # Rows of the map are channels that gather, and channels lie last, hence the transposed map; gamma scales it.
        weights = ops.transpose(self._map(positions, positions), (0, 2, 1))
        weights = ops.cast(ops.cast(self.gamma, weights.dtype) * weights, x.dtype)
        return x + unflat(multiply(positions, weights), x)

    def attention(self, x: Any) -> Any:
        """Return the attention map, (B, C, C): row c holds the weights of channel c; rows sum to 1."""
        positions = flat(self.view(x))
        return self._map(positions, positions)

    def channel_weights(self, x: Any, channels: Sequence[int]) -> Any:
        """Return the rows of :meth:`attention` for chosen `channels`, (B, Q, C), in O(Q C N)."""
        positions = flat(self.view(x))
        rows = rows_of(self.label, [(channel,) for channel in channels], (self.channels or 0,))
        return self._map(ops.take(positions, rows, axis=2), positions)

    def _map(self, some: Any, positions: Any) -> Any:
        scale = -1.0 if self.options["sign"] == "released" else 1.0
        return softmax(scale * multiply(ops.transpose(wide(some), (0, 2, 1)), wide(positions)), axis=-1)
