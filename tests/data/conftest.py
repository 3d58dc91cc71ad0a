"""Folders of small pictures cut from scikit-image's photographs, in the layouts people have."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

SIZE = 32


def crops(name: str, count: int, height: int = 40, width: int = 56, seed: int = 0) -> list[np.ndarray]:
    photo, rng = getattr(data, name)(), np.random.default_rng(len(name) + 100 * seed)
    corners = [(rng.integers(photo.shape[0] - height), rng.integers(photo.shape[1] - width)) for _ in range(count)]
    return [photo[top : top + height, left : left + width] for top, left in corners]


def save(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def mask_of(pixels: np.ndarray) -> np.ndarray:
    """Bright pixels are class 1, very bright ones 2, and a corner is ignored."""
    mask = (pixels.mean(2) > 90).astype(np.uint8) + (pixels.mean(2) > 150)
    mask[:4, :4], mask[5, 5], mask[6, 6] = 255, 1, 2
    return mask.astype(np.uint8)


@pytest.fixture
def class_folders(tmp_path: Path) -> Path:
    """CLASS/*.jpg: ten pictures of the cat, five of the coffee."""
    for name, count in (("chelsea", 10), ("coffee", 5)):
        for index, pixels in enumerate(crops(name, count)):
            save(tmp_path / "data" / name / f"{index:02}.jpg", pixels)
    return tmp_path / "data"


@pytest.fixture
def two_sides(tmp_path: Path) -> Path:
    """train/CLASS/*.jpg and valid/CLASS/*.jpg."""
    for side, count in (("train", 3), ("valid", 2)):
        for name in ("chelsea", "coffee"):
            for index, pixels in enumerate(crops(name, count, seed=count)):
                save(tmp_path / "data" / side / name / f"{index}.jpg", pixels)
    return tmp_path / "data"


@pytest.fixture
def masked(tmp_path: Path) -> Path:
    """images/*.jpg and masks/*.png: six pictures of the astronaut with three classes."""
    for index, pixels in enumerate(crops("astronaut", 6)):
        save(tmp_path / "data" / "images" / f"{index}.jpg", pixels)
        save(tmp_path / "data" / "masks" / f"{index}.png", mask_of(pixels))
    return tmp_path / "data"
