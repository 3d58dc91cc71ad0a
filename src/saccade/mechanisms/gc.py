"""Global context block: one summary of the whole feature map, given to every position alike.

Y. Cao, J. Xu, S. Lin, F. Wei, H. Hu, "GCNet: Non-local Networks Meet Squeeze-Excitation Networks and Beyond", ICCVW
2019, arXiv:1904.11492.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saccade.errors import SaccadeWarning
from saccade.mechanisms.base import Layout, Mechanism
from saccade.mechanisms.queries import rows_of
from saccade.mechanisms.rules import choose, dims_option, several
from saccade.mechanisms.widths import context_width
from saccade.ops.axes import CONV, spread
from saccade.ops.context import context_weights
from saccade.ops.gates import scale
from saccade.ops.precision import wide
from saccade.ops.reading import Reading


class GlobalContext(Mechanism):
    r"""Gather one context vector with an attention map that all positions share; scale by it, add it, or both.

    .. math:: g = \sum_j \mathrm{softmax}_j(w_k \cdot x_j + b_k)\, x_j, \quad
              T(g) = W_2\,\mathrm{relu}(\mathrm{LN}(W_1 g + b_1)) + b_2, \quad
              y_i = x_i\,\sigma(T_\mathrm{mul}(g)) + T_\mathrm{add}(g)

    with the factor or the term left out where `fusion` does not name it. The paper's letters here: W_k is `mask`, W_v1
    `reduce`, W_v2 `expand`.

    Args:
        channels: C, of the input and of the output.
        ratio: The transforms have max(1, int(C * ratio)) hidden channels: a fraction, not a divisor. None: 1/16, or
            timm's 1/8.
        pooling: ``"att"``: the softmax; ``"avg"``: the mean, the same map with equal weights.
        fusion: ``"add"``, ``"mul"`` or both, each with weights of its own; "mul" is always applied first. None:
            the paper's ("add",), or timm's ("mul",).
        variant: ``"official"``, or ``"timm"``: LayerNorm eps 1e-6 in place of 1e-5, hidden width rounded half up,
            timm's defaults and start.
        inner_channels: The hidden width itself, in place of `ratio`.
        dims: Number of map axes: 1 for sequences, 2 for images, 3 for volumes and clips.

    Shape: (B, C, H, W) -> (B, C, H, W); (B, C, T) and (B, C, T, H, W) for `dims` 1 and 3.

    Raises:
        InputError: `channels` or `inner_channels` below 1, a `ratio` outside (0, 1], an unknown `pooling`, fusion or
            variant, no fusion or one named twice, or a map of another shape.

    Warns:
        SaccadeWarning: One hidden channel. The norm of a single number is its bias, so the block learns a constant and
            the map gets no gradient.

    Start: with ("add",) the identity, exactly: the last layer is 0. With "mul" the input is halved. timm's last layer
    keeps its bias, so its start is not the identity.

    Cost: 2 C N multiply-adds and N map entries for N = H W, and 2 C p for each transform with p hidden channels;
    C + 1 parameters for the map, 2 C p + 3 p + C for each transform. Keeps the full resolution; softmax, norm, relu
    and sigmoid act on the map and on vectors only.

    Example:
        >>> import torch, saccade
        >>> gc = saccade.create("gc", channels=64)
        >>> gc(torch.randn(2, 64, 7, 9)).shape
        torch.Size([2, 64, 7, 9])
        >>> gc.attention(torch.randn(2, 64, 7, 9)).shape
        torch.Size([2, 1, 63])

    Differences: where int(C * ratio) is 0 the authors' code fails; ours keeps 1 hidden channel. Their detector
    initialises again without a checkpoint and so loses the zero start; ours is that of the other path. b_k cannot
    change the output (a softmax ignores what all its entries share) and stays for the sake of the checkpoints. Logits
    grow with the features, so map and sum are float32 or better whatever the input.
    """

    label = "GC"
    layouts = (
        Layout(
            "xvjiarui/GCNet, open-mmlab/mmcv",
            {
                "conv_mask.": "mask.",
                **{
                    f"channel_{fusion}_conv.{index}.": f"{fusion}.{layer}."
                    for fusion in ("add", "mul")
                    for index, layer in ((0, "reduce"), (1, "norm"), (3, "expand"))
                },
            },
            needs={"variant": "official"},
        ),
        Layout(
            "timm",
            {
                "conv_attn.": "mask.",
                **{
                    f"mlp_{theirs}.{layer}.": f"{fusion}.{ours}."
                    for theirs, fusion in (("add", "add"), ("scale", "mul"))
                    for layer, ours in (("fc1", "reduce"), ("norm", "norm"), ("fc2", "expand"))
                },
            },
            needs={"variant": "timm"},
        ),
    )

    def __init__(
        self,
        channels: int,
        *,
        ratio: float | None = None,
        pooling: str = "att",
        fusion: Sequence[str] | str | None = None,
        variant: str = "official",
        inner_channels: int | None = None,
        dims: int = 2,
    ) -> None:
        super().__init__(channels, dims=dims)
        choose(self.label, "variant", variant, ("official", "timm"))
        choose(self.label, "pooling", pooling, ("att", "avg"))
        if fusion is None:
            fusion = ("mul",) if variant == "timm" else ("add",)
        self.variant, self.pooling = variant, pooling
        self.fusion = tuple(sorted(several(self.label, "fusion", fusion, ("add", "mul"))))
        width = context_width(self.label, channels, ratio, inner_channels, variant)
        eps = 1e-6 if variant == "timm" else 1e-5
        self.mask = CONV[dims](channels, 1, kernel_size=1) if pooling == "att" else None
        self.add = Transform(channels, width, eps) if "add" in self.fusion else None
        self.mul = Transform(channels, width, eps) if "mul" in self.fusion else None
        self._start()
        if width == 1:
            warnings.warn(
                f"GC: {channels} channels leave one hidden channel, whose norm is a constant: the context has no "
                "effect; give a larger ratio",
                SaccadeWarning,
                stacklevel=3,
            )

    @property
    def starts_as_identity(self) -> bool:
        return self.variant == "official" and self.fusion == ("add",)

    def start_open(self) -> None:
        for transform in (self.add, self.mul):
            if transform is not None:
                transform.expand.reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        self.check(x)
        reading = Reading(x)
        context = self._context(reading)
        if self.mul is None:
            y = reading.to_add()
        else:
            y = scale(reading.x, spread(self.mul(context).sigmoid(), self.dims).to(x.dtype))
        return y if self.add is None else y + spread(self.add(context), self.dims)

    def gates(self, x: Tensor) -> dict[str, Tensor]:
        """Return the channel gate, (B, C), if the block multiplies; nothing if it only adds."""
        return {} if self.mul is None else {"channel": self.mul(self._context(Reading(x))).sigmoid()}

    def attention(self, x: Tensor) -> Tensor:
        """Return the attention map, (B, 1, N): the one row that all positions share; it sums to 1."""
        self.check(x)
        if self.mask is None:
            row = wide(x[:, :1]).flatten(2)
            return torch.full_like(row, 1.0) / row.shape[2]
        return context_weights(Reading(x), self.mask)

    def weights(self, x: Tensor, queries: Sequence[tuple[int, ...]]) -> Tensor:
        """Return the row of :meth:`attention` once for each of `queries`, positions (y, x): (B, Q, H, W)."""
        count = len(rows_of(self.label, queries, x.shape[2:]))
        return self.attention(x).view(-1, 1, *x.shape[2:]).expand(-1, count, *x.shape[2:])

    def context_map(self, x: Tensor) -> Tensor:
        """Return the map that all positions share, (B, H, W); it sums to 1."""
        return self.attention(x).view(-1, *x.shape[2:])

    def extra_repr(self) -> str:
        return (
            f"channels={self.channels}, pooling={self.pooling}, fusion={self.fusion}, variant={self.variant}, "
            f"dims={self.dims}"
        )

    @classmethod
    def fitting(cls, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
        fusion = tuple(name for name in ("add", "mul") if f"{name}.reduce.weight" in tensors)
        if not fusion:
            return {}
        inner_channels, channels = tensors[f"{fusion[0]}.reduce.weight"].shape[:2]
        ratio = inner_channels / channels
        width = {"ratio": ratio} if int(channels * ratio) == inner_channels else {"inner_channels": inner_channels}
        pooling = "att" if "mask.weight" in tensors else "avg"
        dims = dims_option(tensors["mask.weight"]) if pooling == "att" else {}
        return {"channels": channels, **width, "pooling": pooling, "fusion": fusion, **dims}

    def _context(self, reading: Reading) -> Tensor:
        """Return the summary of the map, (B, C), in its precision."""
        if self.mask is None:
            return reading.mean().flatten(1)
        return reading.over_positions(context_weights(reading, self.mask))

    def _start(self) -> None:
        if self.mask is not None:
            nn.init.kaiming_normal_(self.mask.weight, mode="fan_in", nonlinearity="relu")
        if self.variant == "timm":
            if self.add is not None:
                nn.init.zeros_(self.add.expand.weight)
            return
        if self.mask is not None:
            nn.init.zeros_(self.mask.bias)  # type: ignore[arg-type]
        for transform in (self.add, self.mul):
            if transform is not None:
                nn.init.zeros_(transform.expand.weight)
                nn.init.zeros_(transform.expand.bias)


class Transform(nn.Module):
    """Compute one number per channel from the context, through a narrow normalised layer."""

    def __init__(self, channels: int, inner_channels: int, eps: float) -> None:
        super().__init__()
        self.reduce = nn.Linear(channels, inner_channels)
        self.norm = nn.LayerNorm(inner_channels, eps=eps)
        self.expand = nn.Linear(inner_channels, channels)

    def forward(self, context: Tensor) -> Tensor:
        result: Tensor = self.expand(F.relu(self.norm(self.reduce(context))))
        return result
