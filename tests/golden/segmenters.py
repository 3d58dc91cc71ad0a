"""Our segmentation networks for the recorded ones: by (repo, path, constructor), with the authors' names for them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from saccade.networks.ocrnet import MultiScaleOCRNet
from saccade.networks.segmentation import Segmenter
from saccade.official.networks import Part, parts_of
from tests.golden.networks import NetworkCase

Options = dict[str, Any]


@dataclass(frozen=True)
class Made:
    """How a recorded network is called here: by `saccade.segmenter`, with the authors' names of a key of `_NAMES`."""

    name: str
    num_classes: int
    options: Options
    names: str


def made(case: NetworkCase) -> Made:
    """Our network for a case; a constructor argument that nobody maps is an error."""
    source = (case.entry["repo"], case.entry["path"])
    if source not in _SOURCES:
        raise LookupError(f"{case.name}: no mapping for {source}")
    return _SOURCES[source](case)


def outputs(case: NetworkCase, net: Segmenter, x: Tensor) -> tuple[Tensor, ...]:
    """What the authors' network returns in evaluation."""
    if isinstance(net, MultiScaleOCRNet):
        return tuple(_at_scales(case, net, x, str(entry["name"])) for entry in case.entry["outputs"])
    if "PSA" in case.entry["repo"]:
        prediction, coarse = net.classified(net.maps(x), every=True)
        return net.enlarged(prediction, x), coarse
    return net.logits(x)


def _at_scales(case: NetworkCase, net: MultiScaleOCRNet, x: Tensor, name: str) -> Tensor:
    """An output by its recorded name: the joint logits, or those or the weights of one scale (``attn_05x``: 0.5)."""
    if name in ("joint", "pred"):
        return net.logits(x)[0]
    found = re.fullmatch(r"(pred|attn)_(\d)(\d+)x", name)
    if found is None:
        raise LookupError(f"{case.name}: no mapping for the output {name!r}")
    prediction, _, weights = net.at_scale(x, float(f"{found[2]}.{found[3]}"))
    return prediction if found[1] == "pred" else weights


def authors_names(net: nn.Module, names: str) -> dict[str, str]:
    """The authors' key of every tensor of ours, written down here a second time: theirs to ours."""
    of_part, of_rest = _NAMES[names]
    parts, found = parts_of(net), {}
    for ours in net.state_dict():
        part = next((part for part in parts if ours.startswith(part.prefix)), None)
        theirs = of_rest(ours) if part is None else of_part(part) + _inner(part, ours.removeprefix(part.prefix), names)
        found[theirs] = ours
    return found


def authors_shape(theirs: str, ours: Tensor) -> tuple[int, ...]:
    """Of their tensor: PSA's layers that are linear here are convolutions there, its norm's factors have three axes."""
    if ".deattn." not in theirs or ours.dim() == 4:
        return tuple(ours.shape)
    return (*ours.shape, 1, 1) if "conv_up.1." in theirs or ours.dim() == 2 else tuple(ours.shape)


def _inner(part: Part, ours: str, names: str) -> str:
    """The authors' name of a part's own tensor, by the layout that is of its form."""
    for layout in part.mechanism.layouts:
        fits = all(getattr(part.mechanism, name) == value for name, value in layout.needs.items())
        if names in layout.source and fits:
            for theirs, start in layout.names.items():
                if ours == start or (start.endswith(".") and ours.startswith(start)):
                    return theirs + ours.removeprefix(start)
    raise LookupError(f"{names} has no name for {ours} of {part.mechanism.label}")


def _flanet_part(part: Part) -> str:
    outputs = {"head": "conv_out1", "auxiliary.0": "conv_out2", "auxiliary.1": "conv_out3"}
    return f"{outputs.get(part.path, 'fully')}."


def _flanet_rest(ours: str) -> str:
    found = re.fullmatch(r"reduce\.([01])\.(conv|norm)\.(.+)", ours)
    return f"conv.{3 * int(found[1]) + (found[2] == 'norm')}.{found[3]}" if found else ours


def _psa_part(part: Part) -> str:
    named = {"head": "ocr.", "scale_weights": "scale_attn."}
    return named.get(part.path) or f"{part.block}.deattn."


_NAMES: Mapping[str, tuple[Callable[[Part], str], Callable[[str], str]]] = {
    "junfu1115": (lambda part: f"{part.path}.", lambda ours: re.sub(r"^backbone\.", "pretrained.", ours)),
    "Ilareina": (_flanet_part, _flanet_rest),
    "DeLightCMU": (_psa_part, lambda ours: ours),
}


_DEPTHS = {(3, 4, 6, 3): 50, (3, 4, 23, 3): 101, (3, 8, 36, 3): 152}


def _flanet(case: NetworkCase) -> Made:
    case.only("block", "layers", "n_classes")
    backbone = f"resnet{_DEPTHS[tuple(case.argument('layers'))]}s"
    # Their blocks pair strips across the batch; of one image that is the same.
    options = {"backbone": backbone, "pairing": "released"}
    return Made("flanet", case.argument("n_classes"), options, "Ilareina")


def _danet(case: NetworkCase) -> Made:
    case.only("nclass", "backbone", "multi_grid", "multi_dilation", "no_deepstem")
    deep = "" if case.argument("no_deepstem") else "s"
    options: Options = {"backbone": case.argument("backbone").rstrip("s") + deep}
    if case.argument("multi_grid"):
        options["multi_grid"] = tuple(case.argument("multi_dilation", (4, 8, 16)))
    return Made("danet", case.argument("nclass"), options, "junfu1115")


def _ocr(multi_scale: bool) -> Callable[[NetworkCase], Made]:
    def made(case: NetworkCase) -> Made:
        case.only("num_classes", "criterion", "psa", "scales")
        variant = {"PSA_s": "sequential", "PSA_p": "parallel"}[case.argument("psa")]
        options: Options = {"variant": variant}
        if multi_scale:
            options["scales"] = numbers(case.argument("scales", "0.5 and 1"))
        return Made("psa_ocr", case.argument("num_classes"), options, "DeLightCMU")

    return made


def numbers(given: str | Sequence[float]) -> tuple[float, ...]:
    """The numbers of an argument that was recorded in words (``"two-scale path, 0.5 and 1"``), or as a list."""
    if isinstance(given, str):
        return tuple(float(number) for number in re.findall(r"(?<![\w.])\d+(?:\.\d+)?(?![\w-])", given))
    return tuple(given)


_SOURCES: Mapping[tuple[str, str], Callable[[NetworkCase], Made]] = {
    ("Ilareina/FullyAttentional", "model.py:FLANet"): _flanet,
    ("junfu1115/DANet", "encoding/models/sseg/danet.py:DANet"): _danet,
    ("DeLightCMU/PSA", "semantic-segmentation/network/ocrnet.py:HRNet"): _ocr(False),
    ("DeLightCMU/PSA", "semantic-segmentation/network/ocrnet.py:HRNet_Mscale"): _ocr(True),
}
