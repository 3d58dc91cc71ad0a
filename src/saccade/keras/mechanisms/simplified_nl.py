"""Simplified non-local block: a non-local block whose positions all share one attention map.

Y. Cao, J. Xu, S. Lin, F. Wei, H. Hu, "GCNet: Non-local Networks Meet Squeeze-Excitation Networks and Beyond", ICCVW
2019, arXiv:1904.11492: the step from the non-local to the global context block.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from saccade.keras.context import Context
from saccade.keras.pieces import dense, kaiming
from saccade.keras.reading import spread


@keras.saving.register_keras_serializable(package="saccade")
class SimplifiedNonLocal(Context):
    """Add one projected summary of the feature map to every position.

    The Keras layer of :class:`saccade.mechanisms.simplified_nl.SimplifiedNonLocal`, which states equation and sources.
    """

    key, label = "simplified_nl", "SimplifiedNL"

    def __init__(self, *, data_format: str | None = None, dims: int = 2, **layer: Any) -> None:
        super().__init__({}, data_format, layer, dims)

    def assemble(self, channels: int) -> None:
        self.mask = self.mask_of(channels, kaiming("fan_in"))
        self.project = dense(self, "project", channels, channels, start="zeros")

    @property
    def starts_as_identity(self) -> bool:
        return True

    def compute(self, x: Any, training: bool) -> Any:
        return x + spread(self.project(ops.cast(self.context(x), x.dtype)), x)
