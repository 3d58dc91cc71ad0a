"""Dual attention: DANet's position and channel branches in parallel, as one block.

J. Fu, J. Liu, H. Tian, Y. Li, Y. Bao, Z. Fang, H. Lu, "Dual Attention Network for Scene Segmentation", CVPR 2019,
arXiv:1809.02983. As a block without convolutions it is the Dual-NL that Q. Song, J. Li, C. Li, H. Guo, R. Huang,
"Fully Attentional Network for Semantic Segmentation", AAAI 2022, arXiv:2112.04108, compares with.
"""

from __future__ import annotations

from typing import Any

import keras

from saccade.keras.base import Mechanism
from saccade.keras.mechanisms.cam import ChannelAttention
from saccade.keras.mechanisms.pam import PositionAttention
from saccade.mechanisms.rules import choose


@keras.saving.register_keras_serializable(package="saccade")
class DualAttention(Mechanism):
    """Return the sum of what the positions and what the channels gather.

    The Keras layer of :class:`saccade.mechanisms.dual.DualAttention`, which states equation, options and sources. The
    two maps are those of its parts, ``position`` and ``channel``.
    """

    key, label = "dual", "Dual"

    def __init__(self, *, residual: str = "twice", data_format: str | None = None, dims: int = 2, **layer: Any) -> None:
        super().__init__({"residual": residual}, data_format, layer, dims)
        choose(self.label, "residual", residual, ("twice", "once"))

    def assemble(self, channels: int) -> None:
        self.position = self.part(PositionAttention, "position")
        self.channel = self.part(ChannelAttention, "channel")

    @property
    def starts_as_identity(self) -> bool:
        return bool(self.options["residual"] == "once")

    def start_open(self) -> None:
        for part in (self.position, self.channel):
            part.start_open()

    def compute(self, x: Any, training: bool) -> Any:
        position, channel = self.position(x), self.channel(x)
        # Subtracted before the sum: there the difference is exactly 0 at the start, and a half map cannot overflow.
        return position + (channel - x if self.options["residual"] == "once" else channel)
