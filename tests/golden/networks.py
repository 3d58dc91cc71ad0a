"""Our networks for the recorded ones: by constructor for the whole-network cases, by title for the parameter counts."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import prod, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from saccade.official.networks import Part, parts_of
from tests.golden.cases import DIRECTORY, Recorded
from tests.golden.gates import FUSIONS, GSOP_CODES

Options = dict[str, Any]
INDEX = "index-networks-*.json"
COUNTS = "param_counts.json"


@dataclass(frozen=True)
class Made:
    """How a recorded network is called here.

    Args:
        name: Of `saccade.classifier`.
        options: Of it.
        num_classes: Of the output; None: as recorded.
        names: Whose key names the recorded network has, a key of `_ATTENTION`.
    """

    name: str
    options: Options = field(default_factory=dict)
    num_classes: int | None = None
    names: str = ""


class NetworkCase(Recorded):
    """A recorded whole network."""

    @property
    def segments(self) -> bool:
        """Whether it is a segmentation network: those have several outputs."""
        return "outputs" in self.entry

    @property
    def network(self) -> str:
        return str(self.entry["network"])

    def recorded(self) -> dict[str, Tensor]:
        return load_file(self.directory / self.entry["file"])

    def tolerance(self, recorded: Tensor) -> dict[str, float]:
        return {
            "rtol": self.entry["rtol"],
            "atol": self.entry["atol_relative_to_max"] * float(recorded.abs().max()),
        }

    def argument(self, name: str, default: Any = None) -> Any:
        return self.entry["constructor"].get(name, default)

    def only(self, *names: str) -> None:
        """Refuse a constructor argument that is none of these."""
        unknown = sorted(set(self.entry["constructor"]) - set(names))
        if unknown:
            raise LookupError(f"{self.name}: unknown constructor arguments {unknown}; known: {names}")


def cases(directory: Path = DIRECTORY) -> list[NetworkCase]:
    """Every recorded network; none at all is an error."""
    entries = [entry for index in sorted(directory.glob(INDEX)) for entry in json.loads(index.read_text())["cases"]]
    if not entries:
        raise FileNotFoundError(f"no golden networks in {directory}: expected {INDEX} with its files")
    return [NetworkCase(entry, directory) for entry in entries]


def made(case: NetworkCase) -> Made:
    """Our network for a case, by (repo, path, constructor) and, where these do not tell, the authors' function."""
    source = (case.entry["repo"], case.entry["path"].partition(":")[0])
    if source not in _SOURCES:
        raise LookupError(f"{case.name}: no mapping for {source}")
    return _SOURCES[source](case)


def filled(shapes: Mapping[str, tuple[int, ...]], scale: float = 1.0) -> dict[str, Tensor]:
    """The weights of the recordings, drawn by the rule of the index from the authors' key names.

    Weights of convolutions are multiplied by `scale`. The rule tells them by the authors' shapes, which have four axes
    where some of ours are linear layers.
    """
    drawn = {key: torch.from_numpy(np.asarray(_drawn(key, shape))) for key, shape in shapes.items()}
    return {key: tensor * scale if tensor.dim() == 4 else tensor for key, tensor in drawn.items()}


def _drawn(key: str, shape: tuple[int, ...]) -> Any:
    draw = np.random.RandomState(zlib.crc32(key.encode()) & 0x7FFFFFFF)
    last = key.rpartition(".")[2]
    if last == "num_batches_tracked":
        return np.zeros(shape, dtype=np.int64)
    if last in ("running_mean", "bias"):
        return 0.1 * draw.standard_normal(shape)
    if last == "running_var":
        return draw.uniform(0.5, 1.5, shape)
    if len(shape) == 1 or (len(shape) == 3 and shape[1:] == (1, 1)):
        return draw.uniform(0.5, 1.0, shape)
    return draw.standard_normal(shape) * sqrt(2 / prod(shape[1:]))


def drawn_map(seed: int, shape: tuple[int, ...]) -> Tensor:
    """The input (seed 1234) and the cotangent (4321)."""
    return torch.from_numpy(np.random.RandomState(seed).standard_normal(shape))


