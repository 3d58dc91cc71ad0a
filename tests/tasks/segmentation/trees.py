"""Tiny trees of files laid out as the data sets are when unpacked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

SHAPE = (6, 8)


def picture(path: Path, shape: tuple[int, int] = SHAPE) -> Path:
    """A picture that differs from others of another name."""
    rng = np.random.default_rng(list(path.name.encode()))
    return write(path, rng.integers(0, 255, (*shape, 3), dtype=np.uint8))


def mask(path: Path, value: int = 0, at: Mapping[tuple[int, int], int] | None = None) -> Path:
    """A mask of one value, with others at some pixels."""
    values = np.full(SHAPE, value, dtype=np.uint8)
    for place, other in (at or {}).items():
        values[place] = other
    return write(path, values)


def write(path: Path, values: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)
    return path


def listing(path: Path, *names: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(names) + "\n")
    return path


def cityscapes(root: Path, ends: str = "labelIds") -> Path:
    for side, city in (("train", "aachen"), ("train", "bochum"), ("val", "lindau")):
        for number in (0, 1):
            name = f"{city}_00000{number}_000019"
            picture(root / "leftImg8bit" / side / city / f"{name}_leftImg8bit.png")
            value = 7 if ends == "labelIds" else 0
            mask(root / "gtFine" / side / city / f"{name}_gtFine_{ends}.png", value, {(1, 2): 255})
    return root


def voc(root: Path, masks: str = "SegmentationClass", lists: str = "Segmentation") -> Path:
    year = root / "VOCdevkit" / "VOC2012"
    for side, names in (("train", ("a1", "a2")), ("val", ("b1",))):
        for name in names:
            picture(year / "JPEGImages" / f"{name}.jpg")
            mask(year / masks / f"{name}.png", 15, {(0, 0): 0, (0, 1): 20})
        listing(year / "ImageSets" / lists / f"{side}.txt", *names)
    picture(year / "JPEGImages" / "of_another_task.jpg")
    return root


def sbd(root: Path) -> Path:
    from scipy.io import savemat

    for name in ("a1", "b1", "c1", "c2"):
        picture(root / "dataset" / "img" / f"{name}.jpg")
        values = np.full(SHAPE, 7, dtype=np.uint8)
        folder = root / "dataset" / "cls"
        folder.mkdir(parents=True, exist_ok=True)
        savemat(folder / f"{name}.mat", {"GTcls": {"Segmentation": values, "CategoriesPresent": 7}})
    listing(root / "dataset" / "train.txt", "a1", "c1")
    listing(root / "dataset" / "val.txt", "b1", "c2")
    return root


def ade20k(root: Path) -> Path:
    top = root / "ADEChallengeData2016"
    for side, count in (("training", 3), ("validation", 1)):
        for number in range(count):
            picture(top / "images" / side / f"ADE_{side}_{number}.jpg")
            mask(top / "annotations" / side / f"ADE_{side}_{number}.png", 150, {(0, 0): 0, (5, 7): 1})
    return root
