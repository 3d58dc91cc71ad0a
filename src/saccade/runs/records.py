"""The JSON files in the folders of runs and comparisons: each declared once, and checked against that when it is read.

A file that is damaged is an error that names it and says what to do; nothing else in the folder is touched.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from saccade import schema
from saccade.errors import InputError
from saccade.files import read_json
from saccade.networks.statistics import IMAGENET, Statistics

T = TypeVar("T")

AGAIN = "move it elsewhere and run the same command again"
_NO_OTHER = "restore it from a copy, or choose another folder with --out; the trained networks can still be used"


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """The content of ``run.json``, as far as it decides anything.

    Args:
        asked: Settings that must be the same for the run to be resumed.
        identity: Digest of the data.
        class_weights: Weight of each class by name, if there are any.
        statistics: Mean and standard deviation that images are standardised by; those of earlier versions say none.
    """

    asked: Mapping[str, Any]
    identity: str
    class_weights: Mapping[str, float] | None = None
    statistics: Statistics = IMAGENET


@dataclass(frozen=True, kw_only=True)
class RunOutcome:
    """The content of ``result.json`` of a training run.

    Args:
        data: Folder of the data.
        metric: Name of the score.
        steps: Steps done.
        seconds: Seconds spent on them.
        scores: Scores of the last validation by name; None without one.
        best: Largest score; None without a validation.
        best_step: Steps done when it was reached.
    """

    data: str
    metric: str
    steps: int
    seconds: float
    scores: Mapping[str, float] | None
    best: float | None
    best_step: int


@dataclass(frozen=True, kw_only=True)
class SplitRecord:
    """The content of ``split.json``.

    Args:
        held_out: Names of the validation images.
        seed: Seed that chose them.
    """

    held_out: tuple[str, ...]
    seed: int


@dataclass(frozen=True, kw_only=True)
class ArmConfig:
    """The content of ``config.json`` of a run of a comparison, as far as it is read.

    Args:
        arm: Name of the arm.
    """

    arm: str


@dataclass(frozen=True, kw_only=True)
class StartResult:
    """The content of ``result.json`` of a shared start.

    Args:
        score: Score on the easier scenes.
        seed: Seed of the start.
    """

    score: float
    seed: int


@dataclass(frozen=True, kw_only=True)
class SettingsRecord:
    """The content of ``settings.json``, as far as every version writes it.

    Args:
        mechanisms: Labels of the arms.
        backbone: Name of the network.
        seeds: Runs of each arm.
        size: Side of the images in pixels.
    """

    mechanisms: tuple[str, ...]
    backbone: str
    seeds: int
    size: int


@dataclass(frozen=True, kw_only=True)
class BackboneName:
    """The settings of a comparison, as far as they name a run.

    Args:
        backbone: Name of the network.
    """

    backbone: str


@dataclass(frozen=True, kw_only=True)
class ExperimentRecord:
    """The content of ``experiment.json``, as far as other commands read it.

    Args:
        settings: Settings of the comparison.
        identity: Digest of the data; None for the demo.
        statistics: Mean and standard deviation that images are standardised by; those of earlier versions say none.
    """

    settings: Mapping[str, Any]
    identity: str | None
    statistics: Statistics = IMAGENET


_HINTS: dict[type[Any], str] = {
    RunRecord: _NO_OTHER,
    ExperimentRecord: _NO_OTHER,
    SettingsRecord: _NO_OTHER,
    RunOutcome: f"{AGAIN}: the last steps are repeated",
    SplitRecord: "restore it from a copy: it alone says which images were held out",
    ArmConfig: "restore it from a copy, or give a file of weights instead of the folder",
    StartResult: f"{AGAIN}: that start is trained again",
}


def read_record(path: Path, kind: type[T], hint: str | None = None) -> T:
    """Read a JSON file as a dataclass; keys that it does not declare are ignored.

    Args:
        path: The file.
        kind: Its declaration.
        hint: Advice for a damaged file; by default that of the kind.

    Raises:
        InputError: The file cannot be read, or does not fit its declaration.
    """
    hint = hint or _HINTS.get(kind)
    return schema.from_json(kind, read_json(path, hint), source=str(path), hint=hint, others=True)


def read_object(path: Path, hint: str = _NO_OTHER) -> dict[str, Any]:
    """Read a JSON file that holds an object.

    Raises:
        InputError: The file cannot be read, or holds something else.
    """
    found = read_json(path, hint)
    if not isinstance(found, dict):
        raise InputError(f"{path}: expected an object; received a {type(found).__name__}", hint)
    return found


def read_arrays(path: Path, hint: str) -> dict[str, NDArray[Any]]:
    """Read the arrays of an ``.npz`` file; nothing is unpickled.

    Raises:
        InputError: The file is missing or damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            return dict(stored)
    except Exception as cause:  # damaged archives surface as anything
        raise InputError(f"{path} cannot be read ({type(cause).__name__}: {cause})", hint) from cause
