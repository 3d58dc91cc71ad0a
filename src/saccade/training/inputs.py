"""Images as networks read them."""

from __future__ import annotations

import torch
from torch import Tensor

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, as pretrained networks expect


def to_input(images: Tensor, device: torch.device, *, channels_last: bool = True) -> Tensor:
    """(B, 3, H, W) as networks read it: uint8 is made float and standardised, other kinds are as they should be."""
    layout = torch.channels_last if channels_last else torch.contiguous_format
    x = images.to(device=device, dtype=torch.float32, memory_format=layout, non_blocking=True)
    if images.dtype != torch.uint8:
        return x
    mean = torch.tensor(_MEAN, device=device).view(1, 3, 1, 1)
    std = torch.tensor(_STD, device=device).view(1, 3, 1, 1)
    return (x / 255 - mean) / std
