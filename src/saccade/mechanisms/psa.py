"""Polarized self-attention: a gate for each channel and a gate for each position, each from half the channels.

H. Liu, F. Liu, X. Fan, D. Huang, "Polarized Self-Attention: Towards High-quality Pixel-wise Regression",
arXiv:2107.00782.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from saccade.errors import SaccadeWarning
from saccade.mechanisms.base import Layout, Mechanism
from saccade.mechanisms.rules import choose, dims_option, reduced
from saccade.ops.axes import CONV, Conv, spread
from saccade.ops.gates import scale_by
from saccade.ops.precision import apply, full_precision, wide
from saccade.ops.reading import Reading

VARIANTS = ("parallel", "sequential", "paper_parallel", "paper_sequential")

_OFFICIAL_KEYS = {
    "conv_q_right.": "channel.query.",
    "conv_v_right.": "channel.value.",
    "conv_q_left.": "spatial.query.",
    "conv_v_left.": "spatial.value.",
}


class PolarizedSelfAttention(Mechanism):
    r"""Scale channels and positions, each by a gate that pools the other kind with a softmax.

    .. math:: a &= \mathrm{softmax}_N(w_q X), \quad m_\mathrm{ch} = \sigma(U(W_v X a^\top)) \\
              q &= W_q \bar x, \quad m_\mathrm{sp} = \sigma(\mathrm{softmax}_N(q^\top W_v X))

    for X of C rows and N = H W columns, x-bar its mean over positions, and the two branches' own W_q and W_v of C // 2
    rows. The parallel form is x (m_ch + m_sp); the sequential one scales by m_ch, then by the m_sp of the result.

    ================  ====================================================  ==================================
    variant           U                                                     m_sp
    ================  ====================================================  ==================================
    parallel          one layer, no bias                                    as above
    sequential        layer to (C // 2) // 4, LayerNorm, relu, layer to C   sigma(q^T softmax_N(W_v X))
    paper_parallel    one layer, then LayerNorm over C                      sigma(softmax_{C/2}(q)^T W_v X)
    paper_sequential  as paper_parallel                                     as paper_parallel
    ================  ====================================================  ==================================

    The first two are the authors' code, without biases but for those of U in ``sequential``; the last two are the
    paper's equations, with biases. The paper's letters here: W_z and the layers around it are `up`. The authors' code
    calls the channel branch "right" and `spatial_pool`, the spatial one "left" and `channel_pool`.

    Args:
        channels: C, of the input and of the output.
        variant: A name in the table; the variants are different networks, and weights do not carry over.
        parts: ``"both"``, or one branch alone: ``"channel"``, ``"spatial"``.
        dims: Number of map axes: 1 for sequences, 2 for images, 3 for volumes and clips.

    Shape: (B, C, H, W) -> (B, C, H, W); (B, C, T) and (B, C, T, H, W) for `dims` 1 and 3.

    Raises:
        InputError: `channels` below 1, an unknown `variant` or part, or a map of another shape.

    Warns:
        SaccadeWarning: The LayerNorm is over one number, so the channel gate ignores its input: ``sequential`` below 16
            channels, the paper forms with 1.

    Start: not the identity, and no residual: a new parallel form returns about x, a sequential one about x / 4.
    Insertion wraps it. The query and value layers of the authors' forms start Kaiming normal, all else as PyTorch's.

    Cost: 3 C N + 2 C^2 multiply-adds for ``parallel`` and, but for C / 2, the paper forms, where the equations as
    written take 3 C^2 N / 2; ``sequential``, which has to make its spatial values, C^2 N / 2 more. N map entries per
    softmax, C N / 2 for that of ``sequential``. Parameters 2 C^2 + C for ``parallel``. The channel branch keeps C / 2
    channels and no resolution, the spatial branch the full resolution and no channels.

    Example:
        >>> import torch, saccade
        >>> psa = saccade.create("psa", channels=64)
        >>> psa(torch.randn(2, 64, 7, 9)).shape
        torch.Size([2, 64, 7, 9])
        >>> {name: tuple(gate.shape) for name, gate in psa.gates(torch.randn(2, 64, 7, 9)).items()}
        {'channel': (2, 64), 'spatial': (2, 1, 7, 9)}

    Differences: the softmax over positions inside the released spatial gates leaves them almost constant, about
    1/2 + 1/(4 N) in ``parallel``; that is how the published numbers were made, and the paper's equation does not have
    it. Both softmaxes and gates are float32 or better whatever the input: in half precision such a gate has one value.
    The authors' segmentation network redraws all convolutions at deviation 0.001, which is left to the network.
    Below 2 channels (8 for ``sequential``) the authors' code fails; here widths keep 1.
    """

    label = "PSA"
    layouts = (
        Layout(
            "DeLightCMU/PSA, parallel",
            _OFFICIAL_KEYS | {"conv_up.weight": "channel.up.0.weight"},
            needs={"variant": "parallel"},
        ),
        Layout(
            "DeLightCMU/PSA, sequential",
            _OFFICIAL_KEYS | {f"conv_up.{index}.": f"channel.up.{index}." for index in (0, 1, 3)},
            needs={"variant": "sequential"},
        ),
        *(
            Layout(
                f"xmu-xiaoma666/External-Attention-pytorch, {order}",
                {
                    "ch_wq.": "channel.query.",
                    "ch_wv.": "channel.value.",
                    "ch_wz.": "channel.up.0.",
                    "ln.": "channel.up.1.",
                    "sp_wq.": "spatial.query.",
                    "sp_wv.": "spatial.value.",
                },
                needs={"variant": f"paper_{order}"},
            )
            for order in ("parallel", "sequential")
        ),
    )

    def __init__(self, channels: int, *, variant: str = "parallel", parts: str = "both", dims: int = 2) -> None:
        super().__init__(channels, dims=dims)
        choose(self.label, "variant", variant, VARIANTS)
        choose(self.label, "parts", parts, ("both", "channel", "spatial"))
        self.variant, self.parts, self.in_sequence = variant, parts, variant.endswith("sequential")
        self.channel = None if parts == "spatial" else ChannelBranch(channels, variant, dims)
        self.spatial = None if parts == "channel" else SpatialBranch(channels, variant, dims)
        if self.channel is not None and self.channel.is_constant:
            warnings.warn(
                f"PSA: variant={variant!r} with {channels} channels normalises one number, so its channel gate "
                "ignores the input; take more channels or another variant",
                SaccadeWarning,
                stacklevel=3,
            )

    def forward(self, x: Tensor) -> Tensor:
        self.check(x)
        with full_precision(x):
            return self._scaled(wide(x)).to(x.dtype)

    def gates(self, x: Tensor) -> dict[str, Tensor]:
        """Return the gates: ``"channel"`` (B, C), and ``"spatial"`` (B, 1, H, W) of the map it is applied to."""
        self.check(x)
        gates = {}
        with full_precision(x):
            x = wide(x)
            if self.channel is not None:
                gate = self.channel(x)
                gates["channel"] = gate.flatten(1)
                x = x * gate if self.in_sequence else x
            if self.spatial is not None:
                gates["spatial"] = self.spatial(x)
        return gates

    def extra_repr(self) -> str:
        return f"channels={self.channels}, variant={self.variant}, parts={self.parts}, dims={self.dims}"

    @classmethod
    def fitting(cls, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
        options: dict[str, Any] = {}
        for name in ("channel.query.weight", "spatial.query.weight"):
            if name in tensors:
                options["channels"] = tensors[name].shape[1]
        options |= dims_option(tensors["channel.query.weight"]) if "channel.query.weight" in tensors else {}
        parts = [part for part in ("channel", "spatial") if any(name.startswith(f"{part}.") for name in tensors)]
        return options | ({"parts": parts[0]} if len(parts) == 1 else {})

    def _scaled(self, x: Tensor) -> Tensor:
        if self.channel is None or self.spatial is None:
            (branch,) = (part for part in (self.channel, self.spatial) if part is not None)
            gate: Tensor = branch(x)
            return x * gate
        reading = Reading(x)
        channel = self.channel.of(reading)
        if not self.in_sequence:
            spatial = self.spatial.of(reading)
            return scale_by("sum", reading.x, channel, spatial)
        spatial = self.spatial.of(reading, channel)  # computed from the scaled map and applied to it
        return scale_by("product", reading.x, channel, spatial)


class ChannelBranch(nn.Module):
    """Compute one factor per channel from a softmax-weighted mean of the positions."""

    def __init__(self, channels: int, variant: str, dims: int = 2) -> None:
        super().__init__()
        half = reduced(channels, 2)
        biased = variant.startswith("paper")
        self.query = CONV[dims](channels, 1, kernel_size=1, bias=biased)
        self.value = nn.Linear(channels, half, bias=biased)
        if variant == "parallel":
            self.up = nn.Sequential(nn.Linear(half, channels, bias=False))
        elif variant == "sequential":
            hidden = reduced(half, 4)
            self.up = nn.Sequential(
                nn.Linear(half, hidden), nn.LayerNorm(hidden), nn.ReLU(), nn.Linear(hidden, channels)
            )
        else:
            self.up = nn.Sequential(nn.Linear(half, channels), nn.LayerNorm(channels))
        if not biased:
            _start_as_authors(self.query, self.value)

    @property
    def is_constant(self) -> bool:
        """True if a LayerNorm over a single number makes this branch ignore its input."""
        return any(isinstance(layer, nn.LayerNorm) and layer.weight.numel() == 1 for layer in self.up)

    def forward(self, x: Tensor) -> Tensor:
        return self.of(Reading(x))

    def of(self, reading: Reading) -> Tensor:
        """Return the gate of a map that has other readers too: (B, C, 1, ...)."""
        logits = reading.over_channels(self.query.weight.flatten(1)[None].to(reading.x.dtype))
        if self.query.bias is not None:
            logits = logits + self.query.bias.to(logits.dtype)
        # The weights sum to 1, so W_v of their mean is their mean of W_v: C^2 / 2 in place of C^2 N / 2.
        logits = apply(self.value, reading.over_positions(logits.softmax(dim=-1)))
        for layer in self.up:
            logits = apply(layer, logits)
        return spread(logits.sigmoid(), reading.x.dim() - 2)


class SpatialBranch(nn.Module):
    """Compute one factor per position from its similarity to a query made of the mean of all."""

    def __init__(self, channels: int, variant: str, dims: int = 2) -> None:
        super().__init__()
        half = reduced(channels, 2)
        biased = variant.startswith("paper")
        self.variant = variant
        self.query = nn.Linear(channels, half, bias=biased)
        self.value = CONV[dims](channels, half, kernel_size=1, bias=biased)
        if not biased:
            _start_as_authors(self.query, self.value)

    def forward(self, x: Tensor) -> Tensor:
        return self.of(Reading(x))

    def of(self, reading: Reading, scale: Tensor | None = None) -> Tensor:
        """Return the gate, (B, 1, ...), of a map with other readers; if given, of the map times `scale` (B, C, 1, ...).

        The scale goes into the matrices that are applied to the map, so no scaled map is stored.
        """
        dtype, size = reading.x.dtype, reading.x.shape[2:]
        mean = reading.mean() if scale is None else reading.mean() * scale
        query = apply(self.query, mean.flatten(1))[:, None]  # (B, 1, C / 2)
        weight = self.value.weight.flatten(1)[None].to(dtype)
        if scale is not None:
            weight = weight * scale.flatten(1)[:, None]
        if self.variant == "sequential":
            logits = query @ reading.over_channels(weight).softmax(dim=-1)
        else:
            query = query if self.variant == "parallel" else query.softmax(dim=-1)
            logits = reading.over_channels(query @ weight)  # through W_v^T q: no value is ever computed
            if self.value.bias is not None:
                logits = logits + query @ self.value.bias.to(dtype)[:, None]
            logits = logits.softmax(dim=-1) if self.variant == "parallel" else logits
        return logits.sigmoid().view(-1, 1, *size)


def _start_as_authors(*layers: Conv | nn.Linear) -> None:
    for layer in layers:
        nn.init.kaiming_normal_(layer.weight, mode="fan_in", nonlinearity="relu")
