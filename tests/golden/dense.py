"""Our mechanism for each recorded case of the position and channel attention family."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from timm.layers.helpers import make_divisible
from torch import Tensor

from saccade.mechanisms.base import Layout, Mechanism
from saccade.mechanisms.cam import ChannelAttention
from saccade.mechanisms.dual import DualAttention
from saccade.mechanisms.non_local import NonLocal
from saccade.mechanisms.pam import PositionAttention
from tests.golden.cases import Case

MECHANISMS = frozenset(
    {
        "cs_nl", "danet_cam", "danet_pam", "dual_nl",
        "non_local", "non_local_quirk", "nonlocal_caffe2", "nonlocal_gcnet", "nonlocal_mmcv", "nonlocal_timm",
        "nonlocal_concatenation", "nonlocal_dot_product", "nonlocal_embedded_gaussian", "nonlocal_gaussian",
    }
)  # fmt: skip

Table = Mapping[str, str | Callable[[Any], Mapping[str, Any]]]


class ChannelThenPosition(Mechanism):
    """CS-NL, PAM(CAM(x)), from the two modules that are proven here."""

    label = "CS"
    layouts = (Layout("junfu1115/DANet", DualAttention.layouts[0].names),)

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.channel = ChannelAttention(channels)
        self.position = PositionAttention(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.position(self.channel(x))


def build(case: Case) -> Mechanism | None:
    """The mechanism a case was recorded from, with the authors' options; None if the case is not ours."""
    if case.mechanism not in MECHANISMS:
        return None
    if case.repo == "junfu1115/DANet":
        return _danet(case)
    options = _NON_LOCAL[case.repo](case)
    if options.get("pairwise", "embedded_gaussian") != "embedded_gaussian":
        options.pop("scaled", None)  # every source ignores it there
    return NonLocal(**options)


def views(case: Case, mechanism: Mechanism, x: Tensor) -> dict[str, Tensor]:
    """The recorded maps, from our views of the same input."""
    recorded = case.entry.get("activations_saved", ())
    if not recorded:
        return {}
    if isinstance(mechanism, (DualAttention, ChannelThenPosition)):
        seen = x if isinstance(mechanism, DualAttention) else mechanism.channel(x)
        return {
            "act.sa.softmax.0": mechanism.position.attention(seen),
            "act.sc.softmax.0": mechanism.channel.attention(x),
        }
    (name,) = recorded
    return {name: mechanism.attention(x)}


def _danet(case: Case) -> Mechanism:
    if case.mechanism in ("cs_nl", "dual_nl"):
        composition = DualAttention if case.mechanism == "dual_nl" else ChannelThenPosition
        return composition(**case.options({"channels": "channels"}))
    modules = {"PAM_Module": PositionAttention, "CAM_Module": ChannelAttention}
    return modules[case.constructor["class"]](**case.options({"class": _dropped, "in_dim": "channels"}))


def _caffe2(case: Case) -> dict[str, Any]:
    table: Table = {
        "dim_in": "channels",
        "dim_inner": "inner_channels",
        "use_softmax": lambda on: {"pairwise": "embedded_gaussian" if on else "dot_product"},
        "use_scale": "scaled",
        "use_maxpool": "sub_sample",
        "use_bn": "norm",
    }
    return {"variant": "official", "dims": len(case.entry["input_shape"]) - 2} | case.options(table)


def _alexhex7(case: Case) -> dict[str, Any]:
    table: Table = {
        "class": _dims_in_name,
        "in_channels": "channels",
        "inter_channels": "inner_channels",
        "sub_sample": "sub_sample",
        "bn_layer": "norm",
        "dimension": "dims",
    }
    pairwise = (case.path or "").rpartition("non_local_")[2].removesuffix(".py")
    return {"variant": "popular", "pairwise": pairwise} | case.options(table)


def _openmmlab(variant: str) -> Callable[[Case], dict[str, Any]]:
    table: Table = {
        "class": _dims_in_name,
        "in_channels": "channels",
        "reduction": "reduction",
        "use_scale": "scaled",
        "mode": "pairwise",
        "sub_sample": "sub_sample",
        "norm_cfg": _norm,
        "zeros_init": _dropped,  # parameters are loaded
    }
    return lambda case: {"variant": variant} | case.options(table)


def _timm(case: Case) -> dict[str, Any]:
    given = case.constructor
    table: Table = {
        "class": _dropped,
        "in_channels": "channels",
        "use_scale": "scaled",
        "rd_channels": "inner_channels",
        "rd_ratio": _dropped,
        "rd_divisor": _dropped,
    }
    options = {"variant": "timm"} | case.options(table)
    if given.get("rd_channels") is None and {"rd_ratio", "rd_divisor"} & set(given):
        width = given["in_channels"] * given.get("rd_ratio", 1 / 8)
        options["inner_channels"] = make_divisible(width, divisor=given.get("rd_divisor", 8))
    return options


def _dropped(_: Any) -> dict[str, Any]:
    return {}


def _norm(config: Mapping[str, Any] | None) -> dict[str, Any]:
    if config is not None and config["type"] not in ("BN", "BN1d", "BN2d", "BN3d"):
        raise LookupError(f"no norm of ours stands for norm_cfg={config!r}")
    return {"norm": config is not None}


def _dims_in_name(name: str) -> dict[str, Any]:
    """1, 2 or 3 from NONLocalBlock1D, NonLocal2d and the like; the general class says it in an argument."""
    found = re.search(r"([123])d$", name, re.IGNORECASE)
    return {"dims": int(found[1])} if found else {}


_NON_LOCAL: Mapping[str | None, Callable[[Case], dict[str, Any]]] = {
    "facebookresearch/video-nonlocal-net": _caffe2,
    "AlexHex7/Non-local_pytorch": _alexhex7,
    "open-mmlab/mmcv": _openmmlab("mmcv"),
    "xvjiarui/GCNet": _openmmlab("gcnet"),
    "huggingface/pytorch-image-models": _timm,
}
