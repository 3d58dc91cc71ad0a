"""Our mechanism for each recorded case of the position and channel attention family."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from saccade.mechanisms.a2 import DoubleAttention
from saccade.mechanisms.base import Mechanism
from saccade.mechanisms.cam import ChannelAttention
from saccade.mechanisms.cs import ChannelThenPosition
from saccade.mechanisms.dual import DualAttention
from saccade.mechanisms.fla import FullyAttentional
from saccade.mechanisms.non_local import NonLocal
from saccade.mechanisms.pam import PositionAttention
from saccade.mechanisms.sagan import SelfAttention
from saccade.mechanisms.simplified_nl import SimplifiedNonLocal
from tests.golden.cases import Case

MECHANISMS = frozenset(
    {
        "a2_double_attention", "a2_double_attention_residual",
        "cs_nl", "danet_cam", "danet_pam", "dual_nl", "fla", "sagan", "sagan_official", "simplified_nl",
        "non_local", "non_local_quirk", "nonlocal_caffe2", "nonlocal_gcnet", "nonlocal_mmcv", "nonlocal_timm",
        "nonlocal_concatenation", "nonlocal_dot_product", "nonlocal_embedded_gaussian", "nonlocal_gaussian",
    }
)  # fmt: skip

Table = Mapping[str, str | Callable[[Any], Mapping[str, Any]]]


def build(case: Case) -> Mechanism | None:
    """The mechanism a case was recorded from, with the authors' options; None if the case is not ours."""
    if case.mechanism not in MECHANISMS:
        return None
    source = (case.mechanism, case.repo, case.path)
    if source in _SOURCES:
        return _SOURCES[source](case)
    if case.repo == "junfu1115/DANet":
        return _danet(case)
    options = _NON_LOCAL[case.repo](case)
    if options.get("pairwise", "embedded_gaussian") != "embedded_gaussian":
        options.pop("scaled", None)  # every source ignores it there
    return NonLocal(**options)


def outputs(case: Case, mechanism: Mechanism, x: Tensor) -> list[Tensor]:
    """The output; and the map, where the authors' code returns it as well."""
    return [mechanism(x)] if case.entry["outputs"] == 1 else [mechanism(x), mechanism.attention(x)]


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
    if isinstance(mechanism, FullyAttentional):
        maps = mechanism.attention(x)
        columns, rows = maps.split([x.shape[3], x.shape[2]], dim=1)
        return {"act.softmax.0": columns.flatten(0, 1), "act.softmax.1": rows.flatten(0, 1)}
    (name,) = recorded
    return {name: mechanism.attention(x)}


def _a2(case: Case) -> Mechanism:
    table: Table = {
        "class": _dropped,
        "in_channels": "channels",
        "c_m": "value_channels",
        "c_n": "key_channels",
        "reconstruct": "reconstruct",
    }
    given = {"reconstruct": False} if case.repo else {}  # theirs by default
    return DoubleAttention(**given | case.options(table), residual=case.repo is None)


def _fla(case: Case) -> Mechanism:
    table: Table = {
        "class": _dropped,
        "plane": "channels",
        "norm_layer": lambda name: {"norm_layer": getattr(nn, name)},
    }
    order = {"official_batch_order": "released", "per_sample": "sample"}
    return FullyAttentional(**case.options(table), pairing=order[case.entry.get("variant", "per_sample")])


def _sagan(case: Case) -> Mechanism:
    table: Table = {"class": _dropped, "in_dim": "channels", "activation": _dropped}
    return SelfAttention(variant="popular", **case.options(table))


def _sagan_official(case: Case) -> Mechanism:
    table: Table = {
        "function": _dropped,
        "channels": "channels",
        "update_collection": lambda where: {"update_u": {"None": True, "NO_OPS": False}[where]},
    }
    return SelfAttention(**case.options(table))


def _simplified_nl(case: Case) -> Mechanism:
    return SimplifiedNonLocal(**case.options({"channels": "channels"}))


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
        from timm.layers.helpers import make_divisible  # here, as timm and TensorFlow do not load in one process

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


_A2_REPO = ("nguyenvo09/Double-Attention-Network", "double_attention_layer.py")
_SOURCES: Mapping[tuple[str, str | None, str | None], Callable[[Case], Mechanism]] = {
    ("a2_double_attention", *_A2_REPO): _a2,
    ("a2_double_attention_residual", None, None): _a2,
    ("fla", "Ilareina/FullyAttentional", "model.py"): _fla,
    ("sagan", "heykeetae/Self-Attention-GAN", "sagan_models.py"): _sagan,
    ("sagan_official", "brain-research/self-attention-gan", "non_local.py, ops.py"): _sagan_official,
    ("simplified_nl", None, None): _simplified_nl,
}
_NON_LOCAL: Mapping[str | None, Callable[[Case], dict[str, Any]]] = {
    "facebookresearch/video-nonlocal-net": _caffe2,
    "AlexHex7/Non-local_pytorch": _alexhex7,
    "open-mmlab/mmcv": _openmmlab("mmcv"),
    "xvjiarui/GCNet": _openmmlab("gcnet"),
    "huggingface/pytorch-image-models": _timm,
}
