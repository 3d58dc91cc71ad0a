"""``saccade.predict``: ask a trained network about images."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from glob import glob
from pathlib import Path
from typing import Any

import torch

from saccade.catalog.imports import Trust
from saccade.data.layouts import images_in
from saccade.errors import InputError
from saccade.runs.open import open_run
from saccade.training.distributed import distributed


@dataclass(frozen=True)
class Options:
    """Options of a prediction, for a task that writes its predictions.

    Args:
        out: Folder for what is written, if one was given.
        batch: Images at a time.
        protocol: Protocol of evaluation, as given.
        device: Device of the network.
        on_progress: Called with (done, total).
    """

    out: Path | None
    batch: int
    protocol: Any
    device: torch.device
    on_progress: Callable[[int, int], None]


def predict_images(
    images: Iterable[str | os.PathLike[str]],
    model: str | os.PathLike[str],
    *,
    trust: Trust = (),
    out: str | os.PathLike[str] | None = None,
    batch: int = 64,
    protocol: Any = None,
    device: str = "auto",
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Any:
    """Predict images; those that cannot be read are named and left out.

    Masks and overlays are written one by one; of the other images only the paths are in memory.

    Args:
        images: Files, folders, which are searched, and patterns such as ``"photos/*.jpg"``.
        model: Folder of a run or of an arm of a comparison, or a file in it.
        trust: Code of your own that may be imported for it, as for :func:`saccade.load`.
        out: Folder for ``predictions.csv``; for masks and overlays, for which it must be given.
        batch: Images at a time, where they are brought to one size.
        protocol: Segmentation, see :func:`saccade.evaluate`; ``"sliding"`` by default: an image no larger than
            the training crops is seen whole, larger ones through windows of that size.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``.
        on_progress: Called with (done, total).

    Returns:
        :class:`saccade.runs.rows.Predictions`, or :class:`saccade.tasks.segmentation.masks.Masks`: both have
        ``failed``, the images that could not be read, and ``to_json()``.

    Raises:
        InputError: A path that does not exist, no image at all, or a model that cannot be used.
    """
    given, opened, where = list(_paths(images)), open_run(model, trust), distributed(device)
    opened.net.to(where.device).to(memory_format=torch.channels_last)
    options = Options(None if out is None else Path(out), batch, protocol, where.device, on_progress)
    return opened.task.write_predictions(opened, given, options)


def _paths(given: Iterable[str | os.PathLike[str]]) -> Iterator[tuple[Path, Path]]:
    """Every image, and the folder that its name is relative to."""
    found = False
    for one in map(Path, given):
        matching = [one] if one.exists() else [Path(name) for name in sorted(glob(str(one), recursive=True))]
        if not matching:
            raise InputError(f"{one}: no such file or folder")
        for path in matching:
            inside = [(image, path) for image in images_in(path)] if path.is_dir() else [(path, path.parent)]
            found = found or bool(inside)
            yield from inside
    if not found:
        raise InputError("no images were given", "name files, or a folder that has some")
