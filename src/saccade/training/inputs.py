"""Images as networks read them."""

from __future__ import annotations

import torch
from torch import Tensor

from saccade.networks.statistics import IMAGENET, Statistics


def to_input(
    images: Tensor, device: torch.device, statistics: Statistics = IMAGENET, *, channels_last: bool = True
) -> Tensor:
    """(B, 3, H, W) as networks read it: uint8 is made float and standardised, other kinds are as they should be."""
    layout = torch.channels_last if channels_last else torch.contiguous_format
    x = images.to(device=device, dtype=torch.float32, memory_format=layout, non_blocking=True)
    return standardised(x, statistics) if images.dtype == torch.uint8 else x


def standardised(images: Tensor, statistics: Statistics = IMAGENET) -> Tensor:
    """Return images (B, 3, H, W) of 0 to 255 in float32, with each channel's mean and standard deviation taken out."""
    center = torch.tensor(statistics.mean, device=images.device).view(1, 3, 1, 1)
    spread = torch.tensor(statistics.std, device=images.device).view(1, 3, 1, 1)
    return (images.float() / 255 - center) / spread
