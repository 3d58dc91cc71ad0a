"""Our key-point networks for the recorded ones, with the authors' names for them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor, nn

from saccade.official.networks import parts_of
from tests.golden import segmenters
from tests.golden.cases import Recorded
from tests.golden.pose import DIRECTORY, index

_NAME = r"(simple_baseline|udp_hrnet|hrnet)_(resnet\d+|w\d+)(_offset|_gaussian)?(?:_psa_([ps]))?"
_VARIANTS = {"p": "parallel", "s": "sequential"}


class NetworkCase(Recorded):
    """A recorded network of key points."""

    def recorded(self) -> dict[str, Tensor]:
        return load_file(self.directory / self.entry["file"])

    def tolerance(self, recorded: Tensor, *, gradient: bool = False) -> dict[str, float]:
        relative = self.entry["atol_relative_to_max"]
        if gradient:
            relative = self.entry.get("grad_atol_relative_to_max", relative)
        return {"rtol": self.entry["rtol"], "atol": relative * float(recorded.abs().max())}


def cases(directory: Path = DIRECTORY) -> list[NetworkCase]:
    return [NetworkCase(entry, directory) for entry in index(directory).get("network_cases", [])]


def made(case: NetworkCase) -> tuple[str, dict[str, Any]]:
    """The name and the options of `saccade.pose_estimator` for a case."""
    found = re.fullmatch(_NAME, case.entry["network"])
    if not found:
        raise LookupError(f"{case.name}: no mapping for {case.entry['network']}")
    name, backbone, head, psa = found.groups()
    offset = head == "_offset"
    if offset != ("TARGET_TYPE offset" in case.entry["configuration"]):
        raise LookupError(f"{case.name}: the configuration is another: {case.entry['configuration']}")
    options: dict[str, Any] = {"backbone": backbone if "resnet" in backbone else f"hrnet_{backbone}"}
    options["num_keypoints"] = case.entry["output_size"][1] // (3 if offset else 1)
    if offset:
        options["head"] = "offset"
    if psa:
        options["mechanism"] = f"psa[variant={_VARIANTS[psa]}]"
    return name, options


def authors_names(net: nn.Module) -> dict[str, str]:
    """The authors' key of every tensor of ours, written down here a second time: theirs to ours."""
    parts, found = [part for part in parts_of(net) if part.path != "head"], {}
    for ours in net.state_dict():
        part = next((part for part in parts if ours.startswith(part.prefix)), None)
        if part:
            inner = segmenters._inner(part, ours.removeprefix(part.prefix), "DeLightCMU")
            theirs = f"{part.block.removeprefix('backbone.')}.deattn.{inner}"
        else:
            theirs = re.sub(r"^head\.deconv\.", "deconv_layers.", re.sub(r"^head\.final\.", "final_layer.", ours))
            theirs = theirs.removeprefix("backbone.")
        found[theirs] = ours
    return found
