"""The images of a folder as a torch Dataset, decoded on access, and the transforms of training and scoring."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.utils.data import Dataset

from saccade.data import Split
from saccade.data.images import read_image
from saccade.data.layouts import Item, relative
from saccade.errors import InputError, near, require

_CROP = 224 / 256
"""Side of the scored centre relative to the shorter side, as in the papers."""

Transform = Callable[[Any], Tensor]


class ImageSamples(Dataset[tuple[Tensor, int]]):
    """Dataset of (image (3, H, W) uint8, class) read from labelled files.

    Args:
        items: Files and classes.
        transform: Converts a Pillow image of mode RGB to the tensor.
        near: Large JPEGs are decoded at a fraction of their size, never below twice this side.
        white: Stored value of white in images of more than 8 bits.
    """

    def __init__(
        self, items: Sequence[Item], transform: Transform, *, near: int | None = None, white: float | None = None
    ) -> None:
        self.items = items
        self.transform = transform
        self.near = near
        self.white = white

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        item = self.items[index]
        assert isinstance(item.target, int)
        return self.transform(read_image(item.image, near=self.near, white=self.white)), item.target

    def target(self, index: int) -> Any:
        """Class of a sample."""
        return self.items[index].target

    def name(self, index: int) -> str:
        """Path of a sample."""
        return str(self.items[index].image)


class ArraySamples(Dataset[tuple[Tensor, int]]):
    """Dataset of (image (3, H, W) uint8, class) held in memory.

    Args:
        split: Images and targets.
        transform: Converts a Pillow image of mode RGB to the tensor.
    """

    def __init__(self, split: Split, transform: Transform) -> None:
        self.split = split
        self.transform = transform

    def __len__(self) -> int:
        return len(self.split.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = require("PIL.Image", extra="train").fromarray(self.split.images[index])
        return self.transform(image), int(self.split.targets[index])

    def target(self, index: int) -> Any:
        """Class of a sample."""
        return self.split.targets[index]

    def name(self, index: int) -> str:
        """Name of a sample."""
        return self.split.names[index]


def training_transform(name: str, size: int, crop: float = _CROP) -> Transform:
    """Return the augmentation called `name`, ending in uint8 (3, size, size); it draws from torch's generator.

    Args:
        name: ``"imagenet"``: a crop of 8% to 100% of the area, mirrored half the time, as in the papers; ``"light"``:
            of 50% to 100%; ``"cifar"``: shifted by up to an eighth of the side, mirrored half the time; ``"shift"``:
            the same without mirroring, for what has a left and a right, such as letters; ``"none"``: as for scoring.
        size: Side in pixels.
        crop: Fraction for ``"none"``, see :func:`scoring_transform`.

    Raises:
        InputError: An unknown name.
    """
    v2: Any = require("torchvision.transforms.v2", extra="train")
    flip = v2.RandomHorizontalFlip()
    shift = [v2.Resize((size, size), antialias=True), v2.RandomCrop(size, padding=size // 8)]
    known = {
        "imagenet": [v2.RandomResizedCrop(size, scale=(0.08, 1.0), antialias=True), flip],
        "light": [v2.RandomResizedCrop(size, scale=(0.5, 1.0), antialias=True), flip],
        "cifar": [*shift, flip],
        "shift": shift,
    }
    if name == "none":
        return scoring_transform(size, crop=crop)
    if name not in known:
        raise InputError(f"unknown augmentation {name!r}", near(name, AUGMENTATIONS))
    return _whole([v2.PILToTensor(), *known[name]])


AUGMENTATIONS = ("imagenet", "light", "cifar", "shift", "none")


def scoring_transform(size: int, *, crop: float = _CROP) -> Transform:
    """Return the transform that takes the centre, `size` px square, of an image with shorter side `size` / `crop`.

    Args:
        size: Side in pixels.
        crop: 224 / 256 as in the papers; 1 keeps the whole of the shorter side.
    """
    v2: Any = require("torchvision.transforms.v2", extra="train")
    resize = v2.Resize(round(size / crop), antialias=True)
    return _whole([v2.PILToTensor(), resize, v2.CenterCrop(size)])


def _whole(steps: list[Any]) -> Transform:
    v2: Any = require("torchvision.transforms.v2", extra="train")
    made: Transform = v2.Compose(steps)
    return made


def image_names(items: Sequence[Item], folder: Path) -> list[str]:
    """Return paths relative to the folder, with slashes on every system."""
    return [relative(item.image, folder) for item in items]
