"""The network to look into: that of a trained run, or a backbone with a mechanism inserted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from saccade.catalog.imports import Trust
from saccade.errors import InputError, require
from saccade.insertion import Attachment, insert, plan
from saccade.mechanisms.base import Mechanism
from saccade.networks.make import DEMO, classification_network, demo_network
from saccade.networks.order import Match
from saccade.networks.statistics import IMAGENET, Statistics, expected_by, statistics_for
from saccade.runs.open import open_run


@dataclass(frozen=True)
class Inspected:
    """A network to look into.

    Args:
        net: The network, in evaluation mode.
        name: Name of the run or the backbone.
        trained: Weights that are trained: all (``"run"``), all but the mechanism's (``"backbone"``), or ``"none"``.
        classes: Names of the classes; empty if unknown.
        size: Longer side of the images it was trained on, in pixels; None if unknown.
        joints: Names of the key points whose heat maps it returns; empty for any other network.
        statistics: Mean and standard deviation of each channel that its images are standardised by.
    """

    net: nn.Module
    name: str
    trained: str
    classes: tuple[str, ...] = ()
    size: int | None = None
    joints: tuple[str, ...] = ()
    statistics: Statistics = IMAGENET


def open_model(path: Path, trust: Trust = ()) -> Inspected:
    """Load the network of a run of ``saccade train`` or of a comparison, or of a file that :func:`saccade.save` wrote.

    Args:
        path: A folder, or a file in it. The folder of an arm stands for its first run.
        trust: Code of the user's own that may be imported for it, as for :func:`saccade.load`.

    Raises:
        InputError: There is no such run, its file is damaged or does not fit its network, or it has no mechanisms.
    """
    opened = open_run(path, trust)
    check_has_mechanisms(opened.net, str(path))
    task = opened.known
    if task is None:
        return Inspected(opened.net, opened.name, "run", statistics=expected_by(opened.net))
    joints = task.classes if task.called == "joints" else ()
    return Inspected(opened.net, opened.name, "run", task.classes, task.size, joints, task.statistics)


def make_network(
    mechanism: str,
    backbone: str,
    *,
    at: str | None = None,
    pretrained: str | bool = False,
    match: Match = "names",
    seed: int = 0,
) -> Inspected:
    """Insert a mechanism with random weights into a backbone.

    Args:
        mechanism: See :func:`saccade.insert`.
        backbone: A name of timm, ``torchvision/NAME``, ``notes``, or an import path.
        at: Places; None means its natural places.
        pretrained: True: timm's weights; a path: a file with the backbone's weights.
        match: ``"order"`` if tensors of a file with other names are those of the backbone in order and shape.
        seed: Seed of the random weights.

    Raises:
        InputError: A name is unknown, weights are missing or do not fit, or there is no place for the mechanism.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net, classes, size = _backbone(backbone, pretrained, match)
        insert(net, mechanism, at=at)  # the output of the network stays the same
    trained = "backbone" if pretrained else "none"
    own = statistics_for(net, pretrained)
    return Inspected(net.eval(), f"{backbone} + {mechanism}", trained, classes, size, statistics=own)


def check_has_mechanisms(net: nn.Module, who: str) -> None:
    """Refuse a network without mechanisms, and name places where one could be inserted.

    Raises:
        InputError: The network has no mechanism.
    """
    if any(isinstance(module, (Attachment, Mechanism)) for module in net.modules()):
        return
    try:
        places = [place.name for place in plan(net, "se").places]
    except InputError:  # it has no place for one either
        places = []
    shown = ", ".join(places[:6]) + (f" and {len(places) - 6} more" if len(places) > 6 else "")
    hint = (
        f"saccade.insert puts them in; places for se, for example: {shown}" if places else "saccade.insert puts them in"
    )
    raise InputError(f"{who}: this {type(net).__name__} has no attention mechanism to look into", hint)


def _backbone(name: str, pretrained: str | bool, match: Match) -> tuple[nn.Module, tuple[str, ...], int | None]:
    if name == DEMO:
        from saccade.data.notes import CLASSES
        from saccade.data.scenes import SIZE

        if pretrained:
            raise InputError(
                "--pretrained: notes, a demo's network, has no trained weights", "give a trained run: --model RUN"
            )
        return demo_network(len(CLASSES)), (), SIZE
    if name.startswith("torchvision/"):
        from saccade.saving.recipes import build

        if pretrained:
            raise InputError(
                "--pretrained: for networks of timm only", "load the weights, then saccade.save the network"
            )
        made = build({"library": "torchvision", "name": name.removeprefix("torchvision/"), "options": {}})
        return made, (), 224
    net = classification_network(name, 1000, pretrained=pretrained, match=match)
    config: Any = getattr(net, "pretrained_cfg", {})
    return net, _imagenet() if pretrained else (), int((config.get("input_size") or (3, 224, 224))[-1])


def _imagenet() -> tuple[str, ...]:
    """The names of the 1,000 classes of ImageNet, from timm."""
    data: Any = require("timm.data", extra="train")
    info = data.ImageNetInfo()
    return tuple(info.index_to_description(k).split(",")[0] for k in range(info.num_classes()))
