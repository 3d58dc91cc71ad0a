r"""Losses between heat maps, as published.

The weights of joints multiply both maps before they are subtracted, so that a weight w counts as its square.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from saccade.errors import InputError
from saccade.mechanisms.rules import choose, positive
from saccade.ops.precision import wide
from saccade.tasks.pose.codecs import by_joint, peaks

KINDS = ("mse", "smooth_l1")


def heatmap_loss(
    output: Tensor, target: Tensor, weights: Tensor | None = None, *, kind: str = "mse", factor: float = 0.5
) -> Tensor:
    r"""Return the mean difference of heat maps.

    .. math:: \frac{f}{K} \sum_k \mathrm{mean}\big((w_k o_k - w_k t_k)^2\big)

    Args:
        output: (N, K, H, W) maps of the network.
        target: Maps of the same shape.
        weights: (N, K) of the joints; None: 1.
        kind: ``"mse"`` as above, or ``"smooth_l1"``: half the square below 1, and the distance less 0.5 above.
        factor: f; the mmpose branch has 1.
    """
    return factor * _per_joint(output, target, weights, kind).mean()


def hardest_joints_loss(output: Tensor, target: Tensor, weights: Tensor | None = None, *, hardest: int = 8) -> Tensor:
    """Return half the mean square of the joints with the largest loss of each image (OHKM).

    Args:
        output: (N, K, H, W) maps of the network.
        target: Maps of the same shape.
        weights: (N, K) of the joints; None: 1.
        hardest: Number of joints of an image.

    Raises:
        InputError: More joints than there are, or maps of another shape.
    """
    positive("hardest_joints_loss", hardest=hardest)
    if output.dim() == 4 and hardest > output.shape[1]:
        raise InputError(
            f"hardest_joints_loss: expected hardest= of at most the {output.shape[1]} joints; received {hardest}"
        )
    return 0.5 * _per_joint(output, target, weights, "mse").topk(hardest, dim=1).values.mean()


def offset_loss(
    output: Tensor,
    target: Tensor,
    weights: Tensor | None = None,
    *,
    kind: str = "mse",
    weighted_offsets: bool = False,
) -> tuple[Tensor, Tensor]:
    """Return the losses of the discs and of the offsets inside the target's discs; training adds them.

    Args:
        output: (N, 3 K, H, W) maps of the network: disc, dx and dy of each joint.
        target: Maps of the same shape.
        weights: (N, K) of the joints; None: 1.
        kind: ``"mse"`` or ``"smooth_l1"``, see :func:`heatmap_loss`.
        weighted_offsets: If True, the weights multiply the offsets too, as in the mmpose branch.

    Raises:
        InputError: Maps of another shape.
    """
    if output.dim() != 4 or output.shape[1] % 3:
        raise InputError(f"offset_loss: expected maps (N, 3 K, H, W); received shape {tuple(output.shape)}")
    discs, *found = by_joint(output).unbind(2)
    goals, *wanted = by_joint(target).unbind(2)
    inside = goals * weights[..., None, None] if weighted_offsets and weights is not None else goals
    of_discs = 0.5 * _per_joint(discs, goals, weights, kind).mean()
    of_offsets = sum(
        (0.5 * _per_joint(inside * o, inside * t, None, kind).mean() for o, t in zip(found, wanted, strict=True)),
        start=of_discs.new_zeros(()),
    )
    return of_discs, of_offsets


def _per_joint(output: Tensor, target: Tensor, weights: Tensor | None, kind: str) -> Tensor:
    """Return the mean over the pixels of each joint, (N, K)."""
    choose("pose loss", "kind", kind, KINDS)
    if output.dim() != 4 or output.shape != target.shape or (weights is not None and weights.shape != output.shape[:2]):
        shapes = [tuple(tensor.shape) for tensor in (output, target, weights) if tensor is not None]
        raise InputError(
            "pose loss: expected an output and a target (N, K, H, W) and weights (N, K); received shapes "
            f"{', '.join(map(str, shapes))}",
            "a network for another number of joints, or without offset maps, has another number of channels",
        )
    if weights is not None:
        output, target = output * weights[..., None, None], target * weights[..., None, None]
    difference = F.mse_loss if kind == "mse" else F.smooth_l1_loss
    return difference(output, target, reduction="none").mean(dim=(2, 3))


def map_accuracy(
    output: Tensor, target: Tensor, *, threshold: float = 0.5, axes: str = "true"
) -> tuple[Tensor, Tensor, int]:
    """Return the fraction of joints whose highest pixels are near each other (PCK on maps), as training reports it.

    A joint is near at less than `threshold` tenths of the map's side. Joints whose target lies in the first two rows
    or columns, or has no value above 0, are left out.

    Args:
        output: (N, K, H, W) maps of the network.
        target: Maps of the same shape.
        threshold: Distance in tenths of a side.
        axes: ``"true"``: x is measured in tenths of the width; ``"released"``: in tenths of the height, and y of the
            width, as in the authors' code.

    Returns:
        The fraction of each joint (K,), -1 where no image has it; their mean over the joints that have one, 0 if none
        has; and the number of such joints.
    """
    choose("map_accuracy", "axes", axes, ("true", "released"))
    height, width = output.shape[-2:]
    sides = (width, height) if axes == "true" else (height, width)
    unit = torch.tensor(sides, dtype=torch.float64, device=output.device) / 10
    found, wanted = peaks(wide(output.detach()))[0], peaks(wide(target))[0]
    there = (wanted > 1).all(-1)
    near = ((found - wanted) / unit).norm(dim=-1) < threshold
    count = there.sum(0)
    fractions = torch.where(count > 0, (near & there).sum(0).double() / count.clamp(min=1), -1.0)
    known = fractions >= 0
    number = int(known.sum())
    mean = fractions[known].mean() if number else fractions.new_zeros(())
    return fractions, mean, number
