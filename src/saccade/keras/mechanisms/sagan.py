"""Self-attention of SAGAN: every position gathers from a pooled map, through convolutions of bounded norm.

H. Zhang, I. Goodfellow, D. Metaxas, A. Odena, "Self-Attention Generative Adversarial Networks", ICML 2019,
arXiv:1805.08318.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from saccade.keras.base import Mechanism
from saccade.keras.pairwise import softmax_attention, softmax_weights
from saccade.keras.pieces import dense, multiply, wide
from saccade.keras.reading import flat, pooled, pooled_axes, unflat
from saccade.mechanisms.queries import rows_of
from saccade.mechanisms.rules import choose, reduced


@keras.saving.register_keras_serializable(package="saccade")
class SelfAttention(Mechanism):
    """Add to each position an average of pooled positions, weighted by similarity of their projections.

    The Keras layer of :class:`saccade.mechanisms.sagan.SelfAttention`, which states equation, options and sources.
    """

    key, label = "sagan", "SAGAN"

    def __init__(
        self,
        *,
        variant: str = "official",
        update_u: bool = True,
        data_format: str | None = None,
        dims: int = 2,
        **layer: Any,
    ) -> None:
        super().__init__({"variant": variant, "update_u": update_u}, data_format, layer, dims)
        choose(self.label, "variant", variant, ("official", "popular"))
        choose(self.label, "update_u", update_u, (True, False))
        self.official = variant == "official"

    def assemble(self, channels: int) -> None:
        narrow, half = reduced(channels, 8), reduced(channels, 2)
        self.query = self._conv("query", channels, narrow)
        self.key_ = self._conv("key", channels, narrow)
        self.value = self._conv("value", channels, half if self.official else channels)
        self.project = self._conv("project", half, channels) if self.official else None
        self.gamma = self.add_weight(shape=(1,), initializer="zeros", name="gamma")

    @property
    def starts_as_identity(self) -> bool:
        return True

    def start_open(self) -> None:
        self.gamma.assign(ops.ones(self.gamma.shape, self.gamma.dtype))

    def check(self, shape: tuple[int | None, ...], training: bool) -> None:
        if self.official:
            pooled_axes(self.label, shape, "variant='popular' pools nothing")

    def compute(self, x: Any, training: bool) -> Any:
        keep = training and self.options["update_u"]
        query = self._of(self.query, flat(x), keep)
        key, value = (self._pooled(layer, x, keep) for layer in (self.key_, self.value))
        gathered = softmax_attention(query, flat(key), flat(value))
        branch = gathered if self.project is None else self._of(self.project, gathered, keep)
        return x + ops.cast(self.gamma, x.dtype) * unflat(ops.cast(branch, x.dtype), x)

    def attention(self, x: Any) -> Any:
        """Return the attention map, (B, N, M): row i holds the weights of position i over the (pooled) keys."""
        x = self.view(x)
        return softmax_weights(self._of(self.query, flat(x)), flat(self._pooled(self.key_, x)))

    def weights_of(self, x: Any, queries: Sequence[tuple[int, ...]]) -> Any:
        """Return the rows of :meth:`attention` for `queries`, positions (y, x) on the map: (B, Q, H', W')."""
        x = self.view(x)
        rows = rows_of(self.label, queries, x.shape[1:-1])
        key = self._pooled(self.key_, x)
        weights = softmax_weights(self._of(self.query, ops.take(flat(x), rows, axis=1)), flat(key))
        return ops.reshape(weights, (-1, len(rows), *key.shape[1:-1]))

    def _conv(self, name: str, channels: int, out_channels: int) -> keras.layers.Layer:
        if not self.official:
            return dense(self, name, channels, out_channels)
        layer = BoundedConv(channels, out_channels, name=name, dtype=self.dtype_policy)
        layer.build()
        return layer

    def _of(self, layer: keras.layers.Layer, x: Any, keep: bool = False) -> Any:
        return layer(x, keep=keep) if self.official else layer(x)

    def _pooled(self, layer: keras.layers.Layer, x: Any, keep: bool = False) -> Any:
        found = self._of(layer, x, keep)
        return pooled(found, pooled_axes(self.label, x.shape)) if self.official else found


class BoundedConv(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    """A 1x1 convolution without bias, its matrix divided by an estimate of its largest singular value.

    One step of power iteration from u: v = norm(u W), u' = norm(v W^T), sigma = v W^T u'^T, with the vectors as rows,
    W as (out, in) and norm(t) = t / (|t| + 1e-12). The gradient goes through all of it.
    """

    def __init__(self, channels: int, out_channels: int, **layer: Any) -> None:
        super().__init__(**layer)
        self.channels, self.out_channels = channels, out_channels

    def build(self, input_shape: Any = None) -> None:
        shape = (self.channels, self.out_channels)
        self.kernel = self.add_weight(shape=shape, initializer="glorot_uniform", name="kernel", autocast=False)
        start = keras.initializers.TruncatedNormal(stddev=1.0)
        self.u = self.add_weight(
            shape=(self.out_channels,), initializer=start, name="u", trainable=False, autocast=False
        )

    def call(self, x: Any, keep: bool = False) -> Any:
        """Apply the convolution to `x`; `keep` stores the new u."""
        matrix = wide(ops.convert_to_tensor(self.kernel))  # (in, out), the transpose of W
        given = ops.copy(wide(ops.convert_to_tensor(self.u)))  # storing the new one must not change what backward reads
        v = _unit(multiply(ops.expand_dims(given, 0), ops.transpose(matrix)))
        image = multiply(v, matrix)
        u = _unit(image)
        weight = matrix / ops.sum(u * image)
        if keep and self.trainable:
            self.u.assign(ops.cast(ops.stop_gradient(u[0]), self.u.dtype))
        return multiply(x, ops.cast(weight, x.dtype))


def _unit(vector: Any) -> Any:
    return vector / (ops.sqrt(ops.sum(ops.square(vector))) + 1e-12)
