"""The authors' residual blocks, built from torchvision's by insertion, for each recorded case of a whole block."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck

import saccade
from saccade.mechanisms.base import Mechanism
from tests.golden.cases import DIRECTORY, Case, is_block, load
from tests.golden.gates import FUSIONS, gsop_options

Options = dict[str, Any]
Kind = type[BasicBlock] | type[Bottleneck]
Table = Mapping[str, str | Callable[[Any], Mapping[str, Any]]]


@dataclass(frozen=True)
class Block:
    """What a case's block is made of.

    Args:
        kind: torchvision's class.
        mechanism: In it, or None.
        options: Of the mechanism.
        groups: Of the 3x3 convolution.
        base_width: Channels of it, by 64 of planes and group.
        reduce_first: How many times fewer channels the first convolution makes than the second.
        caffe: Whether the first convolution has the stride, in place of the 3x3.
    """

    kind: Kind
    mechanism: str | None = None
    options: Options = field(default_factory=dict)
    groups: int = 1
    base_width: int = 64
    reduce_first: int = 1
    caffe: bool = False


def cases(directory: Path = DIRECTORY) -> list[Case]:
    """Every recorded block; none at all is an error."""
    found = [case for case in load(directory) if is_block(case)]
    if not found:
        raise LookupError("no golden case of a whole block")
    return found


def build(case: Case) -> nn.Module:
    """The block a case was recorded from, with the mechanism where its authors have it."""
    file, _, kind = (case.path or "").partition(":")
    source = (case.repo, file, kind or case.constructor.get("class", ""))
    if source not in _SOURCES:
        raise LookupError(f"{case.name}: no mapping for {source}")
    block = _SOURCES[source](case)
    host = _plain(case, block)
    if block.mechanism == "sk":
        return _with_sk(host, block.options)
    if block.mechanism:
        at = "before:conv2" if block.mechanism == "psa" else "bn2" if block.kind is BasicBlock else "bn3"
        saccade.insert(
            host,
            block.mechanism,
            at=at,
            start="paper",
            options=block.options,
            example_input=torch.zeros(case.entry["input_shape"]),
        )
    return host


def views(case: Case, block: nn.Module, inside: Sequence[Tensor]) -> dict[str, Tensor]:
    """A recorded gate to what our view says of the map the mechanism read; only PSA's are recorded."""
    names = {"act.deattn.sigmoid.0": "channel", "act.deattn.sigmoid.1": "spatial"}
    wanted = {name: gate for name, gate in names.items() if name in case.entry.get("activations_saved", ())}
    if not wanted:
        return {}
    (mechanism,) = (module for module in block.modules() if isinstance(module, Mechanism))
    gates = mechanism.gates(inside[-1])
    return {name: gates[gate] for name, gate in wanted.items()}


