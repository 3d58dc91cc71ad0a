"""One folder per class: below ``train/`` and ``val/``, or alone and split."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from saccade.data.layouts import (
    Item,
    both_have_images,
    folders,
    has_images,
    images_in,
    known_layouts,
    listed,
    sides,
    split,
)
from saccade.errors import InputError
from saccade.tasks.base import Files


def is_class_folders(path: Path) -> bool:
    """Return True if a folder has both sides, or folders with images and no folder that says another role."""
    inside = folders(path)
    if sides(path) is not None:
        return has_images(path)
    roles = {"train", "images", "masks"} & set(inside)
    return not roles and any(has_images(folder) for folder in inside.values())


def find_classes(path: Path, split_seed: int) -> Files:
    """List the images of every class; where there is no validation side, split each class by `split_seed`.

    Raises:
        InputError: A side is empty, there is one class only, a class is in validation only, or there are too few
            images to split.
    """
    both = sides(path)
    return _split_classes(path, split_seed) if both is None else _two_sides(path, both)


def labelled_images(path: Path, classes: Sequence[str]) -> tuple[Item, ...]:
    """Every image of a folder with a folder for each class, labelled by the place of its class in `classes`.

    Raises:
        InputError: No such folder, no images in folders, or a class that is not in `classes`.
    """
    if not path.is_dir():
        raise InputError(f"{path} is not a folder", "give a folder with one folder for each class")
    found = _class_names(folders(path).values())
    unknown = [name for name in found if name not in classes]
    if unknown or not found:
        said = f"classes the network does not know: {listed(unknown)}" if unknown else "no folders with images"
        raise InputError(f"{path} has {said}", f"it knows {listed(classes)}")
    return _labelled([path / name if name in found else path / ".none" for name in classes])


def _two_sides(path: Path, both: tuple[Path, Path]) -> Files:
    train, val = both
    both_have_images(both)
    classes = _class_names(folders(train).values())
    unknown = [name for name in _class_names(folders(val).values()) if name not in classes]
    if unknown:
        raise InputError(
            f"{val} has classes missing from {train}: {listed(unknown)}",
            "nothing can be learned about them: move or remove them",
        )
    _several(path, classes)
    found = [_labelled([side / name for name in classes]) for side in both]
    if not found[1]:
        raise InputError(f"{val} has images, but none in a folder of its class", known_layouts())
    return Files(classes, found[0], found[1], f"classification, from {train.name}/CLASS and {val.name}/CLASS")


def _split_classes(path: Path, split_seed: int) -> Files:
    classes = _class_names(folders(path).values())
    _several(path, classes)
    items = _labelled([path / name for name in classes])
    groups = [[item for item in items if item.target == index] for index in range(len(classes))]
    single = [name for name, group in zip(classes, groups, strict=True) if len(group) < 2]
    if single:
        raise InputError(f"{path}: too few images; a class needs at least 2 to be split: {listed(single)}")
    train, val = split(groups, split_seed)
    note = f"classification, one folder per class, split by seed {split_seed}"
    return Files(classes, train, val, note, drawn=True)


def _class_names(inside: Iterable[Path]) -> tuple[str, ...]:
    return tuple(folder.name for folder in inside if has_images(folder))


def _labelled(inside: Sequence[Path]) -> tuple[Item, ...]:
    return tuple(Item(image, index) for index, folder in enumerate(inside) for image in images_in(folder))


def _several(path: Path, classes: Sequence[str]) -> None:
    if len(classes) < 2:
        raise InputError(
            f"{path}: only one class ({listed(classes) or 'no folder of a class'}); classification needs two or more",
            f"put each class in a folder of its own; {known_layouts()}",
        )
