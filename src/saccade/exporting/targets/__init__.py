"""The kinds of file, one in each module: how a network is written, opened, and what its file says."""

from __future__ import annotations

import importlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from saccade.errors import InputError
from saccade.exporting.subject import Subject

if TYPE_CHECKING:
    from saccade.exporting.quantising import Calibration

Array = NDArray[Any]


@dataclass(frozen=True)
class Shape:
    """The sizes that a file takes.

    Args:
        size: Height and width of the example.
        free: True if batch, height and width are free; otherwise only the batch is, where the kind of file allows it.
        batch: Number of images of a file whose batch is fixed; None if it is free.
    """

    size: tuple[int, int]
    free: bool
    batch: int | None = None


@dataclass(frozen=True)
class Plan:
    """Choices about how a network is written.

    Args:
        shape: The sizes.
        half: True for half precision.
        opset: Version of the ONNX operators, if one was asked for.
        calibration: Images for 8 bits, if they were asked for.
        attention: Classes of the mechanisms, each with the names of its modules.
        joints: Number of joints that the network returns heat maps of; 0 for other networks.
        notes: Receives remarks on how it was written.
        costs: Receives what quantising each mechanism costs, as plain values.
    """

    shape: Shape
    half: bool = False
    opset: int | None = None
    calibration: Calibration | None = None
    attention: Mapping[str, Sequence[str]] = field(default_factory=dict)
    joints: int = 0
    notes: list[str] = field(default_factory=list)
    costs: list[dict[str, Any]] = field(default_factory=list)

    def told(self, about: Mapping[str, Any], **versions: Any) -> dict[str, Any]:
        """Return what a file says of itself, with versions of what wrote it, and with what 8 bits cost."""
        costs = {"int8": self.costs} if self.costs else {}
        return {**about, "versions": {**about["versions"], **versions}, **costs}


class Session(ABC):
    """A file that is open in its runtime."""

    about: Mapping[str, Any]
    """Description that saccade wrote into the file; empty if it did not write it."""

    @abstractmethod
    def outputs(self, x: Array) -> tuple[Array, ...]:
        """Return all outputs for one input."""

    def run(self, x: Array) -> Array:
        """Return the first output for one input."""
        return self.outputs(x)[0]


class Target(ABC):
    """A kind of file."""

    name: ClassVar[str]
    """Its name for ``--to``."""
    runtime: ClassVar[str]
    """The runtime that the file is verified in."""
    suffixes: ClassVar[tuple[str, ...]]
    """Endings of its files, the main one first."""
    extra: ClassVar[str]
    """The extra of saccade that installs what writes and runs it."""
    free_sizes: ClassVar[bool] = True
    """True if batch, height and width can be left free."""
    free_batch: ClassVar[bool] = True
    """True if the batch can be left free where height and width are fixed."""
    int8: ClassVar[bool] = False
    """True if it can be quantised."""
    half: ClassVar[bool] = True
    """True if weights can be stored in half precision."""

    @abstractmethod
    def write(self, subject: Subject, plan: Plan, path: Path, about: Mapping[str, Any]) -> None:
        """Write the file, and those that belong to it next to it.

        Raises:
            Exception: Whatever the converter raises.
        """

    @abstractmethod
    def open(self, path: Path) -> Session:
        """Open a file in its runtime.

        Raises:
            MissingExtraError: The runtime is not installed.
            Exception: Whatever the runtime raises.
        """


_HOMES = {
    "onnx": "onnx:Onnx",
    "openvino": "openvino:OpenVino",
    "litert": "litert:LiteRt",
    "executorch": "executorch:ExecuTorch",
    "torch-export": "torch_export:TorchExport",
    "torchscript": "torchscript:TorchScript",
}
NAMES = tuple(_HOMES)


def target(name: str) -> Target:
    """Return the kind of file called `name`."""
    module, _, kind = _HOMES[name].partition(":")
    made: Target = getattr(importlib.import_module(f"saccade.exporting.targets.{module}"), kind)()
    return made


def of_file(path: Path) -> Target:
    """Return the kind of an exported file by its ending.

    Raises:
        InputError: No kind has this ending.
    """
    for name in NAMES:
        found = target(name)
        if path.suffix.lower() == found.suffixes[0]:
            return found
    raise InputError(f"{path}: no kind of exported file ends in {path.suffix or 'nothing'}", "give .onnx or .xml")


def as_arrays(found: Any) -> tuple[Array, ...]:
    """Return the outputs of a runtime, or its only one, as arrays."""
    return tuple(np.asarray(part) for part in (found if isinstance(found, (list, tuple)) else [found]))


def described(text: str) -> dict[str, Any]:
    """Return what saccade wrote into a file of itself, from its JSON; empty if the text is.

    Raises:
        InputError: It is not an object of JSON.
    """
    try:
        about = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        about = None
    if not isinstance(about, dict):
        raise InputError("what the file says of itself is damaged", "write it with saccade export")
    return about


def beside(path: Path) -> str:
    """Return the text of the file of JSON next to a file that has no place for a description; empty without one."""
    file = path.with_name(f"{path.name}.json")
    return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""


def free_dims(shape: Shape) -> dict[int, Any]:
    """Return the free axes of the input for `torch.export`."""
    import torch

    axes = (*([0] if shape.batch is None else []), *((2, 3) if shape.free else ()))
    return dict.fromkeys(axes, torch.export.Dim.DYNAMIC)
