"""``saccade.evaluate``: what a trained network is worth."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from saccade.catalog.imports import Trust
from saccade.data.cifar import find_cifar
from saccade.data.labelled import Colour
from saccade.data.layouts import Item, held_out_folder, labelled_images, listed
from saccade.data.mask_folder import load_labelled
from saccade.data.samples import ArraySamples, Transform, scoring_transform
from saccade.errors import InputError
from saccade.files import read_json
from saccade.saving.store import load, network_file, read_header
from saccade.segmentation.objects import SIZES, THINNESS, has_background
from saccade.segmentation.protocols import Protocol, Seen, protocol_for
from saccade.training.evaluation import measure
from saccade.training.folder import SPLIT
from saccade.training.placement import Placement, placement
from saccade.training.problems import Side, pixel_side, side_of
from saccade.training.run import reading_processes
from saccade.training.sources import LoaderSource, Share
from saccade.training.tasks import Classification, Segmentation, Task

_SHOWN = 5
Kind = TypeVar("Kind")


@dataclass(frozen=True)
class Ready:
    """A trained network with what must be known to use it.

    Args:
        file: Where it was read.
        net: In evaluation mode.
        classes: Their names.
        size: Side of the images, or of the crops of segmentation, in pixels.
        crop: The part of the shorter side that is seen; of classification.
        palette: A colour for each class; of segmentation, empty for classification.
    """

    file: Path
    net: nn.Module
    classes: tuple[str, ...]
    size: int
    crop: float = 1.0
    palette: tuple[Colour, ...] = ()

    @property
    def transform(self) -> Transform:
        """From a Pillow image to what the network is given."""
        return scoring_transform(self.size, crop=self.crop)

    @property
    def folder(self) -> Path:
        """Of the run."""
        return self.file.parent.parent if self.file.parent.name == "checkpoints" else self.file.parent


def open_run(model: str | os.PathLike[str], trust: Trust = ()) -> Ready:
    """The network of a run: its best, or that of one file in it.

    Raises:
        InputError: No such run, a damaged file, or a network that was not trained by saccade.
    """
    file = network_file(Path(model))
    reading = read_header(file).get("reading")
    if reading is None:
        raise InputError(f"{file}: holds a network, but not its classes", "give the folder that saccade train wrote")
    classes, size, net = tuple(reading["classes"]), reading["size"], load(file, trust=trust).eval()
    if reading["task"] == "segmentation":
        return Ready(file, net, classes, size, palette=tuple((r, g, b) for r, g, b in reading["palette"]))
    return Ready(file, net, classes, size, reading["crop"])


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
        how = f"; {found['protocol']}" if "protocol" in found else ""
        lines = [f"{found['file']} on {found['images']} images: {found['what']}{how}", ""]
        lines += [f"{name:<16} {value:.4f}" for name, value in found["scores"].items()]
        for kind in ("by_size", "by_thinness"):
            if kind in found:
                each = "  ".join(f"{name} {_number(value)}" for name, value in found[kind].items())
                lines.append(f"{'mIoU ' + kind.replace('_', ' '):<16} {each}")
        rows, title = list(found["by_class"].items()), "classes"
        if "protocol" not in found:
            rows, title = sorted(rows, key=lambda row: row[1])[:_SHOWN], "lowest classes"
        width = max(20, *(len(name) for name, _ in rows))
        return "\n".join([*lines, "", title, *(f"  {name:<{width}} {_number(value)}" for name, value in rows)])


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def evaluate_network(
    data: str | os.PathLike[str],
    model: str | os.PathLike[str],
    *,
    trust: Trust = (),
    batch: int = 64,
    protocol: str | Protocol = "whole",
    device: str = "auto",
    workers: int | None = None,
) -> Evaluation:
    """Score a trained network; run by ``torchrun`` on all devices, with the same result.

    Images of the held-out side of `data` count; of a folder that was split for training, those that were held out; of
    any other folder, all. Images with masks are scored one at a time, each at its own size.

    Args:
        data: Folder of images.
        model: Folder of a run, or a file in it.
        trust: Code of your own that may be imported for it, as for :func:`saccade.load`.
        batch: Images at a time, in each process; of classification.
        protocol: Of segmentation: ``"whole"`` images, ``"sliding"`` windows of the size of the training crops,
            ``"multi-scale"``: such windows at six scales, mirrored too; or any other, see
            :class:`saccade.segmentation.protocols.Protocol`.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``.
        workers: Processes that read images.

    Raises:
        InputError: Something given is wrong, or an image cannot be read.
    """
    ready, where, path = open_run(model, trust), placement(device), Path(data)
    workers = reading_processes(where) if workers is None else workers
    evaluate = _evaluate_pixels if ready.palette else _evaluate_images
    results = {"file": str(ready.file), "data": str(path)}
    return Evaluation(results | evaluate(path, ready, where, batch, protocol, workers), where.index == 0)


def _evaluate_images(
    path: Path, ready: Ready, where: Placement, batch: int, protocol: str | Protocol, workers: int
) -> dict[str, Any]:
    if protocol != "whole":
        raise InputError(f"protocol {protocol!r} is for segmentation; {ready.file} classifies images", "leave it out")
    side, there, what = _held_out(path, ready)
    task = Classification(len(ready.classes))
    found = _measured(ready.net, task, task.metrics(by_class=True), side, where, batch, workers)
    values = enumerate(zip(ready.classes, found.pop("by class").tolist(), strict=True))
    by_class = {name: value for index, (name, value) in values if index in there}
    return {"what": what, "images": len(side), "scores": found, "by_class": by_class}


def _evaluate_pixels(
    path: Path, ready: Ready, where: Placement, batch: int, protocol: str | Protocol, workers: int
) -> dict[str, Any]:
    from saccade.segmentation.metrics import ObjectIoU

    side, what = _held_out_pixels(path, ready)
    how = protocol_for(protocol, ready.size)
    task = Segmentation(len(ready.classes))
    objects = ObjectIoU(len(ready.classes), background=has_background(ready.classes))
    metrics = task.metrics(by_class=True) | {"by object": objects}
    found = _measured(Seen(ready.net, how), task, metrics, side, where, 1, workers)
    by_class = dict(zip(ready.classes, _plain(found.pop("by class").tolist()), strict=True))
    size, thinness = map(_plain, found.pop("by object").tolist())
    return {
        "what": what, "images": len(side), "protocol": str(how), "scores": found, "by_class": by_class,
        "by_size": dict(zip(SIZES, size, strict=False)), "by_thinness": dict(zip(THINNESS, thinness, strict=False)),
        "limits": {"size": size[3:], "thinness": thinness[3:]},
    }  # fmt: skip


def _measured(
    net: nn.Module, task: Task, metrics: dict[str, Any], side: Side, where: Placement, batch: int, workers: int
) -> dict[str, Any]:
    source = LoaderSource(side.samples, workers=workers, name=side.name, device=where.device)
    net.to(where.device).to(memory_format=torch.channels_last)
    return measure(net, metrics, task, source.once(batch, Share(where.index, where.processes)), where)


def _plain(values: Iterable[float]) -> list[float | None]:
    """JSON has no NaN."""
    return [None if math.isnan(value) else value for value in values]


def _held_out_pixels(path: Path, ready: Ready) -> tuple[Side, str]:
    """The images with masks to score, and which they are, in words."""
    data = load_labelled(path)
    numbers = all(name.isdigit() for name in data.classes)
    if data.classes != ready.classes and not (numbers and set(data.classes) <= set(ready.classes)):
        unknown = [name for name in data.classes if name not in ready.classes]
        raise InputError(
            f"{path} has {len(data.classes)} classes, the network {len(ready.classes)}"
            + (f"; it does not know {listed(unknown)}" if unknown else ""),
            f"it knows {listed(ready.classes)}",
        )
    if "split by seed" not in data.note:
        return pixel_side(data, data.val, path), f"the held-out side of {data.name}"
    every = sorted([*data.train, *data.val])
    held, what = _recorded({pair.image.relative_to(path).as_posix(): pair for pair in every}, path, ready)
    return pixel_side(data, held, path), what


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
    held, what = _recorded({item.image.relative_to(path).as_posix(): item for item in items}, path, ready)
    return tuple(held), what


def _recorded(by_name: dict[str, Kind], path: Path, ready: Ready) -> tuple[list[Kind], str]:
    """Those of a folder's images that were held out from training, if it was trained on; else all."""
    recorded = ready.folder / SPLIT
    if not recorded.exists():
        return list(by_name.values()), "all of them"
    split = read_json(recorded)
    held = [by_name[name] for name in split["held_out"] if name in by_name]
    if not held:
        return list(by_name.values()), "all of them, none was seen in training"
    missing = [name for name in split["held_out"] if name not in by_name]
    if missing:
        raise InputError(
            f"{path}: {len(missing)} of the {len(split['held_out'])} images held out from training are gone: "
            f"{listed(missing)}",
            "put them back; the others may have been trained on",
        )
    return held, f"those held out from training by seed {split['seed']}"
