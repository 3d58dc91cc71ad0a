"""``images/`` and ``masks/`` of the same names: below ``train/`` and ``val/``, or alone and split."""

from __future__ import annotations

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

_PAIR = {"images", "masks"}


def is_pairs(path: Path) -> bool:
    """Return True if a folder, or one of its two sides, has ``images/`` and ``masks/`` or one of them."""
    if set(folders(path)) >= _PAIR:
        return has_images(path)
    both = sides(path)
    return both is not None and any(_PAIR & set(folders(side)) for side in both)


def find_pairs(path: Path, split_seed: int) -> Files:
    """List images and masks; where there is no validation side, split them by `split_seed`.

    Raises:
        InputError: A side or a mask is missing, or there are too few images to split.
    """
    both = sides(path)
    if set(folders(path)) >= _PAIR or both is None:
        pairs = _pairs(path)
        if len(pairs) < 2:
            raise InputError(f"{path}: too few images; at least 2 with masks are needed; received {len(pairs)}")
        train, val = split([pairs], split_seed)
        note = f"segmentation, from images/ and masks/, split by seed {split_seed}"
        return Files((), train, val, note, drawn=True)
    both_have_images(both)
    train, val = (_pairs(side) for side in both)
    names = [side.name for side in both]
    return Files((), train, val, f"segmentation, from {names[0]}/ and {names[1]}/ with images/ and masks/")


def _pairs(folder: Path) -> tuple[Item, ...]:
    """Images with the masks of the same name, whatever the suffixes."""
    inside = folders(folder)
    for need in ("images", "masks"):
        if need not in inside or not has_images(inside[need]):
            raise InputError(f"{folder}: {need}/ is missing or empty", known_layouts())
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
