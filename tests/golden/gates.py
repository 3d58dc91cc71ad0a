"""Our mechanism for each recorded case of the gates: one entry a source, from every source there is."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

import saccade
from saccade.mechanisms.base import Mechanism
from tests.golden.cases import Case

Options = dict[str, Any]
Table = Mapping[str, str | Callable[[Any], Mapping[str, Any]]]

_PSA_CLASSES = {
    "PSA_p": "parallel",
    "PSA_s": "sequential",
    "ParallelPolarizedSelfAttention": "paper_parallel",
    "SequentialPolarizedSelfAttention": "paper_sequential",
}
GSOP_CODES = {"1": "channel", "2": "spatial", "+": "sum", "M": "max", "&": "concat"}
FUSIONS = {"channel_add": "add", "channel_mul": "mul"}


def build(case: Case) -> Mechanism | None:
    """The mechanism a case was recorded from, with the authors' options; None if the case is not ours."""
    if case.mechanism not in MECHANISMS:
        return None
    source = (case.mechanism, case.repo, case.path)
    if source not in _SOURCES:
        raise LookupError(f"{case.name}: no mapping for {source}")
    name, options = _SOURCES[source]
    return saccade.create(name, **options(case))


def views(case: Case, mechanism: Mechanism, x: Tensor) -> dict[str, Tensor]:
    """The recorded gates, from our views of the same input; the sources record no others."""
    if "activations_saved" not in case.entry:
        return {}
    gates = mechanism.gates(x)
    return {"act.sigmoid.0": gates["channel"], "act.sigmoid.1": gates["spatial"]}


def _moskomule(case: Case) -> Options:
    return {"bias": False} | case.options({"channel": "channels", "reduction": "reduction"})


def _with_biases(case: Case) -> Options:
    return case.options({"channels": "channels", "channel": "channels", "reduction": "reduction"})


def _timm_se(case: Case) -> Options:
    return {"variant": "timm"} | _timm_width(case, 1 / 16, 8) | case.options(_TIMM | {"bias": "bias"})


def _se_variant(case: Case) -> Options:
    return case.options({"channels": "channels"})


def _eca(case: Case) -> Options:
    return case.options({"channel": "channels", "k_size": "k"})


def _eca_unshared(case: Case) -> Options:
    return {"shared": False} | _eca(case)


def _timm_eca(case: Case) -> Options:
    """There `channels` is for the rule alone and wins over `kernel_size`; without it the layer fits any width."""
    names = {"channels": _dropped, "kernel_size": "k", "gamma": _dropped, "beta": _dropped}
    options = {"channels": case.entry["input_shape"][1], "k": 3} | case.options(names)
    given = case.constructor
    if given.get("channels") is None:
        return options
    if not {"gamma", "beta"} & set(given) and given["channels"] >= 8:
        return options | {"k": None}  # our own rule, where it is theirs: they take no less than 3
    t = int(abs(math.log2(given["channels"]) + given.get("beta", 1)) / given.get("gamma", 2))
    return options | {"k": max(3, t if t % 2 else t + 1)}


def _timm_eca_circular(case: Case) -> Options:
    return {"circular": True} | _timm_eca(case)


def _cbam(case: Case) -> Options:
    return case.options(
        {
            "gate_channels": "channels",
            "reduction_ratio": "reduction",
            "pool_types": "pools",
            "no_spatial": lambda no: {"spatial": not no},
        }
    )


def _timm_cbam(case: Case) -> Options:
    table = _TIMM | {"spatial_kernel_size": "kernel_size", "mlp_bias": "bias"}
    return {"variant": "timm"} | _timm_width(case, 1 / 16, 1) | case.options(table)


def _bam(case: Case) -> Options:
    return case.options(
        {
            "gate_channel": "channels",
            "reduction_ratio": "reduction",
            "num_layers": "num_layers",
            "dilation_conv_num": "num_convs",
            "dilation_val": "dilation",
        }
    )


def _bam_as_printed(case: Case) -> Options:
    return {"window": "released"} | _bam(case)


def _sk(case: Case) -> Options:
    names = ("channels", "groups", "stride", "branches")
    return case.options({"d": "inner_channels"} | {name: name for name in names})


