"""Computation in float32 where half precision would lose digits, whatever the precision of maps and weights."""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saccade.ops.axes import CONVOLVE, CONVS


def full_precision(tensor: Tensor) -> AbstractContextManager[object]:
    """Switch autocast off if it is on, so that products of float32 stay float32."""
    return torch.autocast(tensor.device.type, enabled=False) if autocast_is_on(tensor) else contextlib.nullcontext()


def autocast_is_on(tensor: Tensor) -> bool:
    """Return whether products of this tensor would be computed in half precision."""
    device = tensor.device.type
    return device != "meta" and torch.is_autocast_enabled(device)  # meta raises when asked about autocast


def wide(tensor: Tensor) -> Tensor:
    """Return the tensor in float32, or unchanged if its precision is at least that."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def apply(layer: nn.Module, x: Tensor) -> Tensor:
    """Return ``layer(x)`` in the precision of `x`, also if the layer's parameters are narrower.

    Args:
        layer: A 1x1 convolution, a `Linear`, a `LayerNorm`, or a layer without parameters.
        x: Input of the layer.
    """
    if not isinstance(layer, (*CONVS, nn.Linear, nn.LayerNorm)):
        return layer(x)  # type: ignore[no-any-return]
    weight = layer.weight.to(x.dtype)
    bias = None if layer.bias is None else layer.bias.to(x.dtype)
    if isinstance(layer, nn.LayerNorm):
        return F.layer_norm(x, layer.normalized_shape, weight, bias, layer.eps)
    return F.linear(x, weight, bias) if isinstance(layer, nn.Linear) else CONVOLVE[x.dim() - 2](x, weight, bias)
