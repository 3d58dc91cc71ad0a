"""Fully attentional block: channels gather from channels, in every column and every row separately.

Q. Song, J. Li, C. Li, H. Guo, R. Huang, "Fully Attentional Network for Semantic Segmentation", AAAI 2022,
arXiv:2112.04108.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from saccade.errors import InputError
from saccade.keras.base import Mechanism
from saccade.keras.blocks import in_blocks
from saccade.keras.pieces import BatchNorm, conv, dense, mean_over, multiply, norm, softmax, wide
from saccade.mechanisms.queries import rows_of
from saccade.mechanisms.rules import choose


@keras.saving.register_keras_serializable(package="saccade")
class FullyAttentional(Mechanism):
    """Give every channel an average of all channels, in each column and each row; then convolve.

    The Keras layer of :class:`saccade.mechanisms.fla.FullyAttentional`, which states equations, options and sources.
    `norm_layer` is a function or class, registered with Keras, that makes a Keras layer from a width.
    """

    key, label = "fla", "FLA"

    def __init__(
        self,
        *,
        pairing: str = "sample",
        norm_layer: Callable[[int], keras.layers.Layer] | dict[str, Any] | None = None,
        lean: bool = False,
        data_format: str | None = None,
        **layer: Any,
    ) -> None:
        if isinstance(norm_layer, dict):
            norm_layer = keras.saving.deserialize_keras_object(norm_layer)
        super().__init__({"pairing": pairing, "norm_layer": norm_layer, "lean": lean}, data_format, layer)
        choose(self.label, "pairing", pairing, ("sample", "released"))
        choose(self.label, "lean", lean, (False, True))
        if norm_layer is not None and not callable(norm_layer):
            raise TypeError(f"{self.label}: `norm_layer` must make a Keras layer from a width; received {norm_layer!r}")

    def assemble(self, channels: int) -> None:
        self.rows = dense(self, "rows", channels, channels)
        self.columns = dense(self, "columns", channels, channels)
        self.conv = conv(self, "conv", channels, channels, (3, 3), bias=False)
        make = self.options["norm_layer"]
        self.norm = norm(self, "norm", channels) if make is None else make(channels)
        if not self.norm.built:
            self.norm.build((None, None, None, channels))
        self.gamma = self.add_weight(shape=(1,), initializer="zeros", name="gamma")

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        if self.options["norm_layer"] is not None:
            config["norm_layer"] = keras.saving.serialize_keras_object(self.options["norm_layer"])
        return config

    @classmethod
    def options_of(cls, module: Any) -> dict[str, Any]:
        if type(module.norm).__name__ not in ("BatchNorm2d", "SyncBatchNorm"):
            raise InputError(
                f"{cls.label}: its norm is a {type(module.norm).__name__}, for which no Keras layer is known",
                "make the layer with norm_layer=, and set its weights by name",
            )
        return {"norm_layer": None}

    def torch_options(self) -> dict[str, Any]:
        if self.options["norm_layer"] is not None:
            raise InputError(
                f"{self.label}: its norm is a {type(self.norm).__name__} of Keras, for which no PyTorch layer is known",
                "make the module with norm_layer=, and set its weights by name",
            )
        return super().torch_options()

    def start_open(self) -> None:
        self.gamma.assign(ops.ones(self.gamma.shape, self.gamma.dtype))

    def check(self, shape: tuple[int | None, ...], training: bool) -> None:
        normalises = self.options["norm_layer"] is None
        if training and normalises and all(size == 1 for size in shape[:-1]):
            raise InputError(
                f"{self.label}: in training its norm needs more than one position; received shape {shape}",
                "take a larger batch or map, training=False, or another norm_layer",
            )

    def compute(self, x: Any, training: bool) -> Any:
        (down, of_rows), (across, of_columns) = self._strips(x)
        columns = ops.transpose(self._attend(down, of_rows), (0, 2, 1, 3))
        attended = x + ops.cast(self.gamma, x.dtype) * (columns + self._attend(across, of_columns))
        convolved = self.conv(attended)
        is_ours = isinstance(self.norm, BatchNorm)
        normed = self.norm(convolved, training=training) if is_ours else self.norm(convolved)
        return ops.cast(ops.relu(normed), x.dtype)

    def attention(self, x: Any) -> Any:
        """Return the maps of all strips, (B, W + H, C, C), columns first: row c holds the weights of channel c."""
        return ops.concatenate([_weights(*strips) for strips in self._strips(self.view(x))], axis=1)

    def column_weights(self, x: Any, columns: Sequence[int], channels: Sequence[int]) -> Any:
        """Return the weights of `channels` over all channels in each of `columns`, (B, S, Q, C); rows sum to 1."""
        return self._some(self._strips(self.view(x))[0], columns, channels)

    def row_weights(self, x: Any, rows: Sequence[int], channels: Sequence[int]) -> Any:
        """Return the weights of `channels` over all channels in each of `rows`, (B, S, Q, C); they sum to 1."""
        return self._some(self._strips(self.view(x))[1], rows, channels)

    def _strips(self, x: Any) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
        """Return columns (B, W, H, C) and rows (B, H, W, C), each with its descriptors, (B, S or 1, L, C)."""
        of_rows = self.rows(ops.cast(mean_over(wide(x), (2,)), x.dtype))  # (B, H, C)
        of_columns = self.columns(ops.cast(mean_over(wide(x), (1,)), x.dtype))  # (B, W, C)
        down = ops.transpose(x, (0, 2, 1, 3))
        return (down, self._paired(of_rows, down)), (x, self._paired(of_columns, x))

    def _paired(self, descriptors: Any, strips: Any) -> Any:
        if self.options["pairing"] == "sample":
            return ops.expand_dims(descriptors, 1)
        # Strips of the batch are counted sample by sample, while the descriptors are tiled in turn.
        batch, count = ops.shape(strips)[:2]
        place = ops.expand_dims(ops.arange(batch, dtype="int32") * count, 1) + ops.arange(count, dtype="int32")
        return ops.take(descriptors, place % batch, axis=0)

    def _attend(self, strips: Any, descriptors: Any) -> Any:
        if not self.options["lean"] or self.options["pairing"] == "released":
            return _attended(strips, descriptors)
        return in_blocks(_attended, strips, (descriptors,), entries=strips.shape[-1] ** 2)

    def _some(self, pair: tuple[Any, Any], chosen: Sequence[int], channels: Sequence[int]) -> Any:
        strips, descriptors = pair
        at = rows_of(self.label, [(strip,) for strip in chosen], (strips.shape[1],))
        who = rows_of(self.label, [(channel,) for channel in channels], (self.channels or 0,))
        seen = descriptors if descriptors.shape[1] == 1 else ops.take(descriptors, at, axis=1)
        return ops.take(_weights(ops.take(strips, at, axis=1), seen), who, axis=2)


def _weights(strips: Any, descriptors: Any) -> Any:
    """Return the maps of strips, (B, S, L, C) with (B, S or 1, L, C) to (B, S, C, C), in float32 at least."""
    logits = multiply(ops.transpose(wide(strips), (0, 1, 3, 2)), wide(descriptors))
    return softmax(logits, axis=-1)


def _attended(strips: Any, descriptors: Any) -> Any:
    """Return the strips with every channel replaced by its average of all: (B, S, L, C)."""
    weights = ops.cast(_weights(strips, descriptors), strips.dtype)
    return multiply(strips, ops.transpose(weights, (0, 1, 3, 2)))
