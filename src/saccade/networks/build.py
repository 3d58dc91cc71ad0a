"""The networks that `compare` trains: a timm backbone with a classifier or the plain segmentation head; the demo's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from saccade.errors import InputError, near, require

DEMO = "notes"


def build_network(task: str, backbone: str, num_classes: int, *, pretrained: bool | str = False) -> nn.Module:
    """A network with random weights (torch's global generator), or with pretrained ones in its backbone.

    Args:
        task: ``"classification"`` or ``"segmentation"``.
        backbone: A timm name; ``"notes"`` is the demo's network (segmentation only).
        num_classes: Of the output.
        pretrained: True: timm's weights (needs a network connection once); a path: a local file of that backbone.

    Raises:
        InputError: Unknown backbone, weights that cannot be had, or a file that does not fit.
    """
    if backbone == DEMO:
        from saccade.networks.notes import NotesNet

        return NotesNet(num_classes)
    timm = require("timm", extra="train")
    if not timm.is_model(backbone):
        raise InputError(f"unknown backbone {backbone!r}", near(backbone, timm.list_models()))
    from_hub = pretrained is True
    try:
        if task == "classification":
            net: nn.Module = timm.create_model(backbone, num_classes=num_classes, pretrained=from_hub)
            inner = net
        else:
            inner = _feature_network(timm, backbone, pretrained=from_hub)
            net = fcn_on(inner, num_classes)
    except (OSError, RuntimeError) as cause:
        if not from_hub:
            raise
        raise InputError(
            f"the pretrained weights of {backbone} could not be fetched ({type(cause).__name__})",
            "give a file: --pretrained PATH (a .safetensors or .pth with this backbone's weights)",
        ) from cause
    if isinstance(pretrained, str):
        load_backbone_file(inner, Path(pretrained), backbone)
    return net


def fcn_on(backbone: nn.Module, num_classes: int) -> nn.Module:
    """The plain head on a timm feature network."""
    from saccade.networks.fcn import FCN

    info: Any = backbone.feature_info
    return FCN(backbone, info.channels()[-1], num_classes)


def _feature_network(timm: Any, backbone: str, *, pretrained: bool) -> nn.Module:
    try:
        made: nn.Module = timm.create_model(
            backbone, features_only=True, out_indices=(-1,), output_stride=8, pretrained=pretrained
        )
    except (TypeError, NotImplementedError, AttributeError, AssertionError) as cause:
        raise InputError(
            f"{backbone} cannot give the feature maps at stride 8 that segmentation reads",
            "choose one that can, such as resnet18, resnet50 or regnety_008",
        ) from cause
    return made


def load_backbone_file(model: nn.Module, path: Path, name: str) -> None:
    """Load weights of `name` from a file; a classifier of another width is left out, anything else must fit.

    Raises:
        InputError: No such file, a file that is no plain weights, or tensors that do not fit.
    """
    from saccade.official.reading import read_tensors

    # timm's feature networks write stages_0 for stages.0.
    given = {key.replace(".", "_"): tensor for key, tensor in read_tensors(path).items()}
    own = model.state_dict()
    found = {key: given[key.replace(".", "_")] for key in own if key.replace(".", "_") in given}
    fits = {key: tensor for key, tensor in found.items() if own[key].shape == tensor.shape}
    allowed = _classifier_keys(model)
    missing = [k for k in own if k not in fits and k not in allowed and not k.endswith("num_batches_tracked")]
    if missing:
        raise InputError(
            f"{path} does not hold the weights of {name}: {len(missing)} of {len(own)} tensors are missing or of "
            f"another shape, the first are {', '.join(missing[:3])}",
            "give a file with timm's key names for this backbone",
        )
    model.load_state_dict(fits, strict=False)


def _classifier_keys(model: nn.Module) -> set[str]:
    config: Mapping[str, Any] = getattr(model, "default_cfg", None) or getattr(model, "pretrained_cfg", None) or {}
    heads = config.get("classifier") or "fc"
    prefixes = (heads,) if isinstance(heads, str) else tuple(heads)
    return {key for key in model.state_dict() if key.startswith(tuple(f"{prefix}." for prefix in prefixes))}
