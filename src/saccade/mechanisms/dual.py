"""Dual attention: DANet's position and channel branches in parallel, as one block.

J. Fu, J. Liu, H. Tian, Y. Li, Y. Bao, Z. Fang, H. Lu, "Dual Attention Network for Scene Segmentation", CVPR 2019,
arXiv:1809.02983. As a block without convolutions it is the Dual-NL that Q. Song, J. Li, C. Li, H. Guo, R. Huang,
"Fully Attentional Network for Semantic Segmentation", AAAI 2022, arXiv:2112.04108, compares with.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from saccade.mechanisms.base import Layout, Mechanism
from saccade.mechanisms.cam import ChannelAttention
from saccade.mechanisms.pam import DANET_KEYS, PositionAttention
from saccade.mechanisms.rules import choose, dims_option


class DualAttention(Mechanism):
    r"""Return the sum of what the positions and what the channels gather.

    .. math:: y = \mathrm{PAM}(x) + \mathrm{CAM}(x)

    Args:
        channels: C, of the input and of the output.
        residual: ``"twice"``: as written, the input is in the sum two times, because each branch adds it.
            ``"once"``: the same less one input, so that the block starts as the identity.
        dims: Number of map axes: 1 for sequences, 2 for images, 3 for volumes and clips.

    Shape: (B, C, H, W) -> (B, C, H, W); (B, C, T) and (B, C, T, H, W) for `dims` 1 and 3.

    Raises:
        InputError: `channels` below 1, an unknown `residual`, or a map of another shape.

    Start: with ``residual="once"`` the identity, exactly; with ``"twice"`` it doubles its input. Insertion uses
    ``"once"``.

    Cost: that of :class:`~saccade.mechanisms.pam.PositionAttention` and
    :class:`~saccade.mechanisms.cam.ChannelAttention` together.

    Attention: the two maps are those of its children, ``position`` and ``channel``.

    Example:
        >>> import torch, saccade
        >>> dual = saccade.create("dual", channels=64)
        >>> dual(torch.randn(2, 64, 7, 9)).shape
        torch.Size([2, 64, 7, 9])
        >>> dual.channel.attention(torch.randn(2, 64, 7, 9)).shape
        torch.Size([2, 64, 64])

    Differences: DANet's head has two 3x3 convolutions around each branch and this block none; no code was released
    for it, so the sum of the released modules is its definition.
    """

    label = "Dual"
    layouts = (
        Layout(
            "junfu1115/DANet",
            {f"sa.{theirs}": f"position.{ours}" for theirs, ours in DANET_KEYS.items()} | {"sc.gamma": "channel.gamma"},
        ),
    )

    def __init__(self, channels: int, *, residual: str = "twice", dims: int = 2) -> None:
        super().__init__(channels, dims=dims)
        choose(self.label, "residual", residual, ("twice", "once"))
        self.residual = residual
        self.position = PositionAttention(channels, dims=dims)
        self.channel = ChannelAttention(channels, dims=dims)

    @property
    def starts_as_identity(self) -> bool:
        return self.residual == "once"

    def start_open(self) -> None:
        for part in (self.position, self.channel):
            nn.init.ones_(part.gamma)

    def forward(self, x: Tensor) -> Tensor:
        self.check(x)
        position: Tensor = self.position(x)
        channel: Tensor = self.channel(x)
        # Subtracted before the sum: there the difference is exactly 0 at the start, and a half map cannot overflow.
        return position + (channel - x if self.residual == "once" else channel)

    def extra_repr(self) -> str:
        return f"channels={self.channels}, residual={self.residual}, dims={self.dims}"

    @classmethod
    def fitting(cls, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
        value = tensors.get("position.value.weight")
        return {} if value is None else {"channels": value.shape[1], **dims_option(value)}