def authors_names(net: nn.Module, names: str) -> dict[str, str]:
    """The authors' key of every tensor of ours, written down here a second time: theirs to ours.

    The library has the names the other way round, so that a slip in either shows.
    """
    attention, backbone = _ATTENTION[names]
    parts = parts_of(net)
    found = {}
    for ours in net.state_dict():
        part = next((part for part in parts if ours.startswith(part.prefix)), None)
        theirs = (
            backbone(ours) if part is None else attention(part, _inner(part, ours.removeprefix(part.prefix), names))
        )
        found[theirs] = ours
    return found


def _inner(part: Part, ours: str, names: str) -> str:
    """The authors' name of a mechanism's own tensor."""
    (layout,) = [layout for layout in part.mechanism.layouts if names.split()[0] in layout.source][:1]
    for theirs, start in layout.names.items():
        if ours == start or (start.endswith(".") and ours.startswith(start)):
            return theirs + ours.removeprefix(start)
    raise LookupError(f"{names} has no name for {ours} of {part.mechanism.label}")


def _child(name: str) -> Callable[[Part, str], str]:
    return lambda part, inner: f"{part.block}.{name}.{inner}"


def _bam(part: Part, inner: str) -> str:
    return f"bam{part.block.removeprefix('layer')}.{inner}"


def _behind(part: Part, inner: str) -> str:
    """In MobileNet's sequence, after the norm that ours is attached to."""
    host = part.path.split(".saccade")[0]
    index = int(host.rpartition(".")[2])
    return f"{part.block}.{index + 1}.{inner}"


def _jongchan(part: Part, inner: str) -> str:
    return _bam(part, inner) if part.mechanism.label == "BAM" else f"{part.block}.cbam.{inner}"


def _eca(part: Part, inner: str) -> str:
    return _behind(part, inner) if part.path.startswith("features") else f"{part.block}.eca.{inner}"


def _same(key: str) -> str:
    return key


def _cadene(key: str) -> str:
    return re.sub(r"^fc\.", "last_linear.", re.sub(r"^(conv1|bn1)\.", r"layer0.\1.", key))


def _senet154(key: str) -> str:
    stem = {
        "conv1.0": "conv1",
        "conv1.1": "bn1",
        "conv1.3": "conv2",
        "conv1.4": "bn2",
        "conv1.6": "conv3",
        "bn1": "bn3",
    }
    for ours, theirs in stem.items():
        if key.startswith(f"{ours}."):
            return f"layer0.{theirs}.{key.removeprefix(f'{ours}.')}"
    return _cadene(key)


def _timm_sk(key: str) -> str:
    return re.sub(r"^(layer\d\.\d+\.)(conv|bn)(\d)\.", r"\1conv\3.\2.", key)


_INSIGHT = "implus/PytorchInsight"
_ATTENTION: Mapping[str, tuple[Callable[[Part, str], str], Callable[[str], str]]] = {
    "moskomule": (_child("se"), _same),
    _INSIGHT: (_child("se"), _same),
    f"{_INSIGHT} SK": (lambda part, inner: f"{part.block}.{inner}", _same),
    "Cadene": (_child("se_module"), _cadene),
    "Cadene SENet-154": (_child("se_module"), _senet154),
    "Jongchan": (_jongchan, _same),
    "BangguWu": (_eca, _same),
    "ZilinGao": (lambda part, inner: f"{part.block}.{inner}".lstrip("."), _same),
    "xvjiarui": (_child("context_block"), _same),
    "timm SK": (lambda part, inner: f"{part.path}.{inner}", _timm_sk),
    "timm": (_child("se"), _same),
}


def _of_moskomule(case: NetworkCase) -> Made:
    case.only("num_classes", "reduction", "n_size")
    found = re.search(r"se_resnet(\d+)", case.network)
    depth = 6 * case.argument("n_size") + 2 if case.argument("n_size") else int(found[1]) if found else 0
    return Made(f"se_resnet{depth}", {"bias": False, "reduction": case.argument("reduction", 16)}, names="moskomule")


def _of_cadene(case: NetworkCase) -> Made:
    case.only("pretrained", "num_classes")
    if "senet154" in case.network:
        return Made("senet154", names="Cadene SENet-154")
    found = re.search(r"se_resnet\d+|se_resnext\d+", case.network)
    if not found:
        raise LookupError(f"{case.name}: no mapping for {case.network}")
    name = f"{found[0]}_32x4d" if "resnext" in found[0] else found[0]
    return Made(name, {"stride": "caffe"}, names="Cadene")


