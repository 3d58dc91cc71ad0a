"""Find out whether a network may write to a mechanism's output, as networks do that add or rectify in place."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def needs_its_output(mechanism: nn.Module, x: Tensor) -> bool:
    """Return whether writing to the output of a mechanism breaks its backward pass.

    It does if the last operation keeps its result, as relu, sigmoid and softmax do, and if the output is a view
    that autograd does not allow to be written to. If this cannot be found out, the answer is yes.

    Args:
        mechanism: The module, on any device; on meta nothing is computed.
        x: A feature map that it takes.
    """
    kept: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    try:
        with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            y: Tensor = mechanism(x.detach().requires_grad_() * 1)
        if any(tensor.untyped_storage()._cdata == y.untyped_storage()._cdata for tensor in kept):
            return True
        y.add_(0)
    except Exception:  # a module from outside may raise anything; a copy never harms
        return True
    return False
