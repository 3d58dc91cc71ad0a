"""One summary of a whole feature map: the step that the global context and the simplified non-local block share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keras import ops

from saccade.keras.base import Mechanism
from saccade.keras.pieces import Dense, dense, multiply, softmax, wide, wide_policy
from saccade.keras.reading import flat, mean
from saccade.mechanisms.queries import rows_of


class Context(Mechanism):
    """A mechanism whose positions all share one attention map.

    Attributes:
        mask: Layer from C numbers to the logit of a position, in float32 at least; None: all weights are equal.
    """

    mask: Dense | None

    def mask_of(self, channels: int, start: Any, bias_start: Any = None) -> Dense:
        """Return the layer of the logits."""
        policy = wide_policy(self)
        return dense(self, "mask", channels, 1, start=start, bias_start=bias_start, policy=policy)

    def context(self, x: Any) -> Any:
        """Return the weighted mean of the positions, (B, C)."""
        if self.mask is None:
            return mean(x)
        positions = flat(x)
        return ops.squeeze(multiply(self._row(positions), wide(positions)), 1)

    def attention(self, x: Any) -> Any:
        """Return the attention map, (B, 1, N): the one row that all positions share; it sums to 1."""
        positions = flat(self.view(x))
        if self.mask is not None:
            return self._row(positions)
        row = ops.transpose(wide(positions)[:, :, :1], (0, 2, 1))
        return ops.ones_like(row) / ops.cast(ops.shape(row)[2], row.dtype)

    def weights_of(self, x: Any, queries: Sequence[tuple[int, ...]]) -> Any:
        """Return the row of :meth:`attention` once for each of `queries`, positions (y, x): (B, Q, H, W)."""
        sizes = self.view(x).shape[1:-1]
        count = len(rows_of(self.label, queries, sizes))
        return ops.repeat(ops.reshape(self.attention(x), (-1, 1, *sizes)), count, axis=1)

    def context_map(self, x: Any) -> Any:
        """Return the map that all positions share, (B, H, W); it sums to 1."""
        return ops.reshape(self.attention(x), (-1, *self.view(x).shape[1:-1]))

    def _row(self, positions: Any) -> Any:
        assert self.mask is not None
        return softmax(ops.transpose(self.mask(wide(positions)), (0, 2, 1)), axis=-1)