def _of_jongchan(case: NetworkCase) -> Made:
    case.only("network_type", "depth", "num_classes", "att_type")
    stem = "imagenet" if case.argument("network_type") == "ImageNet" else "cifar"
    name = f"{case.argument('att_type').lower()}_resnet{case.argument('depth')}"
    return Made(name, {"stem": stem}, names="Jongchan")


def _of_eca(case: NetworkCase) -> Made:
    case.only("k_size", "num_classes")
    (depth,) = re.findall(r"resnet(\d+)", case.network)
    kernels = "".join(str(k) for k in case.argument("k_size", "3333"))
    return Made(f"eca_resnet{depth}", {"kernels": kernels}, names="BangguWu")


def _of_eca_mobilenet(case: NetworkCase) -> Made:
    case.only("num_classes")
    return Made("eca_mobilenet_v2", names="BangguWu")


def _of_gsop(case: NetworkCase) -> Made:
    case.only("att_position", "att_dim", "GSoP_mode", "num_classes")
    positions, number = case.argument("att_position"), case.argument("GSoP_mode")
    sizes = [len(stage) for stage in positions]
    depth = {(3, 4, 6, 3): 50, (3, 4, 23, 3): 101, (3, 8, 36, 3): 152}[tuple(sizes)]
    codes = {code for stage in positions for code in stage} - {"0"}
    ends = [[*["0"] * (size - 1), *codes] for size in sizes[: 4 if number == 1 else 3]]
    if len(codes) != 1 or positions != [*ends, *([["0"] * sizes[3]] if number != 1 else [])]:
        raise LookupError(f"{case.name}: gates elsewhere than at the ends of the stages: {positions}")
    options = {"variant": GSOP_CODES[codes.pop()], "dim": case.argument("att_dim", 128)}
    return Made(f"gsop_net{number}_resnet{depth}", options, names="ZilinGao")


def _of_gc(case: NetworkCase) -> Made:
    case.only("depth", "gcb", "stage_with_gcb")
    given = {"ratio": "ratio", "pooling_type": "pooling"}
    gcb = dict(case.argument("gcb"))
    fusion = tuple(FUSIONS[name] for name in gcb.pop("fusion_types", ("channel_add",)))
    options = {given[name]: value for name, value in gcb.items()} | {"fusion": fusion}
    stages = [i for i, on in enumerate(case.argument("stage_with_gcb"), start=2) if on]
    if stages != [*range(stages[0], stages[-1] + 1)]:
        raise LookupError(f"{case.name}: stages that do not follow each other: {stages}")
    options["stages"] = f"c{stages[0]}-c{stages[-1]}"
    return Made(f"gc_resnet{case.argument('depth')}", options, 0, "xvjiarui")


def _of_timm(case: NetworkCase) -> Made:
    case.only("model", "pretrained", "num_classes")
    made = _timm(case.argument("model"))
    return Made(made.name, made.options, names="timm SK" if made.name.startswith("sk") else "timm")


def _of_insight(mechanism: str) -> Callable[[NetworkCase], Made]:
    def made(case: NetworkCase) -> Made:
        case.only("num_classes", "pretrained")
        (depth,) = re.findall(r"resnet(\d+)", case.network)
        names = {"sk": f"{_INSIGHT} SK", "se": _INSIGHT}.get(mechanism, "Jongchan")
        return Made(f"{mechanism}_resnet{depth}", names=names)

    return made


_SOURCES: Mapping[tuple[str, str], Callable[[NetworkCase], Made]] = {
    ("moskomule/senet.pytorch", "senet/se_resnet.py"): _of_moskomule,
    ("Cadene/pretrained-models.pytorch", "pretrainedmodels/models/senet.py"): _of_cadene,
    ("Jongchan/attention-module", "MODELS/model_resnet.py"): _of_jongchan,
    ("BangguWu/ECANet", "models/eca_resnet.py"): _of_eca,
    ("BangguWu/ECANet", "models/eca_mobilenetv2.py"): _of_eca_mobilenet,
    ("ZilinGao/Global-Second-order-Pooling-Convolutional-Networks", "torchvision/models/resnet.py"): _of_gsop,
    ("xvjiarui/GCNet", "mmdet/models/backbones/resnet.py"): _of_gc,
    ("huggingface/pytorch-image-models", "timm/models/sknet.py"): _of_timm,
    ("huggingface/pytorch-image-models", "timm/models/resnet.py"): _of_timm,
    **{
        (_INSIGHT, f"classification/models/imagenet/resnet_{mechanism}.py"): _of_insight(mechanism)
        for mechanism in ("se", "sk", "cbam", "bam")
    },
}


