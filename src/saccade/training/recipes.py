"""Whole recipes by name: ours, and those of papers, each value with where it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from saccade.errors import InputError, near

_OURS = "ours, as in saccade compare"
_ECA = "Wang et al., ECA-Net, CVPR 2020, section 4.1"
_PLAIN = "common code of that time; not said in the paper"
_DANET = "Fu et al., DANet, CVPR 2019, section 4.1"
_DANET_CODE = "the authors' training code"
_DANET_ISSUES = "the authors, issues 27 and 30 of CASIA-IVA-Lab/DANet"


@dataclass(frozen=True)
class NamedRecipe:
    """A recipe with the source of each value.

    Args:
        about: Networks and data it is for, in a sentence.
        epochs: Length in passes through the data.
        batch: Images per step.
        size: Side of the images in pixels.
        augment: Name of the augmentation.
        values: Values of `saccade.training.recipe.Recipe` by name.
        sources: Source of each value by name; "" for all others.
        task: Name of the task.
        reading: Options of reading the folder by name, such as the codec of key points.
    """

    about: str
    epochs: int
    batch: int
    size: int
    augment: str
    values: Mapping[str, Any]
    sources: Mapping[str, str] = field(default_factory=dict)
    task: str = "classification"
    reading: Mapping[str, Any] = field(default_factory=dict)

    def rows(self) -> list[tuple[str, Any, str]]:
        """Return every value with its name and its source."""
        every = {"epochs": self.epochs, "batch": self.batch, "size": self.size, "augment": self.augment, **self.values}
        every |= self.reading
        return [(name, value, self.sources.get(name, self.sources[""])) for name, value in every.items()]

    def lines(self) -> list[str]:
        """Return every value with its source, as lines of text."""
        return [f"{name} = {value}  ({source})" for name, value, source in self.rows()]


_SGD = {"optimizer": "momentum", "momentum": 0.9, "schedule": "step", "warmup": 0.0, "gate_lr_factor": 1.0}

_POLY = {**_SGD, "schedule": "poly", "power": 0.9, "decay_norms": True}
_ADAMW = {
    "optimizer": "adamw", "learning_rate": 1e-3, "weight_decay": 0.02, "schedule": "one-cycle", "warmup": 0.2,
    "gate_lr_factor": 10.0,
}  # fmt: skip
_DANET_VALUES = {**_POLY, "weight_decay": 1e-4, "lr_factors": (("head.*", 10.0),)}
_DANET_SOURCES = {
    "": _DANET_ISSUES, "augment": f"{_DANET_CODE}: scale, crop, mirror", "momentum": _DANET, "weight_decay": _DANET,
    "optimizer": _DANET, "schedule": _DANET, "power": _DANET, "lr_factors": _DANET_CODE, "warmup": _DANET_CODE,
    "gate_lr_factor": _DANET_CODE, "decay_norms": _DANET_CODE,
}  # fmt: skip

_SIMPLE = "Xiao et al., Simple Baselines, ECCV 2018, section 3, and its configuration"
_HRNET = "Sun et al., HRNet, CVPR 2019, section 4.1, and its configuration"
_DARK = "Zhang et al., DARK, CVPR 2020, and its configuration"
_UDP = "Huang et al., UDP, CVPR 2020, and its configuration"
_RGB = "ours: the authors' images are in BGR under the statistics of RGB, ours in RGB"
_POSE = {
    "optimizer": "adam", "learning_rate": 1e-3, "weight_decay": 0.0, "schedule": "step", "decay": 0.1, "warmup": 0.0,
    "gate_lr_factor": 1.0,
}  # fmt: skip
_OF_210 = {**_POSE, "decay_first": 170 / 210, "decay_every": 30 / 210}

RECIPES: Mapping[str, NamedRecipe] = {
    "default": NamedRecipe(
        "AdamW and one cycle, as in saccade compare; the learning rate is 0.0003 for pretrained networks",
        30, 32, 224, "light", _ADAMW,
        {"": _OURS, "epochs": "ours", "size": "ours"},
    ),
    "eca": NamedRecipe(
        "ResNets with SE, ECA, CBAM and others on ImageNet, from random weights",
        100, 256, 224, "imagenet",
        {**_SGD, "learning_rate": 0.1, "weight_decay": 1e-4, "decay": 0.1, "decay_every": 0.3, "decay_norms": True},
        {"": _ECA, "warmup": _PLAIN, "gate_lr_factor": _PLAIN, "decay_norms": _PLAIN},
    ),
    "eca-mobilenet": NamedRecipe(
        "MobileNetV2 on ImageNet, from random weights",
        400, 96, 224, "imagenet",
        {**_SGD, "learning_rate": 0.045, "weight_decay": 4e-5, "decay": 0.98, "decay_every": 1 / 400,
         "decay_norms": True},
        {"": _ECA, "momentum": _PLAIN, "warmup": _PLAIN, "gate_lr_factor": _PLAIN, "decay_norms": _PLAIN},
    ),
    "segmentation": NamedRecipe(
        "AdamW and one cycle on crops, for images with masks; the learning rate is 0.0003 for pretrained networks",
        50, 8, 512, "full", _ADAMW,
        {"": _OURS, "epochs": "ours", "batch": "ours", "size": "ours", "augment": "ours"}, "segmentation",
    ),
    "danet-cityscapes": NamedRecipe(
        "DANet on Cityscapes; the network is \"danet[multi_grid=(4,8,16)]\" with --backbone resnet101 --pretrained",
        240, 8, 768, "scale", {**_DANET_VALUES, "learning_rate": 0.003}, _DANET_SOURCES, "segmentation",
    ),
    "fcn-cityscapes": NamedRecipe(
        "DANet's baseline, and networks of one output, on Cityscapes",
        180, 8, 768, "scale", {**_DANET_VALUES, "learning_rate": 0.01}, _DANET_SOURCES, "segmentation",
    ),
    "pose": NamedRecipe(
        "AdamW and one cycle on crops of objects with key points; the learning rate is 0.0003 for pretrained networks",
        60, 32, 256, "light", _ADAMW,
        {"": _OURS, "epochs": "ours", "batch": "ours", "size": "ours", "augment": _SIMPLE}, "pose",
    ),
    "simple-baseline-coco": NamedRecipe(
        "SimpleBaseline on COCO; the network is simple_baseline with --backbone resnet50 --pretrained",
        140, 128, 256, "light", {**_POSE, "decay_first": 90 / 140, "decay_every": 30 / 140},
        {"": _SIMPLE, "gate_lr_factor": _PLAIN, "warmup": _PLAIN, "augment": f"{_SIMPLE}; {_RGB}"}, "pose",
        {"codec": "biased", "aspect": "3:4"},
    ),
    "hrnet-coco": NamedRecipe(
        "HRNet on COCO; the network is hrnet with --pretrained",
        210, 128, 256, "full", _OF_210, {"": _HRNET, "gate_lr_factor": _PLAIN, "warmup": _PLAIN}, "pose",
        {"codec": "biased", "aspect": "3:4"},
    ),
    "dark-coco": NamedRecipe(
        "HRNet with DARK on COCO; the network is hrnet with --pretrained",
        210, 128, 256, "full", _OF_210, {"": _DARK, "gate_lr_factor": _PLAIN, "warmup": _PLAIN}, "pose",
        {"codec": "dark", "aspect": "3:4"},
    ),
    "udp-coco": NamedRecipe(
        "HRNet with UDP on COCO; the network is udp_hrnet with --pretrained",
        210, 128, 256, "full", _OF_210, {"": _UDP, "gate_lr_factor": _PLAIN, "warmup": _PLAIN}, "pose",
        {"codec": "udp_offset", "aspect": "3:4"},
    ),
}  # fmt: skip


DEFAULT = RECIPES["default"]
DEFAULTS: Mapping[str, NamedRecipe] = {
    recipe.task: recipe for name, recipe in RECIPES.items() if name in ("default", recipe.task)
}
"""Default recipe of each task, if none is named."""
PRETRAINED_RATE = 3e-4
"""The learning rate of the default recipe for pretrained networks."""


def find_recipe(name: str, task: str, default: str = "default") -> NamedRecipe:
    """Find a recipe by name.

    Args:
        name: A key of `RECIPES`; ``"default"`` is the default recipe of the task.
        task: Name of the task of the data.
        default: Name of its default recipe.

    Raises:
        InputError: There is none, or it is for another task.
    """
    if name not in RECIPES:
        raise InputError(f"unknown recipe {name!r}", near(name, RECIPES))
    if name == "default":
        return RECIPES[default]
    if RECIPES[name].task != task:
        known = [other for other, recipe in RECIPES.items() if recipe.task == task]
        raise InputError(f"recipe {name!r} is for {RECIPES[name].task}, the data for {task}", near(name, known))
    return RECIPES[name]
