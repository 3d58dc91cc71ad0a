"""Our head for each recorded case of the papers' heads and tails."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from saccade.networks.heads import (
    CovariancePooling,
    DANetHead,
    FLANetHead,
    MatrixSquareRoot,
    MetaLayer,
    ObjectAttention,
    OCRHead,
    SpatialGather,
    TriangleVector,
)
from tests.golden.cases import Case

Options = dict[str, Any]
Table = Mapping[str, str | Callable[[Any], Mapping[str, Any]]]


def _dropped(_: Any) -> Options:
    return {}


def _norm(name: str) -> Options:
    return {"norm_layer": getattr(nn, name)}


def _danet(case: Case) -> nn.Module:
    table: Table = {
        "class": _dropped,
        "in_channels": "channels",
        "out_channels": "num_classes",
        "norm_layer": _norm,
    }
    return DANetHead(**case.options(table), dropout=0.0)


def _flanet(case: Case) -> nn.Module:
    table: Table = {
        "class": _dropped,
        "in_plane": "channels",
        "mid_plane": "inner_channels",
        "num_classes": "num_classes",
        "norm_layer": _norm,
    }
    return FLANetHead(**case.options(table), dropout=0.0)


def _gather(case: Case) -> nn.Module:
    return SpatialGather(**case.options({"class": _dropped, "cls_num": _dropped, "scale": "scale"}))


def _object_attention(case: Case) -> nn.Module:
    table: Table = {
        "class": _dropped,
        "in_channels": "channels",
        "key_channels": "key_channels",
        "scale": "scale",
        "align_corners": "align_corners",
    }
    return ObjectAttention(**case.options(table))


def _ocr(case: Case) -> nn.Module:
    table: Table = {
        "class": _dropped,
        "high_level_ch": "channels",
        "MID_CHANNELS": "inner_channels",
        "KEY_CHANNELS": "key_channels",
        "NUM_CLASSES": "num_classes",
        "ALIGN_CORNERS": "align_corners",
        "SCALE": "scale",
    }
    return OCRHead(**case.options(table), dropout=0.0)


def _covariance(case: Case) -> nn.Module:
    return CovariancePooling(**case.options({}))


def _square_root(case: Case) -> nn.Module:
    return MatrixSquareRoot(**case.options({"iterN": "iterations"}))


def _triangle(case: Case) -> nn.Module:
    return TriangleVector(**case.options({}))


def _tail(case: Case) -> nn.Module:
    root = MatrixSquareRoot(**case.options({"iterN": "iterations"}))
    return nn.Sequential(CovariancePooling(), root, TriangleVector())


def _meta(case: Case) -> nn.Module:
    return MetaLayer(**case.options({"channels": "channels", "dim": "dim", "iterN": "iterations"}))


_PSA = "DeLightCMU/PSA"
_GSOP = "ZilinGao/Global-Second-order-Pooling-Convolutional-Networks"
_MPNCOV = "torchvision/models/MPNCOV/python/MPNCOV.py"
_SOURCES: Mapping[tuple[str, str | None, str | None], Callable[[Case], nn.Module]] = {
    ("danet_head", "junfu1115/DANet", "encoding/models/sseg/danet.py"): _danet,
    ("fla_output_head", "Ilareina/FullyAttentional", "model.py"): _flanet,
    ("ocr_spatial_gather", _PSA, "semantic-segmentation/network/ocr_utils.py"): _gather,
    ("ocr_object_attention", _PSA, "semantic-segmentation/network/ocr_utils.py"): _object_attention,
    ("ocr_block", _PSA, "semantic-segmentation/network/ocrnet.py"): _ocr,
    ("gsop_covpool", _GSOP, f"{_MPNCOV}:Covpool"): _covariance,
    ("gsop_sqrtm", _GSOP, f"{_MPNCOV}:Sqrtm"): _square_root,
    ("gsop_triuvec", _GSOP, f"{_MPNCOV}:Triuvec"): _triangle,
    ("gsop_meta", _GSOP, _MPNCOV): _tail,
    ("gsop_meta", _GSOP, "torchvision/models/resnet.py:ResNet (GSoP_mode 2 tail)"): _meta,
}
MECHANISMS = frozenset(mechanism for mechanism, _, _ in _SOURCES)


def build(case: Case) -> nn.Module | None:
    """The head a case was recorded from, with the authors' options and dropout off; None if the case is not ours."""
    if case.mechanism not in MECHANISMS:
        return None
    source = (case.mechanism, case.repo, case.path)
    if source not in _SOURCES:
        raise LookupError(f"{case.name}: no mapping for {source}")
    return _SOURCES[source](case)


def outputs(case: Case, head: nn.Module, *inputs: Tensor) -> Sequence[Tensor]:
    """One output, or the head's several."""
    found = head(*inputs)
    return found if isinstance(found, tuple) else [found]


def views(case: Case, head: nn.Module, *inputs: Tensor) -> dict[str, Tensor]:
    """The recorded maps of DANet's head, from the maps its attentions read."""
    if not case.entry.get("activations_saved"):
        return {}
    assert isinstance(head, DANetHead)
    return {
        "act.sa.softmax.0": head.position.attention(head.position_in(*inputs)),
        "act.sc.softmax.0": head.channel.attention(head.channel_in(*inputs)),
    }
