"""``saccade.predict``: what a trained network says of images."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from glob import glob
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from saccade.catalog.imports import Trust
from saccade.data.images import UnreadableError, read_image
from saccade.data.layouts import images_in
from saccade.errors import InputError, require
from saccade.files import replacing
from saccade.segmentation.protocols import Protocol, protocol_for
from saccade.training.evaluation import predicted
from saccade.training.masks import Masks, write_masks
from saccade.training.placement import placement
from saccade.training.sources import cores
from saccade.training.tasks import Classification
from saccade.training.using import Ready, open_run

_SHOWN = 5


@dataclass(frozen=True)
class Predictions:
    """What a network says of images.

    Args:
        rows: One an image: ``image``, ``problem`` (empty, or why it could not be read), and ``classes``, the likeliest
            first, each with its probability.
        out: Folder with ``predictions.csv``, if one was asked for.
    """

    rows: tuple[dict[str, Any], ...]
    out: Path | None

    @property
    def failed(self) -> list[str]:
        """Images that could not be read, with the reason."""
        return [f"{row['image']}: {row['problem']}" for row in self.rows if row["problem"]]

    def to_json(self) -> list[dict[str, Any]]:
        """Plain values."""
        return list(self.rows)

    def __str__(self) -> str:
        width = max(len(row["image"]) for row in self.rows)
        lines = []
        for row in self.rows:
            said = ", ".join(f"{name} {probability:.3f}" for name, probability in row["classes"][:3])
            lines.append(f"{row['image']:<{width}}  {said or row['problem']}")
        return "\n".join(lines + ([f"\n{self.out / 'predictions.csv'}"] if self.out else []))


def predict_images(
    images: Iterable[str | os.PathLike[str]],
    model: str | os.PathLike[str],
    *,
    trust: Trust = (),
    out: str | os.PathLike[str] | None = None,
    batch: int = 64,
    protocol: str | Protocol = "sliding",
    device: str = "auto",
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Predictions | Masks:
    """Classify images, or their pixels; those that cannot be read are named and left out.

    Masks and overlays are written one by one; of the other images only the paths are in memory.

    Args:
        images: Files, folders, which are searched, and patterns such as ``"photos/*.jpg"``.
        model: Folder of a run, or a file in it.
        trust: Code of your own that may be imported for it, as for :func:`saccade.load`.
        out: Folder for ``predictions.csv``; for masks and overlays, for which it must be given.
        batch: Images at a time; of classification.
        protocol: Of segmentation, as for :func:`saccade.evaluate`; an image no larger than the training crops is seen
            whole, larger ones through windows of that size.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``.
        on_progress: Called with (done, total).

    Raises:
        InputError: A path that is not there, no image at all, or a model that cannot be used.
    """
    given, ready, where = list(_paths(images)), open_run(model, trust), placement(device)
    net = ready.net.to(where.device).to(memory_format=torch.channels_last)
    if ready.palette:
        if out is None:
            raise InputError("predict: masks are files, and no folder for them was given", "add --out DIR")
        return write_masks(given, ready, net, protocol_for(protocol, ready.size), Path(out), where.device, on_progress)
    if protocol != "sliding":
        raise InputError(f"protocol {protocol!r} is for segmentation; {ready.file} classifies images", "leave it out")
    paths = [path for path, _ in given]
    task, rows = Classification(len(ready.classes)), []
    for chunk, read in _read(paths, ready, batch):
        good = [image for image in read if isinstance(image, Tensor)]
        with torch.inference_mode():
            said = iter(predicted(net, task, torch.stack(good), where.device).cpu() if good else ())
        rows += [
            _row(path, next(said) if isinstance(image, Tensor) else image, ready.classes)
            for path, image in zip(chunk, read, strict=True)
        ]
        on_progress(len(rows), len(paths))
    if out is not None:
        _write(Path(out) / "predictions.csv", rows)
    return Predictions(tuple(rows), None if out is None else Path(out))


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


def _read(paths: Sequence[Path], ready: Ready, batch: int) -> Iterator[tuple[list[Path], list[Tensor | str]]]:
    """Chunks of paths, and of each the image, or why it could not be read; decoders run beside each other."""
    transform = ready.transform
    require("PIL.Image", extra="train")

    def one(path: Path) -> Tensor | str:
        try:
            return transform(read_image(path, near=2 * ready.size))
        except UnreadableError as problem:
            return str(problem)

    waiting = iter(paths)
    with ThreadPoolExecutor(cores()) as pool:
        while chunk := list(islice(waiting, batch)):
            yield chunk, list(pool.map(one, chunk))


def _row(path: Path, said: Tensor | str, classes: Sequence[str]) -> dict[str, Any]:
    if isinstance(said, str):
        return {"image": str(path), "problem": said, "classes": []}
    values, indices = said.topk(min(_SHOWN, len(classes)))
    likely = [[classes[index], value] for index, value in zip(indices.tolist(), values.tolist(), strict=True)]
    return {"image": str(path), "problem": "", "classes": likely}


def _write(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    columns = max((len(row["classes"]) for row in rows), default=0)
    head = ["image", *(f"{what}_{n + 1}" for n in range(columns) for what in ("class", "probability")), "problem"]
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as opened:
        writer = csv.writer(opened)
        writer.writerow(head)
        for row in rows:
            cells = [cell for name, probability in row["classes"] for cell in (name, f"{probability:.6f}")]
            writer.writerow([row["image"], *cells, *[""] * (2 * columns - len(cells)), row["problem"]])
