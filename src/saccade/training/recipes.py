"""Whole recipes by name: ours, and those of papers, each value with where it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from saccade.errors import InputError, near

_OURS = "saccade compare"
_ECA = "Wang et al., ECA-Net, CVPR 2020, section 4.1"
_PLAIN = "common code of that time; not said in the paper"


@dataclass(frozen=True)
class Published:
    """A recipe.

    Args:
        about: What it is for.
        epochs: Length.
        batch: Images a step.
        size: Side of the images in pixels.
        augment: Name of the augmentation.
        values: Of `saccade.training.recipe.Recipe`.
        sources: Where each comes from, by name; "" for all others.
    """

    about: str
    epochs: int
    batch: int
    size: int
    augment: str
    values: Mapping[str, Any]
    sources: Mapping[str, str] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """Every value with its source."""
        every = {"epochs": self.epochs, "batch": self.batch, "size": self.size, "augment": self.augment, **self.values}
        return [f"{name} = {value}  ({self.sources.get(name, self.sources[''])})" for name, value in every.items()]


_SGD = {"optimiser": "momentum", "momentum": 0.9, "schedule": "step", "warmup": 0.0, "gate_lr_factor": 1.0}

RECIPES: Mapping[str, Published] = {
    "default": Published(
        "AdamW and one cycle, as in saccade compare; the rate is 0.0003 for pretrained networks",
        30, 32, 224, "light",
        {"optimiser": "adamw", "learning_rate": 1e-3, "weight_decay": 0.02, "schedule": "one-cycle", "warmup": 0.2},
        {"": _OURS, "epochs": "ours", "size": "ours"},
    ),
    "eca": Published(
        "ResNets with SE, ECA, CBAM and others on ImageNet, from random weights",
        100, 256, 224, "imagenet",
        {**_SGD, "learning_rate": 0.1, "weight_decay": 1e-4, "decay": 0.1, "decay_every": 0.3, "decay_norms": True},
        {"": _ECA, "warmup": _PLAIN, "gate_lr_factor": _PLAIN, "decay_norms": _PLAIN},
    ),
    "eca-mobilenet": Published(
        "MobileNetV2 on ImageNet, from random weights",
        400, 96, 224, "imagenet",
        {**_SGD, "learning_rate": 0.045, "weight_decay": 4e-5, "decay": 0.98, "decay_every": 1 / 400,
         "decay_norms": True},
        {"": _ECA, "momentum": _PLAIN, "warmup": _PLAIN, "gate_lr_factor": _PLAIN, "decay_norms": _PLAIN},
    ),
}  # fmt: skip


def find_recipe(name: str) -> Published:
    """The recipe of that name.

    Raises:
        InputError: There is none.
    """
    if name not in RECIPES:
        raise InputError(f"unknown recipe {name!r}", near(name, RECIPES))
    return RECIPES[name]