def _plain(case: Case, block: Block) -> nn.Module:
    """torchvision's block, with a projection where the recorded one has it."""
    given = case.constructor
    planes, stride = given["planes"], given.get("stride", 1)
    downsample = None
    weight = case.tensors().get("param.downsample.0.weight")
    if weight is not None:
        out, inside, kernel, _ = weight.shape
        projection = nn.Conv2d(inside, out, kernel, stride, padding=kernel // 2, bias=False)
        downsample = nn.Sequential(projection, nn.BatchNorm2d(out))
    host = block.kind(
        given["inplanes"], planes, stride, downsample, block.groups, block.base_width, given.get("dilation", 1)
    )
    if block.caffe:
        host.conv1.stride, host.conv2.stride = host.conv2.stride, host.conv1.stride
    if block.reduce_first > 1:
        width = host.conv2.out_channels // block.reduce_first
        host.conv1 = nn.Conv2d(given["inplanes"], width, 1, bias=False)
        host.bn1 = nn.BatchNorm2d(width)
        host.conv2 = nn.Conv2d(width, host.conv2.out_channels, 3, stride, padding=1, groups=block.groups, bias=False)
    return host


def _with_sk(host: nn.Module, options: Options) -> nn.Module:
    """SK is no gate on the 3x3 convolution: it replaces it, with the norm and the ReLU behind it."""
    conv: Any = host.conv2
    host.conv2 = saccade.create("sk", conv.out_channels, stride=conv.stride[0], **options)
    host.bn2 = nn.Identity()
    return host


def _dropped(_: Any) -> Options:
    return {}


# Which a block is made with; everything else stands for an option of the mechanism.
_SHAPE: Table = dict.fromkeys(("inplanes", "planes", "stride", "downsample", "class"), _dropped)


def _se(kind: Kind, bias: bool, case: Case) -> Block:
    return Block(kind, "se", {"bias": bias} | case.options({**_SHAPE, "reduction": "reduction"}))


def _cadene(shape: Options, case: Case) -> Block:
    table = {**_SHAPE, "groups": _dropped, "base_width": _dropped, "reduction": "reduction"}
    options, given = case.options(table), case.constructor
    own = {name: given[name] for name in ("groups", "base_width") if name in given}
    return Block(Bottleneck, "se", options, **(shape | own))


def _cbam(kind: Kind, case: Case) -> Block:
    options = case.options({**_SHAPE, "use_cbam": _dropped})
    return Block(kind, "cbam" if case.constructor.get("use_cbam") else None, options)


def _eca(kind: Kind, case: Case) -> Block:
    return Block(kind, "eca", {"k": 3} | case.options({**_SHAPE, "k_size": "k"}))


def _gsop(case: Case) -> Block:
    if case.constructor.get("attention", "0") == "0":
        case.options({**_SHAPE, "attention": _dropped, "att_dim": _dropped, "grid": _dropped})
        return Block(Bottleneck)
    return Block(Bottleneck, "gsop", gsop_options(case, **dict.fromkeys(_SHAPE, _dropped)))


def _gc(kind: Kind, case: Case) -> Block:
    given = case.constructor
    unused = dict.fromkeys(("style", "dilation", "with_cp", "conv_cfg", "norm_cfg", "dcn"), _dropped)
    case.options({**_SHAPE, **unused, "gcb": _dropped})
    inner = Case({**case.entry, "constructor": given.get("gcb") or {}}, case.directory)
    options = inner.options(
        {
            "ratio": "ratio",
            "pooling_type": "pooling",
            "fusion_types": lambda types: {"fusion": tuple(FUSIONS[name] for name in types)},
        }
    )
    caffe = kind is Bottleneck and given.get("style") == "caffe"
    return Block(kind, "gc" if given.get("gcb") else None, options, caffe=caffe)


def _sk(case: Case) -> Block:
    case.options(_SHAPE)
    return Block(Bottleneck, "sk", {"second": "grouped"})


def _psa(case: Case) -> Block:
    case.options(_SHAPE)
    return Block(BasicBlock, "psa", {"variant": "sequential"})


def _without(kind: Kind, case: Case) -> Block:
    case.options(_SHAPE)
    return Block(kind)


_MOSKOMULE = ("moskomule/senet.pytorch", "senet/se_resnet.py")
_CADENE = ("Cadene/pretrained-models.pytorch", "pretrainedmodels/models/senet.py")
_JONGCHAN = ("Jongchan/attention-module", "MODELS/model_resnet.py")
_ECA = ("BangguWu/ECANet", "models/eca_resnet.py")
_GSOP = ("ZilinGao/Global-Second-order-Pooling-Convolutional-Networks", "torchvision/models/resnet.py")
_GC = ("xvjiarui/GCNet", "mmdet/models/backbones/resnet.py")
_PSA = ("DeLightCMU/PSA", "semantic-segmentation/network/hrnetv2.py")
_INSIGHT = "implus/PytorchInsight"
_FOLDER = "classification/models/imagenet"

_SOURCES: Mapping[tuple[str | None, str, str], Callable[[Case], Block]] = {
    (*_MOSKOMULE, "SEBottleneck"): partial(_se, Bottleneck, False),
    (*_MOSKOMULE, "SEBasicBlock"): partial(_se, BasicBlock, False),
    (*_MOSKOMULE, "CifarSEBasicBlock"): partial(_se, BasicBlock, False),
    (*_CADENE, "SEResNetBottleneck"): partial(_cadene, {"caffe": True}),
    (*_CADENE, "SEResNeXtBottleneck"): partial(_cadene, {"base_width": 4}),
    (*_CADENE, "SEBottleneck"): partial(_cadene, {"base_width": 4, "reduce_first": 2}),
    (*_JONGCHAN, "Bottleneck"): partial(_cbam, Bottleneck),
    (*_JONGCHAN, "BasicBlock"): partial(_cbam, BasicBlock),
    (*_ECA, "ECABottleneck"): partial(_eca, Bottleneck),
    (*_ECA, "ECABasicBlock"): partial(_eca, BasicBlock),
    (*_GSOP, "Bottleneck"): _gsop,
    (*_GSOP, "BasicBlock"): partial(_without, BasicBlock),
    (*_GC, "Bottleneck"): partial(_gc, Bottleneck),
    (*_GC, "BasicBlock"): partial(_gc, BasicBlock),
    (*_PSA, "BasicBlock"): _psa,
    (*_PSA, "Bottleneck"): partial(_without, Bottleneck),
    (_INSIGHT, f"{_FOLDER}/resnet_se.py", "Bottleneck"): partial(_se, Bottleneck, True),
    (_INSIGHT, f"{_FOLDER}/resnet_se.py", "BasicBlock"): partial(_se, BasicBlock, True),
    (_INSIGHT, f"{_FOLDER}/resnet_cbam.py", "Bottleneck"): partial(_cbam, Bottleneck),
    (_INSIGHT, f"{_FOLDER}/resnet_cbam.py", "BasicBlock"): partial(_cbam, BasicBlock),
    (_INSIGHT, f"{_FOLDER}/resnet_sk.py", "Bottleneck"): _sk,
    (_INSIGHT, f"{_FOLDER}/resnet_sk.py", "BasicBlock"): partial(_without, BasicBlock),
}