def _ppplang_sk(case: Case) -> Options:
    names = {"features": "channels", "M": "branches", "G": "groups", "stride": "stride"}
    given = case.constructor
    width = max(int(given["features"] / given["r"]), given.get("L", 32))
    unused = {"WH": _dropped, "r": _dropped, "L": _dropped}  # WH is the map's side, which their code never reads
    return {"variant": "popular", "inner_channels": width} | case.options(names | unused)


def _timm_sk(case: Case) -> Options:
    out = case.constructor.get("out_channels") or case.constructor["in_channels"]
    table = {
        "in_channels": "channels",
        "out_channels": "out_channels",
        "stride": "stride",
        "groups": lambda groups: {"groups": min(groups, out)},
        "split_input": "split",
        "keep_3x3": lambda keep: {"second": "dilated" if keep else "5x5"},
        "rd_channels": "inner_channels",
        "rd_ratio": _dropped,
        "rd_divisor": _dropped,
    }
    given = {"channels": out} | dict(case.constructor)
    width = _timm_width(Case(case.entry | {"constructor": given}, case.directory), 1 / 16, 8, keep=0.9)
    return {"variant": "timm"} | width | case.options(table)


def _gsop(case: Case) -> Options:
    return {"channels": case.entry["input_shape"][1]} | gsop_options(case, planes=_dropped)  # planes: of the block


