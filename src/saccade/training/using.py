"""``saccade.evaluate`` and ``saccade.predict``: what a trained network is worth, and what it says."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from saccade.data.cifar import find_cifar
from saccade.data.images import UnreadableError, read_image
from saccade.data.layouts import Item, held_out_folder, images_in, labelled_images, listed
from saccade.data.samples import ArraySamples, Transform, scoring_transform
from saccade.errors import InputError, require
from saccade.files import read_json, replacing
from saccade.saving.store import load, network_file, read_header
from saccade.training.evaluation import measure, predicted
from saccade.training.folder import SPLIT
from saccade.training.placement import placement
from saccade.training.problems import Side, side_of
from saccade.training.run import reading_processes
from saccade.training.sources import LoaderSource, Share, cores
from saccade.training.tasks import Classification

_SHOWN = 5


@dataclass(frozen=True)
class Ready:
    """A trained network with what must be known to use it.

    Args:
        file: Where it was read.
        net: In evaluation mode.
        classes: Their names.
        size: Side of the images in pixels.
        crop: The part of the shorter side that is seen.
    """

    file: Path
    net: nn.Module
    classes: tuple[str, ...]
    size: int
    crop: float

    @property
    def transform(self) -> Transform:
        """From a Pillow image to what the network is given."""
        return scoring_transform(self.size, crop=self.crop)

    @property
    def folder(self) -> Path:
        """Of the run."""
        return self.file.parent.parent if self.file.parent.name == "checkpoints" else self.file.parent


def open_run(model: str | os.PathLike[str]) -> Ready:
    """The network of a run: its best, or that of one file in it.

    Raises:
        InputError: No such run, a damaged file, or a network that was not trained by saccade.
    """
    file = network_file(Path(model))
    reading = read_header(file).get("reading")
    if reading is None:
        raise InputError(f"{file}: holds a network, but not its classes", "give the folder that saccade train wrote")
    if reading["task"] != "classification":
        raise InputError(f"{file}: trained for {reading['task']}, which is not in this version")
    return Ready(file, load(file).eval(), tuple(reading["classes"]), reading["size"], reading["crop"])


@dataclass(frozen=True)
class Evaluation:
    """Scores of a network on held-out images.

    Args:
        results: By name, with ``by_class``.
        writes: Whether this process is the one of several that speaks.
    """

    results: dict[str, Any]
    writes: bool = True

    def __str__(self) -> str:
        found = self.results
        lines = [f"{found['file']} on {found['images']} images: {found['what']}", ""]
        lines += [f"{name:<16} {value:.4f}" for name, value in found["scores"].items()]
        worst = sorted(found["by_class"].items(), key=lambda pair: pair[1])[:_SHOWN]
        return "\n".join([*lines, "", "lowest classes", *(f"  {name:<20} {value:.4f}" for name, value in worst)])


def evaluate_network(
    data: str | os.PathLike[str],
    model: str | os.PathLike[str],
    *,
    batch: int = 64,
    device: str = "auto",
    workers: int | None = None,
) -> Evaluation:
    """Score a trained network; run by ``torchrun`` on all devices, with the same result.

    Images of the held-out side of `data` count; of a folder that was split for training, those that were held out; of
    any other folder with one folder a class, all.

    Args:
        data: Folder of images.
        model: Folder of a run, or a file in it.
        batch: Images at a time, in each process.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``.
        workers: Processes that read images.

    Raises:
        InputError: Something given is wrong, or an image cannot be read.
    """
    ready, where, path = open_run(model), placement(device), Path(data)
    side, there, what = _held_out(path, ready)
    workers = reading_processes(where) if workers is None else workers
    source = LoaderSource(side.samples, workers=workers, name=side.name, device=where.device)
    task = Classification(len(ready.classes))
    net = ready.net.to(where.device).to(memory_format=torch.channels_last)
    batches = source.once(batch, Share(where.index, where.processes))
    found = measure(net, task.metrics(by_class=True), task, batches, where)
    values = dict(zip(ready.classes, found.pop("by class").tolist(), strict=True))
    by_class = {name: value for index, (name, value) in enumerate(values.items()) if index in there}
    results = {"file": str(ready.file), "data": str(path), "what": what, "images": len(side), "scores": found}
    return Evaluation({**results, "by_class": by_class}, where.index == 0)


def _held_out(path: Path, ready: Ready) -> tuple[Side, set[int], str]:
    """The images to score, the classes that are among them, and which they are, in words."""
    cifar = find_cifar(path)
    if cifar is not None:
        samples = ArraySamples(cifar.val, ready.transform)
        if cifar.classes != ready.classes:
            raise InputError(f"{path} is {cifar.name}, whose classes the network does not know")
        return Side(samples, samples.name), set(cifar.val.targets.tolist()), "the test images"
    items, what = _held_out_files(path, ready)
    return side_of(items, path, ready.transform, ready.size), {int(str(item.target)) for item in items}, what


def _held_out_files(path: Path, ready: Ready) -> tuple[tuple[Item, ...], str]:
    side = held_out_folder(path)
    if side is not None:
        return labelled_images(side, ready.classes), f"those of {side.name}/"
    items = labelled_images(path, ready.classes)
    recorded = ready.folder / SPLIT
    if not recorded.exists():
        return items, "all of them"
    split = read_json(recorded)
    by_name = {item.image.relative_to(path).as_posix(): item for item in items}
    held = [by_name[name] for name in split["held_out"] if name in by_name]
    if not held:
        return items, "all of them, none was seen in training"
    missing = [name for name in split["held_out"] if name not in by_name]
    if missing:
        raise InputError(
            f"{path}: {len(missing)} of the {len(split['held_out'])} images held out from training are gone: "
            f"{listed(missing)}",
            "put them back; the others may have been trained on",
        )
    return tuple(held), f"those held out from training by seed {split['seed']}"


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
    out: str | os.PathLike[str] | None = None,
    batch: int = 64,
    device: str = "auto",
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Predictions:
    """Classify images; those that cannot be read are named and left out.

    Args:
        images: Files, or folders, which are searched.
        model: Folder of a run, or a file in it.
        out: Folder for ``predictions.csv``.
        batch: Images at a time.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``.
        on_progress: Called with (done, total).

    Raises:
        InputError: A path that is not there, no image at all, or a model that cannot be used.
    """
    paths = list(_paths(images))
    ready, where = open_run(model), placement(device)
    net = ready.net.to(where.device).to(memory_format=torch.channels_last)
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


def _paths(given: Iterable[str | os.PathLike[str]]) -> Iterator[Path]:
    found = False
    for one in map(Path, given):
        if not one.exists():
            raise InputError(f"{one}: no such file or folder")
        inside = images_in(one) if one.is_dir() else [one]
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
