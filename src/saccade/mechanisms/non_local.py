"""Non-local block: every position gathers from every other, with any of four measures of similarity.

X. Wang, R. Girshick, A. Gupta, K. He, "Non-local Neural Networks", CVPR 2018, arXiv:1711.07971.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from saccade.errors import InputError
from saccade.mechanisms.base import Layout, Mechanism
from saccade.mechanisms.queries import rows_of
from saccade.mechanisms.rules import choose
from saccade.mechanisms.widths import PAIRWISE_SOURCES, PairwiseSource, pairwise_scale, pairwise_width
from saccade.ops import pairwise as pairs
from saccade.ops.axes import CONV, CONVS, NORM, pool, pooled_sides
from saccade.ops.matrices import gram, multiply
from saccade.ops.modes import by_definition
from saccade.ops.precision import full_precision, wide

PAIRWISE = ("embedded_gaussian", "gaussian", "dot_product", "concatenation")


def _exactly(names: Mapping[str, str], weight: str, bias: str) -> dict[str, str]:
    """Return whole keys: the prefix ``phi.`` would match the ``phi.0.`` of another layout as well."""
    weights = {f"{theirs}{weight}": f"{ours}.weight" for theirs, ours in names.items()}
    return weights | {f"{theirs}{bias}": f"{ours}.bias" for theirs, ours in names.items()}


def _layouts() -> tuple[Layout, ...]:
    blobs = {"theta": "query", "phi": "key", "g": "value", "out": "project"}
    layouts = [
        Layout(
            "facebookresearch/video-nonlocal-net",
            _exactly(blobs, ".weight", ".bias") | {"bn.": "norm."},
            needs={"variant": "official"},
        ),
        Layout(
            "facebookresearch/video-nonlocal-net, Caffe2 blobs",
            _exactly(blobs, "_w", "_b")
            | {"bn_s": "norm.weight", "bn_b": "norm.bias", "bn_rm": "norm.running_mean", "bn_riv": "norm.running_var"},
            needs={"variant": "official"},
        ),
        Layout(
            "timm",
            {"t.": "query.", "p.": "key.", "g.": "value.", "z.": "project.", "norm.": "norm."},
            needs={"variant": "timm"},
        ),
    ]
    for sub_sample in (True, False):
        pooled = ".0" if sub_sample else ""  # a sequence of convolution and pool
        popular = _exactly({"theta": "query", f"phi{pooled}": "key", f"g{pooled}": "value"}, ".weight", ".bias")
        popular |= {"concat_project.0.": "score.", "W.0.": "project.", "W.1.": "norm."}
        popular |= _exactly({"W": "project"}, ".weight", ".bias")  # without a norm
        mmcv = {"theta.conv.": "query.", f"phi{pooled}.conv.": "key.", f"g{pooled}.conv.": "value."}
        mmcv |= {"concat_project.conv.": "score.", "conv_out.conv.": "project.", "conv_out.bn.": "norm."}
        for source, names, variant in (
            ("AlexHex7/Non-local_pytorch", popular, "popular"),
            ("open-mmlab/mmcv", mmcv, "mmcv"),
            ("xvjiarui/GCNet", mmcv, "gcnet"),
        ):
            layouts.append(Layout(source, names, needs={"variant": variant, "sub_sample": sub_sample}))
    return tuple(layouts)


class NonLocal(Mechanism):
    r"""Add to each position a sum over all positions, weighted by a measure of similarity f.

    .. math:: y_i = \frac{1}{Z_i} \sum_j f(x_i, x_j)\, g(x_j), \quad z_i = \mathrm{BN}_0(W_z y_i) + x_i

    * ``embedded_gaussian``: f = exp(s theta(x_i) . phi(x_j)), Z the sum of f: a softmax;
    * ``gaussian``: f = exp(x_i . x_j), Z the sum of f: a softmax, without theta and phi;
    * ``dot_product``: f = theta(x_i) . phi(x_j), Z = M, the number of keys (after pooling);
    * ``concatenation``: f = relu(w . [theta(x_i); phi(x_j)]), Z = M.

    The paper's letters here: theta is `query`, phi `key`, g `value`, W_z `project`, w `score`.

    Args:
        channels: C, of the input and of the output.
        pairwise: The measure f.
        variant: Published code to follow; the numbers differ for the same weights. ``"official"`` (Caffe2): pools
            before the projections, s = d^-0.5. ``"popular"`` (AlexHex7): pools after them, s = 1. ``"mmcv"``: no
            pooling, no norm, s = d^-0.5. ``"gcnet"``: as mmcv, but s = d^+0.5, a mistake its checkpoints depend on.
            ``"timm"``: no pooling, C/8 rounded to a multiple of 8, s = C^-0.5.
        sub_sample: If True, keys and values are pooled by 2 (not over frames); None means as in the variant.
        scaled: If True, embedded-Gaussian logits are scaled by the variant's s (popular: d^-0.5); None means as there.
        norm: If True, a batch normalisation ends the branch; None means as in the variant.
        reduction: d = max(1, C // reduction); timm's rounds C / reduction. None: 2, for timm 8.
        inner_channels: d itself, instead of `reduction`.
        dims: Number of map axes: 1 for sequences, 2 for images, 3 for volumes and clips.

    Shape: (B, C, H, W) -> (B, C, H, W); (B, C, T) and (B, C, T, H, W) for `dims` 1 and 3.

    Raises:
        InputError: a width below 1, both widths, an unknown option, `scaled` for another f than embedded Gaussian, a
            map of another shape, or one with fewer than 2 positions on an axis that is pooled.

    Start: the identity, exactly: the weight of the norm is 0, or without one that of `project`.

    Cost: with N = H W and M = N, or about N / 4 when pooled: 2 N C d + 2 M C d + 2 N M d multiply-adds (4 N C d where
    the pooling comes last) and N M map entries; 4 C d + 3 d + 3 C parameters with theta, phi and the norm. Queries
    keep the full resolution; f and the pooling are the non-linearities.

    Example:
        >>> import torch, saccade
        >>> block = saccade.create("non_local", channels=64)
        >>> block(torch.randn(2, 64, 8, 9)).shape
        torch.Size([2, 64, 8, 9])
        >>> block.weights(torch.randn(2, 64, 8, 9), [(3, 4)]).shape  # over the pooled keys
        torch.Size([2, 1, 4, 4])

    Differences: the formula scales no logits and pools nothing; the authors' code does both by default, and each of
    the five sources in its own way (`variant`). The mmcv code of concatenation fails in the backward pass; ours is its
    formula. Where a source lacks a form (Caffe2 has no concatenation, GCNet and timm no pooling), it is as in popular,
    with the source's own defaults otherwise.
    """

    label = "NonLocal"
    layouts = _layouts()

    def __init__(
        self,
        channels: int,
        *,
        pairwise: str = "embedded_gaussian",
        variant: str = "official",
        sub_sample: bool | None = None,
        scaled: bool | None = None,
        norm: bool | None = None,
        reduction: int | None = None,
        inner_channels: int | None = None,
        dims: int = 2,
    ) -> None:
        super().__init__(channels, dims=dims)
        choose(self.label, "pairwise", pairwise, PAIRWISE)
        choose(self.label, "variant", variant, tuple(PAIRWISE_SOURCES))
        for option, value in (("sub_sample", sub_sample), ("scaled", scaled), ("norm", norm)):
            choose(self.label, option, value, (None, True, False))
        if scaled and pairwise != "embedded_gaussian":
            raise InputError(
                f"{self.label}: `scaled` needs embedded_gaussian; received {scaled=}, {pairwise=}", "leave `scaled` out"
            )
        source = PAIRWISE_SOURCES[variant]
        width = pairwise_width(self.label, channels, variant, reduction, inner_channels)
        self.pairwise, self.variant = pairwise, variant
        self.inner_channels = width
        self.sub_sample = source.sub_sample if sub_sample is None else sub_sample
        self.pool_first = source.pool_first
        is_scaled = pairwise == "embedded_gaussian" and (source.scaled if scaled is None else scaled)
        self.scale = pairwise_scale(channels, width, variant) if is_scaled else 1.0
        has_norm = source.norm if norm is None else norm

        conv, embeds = CONV[dims], pairwise != "gaussian"
        self.query = conv(channels, width, kernel_size=1) if embeds else nn.Identity()
        self.key = conv(channels, width, kernel_size=1) if embeds else nn.Identity()
        self.value = conv(channels, width, kernel_size=1)
        self.pool = pool(dims) if self.sub_sample else nn.Identity()
        if pairwise == "concatenation":
            self.score = nn.Conv2d(2 * width, 1, kernel_size=1, bias=False)  # 2-D in every source: over pairs
        biased = not (has_norm and variant in ("mmcv", "gcnet"))
        self.project = conv(width, channels, kernel_size=1, bias=biased)
        self.norm = NORM[dims](channels, eps=source.eps) if has_norm else nn.Identity()
        self._initialise(source)

    def _initialise(self, source: PairwiseSource) -> None:
        for name, module in self.named_children():
            init = source.inner_init if name in ("query", "key", "value") else source.outer_init
            if not isinstance(module, CONVS) or init == "torch":
                continue
            if init == "gaussian":
                nn.init.normal_(module.weight, std=0.01)
            else:
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        last = self.project if isinstance(self.norm, nn.Identity) else self.norm
        for parameter in last.parameters():
            nn.init.zeros_(parameter)

    @property
    def starts_as_identity(self) -> bool:
        return True

    def check(self, x: Tensor) -> None:
        """Refuse another shape, and a map too small to be pooled."""
        super().check(x)
        pooled = x.shape[2:][-2:]
        if self.sub_sample and min(pooled) < 2:
            raise InputError(
                f"{self.label}: sub_sample needs at least {' x '.join('2' * len(pooled))} positions; "
                f"received a map of {' x '.join(map(str, x.shape[2:]))}",
                "make it with sub_sample=False",
            )

    def forward(self, x: Tensor) -> Tensor:
        self.check(x)
        if self.pairwise == "dot_product" and not by_definition():
            branch: Tensor = self.norm(torch.unflatten(self._linear(x), 2, x.shape[2:]))
            return x + branch.to(x.dtype)
        query, key = self.query(x).flatten(2).transpose(-2, -1), self._keys(x).flatten(2).transpose(-2, -1)
        value = self._pooled(self.value, x).flatten(2).transpose(-2, -1)
        context = torch.unflatten(self._attend(query, key, value).transpose(-2, -1), 2, x.shape[2:])
        branch = self.norm(self.project(context))
        return x + branch

    def attention(self, x: Tensor) -> Tensor:
        """Return the attention map, (B, N, M): row i holds the weights of position i over the (pooled) keys.

        Rows sum to 1 for both Gaussian forms. Those of the dot product (any sign) and of concatenation (not negative)
        are f / M, as the block applies them, and sum to anything.
        """
        self.check(x)
        return self._map(self.query(x).flatten(2).transpose(-2, -1), self._keys(x).flatten(2).transpose(-2, -1))

    def weights(self, x: Tensor, queries: Sequence[tuple[int, ...]]) -> Tensor:
        """Return the rows of :meth:`attention` for `queries`, positions (y, x) on the map, in O(Q M).

        Returns:
            (B, Q, H', W'), the size of the pooled map when keys are sub-sampled.
        """
        self.check(x)
        rows = rows_of(self.label, queries, x.shape[2:])
        key = self._keys(x)
        weights = self._map(self.query(x).flatten(2)[:, :, rows].transpose(-2, -1), key.flatten(2).transpose(-2, -1))
        return torch.unflatten(weights, 2, key.shape[2:])

    def extra_repr(self) -> str:
        return (
            f"channels={self.channels}, inner_channels={self.inner_channels}, pairwise={self.pairwise}, "
            f"variant={self.variant}, sub_sample={self.sub_sample}, scale={self.scale:.4g}, dims={self.dims}"
        )

    @classmethod
    def fitting(cls, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
        if "value.weight" not in tensors:
            return {}
        inner_channels, channels, *kernel = tensors["value.weight"].shape
        options: dict[str, Any] = {
            "channels": channels,
            "inner_channels": inner_channels,
            "norm": "norm.weight" in tensors,
        }
        if "score.weight" in tensors:
            options["pairwise"] = "concatenation"
        elif "query.weight" not in tensors:
            options["pairwise"] = "gaussian"
        return options | {"dims": len(kernel)}

    def _linear(self, x: Tensor) -> Tensor:
        """Compute the branch of the dot product, before its norm: one matrix over channels applied to x, (B, C, N).

        Nothing in it but the pooling is non-linear, so all factors associate to one matrix for each sample.
        """
        with full_precision(x):
            project, query = wide(self.project.weight).flatten(1), _matrix(self.query)
            values = self._values_by_keys(x) / self._number_of_keys(x)
            matrix = project @ values @ query  # (B, C, C + 1)
        bias = matrix[:, :, -1:] if self.project.bias is None else matrix[:, :, -1:] + wide(self.project.bias)[:, None]
        return multiply(matrix[:, :, :-1].to(x.dtype), x.flatten(2)) + bias.to(x.dtype)

    def _values_by_keys(self, x: Tensor) -> Tensor:
        """Sum the products of values and keys over their positions, (B, d, d)."""
        if self.sub_sample and not self.pool_first:  # a maximum stands between the products and x
            values, keys = self._pooled(self.value, x), self._keys(x)
            return wide(values).flatten(2) @ wide(keys).flatten(2).transpose(-2, -1)
        pooled = wide(self.pool(x)).flatten(2)
        sums, count = pooled.sum(dim=2)[..., None], pooled.shape[2]
        products = torch.cat([gram(pooled), sums], dim=2)
        ones = torch.cat([sums.transpose(-2, -1), torch.full_like(sums[:, :1], count)], dim=2)
        return _matrix(self.value) @ torch.cat([products, ones], dim=1) @ _matrix(self.key).transpose(-2, -1)

    def _number_of_keys(self, x: Tensor) -> int:
        return math.prod(pooled_sides(x.shape[2:]) if self.sub_sample else x.shape[2:])

    def _keys(self, x: Tensor) -> Tensor:
        return self._pooled(self.key, x)

    def _pooled(self, projection: nn.Module, x: Tensor) -> Tensor:
        pooled: Tensor = projection(self.pool(x)) if self.pool_first else self.pool(projection(x))
        return pooled

    def _map(self, query: Tensor, key: Tensor) -> Tensor:
        if self.pairwise == "dot_product":
            return pairs.dot_product_weights(query, key)
        if self.pairwise == "concatenation":
            return pairs.concatenation_weights(query, key, self.score.weight.flatten())
        return pairs.softmax_weights(query, key, scale=self.scale)

    def _attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        if self.pairwise == "dot_product":
            return pairs.dot_product_attention(query, key, value)
        if self.pairwise == "concatenation":
            return pairs.concatenation_attention(query, key, value, self.score.weight.flatten())
        return pairs.softmax_attention(query, key, value, scale=self.scale)


def _matrix(layer: nn.Module) -> Tensor:
    """Concatenate weight and bias of a 1x1 convolution, (out, in + 1)."""
    weight, bias = (wide(parameter) for parameter in layer.parameters())
    return torch.cat([weight.flatten(1), bias[:, None]], dim=1)
