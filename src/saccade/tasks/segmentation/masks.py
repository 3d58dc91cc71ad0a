"""Masks and overlays of any number of images, written one by one."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from saccade.data.images import UnreadableError, read_image
from saccade.errors import InputError, require
from saccade.finite import check_outputs
from saccade.outputs import Outputs
from saccade.tasks.segmentation.pictures import overlay, save_mask
from saccade.tasks.segmentation.protocols import Protocol, classify, protocol_for
from saccade.training.inputs import to_input

if TYPE_CHECKING:
    from saccade.runs.open import Opened
    from saccade.runs.predict import Options
    from saccade.tasks.segmentation.task import Segmentation

MASKS, OVERLAYS, LISTING = "masks", "overlays", "predictions.csv"
_SHOWN = 20


@dataclass
class Masks:
    """Masks that were written.

    Args:
        out: Folder with ``masks/``, ``overlays/`` and ``predictions.csv``, which has the fraction of each class.
        protocol: Protocol under which images were seen.
        images: Number of images.
        failed: Images that could not be read, with the reason.
    """

    out: Path
    protocol: str
    images: int = 0
    failed: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return vars(self) | {"out": str(self.out)}

    def __str__(self) -> str:
        said = [f"{self.images} masks in {self.out / MASKS}, over their images in {self.out / OVERLAYS}"]
        said += [f"protocol: {self.protocol}; fractions of the classes: {self.out / LISTING}"]
        said += [f"{len(self.failed)} images could not be read:"] if self.failed else []
        more = len(self.failed) - _SHOWN
        return "\n".join([*said, *self.failed[:_SHOWN], *([f"and {more} more"] if more > 0 else [])])


def write_masks(task: Segmentation, opened: Opened, images: Sequence[tuple[Path, Path]], options: Options) -> Masks:
    """Write a mask with a palette (PNG) and an overlay (JPEG) of every image, each under the image's own name.

    Args:
        task: Classes and colours.
        opened: The network, on its device.
        images: Paths, and the folders that their names are relative to.
        options: Folder, protocol, device and progress.

    Raises:
        InputError: No folder was given, two images would have one mask, or a file there is not saccade's.
    """
    if options.out is None:
        raise InputError("predict: masks are files, and no folder for them was given", "add --out DIR")
    protocol = protocol_for(options.protocol or "sliding", task.size, longer_side=task.longer_side)
    places, outputs = _places(images), Outputs(options.out)
    outputs.check([options.out / LISTING, *(path for place in places for path in _files(options.out, place))])
    done = Masks(options.out, str(protocol))
    with (
        outputs.replacing(options.out / LISTING) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as table,
    ):
        writer = csv.writer(table)
        writer.writerow(["image", *task.classes, "problem"])
        for number, ((path, _), place) in enumerate(zip(images, places, strict=True), 1):
            fractions, problem = [""] * len(task.classes), ""
            try:
                classes = _one(path, outputs, place, task, opened.net, protocol, options.device)
            except UnreadableError as cause:
                problem = cause.whole
                done.failed.append(f"{path}: {problem}")
            else:
                done.images += 1
                pixels = np.bincount(classes.reshape(-1), minlength=len(task.classes))
                fractions = [f"{fraction:.6f}" for fraction in pixels / classes.size]
            writer.writerow([str(path), *fractions, problem])
            options.on_progress(number, len(images))
    return done


def _one(
    path: Path,
    outputs: Outputs,
    place: Path,
    task: Segmentation,
    net: nn.Module,
    protocol: Protocol,
    device: torch.device,
) -> Any:
    """Classes (H, W) of an image, which are then on disk."""
    image = np.array(read_image(path, white=task.white))
    x = to_input(torch.from_numpy(image).permute(2, 0, 1)[None], device, task.statistics)
    scores = classify(net, x, protocol)[0]
    check_outputs(net, scores)
    classes = scores.argmax(dim=0).cpu().numpy()
    mask, over = _files(outputs.folder, place)
    with outputs.replacing(mask) as temporary:
        save_mask(temporary, classes, task.palette)
    shown = require("PIL.Image", extra="train").fromarray(overlay(image, classes, task.palette))
    with outputs.replacing(over) as temporary:
        shown.save(temporary, format="JPEG", quality=90)
    return classes


def _files(out: Path, place: Path) -> tuple[Path, Path]:
    """The mask and the overlay of an image."""
    return out / MASKS / f"{place}.png", out / OVERLAYS / f"{place}.jpg"


def _places(images: Sequence[tuple[Path, Path]]) -> list[Path]:
    """Names of the masks, without suffixes."""
    taken: dict[Path, Path] = {}
    for path, folder in images:
        place = path.relative_to(folder).with_suffix("")
        if place in taken:
            raise InputError(
                f"{taken[place]} and {path} would both have the mask {place}.png",
                "rename one, or predict them into different folders",
            )
        taken[place] = path
    return list(taken)
