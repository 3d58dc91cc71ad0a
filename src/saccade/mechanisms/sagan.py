"""Self-attention of SAGAN: every position gathers from a pooled map, through convolutions of bounded norm.

H. Zhang, I. Goodfellow, D. Metaxas, A. Odena, "Self-Attention Generative Adversarial Networks", ICML 2019,
arXiv:1805.08318.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from saccade.errors import InputError
from saccade.mechanisms.base import Layout, Mechanism
from saccade.mechanisms.pam import PositionAttention
from saccade.mechanisms.queries import rows_of
from saccade.mechanisms.rules import choose, dims_option, reduced
from saccade.ops.axes import CONV, CONVOLVE, CONVS, pool, spread
from saccade.ops.modes import by_definition
from saccade.ops.pairwise import add_attention, softmax_attention, softmax_weights
from saccade.ops.precision import full_precision, wide


def _from_tensorflow(name: str, tensor: Tensor) -> Tensor:
    """Transpose kernels (1, 1, in, out) to (out, in, 1, 1) and vectors (1, out) to (out,)."""
    if name.endswith(".weight"):
        return tensor.permute(3, 2, 0, 1)
    return tensor.flatten() if name.endswith(".u") else tensor


class SelfAttention(Mechanism):
    r"""Add to each position an average of pooled positions, weighted by similarity of their projections.

    .. math:: y_i = x_i + \gamma\, W_o \sum_j \mathrm{softmax}_j(q_i \cdot k_j)\, v_j,
              \quad q = W_q x,\; k = \mathrm{pool}(W_k x),\; v = \mathrm{pool}(W_v x)

    with 2 x 2 maximum pooling (1 x 2 x 2 of clips and volumes) and each W divided by its largest singular value, as
    estimated by one step of power iteration from a kept vector u. The authors' theta is `query`, phi `key`, g `value`,
    the last convolution `project`, sigma_ratio `gamma`. (The paper's letters: g is `query`, f `key`, h `value`, v
    `project`.)

    Args:
        channels: C, of the input and of the output.
        variant: ``"official"``: as above, without biases. ``"popular"``: the most copied PyTorch code, which is
            :class:`~saccade.mechanisms.pam.PositionAttention`: no pooling, no norm bound, no `project`, with biases,
            `value` of full width.
        update_u: If True, a forward pass in training stores the new u, as the authors' updating passes do; False for
            the others (a second pass in one step). Evaluation never changes it. Official variant only.
        dims: Number of map axes: 1 for sequences, 2 for images, 3 for volumes and clips.

    Shape: (B, C, H, W) -> (B, C, H, W); (B, C, T) and (B, C, T, H, W) for `dims` 1 and 3.

    Raises:
        InputError: `channels` below 1, an unknown `variant` or `update_u`, a map of another shape, or one with fewer
            than 2 positions on an axis, which cannot be pooled.

    Start: the identity, exactly: gamma is 0. Kernels start Xavier uniform, u normal within two deviations; the popular
    variant starts as in PyTorch.

    Cost: with d = max(1, C // 8), e = max(1, C // 2), N = H W and M about N / 4: N C (2 d + 2 e) + N M (d + e)
    multiply-adds and 4 C (d + e) for the norms, N M map entries, 2 C (d + e) + 1 parameters. Queries keep the full
    resolution; softmax and pooling are its non-linearities.

    Example:
        >>> import torch, saccade
        >>> sagan = saccade.create("sagan", channels=64)
        >>> sagan(torch.randn(2, 64, 8, 9)).shape
        torch.Size([2, 64, 8, 9])
        >>> sagan.weights(torch.randn(2, 64, 8, 9), [(3, 4)]).shape  # over the pooled keys
        torch.Size([2, 1, 4, 4])

    Differences: the gradient flows through the power iteration, as in the authors' code; the spectral norms of
    PyTorch hold u and its partner constant, which gives other gradients until u has converged. Below 8 channels the
    authors' code makes a layer of no channels; ours keeps 1. Odd sizes fail there; here the last row or column of keys
    is dropped. In the circulating listing gamma is not a parameter and never learns; here it is one.
    """

    label = "SAGAN"
    layouts = (
        Layout(
            "brain-research/self-attention-gan",
            {
                f"sn_conv_{theirs}/{letter}": f"{ours}.{name}"
                for theirs, ours in (("theta", "query"), ("phi", "key"), ("g", "value"), ("attn", "project"))
                for letter, name in (("w", "weight"), ("u", "u"))
            }
            | {"sigma_ratio": "gamma"},
            convert=_from_tensorflow,
            needs={"variant": "official"},
        ),
        *(
            Layout(layout.source, layout.names, needs={"variant": "popular"})
            for layout in PositionAttention.layouts
        ),
    )  # fmt: skip

    def __init__(self, channels: int, *, variant: str = "official", update_u: bool = True, dims: int = 2) -> None:
        super().__init__(channels, dims=dims)
        choose(self.label, "variant", variant, ("official", "popular"))
        choose(self.label, "update_u", update_u, (True, False))
        self.variant, self.update_u = variant, update_u
        narrow, half = reduced(channels, 8), reduced(channels, 2)
        official = variant == "official"
        conv = partial(BoundedConv, dims=dims) if official else partial(CONV[dims], kernel_size=1)
        value_channels = half if official else channels
        self.query = conv(channels, narrow)
        self.key = conv(channels, narrow)
        self.value = conv(channels, value_channels)
        self.project = BoundedConv(half, channels, dims=dims) if official else nn.Identity()
        self.pool = pool(dims) if official else nn.Identity()
        self.gamma = nn.Parameter(torch.zeros(1))

    @property
    def starts_as_identity(self) -> bool:
        return True

    def check(self, x: Tensor) -> None:
        """Refuse another shape, and a map too small to be pooled."""
        super().check(x)
        pooled = x.shape[2:][-2:]
        if self.variant == "official" and min(pooled) < 2:
            raise InputError(
                f"{self.label}: needs at least {' x '.join('2' * len(pooled))} positions to pool; received a map of "
                f"{' x '.join(map(str, x.shape[2:]))}",
                "variant='popular' pools nothing",
            )

    def forward(self, x: Tensor) -> Tensor:
        self.check(x)
        keep = self.training and self.update_u
        query = self._of(self.query, x, keep).flatten(2).transpose(-2, -1)
        if self.variant == "popular" and not by_definition():
            assert isinstance(self.value, CONVS)
            assert self.value.bias is not None
            key = self.key(x).flatten(2).transpose(-2, -1)
            return add_attention(x, query, key, self.gamma * self.value.weight, self.gamma * self.value.bias)
        key, value = (self._pooled(layer, x, keep).flatten(2).transpose(-2, -1) for layer in (self.key, self.value))
        gathered = torch.unflatten(softmax_attention(query, key, value).transpose(-2, -1), 2, x.shape[2:])
        branch = self._of(self.project, gathered, keep)
        return x + self.gamma.to(x.dtype) * branch.to(x.dtype)

    def attention(self, x: Tensor) -> Tensor:
        """Return the attention map, (B, N, M): row i holds the weights of position i over the (pooled) keys."""
        self.check(x)
        query, key = self._of(self.query, x), self._pooled(self.key, x)
        return softmax_weights(query.flatten(2).transpose(-2, -1), key.flatten(2).transpose(-2, -1))

    def weights(self, x: Tensor, queries: Sequence[tuple[int, ...]]) -> Tensor:
        """Return the rows of :meth:`attention` for `queries`, positions (y, x) on the map, in O(Q M).

        Returns:
            (B, Q, H', W'), half the size of the map, rounded down, in the official variant.
        """
        self.check(x)
        rows = rows_of(self.label, queries, x.shape[2:])
        key = self._pooled(self.key, x)
        weights = softmax_weights(
            self._of(self.query, x).flatten(2)[:, :, rows].transpose(-2, -1), key.flatten(2).transpose(-2, -1)
        )
        return torch.unflatten(weights, 2, key.shape[2:])

    def extra_repr(self) -> str:
        return f"channels={self.channels}, variant={self.variant}, update_u={self.update_u}, dims={self.dims}"

    @classmethod
    def fitting(cls, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
        if "value.weight" not in tensors:
            return {}
        channels = tensors["value.weight"].shape[1]
        own = {"channels": channels, "variant": "official" if "project.weight" in tensors else "popular"}
        return own | dims_option(tensors["value.weight"])

    def _of(self, layer: nn.Module, x: Tensor, keep: bool = False) -> Tensor:
        result: Tensor = layer(x, keep) if isinstance(layer, BoundedConv) else layer(x)
        return result

    def _pooled(self, layer: nn.Module, x: Tensor, keep: bool = False) -> Tensor:
        pooled: Tensor = self.pool(self._of(layer, x, keep))
        return pooled


class BoundedConv(nn.Module):
    """A 1x1 convolution without bias, its matrix divided by an estimate of its largest singular value.

    One step of power iteration from u: v = norm(u W), u' = norm(v W^T), sigma = v W^T u'^T, with the vectors as rows,
    W as (out, in) and norm(t) = t / (|t| + 1e-12). The gradient goes through all of it.
    """

    def __init__(self, channels: int, out_channels: int, *, dims: int = 2) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_channels, channels, *(1,) * dims))
        self.register_buffer("u", torch.empty(out_channels))
        nn.init.xavier_uniform_(self.weight)
        nn.init.trunc_normal_(self.u, a=-2.0, b=2.0)

    u: Tensor

    def forward(self, x: Tensor, keep: bool) -> Tensor:
        """Apply the convolution to `x`; `keep` stores the new u."""
        with full_precision(x):
            matrix = wide(self.weight).flatten(1)
            # A copy: storing the new one must not change what the backward pass reads.
            v = _unit(wide(self.u).clone()[None] @ matrix)
            image = v @ matrix.transpose(-2, -1)
            u = _unit(image)
            weight = matrix / (u * image).sum()
        if keep:
            with torch.no_grad():
                self.u.copy_(u[0])
        dims = x.dim() - 2
        return CONVOLVE[dims](x, spread(weight.to(x.dtype), dims))


def _unit(vector: Tensor) -> Tensor:
    return vector / (vector.square().sum().sqrt() + 1e-12)
