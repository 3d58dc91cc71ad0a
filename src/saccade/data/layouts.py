"""Reading folders, as all tasks do it: finding images, sides and splits, and saying what was seen."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from saccade.data.images import SUFFIXES
from saccade.errors import InputError

_VALIDATION = ("val", "valid", "validation", "test")
_ROLES = ("train", "images", "masks", *_VALIDATION)  # recognised in any case
_VALIDATION_FRACTION = 0.2
_SHOWN = 10


@dataclass(frozen=True)
class Item:
    """One image with its target: the index of its class, the file of its mask, or whatever a task reads."""

    image: Path
    target: Any


def known_layouts() -> str:
    """The layouts that tasks recognise, one per line."""
    from saccade.tasks import every_task

    rows = [(f"{task.name}:", line) for task in reversed(every_task()) for line in task.layouts.values()]
    width = max(len(name) for name, _ in rows)
    return "known layouts:\n" + "\n".join(f"  {name:<{width}} {line}" for name, line in rows)


def sides(path: Path) -> tuple[Path, Path] | None:
    """The folders of training and validation, where a folder has both."""
    inside = folders(path)
    val = next((inside[name] for name in _VALIDATION if name in inside), None)
    return (inside["train"], val) if "train" in inside and val is not None else None


def held_out_folder(path: Path) -> Path | None:
    """The validation side of a folder, where it has one."""
    found = sides(path) if path.is_dir() else None
    return found and found[1]


def both_have_images(pair: tuple[Path, Path]) -> None:
    """Refuse a side without images.

    Raises:
        InputError: Naming it.
    """
    for side in pair:
        if not has_images(side):
            raise InputError(f"{side} contains no images", "both sides need some")


def images_in(folder: Path) -> list[Path]:
    """Return every image below `folder`, in order of name; hidden files and folders are left out."""
    return sorted(_walk(folder), key=lambda p: p.relative_to(folder).as_posix())


def _walk(folder: Path) -> Iterator[Path]:
    """Yield every image below `folder`, through symbolic links too; a folder that several links reach is read once."""
    seen = set(folder.resolve().parents)  # a link upwards is a circle, or leads to other classes
    for place, inner, files in os.walk(folder, followlinks=True):
        here, real = Path(place), Path(place).resolve()
        if real in seen:
            inner.clear()
            continue
        seen.add(real)
        # Real folders come first, so that a link next to one does not rename its images.
        inner[:] = sorted((n for n in inner if not n.startswith(".")), key=lambda n: ((here / n).is_symlink(), n))
        for name in files:
            path = here / name
            if path.suffix.lower() in SUFFIXES and not name.startswith(".") and path.is_file():
                yield path


def has_images(folder: Path) -> bool:
    """Return True if there is an image below a folder; a million files are not listed to see one."""
    return next(_walk(folder), None) is not None


def listed(names: Sequence[str]) -> str:
    """Return the first ten names, and how many more there are."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def folders(path: Path) -> dict[str, Path]:
    """The visible folders in a folder by name; names that say a role are in lower case."""
    visible = sorted(
        (p for p in path.iterdir() if p.is_dir() and not p.name.startswith((".", "__"))), key=lambda p: p.name
    )
    return {folder.name.lower() if folder.name.lower() in _ROLES else folder.name: folder for folder in visible}


def split(groups: Sequence[Sequence[Item]], seed: int) -> tuple[tuple[Item, ...], tuple[Item, ...]]:
    """Split every group of at least 2 items 80/20; each side gets at least one item of each."""
    train: list[Item] = []
    val: list[Item] = []
    for index, group in enumerate(groups):
        count = max(1, round(_VALIDATION_FRACTION * len(group)))
        chosen = set(np.random.default_rng((seed, index)).permutation(len(group))[:count].tolist())
        for place, item in enumerate(group):
            (val if place in chosen else train).append(item)
    return tuple(train), tuple(val)


def not_recognised(path: Path) -> InputError:
    """Say what a folder holds that no task recognises, and what tasks would."""
    if not has_images(path):
        return InputError(f"{path} contains no images", f"images are files ending in {' '.join(SUFFIXES)}")
    inside = folders(path)
    loose = [p for p in images_in(path) if p.parent == path]
    seen = [f"{folder.name}/ ({len(images_in(folder))} images)" for folder in inside.values()]
    seen += [f"{len(loose)} images directly inside"] if loose else []
    advice = known_layouts()
    if "train" in inside:
        advice = f"it has train/ but no val/: to have train/ split, give {inside['train']}; {advice}"
    return InputError(f"the layout of {path} is not recognised; seen: {listed(seen)}", advice)
