"""Recognise how a folder of images is laid out, and decide which images are for training and which for validation."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from saccade.data import Task
from saccade.data.images import SUFFIXES
from saccade.errors import InputError

KNOWN = """\
  classification: train/CLASS/*.jpg and val/CLASS/*.jpg (val, valid, validation or test)
  classification: CLASS/*.jpg, split 80/20
  segmentation:   train/images, train/masks, val/images, val/masks
  segmentation:   images/*.jpg and masks/*.png of the same names, split 80/20
  segmentation, by train: Cityscapes, PASCAL VOC, PASCAL Context and ADE20K as unpacked"""

_VALIDATION = ("val", "valid", "validation", "test")
_ROLES = ("train", "images", "masks", *_VALIDATION)  # recognised in any case
_VALIDATION_SHARE = 0.2
_SHOWN = 10


@dataclass(frozen=True)
class Item:
    """One image with the index of its class, or with its mask."""

    image: Path
    target: int | Path


@dataclass(frozen=True)
class Layout:
    """The recognised layout of a folder.

    Args:
        task: ``"classification"`` or ``"segmentation"``.
        classes: Class names; empty for segmentation, where the masks define the classes.
        train: Items for training, in order of the files' names.
        val: Items for validation, in order of the files' names.
        said: How the layout was recognised, as a sentence.
    """

    task: Task
    classes: tuple[str, ...]
    train: tuple[Item, ...]
    val: tuple[Item, ...]
    said: str


def find_layout(path: Path, split_seed: int) -> Layout:
    """Recognise the layout of `path`; if it has no validation side, split it by `split_seed`.

    Raises:
        InputError: The folder is missing, empty or not recognised, a side or a mask is missing, there is only one
            class, a class is in validation only, or there are too few images to split.
    """
    if not path.is_dir():
        raise InputError(
            f"{path} {'is a file, not a folder' if path.exists() else 'does not exist'}", "give a folder of images"
        )
    if not _has_images(path):
        raise InputError(f"{path} contains no images", f"images are files ending in {' '.join(SUFFIXES)}")
    inside = _folders(path)
    if "images" in inside and "masks" in inside:
        return _split_pairs(path, split_seed)
    val = next((name for name in _VALIDATION if name in inside), None)
    if "train" in inside and val is not None:
        return _two_sides(path, inside["train"], inside[val])
    if {"train", "images", "masks"} & set(inside) or not any(_has_images(folder) for folder in inside.values()):
        raise _not_recognised(path, inside)
    return _split_classes(path, inside.values(), split_seed)


def held_out_folder(path: Path) -> Path | None:
    """Return the validation side of `path`; None if its layout has none."""
    inside = _folders(path) if path.is_dir() else {}
    return next((inside[name] for name in _VALIDATION if name in inside and "train" in inside), None)


def labelled_images(path: Path, classes: Sequence[str]) -> tuple[Item, ...]:
    """Return every image of a folder with one folder per class, labelled by the index of its class in `classes`.

    Raises:
        InputError: The folder is missing, no class folder has images, or a class is not in `classes`.
    """
    if not path.is_dir():
        raise InputError(f"{path} is not a folder", "give a folder with one folder per class")
    found = _class_names(_folders(path).values())
    unknown = [name for name in found if name not in classes]
    if unknown or not found:
        said = f"classes the network does not know: {listed(unknown)}" if unknown else "no folders with images"
        raise InputError(f"{path} has {said}", f"it knows {listed(classes)}")
    return _labelled([path / name if name in found else path / ".none" for name in classes])


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
        # Real folders come first, so that a link beside one does not rename its images.
        inner[:] = sorted((n for n in inner if not n.startswith(".")), key=lambda n: ((here / n).is_symlink(), n))
        for name in files:
            path = here / name
            if path.suffix.lower() in SUFFIXES and not name.startswith(".") and path.is_file():
                yield path


def _has_images(folder: Path) -> bool:
    return next(_walk(folder), None) is not None  # does not list a million files to see one


def listed(names: Sequence[str]) -> str:
    """Return the first ten names, and how many more there are."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _folders(path: Path) -> dict[str, Path]:
    visible = sorted(
        (p for p in path.iterdir() if p.is_dir() and not p.name.startswith((".", "__"))), key=lambda p: p.name
    )
    return {folder.name.lower() if folder.name.lower() in _ROLES else folder.name: folder for folder in visible}


def _two_sides(path: Path, train: Path, val: Path) -> Layout:
    for side in (train, val):
        if not _has_images(side):
            raise InputError(f"{side} contains no images", "both sides need images")
    paired = [{"images", "masks"} & set(_folders(side)) for side in (train, val)]
    if any(paired):
        pairs = [_pairs(side) for side in (train, val)]
        said = f"segmentation, from {train.name}/ and {val.name}/ with images/ and masks/"
        return Layout("segmentation", (), pairs[0], pairs[1], said)
    classes = _class_names(_folders(train).values())
    unknown = [name for name in _class_names(_folders(val).values()) if name not in classes]
    if unknown:
        raise InputError(
            f"{val} has classes missing from {train}: {listed(unknown)}",
            "nothing can be learned about them: move or remove them",
        )
    _several(path, classes)
    sides = [_labelled([side / name for name in classes]) for side in (train, val)]
    if not sides[1]:
        raise InputError(f"{val} has images, but none in a folder of its class", f"known layouts:\n{KNOWN}")
    said = f"classification, from {train.name}/CLASS and {val.name}/CLASS"
    return Layout("classification", classes, sides[0], sides[1], said)


def _split_classes(path: Path, folders: Iterable[Path], split_seed: int) -> Layout:
    classes = _class_names(folders)
    _several(path, classes)
    items = _labelled([path / name for name in classes])
    groups = [[item for item in items if item.target == index] for index in range(len(classes))]
    single = [name for name, group in zip(classes, groups, strict=True) if len(group) < 2]
    if single:
        raise InputError(f"{path}: too few images; a class needs at least 2 to be split: {listed(single)}")
    train, val = _split(groups, split_seed)
    return Layout(
        "classification", classes, train, val, f"classification, one folder per class, split by seed {split_seed}"
    )


def _split_pairs(path: Path, split_seed: int) -> Layout:
    pairs = _pairs(path)
    if len(pairs) < 2:
        raise InputError(f"{path}: too few images; at least 2 with masks are needed; received {len(pairs)}")
    train, val = _split([pairs], split_seed)
    return Layout("segmentation", (), train, val, f"segmentation, from images/ and masks/, split by seed {split_seed}")


def _split(groups: Sequence[Sequence[Item]], seed: int) -> tuple[tuple[Item, ...], tuple[Item, ...]]:
    """Split every group of at least 2 items 80/20, with at least one item of each on both sides."""
    train: list[Item] = []
    val: list[Item] = []
    for index, group in enumerate(groups):
        count = max(1, round(_VALIDATION_SHARE * len(group)))
        chosen = set(np.random.default_rng((seed, index)).permutation(len(group))[:count].tolist())
        for place, item in enumerate(group):
            (val if place in chosen else train).append(item)
    return tuple(train), tuple(val)


def _class_names(folders: Iterable[Path]) -> tuple[str, ...]:
    return tuple(folder.name for folder in folders if _has_images(folder))


def _labelled(folders: Sequence[Path]) -> tuple[Item, ...]:
    return tuple(Item(image, index) for index, folder in enumerate(folders) for image in images_in(folder))


def _several(path: Path, classes: Sequence[str]) -> None:
    if len(classes) < 2:
        raise InputError(
            f"{path}: only one class ({listed(classes) or 'no folder of a class'}); classification needs two or more",
            f"put each class in a folder of its own; known layouts:\n{KNOWN}",
        )


def _pairs(folder: Path) -> tuple[Item, ...]:
    """Return images with the masks of the same name, whatever the suffixes."""
    inside = _folders(folder)
    for need in ("images", "masks"):
        if need not in inside or not _has_images(inside[need]):
            raise InputError(f"{folder}: {need}/ is missing or empty", f"known layouts:\n{KNOWN}")
    images, masks = (_by_stem(inside[name]) for name in ("images", "masks"))
    without = [image.name for stem, image in images.items() if stem not in masks]
    if without:
        raise InputError(
            f"{folder}: {len(without)} of {len(images)} images have no mask: {listed(without)}",
            "a mask has the name of its image: images/a.jpg and masks/a.png",
        )
    return tuple(Item(image, masks[stem]) for stem, image in images.items())


def _by_stem(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in images_in(folder):
        stem = path.relative_to(folder).with_suffix("").as_posix()
        if stem in found:
            raise InputError(
                f"{found[stem]} and {path.name} have the same name, so masks cannot be told apart", "rename one"
            )
        found[stem] = path
    return found


def _not_recognised(path: Path, inside: dict[str, Path]) -> InputError:
    loose = [p for p in images_in(path) if p.parent == path]
    seen = [f"{folder.name}/ ({len(images_in(folder))} images)" for folder in inside.values()]
    seen += [f"{len(loose)} images directly inside"] if loose else []
    advice = f"known layouts:\n{KNOWN}"
    if "train" in inside:
        advice = f"it has train/ but no val/: to have train/ split, give {inside['train']}; {advice}"
    return InputError(f"the layout of {path} is not recognised; seen: {listed(seen)}", advice)
