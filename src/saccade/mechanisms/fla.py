"""Fully attentional block: channels gather from channels, in every column and every row separately.

Q. Song, J. Li, C. Li, H. Guo, R. Huang, "Fully Attentional Network for Semantic Segmentation", AAAI 2022,
arXiv:2112.04108.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from saccade.errors import InputError
from saccade.mechanisms.base import Layout, Mechanism
from saccade.mechanisms.queries import rows_of
from saccade.mechanisms.rules import choose
from saccade.ops.rectify import rectified
from saccade.ops.strips import add_strips, strip_attention, strip_weights, strips_across, strips_down


class FullyAttentional(Mechanism):
    r"""Give every channel an average of all channels, in each column and each row; then convolve.

    .. math:: e^H_{hd} &= L_1(\overline{x}_{h\cdot})_d, \quad e^W_{wd} = L_2(\overline{x}_{\cdot w})_d \\
              u_{chw} &= \sum_d \mathrm{softmax}_d\Big(\sum_{h'} x_{ch'w}\, e^H_{h'd}\Big)\, x_{dhw}
                       + \sum_d \mathrm{softmax}_d\Big(\sum_{w'} x_{chw'}\, e^W_{w'd}\Big)\, x_{dhw} \\
              y &= \mathrm{relu}(\mathrm{BN}(K_{3\times3} * (\gamma u + x)))

    with the bars for the means over a row and over a column. The authors' `conv1` is `rows` here, the linear map L_1,
    `conv2` `columns`, L_2.

    Args:
        channels: C, of the input and of the output.
        pairing: ``"sample"``: a strip is compared with the descriptors of its own sample. ``"released"``: strip s of
            sample b is compared with those of sample (b S + s) mod B for S strips, as in the released code: with more
            than one sample in a batch, images leak into each other. The two are equal for a batch of one.
        norm_layer: Constructor of the norm after the convolution, called with its width; None means batch norm.
        lean: If True, compute a few strips at a time, and again in the backward pass: least memory, some time.

    Shape: (B, C, H, W) -> (B, C, H, W).

    Raises:
        InputError: `channels` below 1, an unknown `pairing` or `lean`, a map of another shape, or training on a single
            value, which a batch norm cannot normalise.
        TypeError: `norm_layer` that is not callable.

    Start: not the identity, although gamma is 0: convolution, norm and relu remain. Insertion wraps it.

    Cost: 4 C^2 N + 9 C^2 N + C^2 (H + W) multiply-adds for N = H W, and C^2 (H + W) map entries; 11 C^2 + 4 C + 1
    parameters. Keeps the full resolution; softmax and relu are its non-linearities.

    Example:
        >>> import torch, saccade
        >>> fla = saccade.create("fla", channels=32)
        >>> fla(torch.randn(2, 32, 5, 6)).shape
        torch.Size([2, 32, 5, 6])
        >>> fla.attention(torch.randn(2, 32, 5, 6)).shape  # 6 columns, 5 rows
        torch.Size([2, 11, 32, 32])

    Differences: the released code pairs images with each other's descriptors (`pairing`); its published test numbers
    are from single images and do not depend on it. Its block takes a `norm_layer` and builds a synchronised batch
    norm anyway. The paper merges columns and rows into one tensor, which needs H = W; two branches need not.
    Logits are not scaled.
    """

    label = "FLA"
    layouts = (
        Layout(
            "Ilareina/FullyAttentional",
            {"conv1.": "rows.", "conv2.": "columns.", "conv.0.": "conv.", "conv.1.": "norm.", "gamma": "gamma"},
        ),
    )

    def __init__(
        self,
        channels: int,
        *,
        pairing: str = "sample",
        norm_layer: Callable[[int], nn.Module] | None = None,
        lean: bool = False,
    ) -> None:
        super().__init__(channels)
        choose(self.label, "pairing", pairing, ("sample", "released"))
        if norm_layer is None:
            norm_layer = nn.BatchNorm2d
        if not callable(norm_layer):
            raise TypeError(
                f"{self.label}: `norm_layer` must make a norm from a width, as torch.nn.BatchNorm2d does; received "
                f"{norm_layer!r}"
            )
        choose(self.label, "lean", lean, (False, True))
        self.pairing, self.lean = pairing, lean
        self.rows = nn.Linear(channels, channels)
        self.columns = nn.Linear(channels, channels)
        self.conv = nn.Conv2d(channels, channels, kernel_size=3, padding=1, bias=False)
        self.norm = norm_layer(channels)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        self._check(x)
        (down, of_rows), (across, of_columns) = self._strips(x)
        if self.lean:
            attended = add_strips(x, of_rows, of_columns, self.gamma)
        else:
            columns, rows = strip_attention(down, of_rows), strip_attention(across, of_columns)
            gathered = columns.permute(0, 2, 3, 1) + rows.permute(0, 2, 1, 3)
            attended = x + self.gamma.to(x.dtype) * gathered
        return rectified(self.norm(self.conv(attended))).to(x.dtype)

    def attention(self, x: Tensor) -> Tensor:
        """Return the maps of all strips, (B, W + H, C, C), columns first: row c holds the weights of channel c."""
        self.check(x)
        return torch.cat([strip_weights(*strips) for strips in self._strips(x)], dim=1)

    def column_weights(self, x: Tensor, columns: Sequence[int], channels: Sequence[int]) -> Tensor:
        """Return the weights of `channels` over all channels in each of `columns`, (B, S, Q, C); rows sum to 1."""
        self.check(x)
        return self._some(self._strips(x)[0], columns, channels)

    def row_weights(self, x: Tensor, rows: Sequence[int], channels: Sequence[int]) -> Tensor:
        """Return the weights of `channels` over all channels in each of `rows`, (B, S, Q, C); they sum to 1."""
        self.check(x)
        return self._some(self._strips(x)[1], rows, channels)

    def extra_repr(self) -> str:
        return f"channels={self.channels}, pairing={self.pairing}, lean={self.lean}"

    @classmethod
    def fitting(cls, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
        return {"channels": tensors["rows.weight"].shape[0]} if "rows.weight" in tensors else {}

    def start_open(self) -> None:
        nn.init.ones_(self.gamma)

    def _check(self, x: Tensor) -> None:
        self.check(x)
        single = x.shape[0] * x.shape[2] * x.shape[3] == 1
        if self.training and single and isinstance(self.norm, _BatchNorm):
            raise InputError(
                f"{self.label}: in training its norm needs more than one position; received shape {tuple(x.shape)}",
                "take a larger batch or map, eval(), or another norm_layer",
            )

    def _strips(self, x: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """Return columns (B, W, C, H) and rows (B, H, C, W), each with its descriptors."""
        of_rows = self.rows(x.mean(dim=3).transpose(-2, -1))  # (B, H, C): one for each position along a column
        of_columns = self.columns(x.mean(dim=2).transpose(-2, -1))  # (B, W, C)
        down, across = strips_down(x), strips_across(x)
        return (down, self._paired(of_rows, down.shape[1])), (across, self._paired(of_columns, across.shape[1]))

    def _some(self, pair: tuple[Tensor, Tensor], chosen: Sequence[int], channels: Sequence[int]) -> Tensor:
        """Return the weights of some strips for some of their channels."""
        strips, descriptors = pair
        at = rows_of(self.label, [(strip,) for strip in chosen], (strips.shape[1],))
        who = rows_of(self.label, [(channel,) for channel in channels], (self.channels,))
        seen = descriptors if descriptors.shape[1] == 1 else descriptors[:, at]
        return strip_weights(strips[:, at][:, :, who], seen)

    def _paired(self, descriptors: Tensor, strips: int) -> Tensor:
        """Return descriptors (B, L, C) in the form that :func:`strip_weights` takes."""
        if self.pairing == "sample":
            return descriptors[:, None]
        # Strips of the batch are counted sample by sample, while the descriptors are tiled in turn.
        tiled = descriptors.repeat(strips, 1, 1)
        return tiled.view(descriptors.shape[0], strips, *descriptors.shape[1:])
