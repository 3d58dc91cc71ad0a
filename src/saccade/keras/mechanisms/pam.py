"""Position attention module of DANet: every position gathers from every other.

J. Fu, J. Liu, H. Tian, Y. Li, Y. Bao, Z. Fang, H. Lu, "Dual Attention Network for Scene Segmentation", CVPR 2019,
arXiv:1809.02983.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from saccade.keras.base import Mechanism
from saccade.keras.modes import by_definition
from saccade.keras.pairwise import softmax_attention, softmax_weights
from saccade.keras.pieces import dense, multiply
from saccade.keras.reading import flat, unflat
from saccade.mechanisms.queries import rows_of
from saccade.mechanisms.rules import positive, reduced


@keras.saving.register_keras_serializable(package="saccade")
class PositionAttention(Mechanism):
    """Add to each position an average of all positions, weighted by similarity of their projections.

    The Keras layer of :class:`saccade.mechanisms.pam.PositionAttention`, which states equation, options and sources.
    """

    key, label = "pam", "PAM"

    def __init__(self, *, reduction: int = 8, data_format: str | None = None, dims: int = 2, **layer: Any) -> None:
        super().__init__({"reduction": reduction}, data_format, layer, dims)
        positive(self.label, reduction=reduction)

    def assemble(self, channels: int) -> None:
        width = reduced(channels, self.options["reduction"])
        self.query = dense(self, "query", channels, width)
        self.key_ = dense(self, "key", channels, width)
        self.value = dense(self, "value", channels, channels)
        self.gamma = self.add_weight(shape=(1,), initializer="zeros", name="gamma")

    @property
    def starts_as_identity(self) -> bool:
        return True

    def start_open(self) -> None:
        self.gamma.assign(ops.ones(self.gamma.shape, self.gamma.dtype))

    def compute(self, x: Any, training: bool) -> Any:
        positions, gamma = flat(x), ops.cast(self.gamma, x.dtype)
        query, key = self.query(positions), self.key_(positions)
        if by_definition():
            return x + gamma * unflat(softmax_attention(query, key, self.value(positions)), x)
        # Rows of weights sum to 1, so the map itself is averaged and W_v and b_v follow: no value is kept.
        weight, bias = (gamma * ops.cast(part, x.dtype) for part in (self.value.kernel, self.value.bias))
        return x + unflat(multiply(softmax_attention(query, key, positions), weight) + bias, x)

    def attention(self, x: Any) -> Any:
        """Return the attention map, (B, N, N): row i holds the weights of position i; rows sum to 1."""
        positions = flat(self.view(x))
        return softmax_weights(self.query(positions), self.key_(positions))

    def weights_of(self, x: Any, queries: Sequence[tuple[int, ...]]) -> Any:
        """Return the rows of :meth:`attention` for `queries`, positions (y, x): (B, Q, H, W), in O(Q N)."""
        x = self.view(x)
        positions, rows = flat(x), rows_of(self.label, queries, x.shape[1:-1])
        weights = softmax_weights(self.query(ops.take(positions, rows, axis=1)), self.key_(positions))
        return ops.reshape(weights, (-1, len(rows), *x.shape[1:-1]))
