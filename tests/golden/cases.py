"""The recorded cases of the authors' code: which there are, what each holds, and which mechanism of ours is held to it.

The protocol between this file and the mappers (`gates.py`, `dense.py`, `heads.py`). A mapper is a module with

* ``MECHANISMS: frozenset[str]``: the mechanism keys of the index that it maps;
* ``build(case) -> Mechanism | None``: the mechanism, freshly made with the options that the authors' constructor
  arguments stand for (parameters are loaded afterwards, through `saccade.official`); None if the case is not its own.
  It decides by (mechanism, repo, path, constructor), never by file name, and goes through `Case.options`, which refuses
  an argument that is not in its table;
* ``outputs(case, mechanism, *inputs) -> Sequence[Tensor]``, where a case has several: what stands for each of them;
* ``views(case, mechanism, *inputs) -> dict[str, Tensor]``: a recorded map (``act...``) to what our views say it is.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from saccade.official import LoadReport

DIRECTORY = Path(os.environ.get("SACCADE_GOLDEN") or Path(__file__).parent / "data")
INDEXES = ("index-gates.json", "index-dense.json")

# Whole residual blocks around a gate: built from insertion, by their own test (`blocks.py`).
BLOCKS = ("Bottleneck", "BasicBlock")
BLOCK_MECHANISMS = frozenset({"psa_hrnet_basic_block", "sk_resnet"})


@dataclass(frozen=True)
class Recorded:
    """One entry of an index, with the directory its file lies in."""

    entry: Mapping[str, Any]
    directory: Path

    @property
    def name(self) -> str:
        return Path(self.entry["file"]).stem


class Case(Recorded):
    """A recorded mechanism."""

    @property
    def mechanism(self) -> str:
        return str(self.entry["mechanism"])

    @property
    def repo(self) -> str | None:
        return self.entry["repo"]

    @property
    def path(self) -> str | None:
        return self.entry["path"]

    @property
    def constructor(self) -> Mapping[str, Any]:
        return self.entry["constructor"]

    @property
    def training(self) -> bool:
        return bool(self.entry["mode"] == "train")

    @property
    def dtype(self) -> torch.dtype:
        found: torch.dtype = getattr(torch, self.entry["dtype"].split()[0])  # what follows says how it is stored
        return found

    @property
    def some_gradients_only(self) -> bool:
        """Whether the notes say that the parameters' gradients are not all recorded."""
        return "gradients are left out" in self.entry["notes"]

    @property
    def tolerance(self) -> dict[str, float]:
        """For outputs, recorded maps and buffers."""
        return {"rtol": self.entry["rtol"], "atol": self.entry["atol"]}

    @property
    def grad_tolerance(self) -> dict[str, float]:
        """For gradients: sums over many more terms, so ten times wider where the index does not say."""
        return {
            "rtol": self.entry.get("grad_rtol", 10 * self.entry["rtol"]),
            "atol": self.entry.get("grad_atol", 10 * self.entry["atol"]),
        }

    def tensors(self) -> dict[str, Tensor]:
        """All recorded tensors, in the precision they were computed in; some large ones are stored in a lower one.

        Maps are (B, C, H, W) here, whatever the layout they were recorded in.
        """
        stored = load_file(self.directory / self.entry["file"])
        if self.entry.get("layout", "").startswith("NHWC"):
            maps = ("input", "output", "cotangent", "grad_input")
            stored |= {key: stored[key].permute(0, 3, 1, 2).contiguous() for key in maps}
        return {key: t.to(self.dtype) if t.is_floating_point() else t for key, t in stored.items()}

    def options(self, table: Mapping[str, str | Callable[[Any], Mapping[str, Any]]]) -> dict[str, Any]:
        """The authors' constructor arguments as our options.

        Args:
            table: Their argument to our option of the same value, or to a function from the value to our options.
        """
        options: dict[str, Any] = {}
        for argument, value in self.constructor.items():
            if argument not in table:
                raise LookupError(f"{self.name}: unknown constructor argument {argument}={value!r}; known: {[*table]}")
            target = table[argument]
            options.update({target: value} if isinstance(target, str) else target(value))
        return options


def load(directory: Path = DIRECTORY) -> list[Case]:
    """Every case of the module indexes; a directory without any is an error, not an empty list."""
    entries = [
        entry
        for index in INDEXES
        if (directory / index).is_file()
        for entry in json.loads((directory / index).read_text())["cases"]
    ]
    if not entries:
        raise FileNotFoundError(f"no golden cases in {directory}: expected {' and '.join(INDEXES)} with their files")
    return [Case(entry, directory) for entry in entries]


def is_block(case: Case) -> bool:
    """Whether the case is a whole residual block (its class says so), not the mechanism alone.

    GSoP's gates are part of the authors' block class; a recording of the gate alone has no width of the block's input.
    """
    if case.mechanism in BLOCK_MECHANISMS:
        return True
    gate_alone = case.mechanism.startswith("gsop") and "inplanes" not in case.constructor
    return (case.path or "").endswith(BLOCKS) and not gate_alone


def collected(mapped: frozenset[str], directory: Path = DIRECTORY) -> list[Case]:
    """The cases to test now; refuses mechanism keys that nobody maps.

    Args:
        mapped: The mechanism keys of all mappers.
        directory: Where the indexes and files lie.
    """
    cases = load(directory)
    unknown = sorted({case.mechanism for case in cases} - mapped - BLOCK_MECHANISMS)
    if unknown:
        raise LookupError(f"golden cases of mechanisms that nobody maps: {', '.join(unknown)}")
    return [case for case in cases if case.mechanism in mapped and not is_block(case)]


def below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): tensor for key, tensor in tensors.items() if key.startswith(prefix)}


def in_our_names(report: LoadReport, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The authors' gradients and buffers under our names, through the same conversion as the parameters."""
    convert = report.layout.convert or (lambda _, tensor: tensor)
    return {report.loaded[key]: convert(report.loaded[key], tensor) for key, tensor in tensors.items()}


def numbered(name: str, tensors: dict[str, Tensor]) -> list[Tensor]:
    """``name``, or ``name.0``, ``name.1`` and so on where a case has several."""
    return (
        [tensors[name]] if name in tensors else [tensors[key] for key in sorted(tensors) if key.startswith(f"{name}.")]
    )
