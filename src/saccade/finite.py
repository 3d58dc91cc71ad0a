"""Weights and outputs that are NaN or infinite: named, instead of scored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from saccade.errors import InputError


class NotFiniteError(InputError):
    """Values that are NaN or infinite, as a training that diverged leaves them."""


def check_finite(tensors: Mapping[str, Tensor], who: str) -> None:
    """Refuse weights that are not finite; a mask of zeros and minus infinities may be.

    Raises:
        InputError: A value is NaN or infinite; the message names the first tensor.
    """
    wrong = [name for name, tensor in tensors.items() if not _is_finite(tensor)]
    if wrong:
        count = int((~torch.isfinite(tensors[wrong[0]])).sum())
        raise NotFiniteError(
            f"{who}: {len(wrong)} of {len(tensors)} tensors have values that are NaN or infinite, the first is "
            f"{wrong[0]} ({count} of {tensors[wrong[0]].numel()} values)",
            "the training that wrote it diverged; take an earlier checkpoint, or train again at a lower learning rate",
        )


def _is_finite(tensor: Tensor) -> bool:
    if not (tensor.is_floating_point() or tensor.is_complex()) or tensor.layout != torch.strided or tensor.is_meta:
        return True
    if tensor.is_floating_point() and tensor.element_size() == 1:
        tensor = tensor.float()
    finite = torch.isfinite(tensor)
    return bool(finite.all()) or bool(((tensor == 0) | (tensor == -torch.inf)).all())


def check_outputs(model: nn.Module, outputs: Any) -> None:
    """Refuse outputs of a network that are not finite.

    Args:
        model: The network; if its weights are not finite, the message names the first.
        outputs: Any tree of tensors.

    Raises:
        InputError: A value is NaN or infinite.
    """
    from saccade.tasks.trees import leaves

    floats = [leaf for leaf in leaves(outputs) if isinstance(leaf, Tensor) and leaf.is_floating_point()]
    if all(torch.isfinite(leaf).all() for leaf in floats):
        return
    name = type(model).__name__
    check_finite(model.state_dict(), name)
    raise NotFiniteError(
        f"{name}: its output has values that are NaN or infinite, though all of its weights are finite",
        "its activations grow beyond what numbers can hold: train at a lower learning rate, or without --amp fp16",
    )
