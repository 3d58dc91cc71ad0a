"""Non-local block: every position gathers from every other, with any of four measures of similarity.

X. Wang, R. Girshick, A. Gupta, K. He, "Non-local Neural Networks", CVPR 2018, arXiv:1711.07971.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from saccade.errors import InputError
from saccade.keras import pairwise as pairs
from saccade.keras.base import Mechanism
from saccade.keras.modes import by_definition
from saccade.keras.pieces import Dense, Kernel, as_torch, dense, kaiming, multiply, norm, wide
from saccade.keras.reading import flat, pooled, pooled_axes, unflat
from saccade.mechanisms.queries import rows_of
from saccade.mechanisms.rules import choose
from saccade.mechanisms.widths import PAIRWISE_SOURCES, pairwise_scale, pairwise_width

PAIRWISE = ("embedded_gaussian", "gaussian", "dot_product", "concatenation")


@keras.saving.register_keras_serializable(package="saccade")
class NonLocal(Mechanism):
    """Add to each position a sum over all positions, weighted by a measure of similarity f.

    The Keras layer of :class:`saccade.mechanisms.non_local.NonLocal`, which states equations, options and sources.
    """

    key, label = "non_local", "NonLocal"

    def __init__(
        self,
        *,
        pairwise: str = "embedded_gaussian",
        variant: str = "official",
        sub_sample: bool | None = None,
        scaled: bool | None = None,
        norm: bool | None = None,
        reduction: int | None = None,
        inner_channels: int | None = None,
        dims: int = 2,
        data_format: str | None = None,
        **layer: Any,
    ) -> None:
        options = {
            "pairwise": pairwise, "variant": variant, "sub_sample": sub_sample, "scaled": scaled, "norm": norm,
            "reduction": reduction, "inner_channels": inner_channels,
        }  # fmt: skip
        super().__init__(options, data_format, layer, dims)
        choose(self.label, "pairwise", pairwise, PAIRWISE)
        choose(self.label, "variant", variant, tuple(PAIRWISE_SOURCES))
        for option, value in (("sub_sample", sub_sample), ("scaled", scaled), ("norm", norm)):
            choose(self.label, option, value, (None, True, False))
        if scaled and pairwise != "embedded_gaussian":
            raise InputError(
                f"{self.label}: `scaled` needs embedded_gaussian; received {scaled=}, {pairwise=}", "leave `scaled` out"
            )
        self._width(1)
        source = PAIRWISE_SOURCES[variant]
        self.source, self.pairwise = source, pairwise
        self.sub_sample = source.sub_sample if sub_sample is None else sub_sample
        self.is_scaled = pairwise == "embedded_gaussian" and (source.scaled if scaled is None else scaled)
        self.has_norm = source.norm if norm is None else norm

    def assemble(self, channels: int) -> None:
        variant, source, width = self.options["variant"], self.source, self._width(channels)
        self.scale = pairwise_scale(channels, width, variant) if self.is_scaled else 1.0
        inner, outer = _START[source.inner_init](), _START[source.outer_init]()
        self.query = self.key_ = self.score = self.norm = None
        if self.pairwise != "gaussian":
            self.query = dense(self, "query", channels, width, start=inner)
            self.key_ = dense(self, "key", channels, width, start=inner)
        self.value = dense(self, "value", channels, width, start=inner)
        if self.pairwise == "concatenation":
            start = as_torch(2 * width) if outer is None else outer
            self.score = Kernel((1, 1, 2 * width, 1), start, name="score", dtype=self.dtype_policy)
            self.score.build()
        biased = not (self.has_norm and variant in ("mmcv", "gcnet"))
        self.project = dense(self, "project", width, channels, bias=biased, start=outer if self.has_norm else "zeros")
        if self.has_norm:
            self.norm = norm(self, "norm", channels, eps=source.eps, start=0.0)

    @property
    def starts_as_identity(self) -> bool:
        return True

    @classmethod
    def options_of(cls, module: Any) -> dict[str, Any]:
        if module.pairwise != "embedded_gaussian":
            return {}
        return {"scaled": module.scale != 1.0 or module.inner_channels == 1}

    def check(self, shape: tuple[int | None, ...], training: bool) -> None:
        if self.sub_sample:
            pooled_axes(self.label, shape, "make it with sub_sample=False")

    def compute(self, x: Any, training: bool) -> Any:
        if self.pairwise == "dot_product" and not by_definition():
            branch = self._linear(x)
        else:
            query, key = self._queries(flat(x)), flat(self._pooled(self.key_, x))
            branch = self.project(self._attend(query, key, flat(self._pooled(self.value, x))))
        branch = unflat(branch, x)
        if self.norm is not None:
            branch = self.norm(branch, training=training)
        return x + ops.cast(branch, x.dtype)

    def attention(self, x: Any) -> Any:
        """Return the attention map, (B, N, M): row i holds the weights of position i over the (pooled) keys."""
        x = self.view(x)
        return self._map(self._queries(flat(x)), flat(self._pooled(self.key_, x)))

    def weights_of(self, x: Any, queries: Sequence[tuple[int, ...]]) -> Any:
        """Return the rows of :meth:`attention` for `queries`, positions (y, x) on the map: (B, Q, H', W')."""
        x = self.view(x)
        rows = rows_of(self.label, queries, x.shape[1:-1])
        key = self._pooled(self.key_, x)
        weights = self._map(self._queries(ops.take(flat(x), rows, axis=1)), flat(key))
        return ops.reshape(weights, (-1, len(rows), *key.shape[1:-1]))

    def _width(self, channels: int) -> int:
        given = (self.options["variant"], self.options["reduction"], self.options["inner_channels"])
        return pairwise_width(self.label, channels, *given)

    def _queries(self, positions: Any) -> Any:
        return positions if self.query is None else self.query(positions)

    def _pool(self, x: Any) -> Any:
        return pooled(x, pooled_axes(self.label, x.shape)) if self.sub_sample else x

    def _pooled(self, layer: keras.layers.Layer | None, x: Any) -> Any:
        if layer is None:
            return self._pool(x)
        return layer(self._pool(x)) if self.source.pool_first else self._pool(layer(x))

    def _map(self, query: Any, key: Any) -> Any:
        if self.pairwise == "dot_product":
            return pairs.dot_product_weights(query, key)
        if self.pairwise == "concatenation":
            return pairs.concatenation_weights(query, key, self._score())
        return pairs.softmax_weights(query, key, self.scale)

    def _attend(self, query: Any, key: Any, value: Any) -> Any:
        if self.pairwise == "dot_product":
            return pairs.weighted_sum(self._map(query, key), value)
        if self.pairwise == "concatenation":
            return pairs.concatenation_attention(query, key, value, self._score())
        return pairs.softmax_attention(query, key, value, self.scale)

    def _score(self) -> Any:
        assert self.score is not None
        return ops.reshape(wide(ops.convert_to_tensor(self.score.kernel)), (-1,))

    def _linear(self, x: Any) -> Any:
        """Compute the branch of the dot product, before its norm: one matrix over channels applied to x, (B, N, C).

        Nothing in it but the pooling is non-linear, so all factors associate to one matrix for each sample.
        """
        assert self.query is not None
        positions = flat(x)
        values, count = self._keys_by_values(x)
        query, project = _matrix(self.query), wide(ops.convert_to_tensor(self.project.kernel))
        matrix = multiply(multiply(query, values / count), project)  # (B, C + 1, C)
        weight, bias = matrix[:, :-1], matrix[:, -1:]
        if self.project.bias is not None:
            bias = bias + wide(ops.convert_to_tensor(self.project.bias))
        return multiply(positions, ops.cast(weight, x.dtype)) + ops.cast(bias, x.dtype)

    def _keys_by_values(self, x: Any) -> tuple[Any, Any]:
        """Return the sums of products of keys and values over their positions, (B, d, d), and the number of these."""
        assert self.key_ is not None
        if self.sub_sample and not self.source.pool_first:  # a maximum stands between the products and x
            keys, values = (wide(flat(self._pooled(layer, x))) for layer in (self.key_, self.value))
            return multiply(ops.transpose(keys, (0, 2, 1)), values), ops.cast(ops.shape(keys)[1], keys.dtype)
        seen = wide(flat(self._pool(x)))
        count = ops.cast(ops.shape(seen)[1], seen.dtype)
        products = multiply(ops.transpose(seen, (0, 2, 1)), seen)  # (B, C, C)
        sums = ops.sum(seen, axis=1, keepdims=True)  # (B, 1, C)
        last = ops.concatenate([sums, ops.ones_like(sums[:, :, :1]) * count], axis=2)
        gram = ops.concatenate([ops.concatenate([products, ops.transpose(sums, (0, 2, 1))], axis=2), last], axis=1)
        key, value = _matrix(self.key_), _matrix(self.value)
        return multiply(multiply(ops.transpose(key), gram), value), count


def _matrix(layer: Dense) -> Any:
    """Concatenate kernel and bias, (in + 1, out), in float32 at least."""
    kernel, bias = (wide(ops.convert_to_tensor(weight)) for weight in (layer.kernel, layer.bias))
    return ops.concatenate([kernel, ops.expand_dims(bias, 0)], axis=0)


_START: dict[str, Callable[[], Any]] = {
    "gaussian": lambda: keras.initializers.RandomNormal(stddev=0.01),
    "kaiming": lambda: kaiming("fan_out"),
    "torch": lambda: None,
}