def counts(directory: Path = DIRECTORY) -> dict[str, Mapping[str, Any]]:
    """Every recorded count of a classification network with attention, by its title; none at all is an error."""
    recorded = json.loads((directory / COUNTS).read_text())["networks"]
    found = {title: entry for title, entry in recorded.items() if not _OTHERS.fullmatch(title)}
    if not found:
        raise LookupError(f"no counts in {directory / COUNTS}")
    return found


# Plain networks; segmentation networks; and one whose backbone is its own, with attention but of no published net.
_OTHERS = re.compile(r"(?:resnet|resnext)[\w ]+|(?:flanet|danet|hrnetv2|cs_nl|dual_nl)_.*|ppplang_sknet.*")
_GSOP_TITLES = {"channel": "channel", "position": "spatial"} | {
    f"fusion_{theirs}": ours for theirs, ours in (("avg", "sum"), ("max", "max"), ("concat", "concat"))
}


def titled(title: str) -> Made:
    """Our network for a title of the counts."""
    for pattern, make in _TITLES.items():
        found = re.fullmatch(pattern, title)
        if found:
            return make(*found.groups())
    raise LookupError(f"counted network without a mapping: {title!r}")


def _timm(name: str) -> Made:
    if name.startswith("sk"):
        return Made(name)
    if name.endswith("senet154"):
        return Made("senet154")
    legacy = re.fullmatch(r"legacy_se(resnet\d+|resnext\d+_32x4d)", name)
    if legacy:
        return Made(f"se_{legacy[1]}", {"stride": "caffe"})
    found = re.fullmatch(r"(se|eca)(res.+)", name)
    if not found:
        raise LookupError(f"timm's network without a mapping: {name!r}")
    options: Options = {"se": {"variant": "timm"}, "eca": {"k": None}}[found[1]]
    return Made(f"{found[1]}_{found[2]}", options)


def _gc_titled(depth: str, first: str, last: str | None, ratio: str, pooling: str, fusion: str, end: str) -> Made:
    options = {
        "stages": f"c{first}-c{last or first}",
        "ratio": 1 / int(ratio),
        "pooling": pooling,
        "fusion": tuple(fusion.split("+")),
    }
    return Made(f"gc_resnet{depth}", options, 0 if "backbone" in end else 1000)


_TITLES: Mapping[str, Callable[..., Made]] = {
    r"(se_resnet\d+) \(no FC bias\)": lambda name: Made(name, {"bias": False}),
    r"cifar_(se_resnet\d+) r(\d+) (\d+) classes": lambda name, reduction, classes: Made(
        name, {"reduction": int(reduction)}, int(classes)
    ),
    r"(se_resnet\d+|se_resnext\d+_32x4d) \(with FC bias, Caffe layout\)": lambda name: Made(name, {"stride": "caffe"}),
    r"(senet154).*": Made,
    r"(eca_resnet\d+) k(\d{4})": lambda name, kernels: Made(name, {"kernels": kernels}),
    r"(eca_mobilenet_v2)": Made,
    r"((?:cbam|bam)_resnet\d+)": Made,
    r"((?:cbam|bam)_resnet\d+) CIFAR(\d+)": lambda name, classes: Made(name, {"stem": "cifar"}, int(classes)),
    r"(gsop_net[12]_resnet\d+) (\w+)": lambda name, code: Made(name, {"variant": _GSOP_TITLES[code]}),
    r"gc_resnet(\d+) c(\d)(?:-c(\d))? r(\d+) (att|avg) ([a-z+]+) (\(backbone only\)|\+ fc1000)": _gc_titled,
    r"insight_((?:sk|se|cbam|bam)_resnet\d+)": Made,
    r"timm_(.+)": _timm,
    r"(se_var[123]_resnet\d+)": Made,
    r"caffe SE-ResNet-(\d+)": lambda depth: Made(f"se_resnet{depth}", {"stride": "caffe"}),
    r"caffe SE-ResNeXt-(\d+)": lambda depth: Made(f"se_resnext{depth}_32x4d"),
    r"caffe SENet-154": lambda: Made("senet154"),
    r"caffe SE-BN-Inception": lambda: Made("se_bn_inception"),
    r"caffe (sknet\d+)": Made,
}
