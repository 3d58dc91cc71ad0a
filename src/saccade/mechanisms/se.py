"""Squeeze-and-excitation: one gate per channel, from the mean of every channel.

J. Hu, L. Shen, G. Sun, "Squeeze-and-Excitation Networks", CVPR 2018, arXiv:1709.01507.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from saccade.mechanisms.base import Layout, Mechanism
from saccade.mechanisms.rules import choose, dims_option, width_options
from saccade.mechanisms.widths import hidden_width
from saccade.ops.axes import CONV
from saccade.ops.gates import scale
from saccade.ops.reading import Reading


class SqueezeExcitation(Mechanism):
    r"""Scale each channel by a gate computed from all channel means.

    .. math:: s = \sigma(W_2\,\mathrm{relu}(W_1 z + b_1) + b_2), \quad z_c = \frac{1}{HW}\sum_{hw} x_{chw},
              \quad \tilde x_c = s_c x_c

    The paper's letters here: z is the mean, W_1 `reduce`, W_2 `expand`, s the gate.

    Args:
        channels: C, of the input and of the output.
        reduction: The hidden layer has max(1, C // reduction) channels; the paper uses 16.
        bias: If True, both layers have biases, as in the authors' networks; the most copied PyTorch code has none.
        variant: ``"official"``, or ``"timm"``: the hidden width is rounded to a multiple of 8, at least 8.
        inner_channels: The hidden width itself, in place of `reduction` and of any rounding.
        dims: Number of map axes: 1 for sequences, 2 for images, 3 for volumes and clips.

    Shape: (B, C, H, W) -> (B, C, H, W); (B, C, T) and (B, C, T, H, W) for `dims` 1 and 3.

    Raises:
        InputError: `channels`, `reduction` or `inner_channels` below 1, an unknown `variant`, or a map of another
            shape.

    Start: not the identity; a new gate is about 0.5. Insertion wraps it.

    Cost: 2 C h multiply-adds for h hidden channels, 2 C h + h + C parameters with biases. The map is read once for its
    means and once to be scaled; relu and sigmoid act on vectors only.

    Example:
        >>> import torch, saccade
        >>> se = saccade.create("se", channels=64)
        >>> se(torch.randn(2, 64, 7, 9)).shape
        torch.Size([2, 64, 7, 9])
        >>> se.gates(torch.randn(2, 64, 7, 9))["channel"].shape
        torch.Size([2, 64])

    Differences: with C below `reduction` the authors' rule gives no hidden channel and a constant gate; ours keeps 1.
    """

    label = "SE"
    layouts = (
        Layout("Cadene/pretrained-models.pytorch, timm", {"fc1.": "reduce.", "fc2.": "expand."}),
        Layout("moskomule/senet.pytorch", {"fc.0.weight": "reduce.weight", "fc.2.weight": "expand.weight"}),
        Layout("implus/PytorchInsight", {"fc.0.": "reduce.", "fc.2.": "expand."}),
    )

    def __init__(
        self,
        channels: int,
        *,
        reduction: int = 16,
        bias: bool = True,
        variant: str = "official",
        inner_channels: int | None = None,
        dims: int = 2,
    ) -> None:
        super().__init__(channels, dims=dims)
        choose(self.label, "variant", variant, ("official", "timm"))
        rounding = 8 if variant == "timm" else None
        width = hidden_width(self.label, channels, reduction, inner_channels, multiple_of=rounding)
        self.variant = variant
        self.reduce = CONV[dims](channels, width, kernel_size=1, bias=bias)
        self.expand = CONV[dims](width, channels, kernel_size=1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        reading = Reading(x)
        gate = self._gate(reading)
        return scale(reading.x, gate)

    def gates(self, x: Tensor) -> dict[str, Tensor]:
        """Return the channel gate, (B, C)."""
        return {"channel": self._gate(Reading(x)).flatten(1)}

    def extra_repr(self) -> str:
        return f"channels={self.channels}, variant={self.variant}, dims={self.dims}"

    @classmethod
    def fitting(cls, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
        if "reduce.weight" not in tensors:
            return {}
        inner_channels, channels = tensors["reduce.weight"].shape[:2]
        own = {"channels": channels, **width_options(channels, inner_channels), "bias": "reduce.bias" in tensors}
        return own | dims_option(tensors["reduce.weight"])

    def _gate(self, reading: Reading) -> Tensor:
        self.check(reading.x)
        logits: Tensor = self.expand(F.relu(self.reduce(reading.mean())))
        return logits.sigmoid()
