"""Base of every segmentation network: a backbone, a head, logits at the size of the image, and their loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from saccade.errors import InputError
from saccade.networks.high_resolution import is_high_resolution, joined
from saccade.networks.losses import HardPixels, pixel_loss


class Segmenter(nn.Module):
    """Classify every pixel of an image.

    Args:
        backbone: Returns a list of feature maps.
        head: Computes class logits from the last map, or a tuple of logits with the prediction first.
        weights: Weights of the losses, one for each output in training.
        align_corners: If True, align the corners of map and image when logits are enlarged (bilinear). DANet's and
            FLANet's authors do; HRNetV2's and OCR's do not, so neither do ``ocr`` and ``psa`` on an HRNet.

    Attributes:
        weights: Weights of the losses; may be changed.
        hard: Selects the pixels to train on; None means all.

    Shape: (B, 3, H, W) -> (B, K, H, W) in evaluation; in training a tuple of such, the prediction first.
    """

    def __init__(
        self, backbone: nn.Module, head: nn.Module, *, weights: Sequence[float] = (1.0,), align_corners: bool = True
    ) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head
        self.weights, self.align_corners = tuple(weights), align_corners
        self.hard: HardPixels | None = None
        self.joins = is_high_resolution(backbone)

    def forward(self, x: Tensor) -> Any:
        found = self.logits(x, every=self.training)
        return found if self.training else found[0]

    def logits(self, x: Tensor, *, every: bool = True) -> tuple[Tensor, ...]:
        """Return all outputs of training at the size of the image, in any mode, or the prediction (the first) alone."""
        return tuple(self.enlarged(y, x) for y in self.classified(self.maps(x), every=every))

    def maps(self, x: Tensor) -> list[Tensor]:
        """Return the backbone's feature maps; those of an HRNet joined into one."""
        maps: list[Tensor] = self.backbone(x)
        return [joined(maps)] if self.joins else maps

    def classified(self, maps: list[Tensor], *, every: bool) -> tuple[Tensor, ...]:
        """Return class logits at the sizes they are computed at, those of the prediction first."""
        found = self.head(maps[-1])
        outputs: tuple[Tensor, ...] = found if isinstance(found, tuple) else (found,)
        return outputs if every else outputs[:1]

    def enlarged(self, logits: Tensor, x: Tensor) -> Tensor:
        """Enlarge logits to the size of the image."""
        return F.interpolate(logits, x.shape[2:], mode="bilinear", align_corners=self.align_corners)

    def loss(
        self, outputs: Tensor | Sequence[Tensor], targets: Tensor, *, class_weights: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        r"""Return the papers' loss as a sum over pixels, and the number of pixels: the mean is their quotient.

        .. math:: \frac{1}{n} \sum_k \lambda_k \sum_i \mathrm{CE}(y_{ki}, t_i)

        over the n pixels whose target is not 255. Over several processes, add up sums and numbers first.

        Args:
            outputs: Output of the network in training, or of a network in evaluation, that is the prediction alone.
            targets: (B, H, W) classes, 255 = ignored.
            class_weights: (K,) weight of the pixels of each class: the sum is weighted, and the number is the sum of
                the weights. None weighs all alike.

        Raises:
            InputError: The number of outputs differs from that in training, or shapes do not fit.
        """
        given = (outputs,) if isinstance(outputs, Tensor) else tuple(outputs)
        weights = self.weights[:1] if isinstance(outputs, Tensor) else self.weights
        if len(given) != len(weights):
            raise InputError(f"loss: expected {len(weights)} outputs of the network; received {len(given)}")
        terms = [pixel_loss(logits, targets, hard=self.hard, class_weights=class_weights) for logits in given]
        total = sum(weight * term for weight, (term, _) in zip(weights, terms, strict=True))
        assert isinstance(total, Tensor)
        return total, terms[0][1]

    def extra_repr(self) -> str:
        return f"weights={self.weights}, align_corners={self.align_corners}"