def gsop_options(case: Case, **of_block: Callable[[Any], Options]) -> Options:
    """The gate inside the authors' block. What was set by hand stands in the notes and the tensors alone.

    Args:
        case: The gate alone, or the block around it.
        of_block: Arguments of the block, which are none of the gate.
    """
    strided = case.constructor["planes"] <= 64 and "stride set to 1 by hand" not in case.entry["notes"]
    gate = {"attention": lambda code: {"variant": GSOP_CODES[code]}, "att_dim": "dim", "grid": _square}
    options = {"stride": 2 if strided else 1} | case.options(of_block | gate)
    if options["variant"] == "concat":
        out, width, kernel, _ = case.tensors()["param.dilate_conv_for_concat1.weight"].shape
        options |= {"fusion_kernel": kernel, "fusion_groups": out // width}
    return options


def _square(sides: list[int]) -> Options:
    if sides[0] != sides[1]:
        raise LookupError(f"our grid is square; received {sides}")
    return {"grid": sides[0]}


def _gc(case: Case) -> Options:
    return case.options(
        {
            "inplanes": "channels",
            "in_channels": "channels",
            "ratio": "ratio",
            "pooling_type": "pooling",
            "fusion_types": lambda types: {"fusion": tuple(FUSIONS[name] for name in types)},
        }
    )


def _timm_gc(case: Case) -> Options:
    table = _TIMM | {
        "use_attn": lambda on: {"pooling": "att" if on else "avg"},
        "fuse_add": _dropped,
        "fuse_scale": _dropped,
        "init_last_zero": _dropped,  # parameters are loaded
    }
    given = {"fuse_add": False, "fuse_scale": True} | dict(case.constructor)
    fusion = tuple(ours for theirs, ours in (("fuse_add", "add"), ("fuse_scale", "mul")) if given[theirs])
    return {"variant": "timm", "fusion": fusion} | _timm_width(case, 1 / 8, 1) | case.options(table)


def _psa(case: Case) -> Options:
    """The classes take planes of in and out; what they compute exists for equal ones only."""
    names = {"inplanes": "channels", "planes": "channels", "channel": "channels"}
    given = case.constructor
    if given.get("planes", given.get("inplanes")) != given.get("inplanes"):
        raise LookupError(f"{case.name}: PSA changes no width; received {given}")
    return case.options(names | {"class": lambda name: {"variant": _PSA_CLASSES[name]}})


def _dropped(_: Any) -> Options:
    return {}


_TIMM: Table = {"channels": "channels", "rd_channels": "inner_channels", "rd_ratio": _dropped, "rd_divisor": _dropped}


def _timm_width(case: Case, ratio: float, divisor: int, keep: float = 0.0) -> Options:
    """Nothing where our default is theirs; else the width that their ratio and divisor give."""
    given = case.constructor
    if not {"rd_ratio", "rd_divisor"} & set(given):
        return {}
    divisor = given.get("rd_divisor", divisor)
    width = given["channels"] * given.get("rd_ratio", ratio)
    rounded = max(divisor, int(width + divisor / 2) // divisor * divisor)
    return {"inner_channels": rounded + divisor if rounded < keep * width else rounded}


_TIMM_REPO = "huggingface/pytorch-image-models"
_PSA_REPO = ("DeLightCMU/PSA", "semantic-segmentation/network/PSA.py")
_XMU_REPO = ("xmu-xiaoma666/External-Attention-pytorch", "model/attention/PolarizedSelfAttention.py")
_GSOP_REPO = (
    "ZilinGao/Global-Second-order-Pooling-Convolutional-Networks", "torchvision/models/resnet.py:Bottleneck"
)  # fmt: skip
_SOURCES: Mapping[tuple[str, str | None, str | None], tuple[str, Callable[[Case], Options]]] = {
    ("se", "moskomule/senet.pytorch", "senet/se_module.py:SELayer"): ("se", _moskomule),
    ("se", "Cadene/pretrained-models.pytorch", "pretrainedmodels/models/senet.py:SEModule"): ("se", _with_biases),
    ("se", _TIMM_REPO, "timm/layers/squeeze_excite.py:SEModule"): ("se", _timm_se),
    ("se_var1", None, None): ("se_var1", _se_variant),
    ("se_var2", None, None): ("se_var2", _se_variant),
    ("se_var3", None, None): ("se_var3", _se_variant),
    ("eca", "BangguWu/ECANet", "models/eca_module.py:eca_layer"): ("eca", _eca),
    ("eca_ns", "BangguWu/ECANet", "models/eca_ns.py:eca_layer"): ("eca", _eca_unshared),
    ("eca", _TIMM_REPO, "timm/layers/eca.py:EcaModule"): ("eca", _timm_eca),
    ("eca_circular", _TIMM_REPO, "timm/layers/eca.py:CecaModule"): ("eca", _timm_eca_circular),
    ("cbam", "Jongchan/attention-module", "MODELS/cbam.py:CBAM"): ("cbam", _cbam),
    ("cbam", _TIMM_REPO, "timm/layers/cbam.py:CbamModule"): ("cbam", _timm_cbam),
    ("bam", "Jongchan/attention-module", "MODELS/bam.py:BAM"): ("bam", _bam),
    ("bam_quirk", "Jongchan/attention-module", "MODELS/bam.py:BAM"): ("bam", _bam_as_printed),
    ("sk", "implus/SKNet", "models/sknet50.prototxt"): ("sk", _sk),
    ("sk_reimpl", "pppLang/SKNet", "sknet.py:SKConv"): ("sk", _ppplang_sk),
    ("sk", _TIMM_REPO, "timm/layers/selective_kernel.py:SelectiveKernel"): ("sk", _timm_sk),
    ("gsop_channel", *_GSOP_REPO): ("gsop", _gsop),
    ("gsop_spatial", *_GSOP_REPO): ("gsop", _gsop),
    ("gsop_fusion", *_GSOP_REPO): ("gsop", _gsop),
    ("gc", "xvjiarui/GCNet", "mmdet/ops/gcb/context_block.py:ContextBlock"): ("gc", _gc),
    ("gc", "open-mmlab/mmcv", "mmcv/cnn/bricks/context_block.py:ContextBlock"): ("gc", _gc),
    ("gc", _TIMM_REPO, "timm/layers/global_context.py:GlobalContext"): ("gc", _timm_gc),
    ("psa_parallel", *_PSA_REPO): ("psa", _psa),
    ("psa_sequential", *_PSA_REPO): ("psa", _psa),
    ("psa_paper_parallel", *_XMU_REPO): ("psa", _psa),
    ("psa_paper_sequential", *_XMU_REPO): ("psa", _psa),
}
MECHANISMS = frozenset(mechanism for mechanism, _, _ in _SOURCES)
