"""Channel, then position attention: DANet's two branches in sequence, as one block.

The CS-NL that Q. Song, J. Li, C. Li, H. Guo, R. Huang, "Fully Attentional Network for Semantic Segmentation", AAAI
2022, arXiv:2112.04108, compares with; its parts are those of J. Fu, J. Liu, H. Tian, Y. Li, Y. Bao, Z. Fang, H. Lu,
"Dual Attention Network for Scene Segmentation", CVPR 2019, arXiv:1809.02983.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from saccade.mechanisms.base import Mechanism
from saccade.mechanisms.cam import ChannelAttention
from saccade.mechanisms.dual import DualAttention
from saccade.mechanisms.pam import PositionAttention


class ChannelThenPosition(Mechanism):
    r"""Let channels gather first, then positions.

    .. math:: y = \mathrm{PAM}(\mathrm{CAM}(x))

    Args:
        channels: C, of the input and of the output.
        dims: Number of map axes: 1 for sequences, 2 for images, 3 for volumes and clips.

    Shape: (B, C, H, W) -> (B, C, H, W); (B, C, T) and (B, C, T, H, W) for `dims` 1 and 3.

    Raises:
        InputError: `channels` below 1, or a map of another shape.

    Start: the identity, exactly: both gammas are 0.

    Cost: that of :class:`~saccade.mechanisms.pam.PositionAttention` and
    :class:`~saccade.mechanisms.cam.ChannelAttention` together.

    Attention: the two maps are those of its children, ``channel`` and ``position``.

    Example:
        >>> import torch, saccade
        >>> cs = saccade.create("cs", channels=64)
        >>> cs(torch.randn(2, 64, 7, 9)).shape
        torch.Size([2, 64, 7, 9])

    Differences: the paper that names it released no code for it; the released modules, channel first, are its
    definition here.
    """

    label = "CS"
    layouts = DualAttention.layouts

    def __init__(self, channels: int, *, dims: int = 2) -> None:
        super().__init__(channels, dims=dims)
        self.channel = ChannelAttention(channels, dims=dims)
        self.position = PositionAttention(channels, dims=dims)

    @property
    def starts_as_identity(self) -> bool:
        return True

    def forward(self, x: Tensor) -> Tensor:
        self.check(x)
        y: Tensor = self.position(self.channel(x))
        return y

    def extra_repr(self) -> str:
        return f"channels={self.channels}, dims={self.dims}"

    @classmethod
    def fitting(cls, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
        return DualAttention.fitting(tensors)
