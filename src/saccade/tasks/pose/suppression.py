"""Similarity of key points (OKS), suppression of repeated detections by it, and rescoring."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from saccade.errors import InputError

_TINY = 2**-52  # added to the mean area, as the authors do
_MOST = 20  # people that the soft variant keeps


def checked_sigmas(sigmas: Sequence[float] | Tensor, joints: int) -> Tensor:
    """Return the sigmas as (K,) in float64.

    Raises:
        InputError: Another number of sigmas than of joints, or one that is not a finite number above 0.
    """
    found = torch.as_tensor(sigmas, dtype=torch.float64).reshape(-1)
    if len(found) != joints:
        raise InputError(
            f"sigmas: expected {joints}, one per joint; received {len(found)}",
            "give those of the data set, in the order of its joints",
        )
    if not bool((torch.isfinite(found) & (found > 0)).all()):
        raise InputError(f"sigmas: expected finite numbers above 0; received {found.tolist()}")
    return found


def similarity(points: Tensor, areas: Tensor, sigmas: Sequence[float] | Tensor) -> Tensor:
    r"""Return the similarity of all pairs of detections (P, P), from 0 to 1.

    .. math:: s_{ij} = \frac{1}{K} \sum_k \exp\left(-\frac{d_{ijk}^2}{(2 \sigma_k)^2 (a_i + a_j)}\right)

    Args:
        points: (P, K, 2) in pixels; further columns are ignored.
        areas: (P,) areas of the detections in pixels.
        sigmas: K standard deviations, see :data:`saccade.tasks.pose.joints.COCO_SIGMAS`.

    Raises:
        InputError: See :func:`checked_sigmas`.
    """
    sigmas = checked_sigmas(sigmas, points.shape[1]).to(points.device)
    places = points[..., :2].double()
    squares = ((places[:, None] - places[None]) ** 2).sum(-1)
    areas = areas.double()
    mean = (areas[:, None] + areas[None]) / 2 + _TINY
    return torch.exp(-squares / (2 * sigmas) ** 2 / mean[..., None] / 2).mean(-1)


def suppress(similar: Tensor, scores: Tensor, *, threshold: float = 0.9) -> Tensor:
    """Return the indices of the detections that are kept, best first (OKS-NMS).

    A detection is dropped if it is more similar than the threshold to a better one that is kept. Of equal scores the
    later one is better.

    Args:
        similar: (P, P), see :func:`similarity`.
        scores: (P,).
        threshold: Similarity from 0 to 1.

    Raises:
        InputError: Shapes do not fit, or a score is not a number.
    """
    order = _best_first(_checked(similar, scores))
    above = (similar > threshold)[order][:, order].tolist()
    kept: list[int] = []
    for place in range(len(order)):
        if not any(above[better][place] for better in kept):
            kept.append(place)
    return order[kept]


def suppress_softly(similar: Tensor, scores: Tensor, *, threshold: float = 0.9, most: int = _MOST) -> Tensor:
    """Return the indices of at most `most` detections, best first, where each pick lowers the scores of similar ones.

    After a pick the remaining scores are multiplied by exp(-s^2 / threshold). Of equal scores the later one of the
    previous order is better.

    Args:
        similar: (P, P), see :func:`similarity`.
        scores: (P,).
        threshold: Similarity from 0 to 1.
        most: Largest number of detections kept.

    Raises:
        InputError: See :func:`suppress`.
    """
    left = _checked(similar, scores).double()
    order = _best_first(left)
    kept: list[Tensor] = []
    while len(order) and len(kept) < most:
        best, order = order[0], order[1:]
        kept.append(best)
        left = left.index_put((order,), left[order] * torch.exp(-(similar[best, order] ** 2) / threshold))
        order = order[_best_first(left[order])]
    return torch.stack(kept) if kept else order


def rescored(box_scores: Tensor, joint_scores: Tensor, *, threshold: float = 0.2) -> Tensor:
    """Return the scores (P,) of detections: that of the box times the mean of the joints' above a threshold.

    Args:
        box_scores: (P,).
        joint_scores: (P, K).
        threshold: Joints must be above it; a detection without such a joint scores 0.
    """
    counted = joint_scores > threshold
    total = torch.where(counted, joint_scores, torch.zeros_like(joint_scores)).sum(-1)
    return box_scores * total / counted.sum(-1).clamp(min=1)


def _checked(similar: Tensor, scores: Tensor) -> Tensor:
    if scores.dim() != 1 or similar.shape != (len(scores), len(scores)):
        raise InputError(
            "suppress: expected similarities (P, P) and scores (P,); received shapes "
            f"{tuple(similar.shape)} and {tuple(scores.shape)}"
        )
    if bool(torch.isnan(scores).any()):
        raise InputError("suppress: a score is not a number", "look for a loss that was not finite in training")
    return scores


def _best_first(scores: Tensor) -> Tensor:
    return scores.argsort(stable=True).flip(0)
