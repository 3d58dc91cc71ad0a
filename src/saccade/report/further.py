"""What comes after a comparison: the command that trains its best arm fully, and the lines that load the result."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from saccade.catalog import Spec
from saccade.networks.make import DEMO, PLAIN_SEGMENTER
from saccade.report.verdict import is_control

_EPOCHS = 30


@dataclass(frozen=True)
class Further:
    """How to go on.

    Args:
        arm: The best arm.
        better: Whether it was found better than the reference; else it is the reference itself.
        command: Trains it.
        code: Loads it, in Python.
    """

    arm: Mapping[str, Any]
    better: bool
    command: str
    code: str


def further(results: Mapping[str, Any], reference: Mapping[str, Any]) -> Further | None:
    """How to train the arm that gained most of those found better, else the reference.

    None for the demo, whose pictures are no task of anyone's and whose network is for them.
    """
    settings = results.get("settings") or {}
    if results["data"]["demo"] or not settings.get("data") or settings["backbone"] == DEMO:
        return None
    arm = _best(results["arms"]) or reference
    out = Path("saccade-train") / Path(settings["data"]).name
    words = ["saccade", "train", settings["data"], *_network(results["task"], settings["backbone"])]
    if arm["mechanism"]:
        words += ["--mechanism", str(Spec(arm["mechanism"], arm["options"]))]
        words += ["--at", settings["at"]] if settings["at"] else []
    if settings["pretrained"]:
        words += ["--pretrained"] if settings["pretrained"] is True else ["--pretrained", settings["pretrained"]]
    words += ["--size", str(settings["size"]), "--batch", str(results["batch"]), "--epochs", str(_EPOCHS)]
    name = json.dumps(str(out))
    code = f'import saccade\nnet = saccade.load({name}).eval()\nprint(saccade.predict(["photo.jpg"], {name}))'
    return Further(arm, arm is not reference, shlex.join([*words, "--out", str(out)]), code)


def _network(task: str, backbone: str) -> list[str]:
    """The network of every arm, as `saccade train` is told of it."""
    if task == "segmentation":
        return ["--network", PLAIN_SEGMENTER, "--backbone", backbone]
    return ["--network", backbone]


def _best(arms: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    better = [
        arm for arm in arms if arm["difference"] and arm["difference"]["verdict"] == "better" and not is_control(arm)
    ]
    return max(better, key=lambda arm: arm["difference"]["mean"], default=None)
