"""The optimizer of a recipe, with a rate of its own for each group of parameters."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import nn

from saccade.devices import has_compiler
from saccade.errors import InputError, near, require
from saccade.insertion import parameter_groups
from saccade.training.recipe import Recipe

_COMPILED = "_torchdynamo_orig_callable"  # torch.compile's mark on the functions that it returns


def optimizer_for(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """An optimizer on the parameters of `model` that are trained.

    Raises:
        InputError: An optimizer that timm lacks or cannot make, or a pattern of `lr_factors` that fits no parameter.
    """
    groups = parameter_groups(
        model, lr=recipe.learning_rate, weight_decay=recipe.weight_decay, gate_lr_factor=recipe.gate_lr_factor
    )
    for group in groups:
        if recipe.decay_norms and group["name"] == "biases and norms":
            group["weight_decay"] = recipe.weight_decay
    groups = list(_divided(groups, model, recipe.lr_factors))
    if recipe.optimizer == "adamw":  # what timm would make, without the seconds that loading timm takes
        return torch.optim.AdamW(groups, lr=recipe.learning_rate, fused=True)
    check_optimizer(recipe.optimizer)
    factory: Any = require("timm.optim", extra="train")
    try:
        made: torch.optim.Optimizer = factory.create_optimizer_v2(
            groups, opt=recipe.optimizer, lr=recipe.learning_rate, momentum=recipe.momentum
        )
    except Exception as cause:  # some need another package, a GPU, or other values
        reason = str(cause) or type(cause).__name__
        raise InputError(f"optimizer {recipe.optimizer!r} cannot be made here: {reason}", "choose another") from cause
    if getattr(made, "is_second_order", False):
        raise InputError(
            f"optimizer {recipe.optimizer!r} needs second derivatives, which are not computed here", "choose another"
        )
    compiled = any(hasattr(value, _COMPILED) for value in vars(made).values())
    if compiled and not has_compiler(next(model.parameters()).device):
        raise InputError(
            f"optimizer {recipe.optimizer!r} compiles its steps: torch needs a C++ compiler on a CPU, and found none",
            "install g++ or clang, or choose another",
        )
    return made


def check_optimizer(name: str) -> None:
    """Refuse an optimizer that there is not.

    Raises:
        InputError: With names like it.
    """
    if name != "adamw":
        known = require("timm.optim", extra="train").list_optimizers()
        if name not in known:
            raise InputError(f"unknown optimizer {name!r}", near(name, known))


def _divided(
    groups: list[dict[str, Any]], model: nn.Module, factors: tuple[tuple[str, float], ...]
) -> Iterator[dict[str, Any]]:
    """The groups, each divided by the first pattern that fits a parameter's name."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    used: set[str] = set()
    for group in groups:
        parts: dict[str, list[nn.Parameter]] = {}
        for parameter in group["params"]:
            fits = next((pattern for pattern, _ in factors if fnmatchcase(names[id(parameter)], pattern)), "")
            parts.setdefault(fits, []).append(parameter)
        used.update(parts)
        for pattern, parameters in parts.items():
            factor = dict(factors).get(pattern, 1.0)
            name = f"{group['name']} {pattern}".rstrip()
            yield {**group, "name": name, "params": parameters, "lr": group["lr"] * factor}
    unused = [pattern for pattern, _ in factors if pattern not in used]
    if unused:
        raise InputError(f"lr_factors: no parameter is called {unused[0]!r}", near(unused[0], names.values()))
