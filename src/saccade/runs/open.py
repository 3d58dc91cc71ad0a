"""Open whatever saccade wrote: a training run, an arm of a comparison, a checkpoint, a saved network."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from saccade import schema
from saccade.catalog.imports import Trust
from saccade.data.identity import recorded_identity
from saccade.data.reading import AS_IT_IS, Reading
from saccade.errors import InputError
from saccade.files import at_home
from saccade.finite import check_finite
from saccade.runs.names import CHECKPOINTS, CONFIG, DATA, EXPERIMENT, LAST, RUNS, SPLIT
from saccade.runs.records import ArmConfig, BackboneName, ExperimentRecord, SplitRecord, read_record
from saccade.saving.store import load, network_file, read_header
from saccade.tasks import from_json
from saccade.tasks.base import Held, Task

EXPORTED = (".onnx", ".xml", ".tflite", ".pte")
"""Endings of exported files, which run in other runtimes."""


@dataclass(frozen=True)
class Opened:
    """A network that saccade wrote, with what must be known to use it.

    Args:
        file: The file it was read from.
        net: The network, in evaluation mode.
        name: Name of the run: that of its folder or file; of a comparison, its network and arm.
        known: Its task; None for a network that was saved without one.
        reading: How the folder of its training data was read.
        exported: True if the network runs in another runtime, from a file that ``saccade export`` wrote.
        source: The file that it was exported from.
    """

    file: Path
    net: nn.Module
    name: str
    known: Task | None
    reading: Reading = AS_IT_IS
    exported: bool = False
    source: Path | None = None

    @property
    def task(self) -> Task:
        """Labels, sizes, predictions and scores.

        Raises:
            InputError: The file does not say them.
        """
        if self.known is None:
            raise InputError(
                f"{self.file}: holds a network, but not its classes",
                "give a folder that saccade train or compare wrote",
            )
        return self.known

    def _places(self) -> Iterator[Path]:
        """Folders that may have records of the training, the nearest first; a comparison keeps them once."""
        file = self.source or self.file
        folder = file.parent.parent if file.parent.name == CHECKPOINTS else file.parent
        yield folder
        yield from (place for place in list(folder.parents)[:3] if (place / EXPERIMENT).exists())

    @property
    def held(self) -> Held | None:
        """The validation images of training, where a seed chose them."""
        place = next((place for place in self._places() if (place / SPLIT).exists()), None)
        if place is None:
            return None
        found, known = read_record(place / SPLIT, SplitRecord), recorded_identity(place / DATA)
        contents = {name: state.content for name, state in known.files.items()} if known is not None else {}
        names = found.held_out
        return Held(names, found.seed, {name: contents[name] for name in names if name in contents})

    @property
    def trained_on(self) -> frozenset[str]:
        """Hashes of the contents of the files that training saw; empty where they are not recorded."""
        place = next((place for place in self._places() if (place / DATA).exists()), None)
        known = recorded_identity(place / DATA) if place is not None else None
        if known is None:
            return frozenset()
        held = set(known.held or (self.held.names if self.held is not None else ()))
        if not held:
            return frozenset()
        return frozenset(state.content for name, state in known.files.items() if name not in held)


def open_run(model: str | os.PathLike[str], trust: Trust = ()) -> Opened:
    """Open a network.

    Args:
        model: Folder of a training run, which gives its best network; folder of an arm of a comparison
            (``saccade-compare/NAME/runs/ARM``), which gives that of its first seed; or a file in one of them, or any
            that :func:`saccade.save` or ``saccade export`` wrote.
        trust: Code of the user's own that may be imported for it, as for :func:`saccade.load`.

    Raises:
        InputError: There is no such file, it is damaged, its weights are not finite, it is a whole comparison, or it
            needs code that is not trusted.
    """
    path = at_home(model)
    if path.suffix.lower() in EXPORTED and not path.is_dir():
        from saccade.exporting.running import open_exported

        return open_exported(path)
    _refuse_other(path)
    file = network_file(_first_seed(path))
    net = load(file, trust=trust).eval()  # which holds the header to its digest
    check_finite(net.state_dict(), str(file))
    header = read_header(file)
    try:
        known = None if header.reading is None else from_json(header.reading)
        reading = Reading.from_json(header.folder or {})
    except (KeyError, TypeError, ValueError, AttributeError) as cause:
        raise InputError(f"{file}: its header does not describe a task ({cause})", "restore it from a copy") from cause
    return Opened(file, net, _name(path, file), known, reading)


def _refuse_other(path: Path) -> None:
    """Refuse anything but a network, with the place of one that is near."""
    whole = next((one for one in (path, *path.parents[:3]) if (one / EXPERIMENT).exists()), None)
    arms = [] if whole is None else sorted({file.parent.parent for file in whole.glob(f"{RUNS}/*/[0-9]*/{LAST}")})
    near_by = f"give one arm: {', '.join(map(str, arms[:8]))}" if arms else "no run of the comparison is finished"
    hint = _GIVE if whole is None else near_by
    if whole is not None and path in (whole, whole / RUNS):
        raise InputError(f"{path} is a comparison, with a network per arm and seed", hint)
    if not path.exists():
        raise InputError(f"{path}: no such file or folder", hint)
    if not path.is_file() and not path.is_dir():
        raise InputError(f"{path}: expected a file or a folder; it is neither", hint)
    if path.suffix in (".json", ".csv", ".html") and path.is_file():
        raise InputError(f"{path}: expected a network; it is a {path.suffix[1:]} file", hint)


_GIVE = "give the folder that saccade train wrote, or a checkpoint in it"


def _name(path: Path, file: Path) -> str:
    """The name of a run; folders of a comparison are called by arm and seed only, so its network and arm are named."""
    experiment = file.resolve().parent.parent.parent.parent / EXPERIMENT  # above runs/ARM/SEED
    if not experiment.exists():
        return path.name
    settings = read_record(experiment, ExperimentRecord).settings
    backbone = schema.from_json(BackboneName, settings, source=f"{experiment}, settings", others=True).backbone
    return f"{backbone} + {read_record(file.parent / CONFIG, ArmConfig).arm}"


def _first_seed(path: Path) -> Path:
    seeds = sorted(path.glob(f"[0-9]*/{LAST}"), key=lambda file: int(file.parent.name)) if path.is_dir() else []
    return seeds[0] if seeds else path
