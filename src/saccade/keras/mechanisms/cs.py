"""Channel, then position attention: DANet's two branches in sequence, as one block.

The CS-NL that Q. Song, J. Li, C. Li, H. Guo, R. Huang, "Fully Attentional Network for Semantic Segmentation", AAAI
2022, arXiv:2112.04108, compares with; its parts are those of J. Fu, J. Liu, H. Tian, Y. Li, Y. Bao, Z. Fang, H. Lu,
"Dual Attention Network for Scene Segmentation", CVPR 2019, arXiv:1809.02983.
"""

from __future__ import annotations

from typing import Any

import keras

from saccade.keras.base import Mechanism
from saccade.keras.mechanisms.cam import ChannelAttention
from saccade.keras.mechanisms.pam import PositionAttention


@keras.saving.register_keras_serializable(package="saccade")
class ChannelThenPosition(Mechanism):
    """Let channels gather first, then positions.

    The Keras layer of :class:`saccade.mechanisms.cs.ChannelThenPosition`, which states equation and sources. The two
    maps are those of its parts, ``channel`` and ``position``.
    """

    key, label = "cs", "CS"

    def __init__(self, *, data_format: str | None = None, dims: int = 2, **layer: Any) -> None:
        super().__init__({}, data_format, layer, dims)

    def assemble(self, channels: int) -> None:
        self.channel = self.part(ChannelAttention, "channel")
        self.position = self.part(PositionAttention, "position")

    @property
    def starts_as_identity(self) -> bool:
        return True

    def compute(self, x: Any, training: bool) -> Any:
        return self.position(self.channel(x))
