"""Parameter groups, freezing and gate values: training a network that contains attention."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import nn

from saccade.errors import InputError
from saccade.insertion.attach import Attachment, attachments
from saccade.mechanisms.base import Mechanism


def parameter_groups(
    model: nn.Module, *, lr: float, weight_decay: float, gate_lr_factor: float = 10.0
) -> list[dict[str, Any]]:
    """Return parameter groups for a torch optimizer; parameters that are not trained and empty groups are left out.

    Args:
        model: Network, with or without mechanisms.
        lr: Learning rate.
        weight_decay: Decay of tensors with two or more axes; biases, norms and gates are not decayed.
        gate_lr_factor: Factor on the learning rate of the insertion's g and of the mechanisms' gamma: single numbers
            that start at 0 and hold their mechanism back until they have grown.

    Returns:
        Up to three dicts with ``params``, ``lr``, ``weight_decay`` and ``name``: ``"weights"``, ``"biases and norms"``,
        ``"gates"``.

    Raises:
        InputError: No parameter of the network is trained, or a number is negative.
    """
    for name, number in (("lr", lr), ("weight_decay", weight_decay), ("gate_lr_factor", gate_lr_factor)):
        if not number >= 0:
            raise InputError(f"parameter_groups: `{name}` must not be negative; received {name}={number!r}")
    gates = {id(parameter) for parameter in _gates(model)}
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not trained:
        raise InputError(
            f"{type(model).__name__}: none of its parameters is trained", "set requires_grad on some of them"
        )
    others = [parameter for parameter in trained if id(parameter) not in gates]
    groups: list[dict[str, Any]] = [
        {"name": "weights", "params": [p for p in others if p.dim() >= 2], "lr": lr, "weight_decay": weight_decay},
        {"name": "biases and norms", "params": [p for p in others if p.dim() < 2], "lr": lr, "weight_decay": 0.0},
        {
            "name": "gates",
            "params": [p for p in trained if id(p) in gates],
            "lr": lr * gate_lr_factor,
            "weight_decay": 0.0,
        },
    ]
    return [group for group in groups if group["params"]]


def freeze_all_but_attention(model: nn.Module) -> nn.Module:
    """Train the inserted mechanisms only: every other parameter stops requiring a gradient. Return the network.

    Batch norms of the network still follow their batches in training mode; put them in evaluation mode to stop that.

    Raises:
        InputError: Nothing is inserted.
    """
    found = attachments(model)
    if not found:
        raise InputError(
            f"{type(model).__name__}: no mechanism is inserted, so nothing would be trained", "insert one first"
        )
    model.requires_grad_(False)
    for attachment in found.values():
        attachment.requires_grad_(True)
    return model


def _gates(model: nn.Module) -> Iterator[nn.Parameter]:
    """Yield the insertion's g and the mechanisms' gammas of one element."""
    for module in model.modules():
        if isinstance(module, Attachment) and module.g is not None:
            yield module.g
        if isinstance(module, Mechanism):
            yield from gammas(module).values()


def gate_values(model: nn.Module) -> dict[str, float]:
    """Return the factor of each insertion (as g) and the mechanisms' gammas of one element, by name: their strengths.

    Example:
        >>> import saccade, torchvision
        >>> gate_values(saccade.insert(torchvision.models.resnet18(), "se", at="layer4.1"))
        {'layer4.1.g': 0.0}
    """
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    made = ((attachment.g, attachment.factor()) for attachment in attachments(model).values())
    factors = {id(g): factor for g, factor in made if factor is not None}
    return {
        names[id(gate)].replace(".saccade.", ".").replace(".saccade_before.", "."): float(
            factors.get(id(gate), gate).detach().mean()
        )
        for gate in _gates(model)
    }


def gammas(mechanism: nn.Module) -> dict[str, nn.Parameter]:
    """Return the single numbers called gamma in a mechanism, by name."""
    named = mechanism.named_parameters()
    return {name: p for name, p in named if name.rpartition(".")[2] == "gamma" and p.numel() == 1}
