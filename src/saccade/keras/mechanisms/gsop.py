"""Global second-order pooling: gates from the covariance of channels, or of positions.

Z. Gao, J. Xie, Q. Wang, P. Li, "Global Second-order Pooling Convolutional Networks", CVPR 2019, arXiv:1811.12006.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from saccade.errors import InputError
from saccade.keras.base import Mechanism
from saccade.keras.pieces import as_torch, conv, dense, kaiming, mean_over, multiply, norm, wide
from saccade.keras.reading import adaptive_mean, first, flat, spread
from saccade.mechanisms.rules import choose, positive
from saccade.mechanisms.widths import fusion_sizes

VARIANTS = ("channel", "spatial", "sum", "max", "concat")


@keras.saving.register_keras_serializable(package="saccade")
class GSoP(Mechanism):
    """Scale channels, positions or both by gates computed from a covariance matrix, row by row.

    The Keras layer of :class:`saccade.mechanisms.gsop.GSoP`, which states equation, options and sources.
    """

    key, label = "gsop", "GSoP"

    def __init__(
        self,
        *,
        variant: str = "channel",
        dim: int = 128,
        grid: int = 8,
        stride: int = 1,
        covariance: str = "released",
        fusion_kernel: int | None = None,
        fusion_groups: int | None = None,
        data_format: str | None = None,
        dims: int = 2,
        **layer: Any,
    ) -> None:
        options = {
            "variant": variant, "dim": dim, "grid": grid, "stride": stride, "covariance": covariance,
            "fusion_kernel": fusion_kernel, "fusion_groups": fusion_groups,
        }  # fmt: skip
        super().__init__(options, data_format, layer, dims)
        choose(self.label, "variant", variant, VARIANTS)
        choose(self.label, "covariance", covariance, ("released", "true"))
        if variant != "channel" and dims != 2:
            raise InputError(
                f"{self.label}: variant={variant!r} compares positions of a square grid of two axes; received {dims=}",
                "variant='channel' takes maps of any axes",
            )
        positive(self.label, dim=dim, grid=grid, stride=stride)

    def assemble(self, channels: int) -> None:
        given, parts = self.options, {"dtype": self.dtype_policy}
        variant, dim = given["variant"], given["dim"]
        self.channel = self.spatial = self.fusion = None
        if variant != "spatial":
            self.channel = ChannelGate(channels, dim, given["stride"], name="channel", **parts)
            self.channel.build()
        if variant != "channel":
            true = given["covariance"] == "true"
            self.spatial = SpatialGate(channels, dim, given["grid"], true, name="spatial", **parts)
            self.spatial.build()
        if variant == "concat":
            sizes = fusion_sizes(self.label, channels, given["fusion_kernel"], given["fusion_groups"])
            self.fusion = Fusion(channels, *sizes, name="fusion", **parts)
            self.fusion.build()

    def compute(self, x: Any, training: bool) -> Any:
        of_channels = None if self.channel is None else x * self.channel(x, training=training)
        of_positions = None if self.spatial is None else ops.relu(x * self.spatial(x, training=training))
        if of_channels is None or of_positions is None:
            return of_positions if of_channels is None else of_channels
        if self.fusion is not None:
            return ops.cast(self.fusion(of_channels, of_positions, training=training), x.dtype)
        if self.options["variant"] == "sum":
            return of_channels + of_positions
        # As torch.maximum: at a tie each has half of the gradient.
        either = ops.where(of_channels < of_positions, of_positions, (of_channels + of_positions) / 2)
        return ops.where(of_channels > of_positions, of_channels, either)

    def gates(self, x: Any) -> dict[str, Any]:
        """Return the gates, ``"channel"`` (B, C) and ``"spatial"`` (B, 1, H, W), both of `x` itself."""
        x = self.view(x)
        gates = {} if self.channel is None else {"channel": ops.reshape(self.channel(x), (-1, self.channels))}
        return gates if self.spatial is None else gates | {"spatial": first(self.spatial(x))}

    def covariances(self, x: Any) -> dict[str, Any]:
        """Return S of the reduced channels, ``"channel"`` (B, dim, dim), and K of the grid, ``"spatial"`` (B, P, P)."""
        x = self.view(x)
        found = {} if self.channel is None else {"channel": self.channel.matrix(x, False)}
        return found if self.spatial is None else found | {"spatial": self.spatial.matrix(x, False)}

    def check(self, shape: tuple[int | None, ...], training: bool) -> None:
        stride = 1 if self.options["variant"] == "spatial" else self.options["stride"]
        batch, *sizes, _ = shape
        if training and batch == 1 and all(size is not None and size <= stride for size in sizes):
            raise InputError(
                f"{self.label}: in training its norms need more than one position (after stride {stride}); received "
                f"shape {shape}",
                "take a larger batch or map, or training=False",
            )


class _RowGate(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    """Base of both gates: four numbers from each row of a matrix, then a gate of all of them."""

    def _build_rows(self, count: int, out: int) -> None:
        start = kaiming("fan_out")
        self.row_norm = norm(self, "row_norm", count)
        self.rows = RowLayer(count, name="rows", dtype=self.dtype_policy)
        self.rows.build()
        self.expand = dense(self, "expand", 4 * count, out, start=start, bias_start=as_torch(4 * count))

    def _of_rows(self, matrix: Any, training: bool | None) -> Any:
        """Return the normed rows, (B, R, R), each with its weights of one channel per row."""
        matrix = ops.cast(matrix, self.compute_dtype)
        # The norm has one channel per row, and channels lie last.
        normed = self.row_norm(ops.transpose(matrix, (0, 2, 1)), training=training)
        return self.rows(ops.transpose(normed, (0, 2, 1)))


class RowLayer(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    """Compute four numbers from each row of a matrix, with weights of its own: (B, R, R) to (B, 4 R)."""

    def __init__(self, count: int, **layer: Any) -> None:
        super().__init__(**layer)
        self.count = count

    def build(self, input_shape: Any = None) -> None:
        shape = (self.count, 1, 1, 4 * self.count)
        self.kernel = self.add_weight(shape=shape, initializer=kaiming("fan_out"), name="kernel")
        self.bias = self.add_weight(shape=(4 * self.count,), initializer=as_torch(self.count), name="bias")

    def call(self, rows: Any) -> Any:
        """Compute the numbers."""
        kernel = ops.reshape(ops.cast(self.kernel, rows.dtype), (self.count, self.count, 4))  # columns, rows, numbers
        numbers = ops.einsum("brk,krj->brj", rows, kernel)
        return ops.reshape(numbers, (-1, 4 * self.count)) + ops.cast(self.bias, rows.dtype)


class ChannelGate(_RowGate):
    """Compute one factor per channel from the covariance of the reduced channels."""

    def __init__(self, channels: int, dim: int, stride: int, **layer: Any) -> None:
        super().__init__(**layer)
        self.channels, self.dim, self.stride = channels, dim, stride

    def build(self, input_shape: Any = None) -> None:
        start, bias_start = kaiming("fan_out"), as_torch(self.channels)
        self.reduce = dense(self, "reduce", self.channels, self.dim, start=start, bias_start=bias_start)
        self.reduce_norm = norm(self, "reduce_norm", self.dim)
        self._build_rows(self.dim, self.channels)

    def matrix(self, x: Any, training: bool | None) -> Any:
        """Return the covariance of the reduced channels, (B, dim, dim)."""
        step = slice(None, None, self.stride)
        seen = x[(slice(None), *(step for _ in x.shape[1:-1]))]
        h = ops.relu(self.reduce_norm(self.reduce(ops.relu(seen)), training=training))
        return covariance(ops.transpose(flat(h), (0, 2, 1)))

    def call(self, x: Any, training: bool | None = None) -> Any:
        """Compute the gate."""
        logits = self.expand(self._of_rows(self.matrix(x, training), training))
        return spread(ops.sigmoid(logits), x)


class SpatialGate(_RowGate):
    """Compute one factor per position from the covariance of the positions of a fixed grid: (B, H, W, 1)."""

    def __init__(self, channels: int, dim: int, grid: int, true_covariance: bool, **layer: Any) -> None:
        super().__init__(**layer)
        self.channels, self.dim, self.grid, self.true_covariance = channels, dim, grid, true_covariance

    def build(self, input_shape: Any = None) -> None:
        start, bias_start = kaiming("fan_out"), as_torch(self.channels)
        self.reduce = dense(self, "reduce", self.channels, self.dim, start=start, bias_start=bias_start)
        self.reduce_norm = norm(self, "reduce_norm", self.dim)
        self._build_rows(self.grid**2, self.grid**2)

    def matrix(self, x: Any, training: bool | None) -> Any:
        """Return the covariance of the positions of the grid, (B, P, P)."""
        reduced = self.reduce_norm(self.reduce(ops.relu(x)), training=training)
        k = flat(adaptive_mean(reduced, (self.grid, self.grid)))
        return covariance(k) if self.true_covariance else _released(k)

    def call(self, x: Any, training: bool | None = None) -> Any:
        """Compute the gate."""
        rows = ops.relu(self._of_rows(self.matrix(x, training), training))
        gate = ops.reshape(ops.sigmoid(self.expand(rows)), (-1, self.grid, self.grid, 1))
        # Also to a larger map: bins then overlap, as in the authors' code.
        return adaptive_mean(gate, ops.shape(x)[1:3])


class Fusion(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    """Combine both gated maps for the variant "concat"."""

    def __init__(self, channels: int, kernel: int, groups: int, **layer: Any) -> None:
        super().__init__(**layer)
        self.channels, self.kernel_size, self.groups = channels, kernel, groups

    def build(self, input_shape: Any = None) -> None:
        size, fan_in = (self.kernel_size, 1), self.channels // self.groups * self.kernel_size
        given = {"groups": self.groups, "start": kaiming("fan_out"), "bias_start": as_torch(fan_in)}
        self.channel = conv(self, "channel", self.channels, self.channels, size, **given)
        self.spatial = conv(self, "spatial", self.channels, self.channels, size, **given)
        self.norm = norm(self, "norm", self.channels)

    def call(self, of_channels: Any, of_positions: Any, training: bool | None = None) -> Any:
        """Combine the maps."""
        return self.norm(self.channel(of_channels) + self.spatial(of_positions), training=training)


def covariance(rows: Any) -> Any:
    """Return the covariance of rows over their columns, (B, R, M) to (B, R, R), in float32 at least."""
    rows = wide(rows)
    centred = rows - mean_over(rows, (-1,), keepdims=True)
    return multiply(centred, ops.transpose(centred, (0, 2, 1))) / ops.cast(ops.shape(rows)[-1], rows.dtype)


def _released(rows: Any) -> Any:
    """Return the authors' matrix of (B, P, d): divided by P and P^2, where a covariance has d and d^2."""
    rows, count = wide(rows), rows.shape[1]
    sums = ops.sum(rows, axis=-1, keepdims=True)
    products = multiply(rows, ops.transpose(rows, (0, 2, 1))) / count
    return products - multiply(sums, ops.transpose(sums, (0, 2, 1))) / count**2
