"""``saccade plan``: where a mechanism would go in a network, and what it would cost."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Literal

import saccade
from saccade.cli.answer import Answer, Given
from saccade.cli.options import default, within
from saccade.errors import InputError
from saccade.ranges import Whole

if TYPE_CHECKING:
    from torch import Tensor, nn

_TORCHVISION = "torchvision/"


def plan(
    backbone: str,
    mechanism: str,
    /,
    *,
    at: Annotated[str | None, default("its natural places")] = None,
    within: Annotated[str | None, default("the whole network")] = None,
    every: Annotated[int | None, default("as the mechanism has it"), within(Whole(1, 10**6))] = None,
    start: Literal["identity", "paper"] = "identity",
    example_input: Annotated[str | None, default("the network's own")] = None,
    settings: Given,
) -> Answer:
    """Show where a mechanism would go in a network and what it would cost; nothing is downloaded or trained.

    Args:
        backbone: A network of timm by name, such as `resnet50`; one of torchvision, `torchvision/fcn_resnet50`;
            `notes`, the small network of the embedded demo; or one of your own, by the import path of a function that
            makes it, `my_package.nets:make`.
        mechanism: A mechanism with its options, such as `"cbam[reduction=8]"`, or several that follow each other,
            `cam+pam`; `saccade list` names them. One of your own by its import path,
            `"my_package.blocks:MyBlock[reduction=8]"`.
        at: Places: `residual`, `inner`, `stage`, `stage:1-3`, `stage:-1`, `block`,
            names such as `"layer3.*.bn2"`, or `before:NAMES`; or several of these, separated by commas.
        within: The parts of the network it may go into, by name, such as `"layer[34]"`.
        every: Take every n-th place of a stage only; a shorter stage keeps its last place.
        start: The initial weights: `identity` (until it is trained, the network computes what it computed before) or
            `paper` (as the authors have them).
        example_input: Shape of the image that costs are counted for, such as `1x3x512x1024`.
    """
    import torch

    scene = _image(example_input) if example_input else torch.empty(1, 3, 96, 96) if backbone == "notes" else None
    places = [word.strip() for word in at.split(",")] if at and "," in at else at
    planned = saccade.plan(
        _network(backbone), mechanism, at=places, within=within, every=every, start=start, example_input=scene
    )
    data = {
        "backbone": backbone,
        "mechanism": planned.mechanism,
        "start": start,
        "input_shape": planned.input_shape,
        "places": [
            asdict(step.place) | {"mechanism": str(step.mechanism), "params": step.params, "macs": step.macs}
            for step in planned.steps
        ],
        "params": planned.params,
        "macs": planned.macs,
        "unused": planned.unused,
        "present": planned.present,
        "remarks": planned.remarks,
    }
    return Answer(data, str(planned))


def _network(backbone: str) -> nn.Module:
    """Build the network without values: shapes are enough, and take neither memory nor weights."""
    import torch

    from saccade.catalog import name_code
    from saccade.networks.make import DEMO, classification_network, demo_network

    name_code(backbone)

    if backbone.startswith(_TORCHVISION):
        from saccade.saving.recipes import build

        name = backbone.removeprefix(_TORCHVISION)
        return build({"library": "torchvision", "name": name, "options": {}}, hollow=True)
    with torch.device("meta"):
        return demo_network(11) if backbone == DEMO else classification_network(backbone, 1000)


def _image(shape: str) -> Tensor:
    import torch

    sides = re.findall(r"\d+", shape) if re.fullmatch(r"\d+(\s*[x,]\s*\d+){3}", shape) else []
    if not sides or "0" in sides:
        raise InputError(
            f"--example-input: expected four numbers such as 1x3x224x224; received {shape!r}",
            "give batch x channels x height x width",
        )
    return torch.empty([int(side) for side in sides], device="meta")
