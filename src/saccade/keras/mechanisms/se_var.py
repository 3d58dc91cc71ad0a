"""Squeeze-and-excitation without its hidden layer: three gates on the channel means.

Q. Wang, B. Wu, P. Zhu, P. Li, W. Zuo, Q. Hu, "ECA-Net: Efficient Channel Attention for Deep Convolutional Neural
Networks", CVPR 2020, arXiv:1910.03151: the ablations before ECA itself.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from saccade.keras.base import Mechanism
from saccade.keras.pieces import as_torch, multiply
from saccade.keras.reading import mean, spread


class _MeanGate(Mechanism):
    """Base of gates with one factor per channel: the sigmoid of some function of the channel means."""

    def __init__(self, *, data_format: str | None = None, dims: int = 2, **layer: Any) -> None:
        super().__init__({}, data_format, layer, dims)

    def compute(self, x: Any, training: bool) -> Any:
        return x * spread(self._gate(x), x)

    def gates(self, x: Any) -> dict[str, Any]:
        """Return the channel gate, (B, C)."""
        return {"channel": self._gate(self.view(x))}

    def _gate(self, x: Any) -> Any:
        return ops.cast(ops.sigmoid(self._logits(mean(x))), x.dtype)

    def _logits(self, means: Any) -> Any:
        """Compute the logits from the means, both (B, C)."""
        raise NotImplementedError


@keras.saving.register_keras_serializable(package="saccade")
class SEVar1(_MeanGate):
    """Scale each channel by the sigmoid of its mean: a gate without parameters.

    The Keras layer of :class:`saccade.mechanisms.se_var.SEVar1`.
    """

    key, label = "se_var1", "SE-Var1"

    def _logits(self, means: Any) -> Any:
        return means


@keras.saving.register_keras_serializable(package="saccade")
class SEVar2(_MeanGate):
    """Scale each channel by the sigmoid of its mean times a weight of its own.

    The Keras layer of :class:`saccade.mechanisms.se_var.SEVar2`.
    """

    key, label = "se_var2", "SE-Var2"

    def assemble(self, channels: int) -> None:
        self.weight = self.add_weight(shape=(channels,), initializer="ones", name="weight")

    def _logits(self, means: Any) -> Any:
        return means * ops.cast(self.weight, means.dtype)


@keras.saving.register_keras_serializable(package="saccade")
class SEVar3(_MeanGate):
    """Scale each channel by a gate computed from all channel means with one full matrix.

    The Keras layer of :class:`saccade.mechanisms.se_var.SEVar3`.
    """

    key, label = "se_var3", "SE-Var3"

    def assemble(self, channels: int) -> None:
        self.weight = self.add_weight(shape=(channels, channels), initializer=as_torch(channels), name="weight")

    def _logits(self, means: Any) -> Any:
        return multiply(means, ops.transpose(ops.cast(self.weight, means.dtype)))
