"""The loss of a map of class logits: a sum over pixels and their number, so that processes can share one mean."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from saccade.data import IGNORE
from saccade.errors import InputError
from saccade.mechanisms.rules import positive
from saccade.ops.precision import wide


@dataclass(frozen=True)
class HardPixels:
    """Train on the pixels that are hard: online hard example mining.

    A. Shrivastava, A. Gupta, R. Girshick, "Training Region-based Object Detectors with Online Hard Example Mining",
    CVPR 2016, arXiv:1604.03540; over pixels, as in the code of HRNet and OCR.

    Args:
        probability: A pixel is hard if its class has at most this probability.
        pixels: Minimum number of hard pixels per image; if fewer are hard, the hardest are taken.

    Raises:
        InputError: A probability outside (0, 1], or `pixels` below 1.
    """

    probability: float
    pixels: int = 100_000

    def __post_init__(self) -> None:
        number = isinstance(self.probability, (int, float)) and not isinstance(self.probability, bool)
        if not number or not 0 < self.probability <= 1:
            raise InputError(f"`ohem` must be a probability above 0, at most 1; received ohem={self.probability!r}")
        positive("segmenter", ohem_pixels=self.pixels)

    def among(self, losses: Tensor, valid: Tensor) -> Tensor:
        """Return the mask of valid pixels to train on.

        Args:
            losses: (B, H, W) cross-entropies.
            valid: (B, H, W), True where a pixel has a class.
        """
        ranked = losses.detach().masked_fill(~valid, -1.0)
        wanted = min(self.pixels * len(losses), losses.numel())
        hardest = ranked.flatten().topk(wanted, sorted=False).values.min()
        return valid & (ranked >= hardest.clamp(max=-math.log(self.probability)))


def pixel_loss(
    logits: Tensor, targets: Tensor, *, hard: HardPixels | None = None, class_weights: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return the cross-entropy summed over the pixels that have a class, and the number of these pixels.

    With `class_weights` both are weighted: their quotient is the weighted mean. With `hard` the sum is scaled so that,
    over the number of all valid pixels, it is the mean over the hard ones.

    Args:
        logits: (B, K, H, W); half precision is widened.
        targets: (B, H, W) classes of any integer dtype, 255 = ignored.
        hard: Selects the pixels to train on, by their cross-entropy without weights; None means all.
        class_weights: (K,) weight of the pixels of each class; None weighs all alike.

    Raises:
        InputError: The shapes do not fit.
    """
    if logits.dim() != 4 or targets.shape != (logits.shape[0], *logits.shape[2:]):
        raise InputError(
            f"loss: expected targets {(logits.shape[0], *logits.shape[2:])} for logits {tuple(logits.shape)}; "
            f"received shape {tuple(targets.shape)}"
        )
    valid, classes = targets != IGNORE, targets.long()
    losses = F.cross_entropy(wide(logits), classes, ignore_index=IGNORE, reduction="none")
    weights = valid
    if class_weights is not None:
        weights = torch.where(valid, class_weights.to(losses)[torch.where(valid, classes, 0)], 0)
    count, weighed = weights.sum(), losses if class_weights is None else losses * weights
    if hard is None:
        return weighed.sum(), count
    learned = hard.among(losses, valid)
    among = torch.where(learned, weights, 0).sum()
    return torch.where(learned, weighed, 0).sum() * (count / torch.where(among > 0, among, 1)), count
