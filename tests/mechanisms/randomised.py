"""Modules and maps with nothing at its start: a zero there would hide a fault."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

import saccade
from saccade.mechanisms.base import Mechanism

SIZES = ((1, 1), (4, 4), (5, 7), (1, 6))


def randomised(name: str, channels: int, **options: Any) -> Mechanism:
    """In float64 and evaluation, every parameter and buffer drawn anew."""
    module = saccade.create(name, channels, **options).double().eval()
    draw = torch.Generator().manual_seed(3)
    for key, tensor in module.state_dict().items():
        if tensor.is_floating_point():
            values = torch.rand(tensor.shape, generator=draw, dtype=torch.float64)
            tensor.copy_(values + 0.5 if key.endswith("running_var") else values - 0.4)
    return module


def random_map(channels: int, size: tuple[int, int], batch: int = 2) -> Tensor:
    draw = torch.Generator().manual_seed(4)
    return torch.randn(batch, channels, *size, generator=draw, dtype=torch.float64) + 0.3


def equal(ours: Tensor, written_out: Tensor) -> None:
    torch.testing.assert_close(ours, written_out, rtol=1e-10, atol=1e-12)
