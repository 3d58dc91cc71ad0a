"""``saccade plan``: where a mechanism would go in a network, and what it would cost."""

from __future__ import annotations

from dataclasses import asdict

import saccade
from saccade.cli.answer import Answer, Given


def plan(
    backbone: str, mechanism: str, /, *, at: str | None = None, start: str = "identity", settings: Given
) -> Answer:
    """Show where a mechanism would go in a network and what it would cost; nothing is downloaded or trained.

    Args:
        backbone: A network of timm by name, such as `resnet50`, or `notes`, the small network of the embedded demo.
        mechanism: A mechanism with its options, such as `"cbam[reduction=8]"`; `saccade list` names them.
        at: Where it goes instead of its natural place: `residual`, `inner`, `stage`, `stage:1-3`, `stage:-1`, `block`,
            names such as `"layer3.*.bn2"`, or `before:NAMES`.
        start: `identity` (the network computes what it computed before, until it is trained) or `paper`.
    """
    import torch

    from saccade.networks.build import DEMO, build_network

    demo = backbone == DEMO
    with torch.device("meta"):  # shapes are enough: no memory, no weights
        network = build_network("classification", backbone, num_classes=11 if demo else 1000)
    scene = torch.empty(1, 3, 96, 96) if demo else None
    planned = saccade.plan(network, mechanism, at=at, start=start, example_input=scene)
    data = {
        "backbone": backbone,
        "mechanism": str(planned.mechanism),
        "start": start,
        "input_shape": planned.input_shape,
        "places": [asdict(step.place) | {"params": step.params, "macs": step.macs} for step in planned.steps],
        "params": planned.params,
        "macs": planned.macs,
        "unused": planned.unused,
    }
    return Answer(data, str(planned))
