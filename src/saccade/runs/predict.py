"""``saccade.predict``: ask a trained network about images."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from glob import glob
from pathlib import Path
from typing import Any

import torch

from saccade.data.layouts import images_in
from saccade.errors import InputError
from saccade.files import at_home, check_folder
from saccade.options import called_with
from saccade.outputs import Outputs
from saccade.ranges import shortened
from saccade.runs.open import open_run
from saccade.runs.options import PredictOptions
from saccade.tasks import every_task
from saccade.training.distributed import distributed


@dataclass(frozen=True)
class Options:
    """Options of a prediction, for a task that writes its predictions.

    Args:
        out: Folder for what is written, if one was given.
        batch: Images at a time.
        protocol: Protocol of evaluation, as given.
        device: Device of the network.
        boxes: File of boxes, if one was given.
        heat_maps: If True, heat maps are written as pictures.
        on_progress: Called with (done, total).
    """

    out: Path | None
    batch: int
    protocol: Any
    device: torch.device
    on_progress: Callable[[int, int], None]
    boxes: Path | None = None
    heat_maps: bool = False


@called_with(PredictOptions, "predict")
def predict_images(asked: PredictOptions) -> Any:
    """Predict images; those that cannot be read are named and left out.

    Masks and overlays are written one by one; of the other images only the paths are in memory. With the protocol
    ``"sliding"`` an image no larger than the training crops is seen whole. `protocol` may also be a
    :class:`saccade.tasks.segmentation.protocols.Protocol`.

    Returns:
        :class:`saccade.runs.rows.Predictions`, or :class:`saccade.tasks.segmentation.masks.Masks`: both have
        ``failed``, the images that could not be read, and ``to_json()``.

    Raises:
        InputError: A path that does not exist, no image at all, a model that cannot be used, or an output file that
            another program wrote.
    """
    out, on_progress = None if asked.out is None else Path(asked.out), asked.on_progress or (lambda done, total: None)
    if out is not None:
        check_folder(out)
    where, given = distributed(asked.device), list(_paths(asked.images, None if out is None else Outputs(out)))
    opened = open_run(asked.model, asked.trust)
    opened.net.to(where.device).to(memory_format=torch.channels_last)
    boxes = None if asked.boxes is None else Path(asked.boxes)
    if boxes is not None and not opened.task.takes_boxes:
        raise InputError(f"--boxes: {opened.task.name} takes whole images", "leave it out")
    if asked.heat_maps and (out is None or not opened.task.takes_boxes):
        what = f"{opened.task.name} has none" if out is not None else "they are written to a folder"
        raise InputError(f"--heat-maps: {what}", "add --out FOLDER" if out is None else "leave it out")
    options = Options(out, asked.batch, asked.protocol, where.device, on_progress, boxes, asked.heat_maps)
    return opened.task.write_predictions(opened, given, options)


def _paths(
    given: str | os.PathLike[str] | Iterable[str | os.PathLike[str]], outputs: Outputs | None
) -> Iterator[tuple[Path, Path]]:
    """Every image, and the folder that its name is relative to; in folders neither masks nor earlier predictions."""
    found = False
    for one in _each(given):
        matching = [one] if one.exists() else [Path(name) for name in sorted(glob(str(one), recursive=True))]
        if not matching:
            raise InputError(f"{one}: no such file or folder", "give the paths of images, or of folders that hold some")
        for path in matching:
            inside = [(path, path.parent)]
            if path.is_dir():
                truths = frozenset[Path]().union(*(task.truths(path) for task in every_task()))
                images = (image for image in images_in(path) if image not in truths)
                inside = [(image, path) for image in images if outputs is None or not outputs.wrote(image)]
            found = found or bool(inside)
            yield from inside
    if not found:
        raise InputError("no images were given", "name files, or a folder that has some")


def _each(given: Any) -> Iterator[Path]:
    """Every path that was given; a string is one, and not a list of its letters."""
    if not isinstance(given, (str, os.PathLike, Iterable)):
        raise InputError(f"images must be a path or a list of paths; received {shortened(given)}")
    for path in [given] if isinstance(given, (str, os.PathLike)) else given:
        if not isinstance(path, (str, os.PathLike)):
            raise InputError(f"images must be paths; received {shortened(path)}")
        if not str(path).strip():
            raise InputError(f"images must not hold an empty path; received {shortened(path)}")
        yield at_home(path)
