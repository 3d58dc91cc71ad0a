"""Double attention: a few descriptors gathered from all positions, then given back to each as it needs them.

Y. Chen, Y. Kalantidis, J. Li, S. Yan, J. Feng, "A^2-Nets: Double Attention Networks", NeurIPS 2018, arXiv:1810.11579.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from saccade.errors import InputError
from saccade.keras.base import Mechanism
from saccade.keras.pieces import dense, multiply, softmax, wide
from saccade.keras.reading import first, flat, unflat
from saccade.mechanisms.queries import rows_of
from saccade.mechanisms.rules import choose, positive, reduced


@keras.saving.register_keras_serializable(package="saccade")
class DoubleAttention(Mechanism):
    """Add to each position its own mixture of descriptors that were gathered from the whole feature map.

    The Keras layer of :class:`saccade.mechanisms.a2.DoubleAttention`, which states equation, options and sources.
    """

    key, label = "a2", "A2"

    def __init__(
        self,
        *,
        value_channels: int | None = None,
        key_channels: int | None = None,
        reconstruct: bool = True,
        residual: bool = True,
        dims: int = 2,
        data_format: str | None = None,
        **layer: Any,
    ) -> None:
        options = {
            "value_channels": value_channels, "key_channels": key_channels, "reconstruct": reconstruct,
            "residual": residual,
        }  # fmt: skip
        super().__init__(options, data_format, layer, dims)
        choose(self.label, "reconstruct", reconstruct, (True, False))
        choose(self.label, "residual", residual, (True, False))
        self._widths(1)

    def assemble(self, channels: int) -> None:
        values, keys = self._widths(channels)
        reconstruct, residual = self.options["reconstruct"], self.options["residual"]
        if residual and not reconstruct and values != channels:
            raise InputError(
                f"{self.label}: without `reconstruct` the output has {values} channels and cannot be added to "
                f"{channels}",
                f"give residual=False, or value_channels={channels}",
            )
        self.value = dense(self, "value", channels, values)
        self.gather = dense(self, "gather", channels, keys)
        self.distribute = dense(self, "distribute", channels, keys)
        self.project = None
        if reconstruct:
            self.project = dense(self, "project", values, channels, start="zeros" if residual else None)

    @property
    def starts_as_identity(self) -> bool:
        return bool(self.options["reconstruct"] and self.options["residual"])

    def compute(self, x: Any, training: bool) -> Any:
        positions = flat(x)
        gather, distribute = self._maps(positions)
        descriptors = self._descriptors(positions, gather)
        if self.project is not None:
            # Applied to the few descriptors; rows of `distribute` sum to 1, so its bias is one on the map.
            descriptors = self.project(descriptors)
        branch = unflat(multiply(ops.cast(distribute, descriptors.dtype), descriptors), x)
        branch = ops.cast(branch, x.dtype)
        return x + branch if self.options["residual"] else branch

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        if self.options["reconstruct"]:
            return tuple(input_shape)
        at = 1 if self.data_format == "channels_first" else -1
        shape = list(input_shape)
        shape[at] = self._widths(shape[at] or 1)[0]
        return tuple(shape)

    def attention(self, x: Any) -> Any:
        """Return the weights between all positions, (B, N, N); rows sum to 1. The layer itself never computes them."""
        gather, distribute = self._maps(flat(self.view(x)))
        return multiply(distribute, ops.transpose(gather, (0, 2, 1)))

    def weights_of(self, x: Any, queries: Sequence[tuple[int, ...]]) -> Any:
        """Return the rows of :meth:`attention` for `queries`, positions (y, x): (B, Q, H, W), in O(Q n N)."""
        x = self.view(x)
        gather, distribute = self._maps(flat(x))
        rows = rows_of(self.label, queries, x.shape[1:-1])
        weights = multiply(ops.take(distribute, rows, axis=1), ops.transpose(gather, (0, 2, 1)))
        return ops.reshape(weights, (-1, len(rows), *x.shape[1:-1]))

    def descriptors(self, x: Any) -> Any:
        """Return the gathered descriptors, (B, m, n), one column for each."""
        positions = flat(self.view(x))
        return ops.transpose(self._descriptors(positions, self._maps(positions)[0]), (0, 2, 1))

    def gathered_from(self, x: Any) -> Any:
        """Return the weights of descriptors over positions, (B, n, H, W); each map sums to 1."""
        x = self.view(x)
        return first(unflat(self._maps(flat(x))[0], x))

    def distribution(self, x: Any) -> Any:
        """Return the weights of positions over descriptors, (B, n, H, W); they sum to 1 at each position."""
        x = self.view(x)
        return first(unflat(self._maps(flat(x))[1], x))

    def _widths(self, channels: int) -> tuple[int, int]:
        given = (self.options["value_channels"], self.options["key_channels"])
        values, keys = (reduced(channels, 2) if width is None else width for width in given)
        positive(self.label, value_channels=values, key_channels=keys)
        return values, keys

    def _maps(self, positions: Any) -> tuple[Any, Any]:
        """Return the weights of descriptors over positions, and of positions over descriptors: (B, N, n) each."""
        gather = softmax(wide(self.gather(positions)), axis=1)
        return gather, softmax(wide(self.distribute(positions)), axis=-1)

    def _descriptors(self, positions: Any, gather: Any) -> Any:
        """Return the descriptors, one per row: (B, n, m)."""
        value = self.value(positions)
        return multiply(ops.transpose(ops.cast(gather, value.dtype), (0, 2, 1)), value)
