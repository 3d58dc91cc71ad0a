"""Arrays from records: attention followed through several blocks, receptive fields, gates over depth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saccade.errors import InputError
from saccade.inspection.grids import binned
from saccade.inspection.records import Record
from saccade.mechanisms.queries import rows_of

_AT_ONCE = 256


def channel_gates(maps: Mapping[str, Record], *, image: int = 0) -> dict[str, Tensor]:
    """Return the channel gate (C,) of each place that has one, in the order in which they ran."""
    return {name: gates["channel"][image] for name, seen in maps.items() if "channel" in (gates := seen.gates)}


def rollout(
    records: Sequence[Record], queries: Sequence[tuple[int, ...]], *, image: int = 0, residual: float = 0.5
) -> Tensor:
    r"""Follow attention back through several blocks: what positions of the last draw from the first feature map.

    .. math:: r_{l-1} = \rho\, r_l + (1 - \rho)\, r_l A_l, \quad r_L = e_q

    with rho for the path past the block. S. Abnar, W. Zuidema, "Quantifying Attention Flow in Transformers", ACL 2020,
    arXiv:2005.00928. Between maps of two sizes, weight stays at its place in the picture; the mixing by convolutions
    between blocks is ignored. No table of pairs is built: O(N M) time per block, memory for a few hundred rows.

    Args:
        records: Records of blocks whose weights sum to 1, in the order in which they ran.
        queries: Q positions of the last map, (y, x) or one number per axis.
        image: Index in the batch.
        residual: rho, 0 to 1.

    Returns:
        (Q, H, W) on the first map, or with its other axes; each sums to 1.

    Raises:
        InputError: There is no record, `residual` is outside 0 to 1, or weights do not sum to 1.
    """
    if not records or not 0 <= residual <= 1:
        raise InputError(
            f"rollout: expected records and 0 <= residual <= 1; received {len(records)} records, {residual=}"
        )
    last = records[-1].input
    reached = torch.zeros(len(queries), *last.shape[2:], device=last.device)
    for number, query in enumerate(queries):
        reached[(number, *query)] = 1
    for seen in reversed(records):
        reached = _resized(reached, tuple(seen.input.shape[2:]))
        reached = residual * reached + (1 - residual) * _back(seen, reached, image)
    return reached


def effective_receptive_field(
    model: nn.Module, images: Tensor, *, at: tuple[int, ...] | None = None, place: str | None = None
) -> Tensor:
    r"""Influence of each pixel on a position of a feature map, :math:`\sum_c |\partial \sum_k y_{kij} / \partial x_c|`.

    The result is the mean over images, scaled to sum to 1. W. Luo et al., "Understanding the Effective Receptive Field
    in Deep Convolutional Neural Networks", NIPS 2016, arXiv:1701.04128. The network runs in its present mode; its
    gradients are not touched.

    Args:
        model: Any network.
        images: (B, 3, H, W), or volumes, clips or sequences.
        at: Position of the map, (y, x) or one number per axis; None means its centre.
        place: Module whose output is the map; None means the network's own output.

    Returns:
        (H, W), or the other sides of the images.

    Raises:
        InputError: `place` is unknown, the output is not a map, or the position is outside of it.
    """
    caught: list[Any] = []
    x = images.detach().clone().requires_grad_(True)
    with torch.enable_grad():
        if place is None:
            caught.append(model(x))
        else:
            handle = _module(model, place).register_forward_hook(lambda module, args, output: caught.append(output))
            try:
                model(x)
            finally:
                handle.remove()
        found = caught[-1] if caught else None
        if not isinstance(found, Tensor) or found.dim() != x.dim():
            raise InputError(
                "effective_receptive_field: the output is not a feature map (B, C, H, W)",
                "name a module whose output is one: place='layer4'",
            )
        sides = found.shape[2:]
        position: tuple[int, ...] = at or tuple(side // 2 for side in sides)
        if len(position) != len(sides) or not all(0 <= k < side for k, side in zip(position, sides, strict=True)):
            raise InputError(f"effective_receptive_field: at={at} is outside the map of {' x '.join(map(str, sides))}")
        (gradient,) = torch.autograd.grad(
            found.flatten(2)[:, :, rows_of("effective_receptive_field", [position], sides)].sum(), x
        )
    field = gradient.abs().sum(dim=1).mean(dim=0)
    return field / field.sum().clamp_min(torch.finfo(field.dtype).tiny)


def _module(model: nn.Module, place: str) -> nn.Module:
    try:
        return model.get_submodule(place)
    except AttributeError as cause:
        raise InputError(f"effective_receptive_field: {type(model).__name__} has no module {place!r}") from cause


def _back(seen: Record, reached: Tensor, image: int) -> Tensor:
    """Average the rows of the positions a distribution covers, weighted by it: (Q, H, W) on the block's own map."""
    size = tuple(reached.shape[1:])
    flat, total = reached.flatten(1), None
    positions = list(product(*map(range, size)))
    for start in range(0, len(positions), _AT_ONCE):
        rows = seen.weights(positions[start : start + _AT_ONCE])[image].float()
        sums = rows.flatten(1).sum(dim=1)
        if start == 0 and ((rows < 0).any() or not torch.allclose(sums, rows.new_ones(()), atol=1e-3)):
            raise InputError(
                f"rollout: the weights of {seen.name} do not sum to 1", "follow blocks that take averages, not products"
            )
        part = torch.einsum("qn,n...->q...", flat[:, start : start + _AT_ONCE], rows)
        total = part if total is None else total + part
    assert total is not None
    return _resized(total, size)


def _resized(shares: Tensor, size: tuple[int, ...]) -> Tensor:
    """Resample distributions (Q, H, W) to a map of another size; their sum is kept."""
    if tuple(shares.shape[1:]) == size:
        return shares
    axes = tuple(range(1, shares.dim()))
    before = shares.sum(dim=axes, keepdim=True)
    smaller = binned(shares, tuple(min(pair) for pair in zip(size, shares.shape[1:], strict=True)))
    larger = F.interpolate(smaller[:, None], size=size, mode="nearest-exact")[:, 0]
    return larger * (before / larger.sum(dim=axes, keepdim=True))
