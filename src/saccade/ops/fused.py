"""Fused attention kernels of a GPU, for the widths that they support."""

from __future__ import annotations

from torch import Tensor
from torch.backends.cuda import SDPAParams, can_use_efficient_attention
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from saccade.ops.tuning import chosen


def on_gpu(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor | None:
    """Compute `pairwise.softmax_attention` by the chosen kernel; None if that does not support the input."""
    way = chosen().attention
    if way == "fused":
        return fused_attention(query, key, value, scale)
    if way == "triton":
        from saccade.ops.kernels.attention import fits
        from saccade.ops.kernels.operators import softmax_attention

        if fits(query, key, value):
            return softmax_attention(query, key, value, scale)
    return None


def fused_attention(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor | None:
    """Run PyTorch's memory-efficient kernel, which supports values of another width than queries; logits are float32.

    The result lies channel first in memory.
    """
    query, key, value = (tensor.contiguous()[:, None] for tensor in (query, key, value))
    if not query.dtype == key.dtype == value.dtype:
        return None
    params = SDPAParams(query, key, value, None, 0.0, False, False)
    if not can_use_efficient_attention(params):
        return None
    with sdpa_kernel(SDPBackend.EFFICIENT_ATTENTION):
        out = scaled_dot_product_attention(query, key, value, scale=scale)
    return out[:, 0].transpose(-2, -1).contiguous().transpose(-2, -1)
