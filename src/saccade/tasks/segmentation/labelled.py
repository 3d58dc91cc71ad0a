"""Images with a class for each pixel, as files: their pairs, their classes, and what their masks' values mean."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from saccade.data import IGNORE
from saccade.data.images import UnreadableError, read_image, read_mask
from saccade.data.layouts import images_in, listed
from saccade.errors import InputError

Pixels = NDArray[np.uint8]
Colour = tuple[int, int, int]


class Pair(NamedTuple):
    """An image and its mask."""

    image: Path
    mask: Path


class Reader(Protocol):
    """Turns decoded masks into classes."""

    def classes(self, mask: NDArray[Any]) -> Pixels:
        """(height, width) uint8, 255 = ignored; raises UnreadableError naming value and pixel of what is no class."""


@dataclass(frozen=True)
class Labelled:
    """Images with masks on both sides of a split.

    Args:
        name: Of the data set.
        classes: Their names, in order of their index.
        train: For training,
        val: held out.
        reader: What the masks' values mean.
        note: How it was recognised, for people.
        palette: A colour for each class.
        read: From the path of a mask to its values; pictures by default.
    """

    name: str
    classes: tuple[str, ...]
    train: tuple[Pair, ...]
    val: tuple[Pair, ...]
    reader: Reader
    note: str
    palette: tuple[Colour, ...] = ()
    read: Callable[[Path], NDArray[Any]] = field(default=read_mask)

    def __post_init__(self) -> None:
        for side, pairs in (("train", self.train), ("val", self.val)):
            if not pairs:
                raise InputError(f"{self.name}: there is nothing on the side {side!r}", "both sides need images")
        if not self.palette:
            object.__setattr__(self, "palette", palette(len(self.classes)))

    def load(self, pair: Pair) -> tuple[Pixels, Pixels]:
        """An image (H, W, 3) and its classes (H, W), both uint8; 255 = ignored.

        Raises:
            InputError: Naming the file, and value and pixel where a value is no class.
        """
        file = pair.image
        try:
            image = np.array(read_image(file))
            file = pair.mask
            mask = self.read(file)
            if mask.shape[:2] != image.shape[:2]:
                sizes = [f"{shape[1]} x {shape[0]} px" for shape in (mask.shape, image.shape)]
                raise UnreadableError(f"the mask is {sizes[0]}, its image {sizes[1]}")
            return image, self.reader.classes(mask)
        except UnreadableError as problem:
            raise InputError(f"{file}: {problem}", "repair the file, or leave image and mask out") from problem


class ValueTable:
    """Classes by the values that a mask stores.

    Args:
        values: Stored value, from 0, to class; 255 for what is ignored.
        meaning: What values are allowed, for the message.
    """

    def __init__(self, values: Mapping[int, int], meaning: str) -> None:
        self.meaning = meaning
        self.table = np.full(2**16 + 1, -1, dtype=np.int16)  # the last is for what lies outside
        for value, index in values.items():
            self.table[value] = index

    def classes(self, mask: NDArray[Any]) -> Pixels:
        """(height, width) uint8, 255 = ignored.

        Raises:
            UnreadableError: Colours, or a value that is not in the table, with the first pixel that has it.
        """
        if mask.ndim != 2:
            raise UnreadableError("it is a picture of colours; expected one of class numbers")
        outside = len(self.table) - 1
        found = self.table[np.where((mask >= 0) & (mask < outside), mask, outside)]
        wrong = found < 0
        if wrong.any():
            y, x = np.unravel_index(wrong.argmax(), wrong.shape)
            raise UnreadableError(f"value {mask[y, x]} at pixel y={y}, x={x} is no class: {self.meaning}")
        return found.astype(np.uint8)


def indexed(count: int, *, first: int = 0, ignored: Sequence[int] = (IGNORE,)) -> ValueTable:
    """The table of masks whose classes are `first`, `first` + 1, ..."""
    values = dict.fromkeys(ignored, IGNORE) | {first + index: index for index in range(count)}
    told = " and ".join(map(str, ignored))
    return ValueTable(values, f"classes are {first} to {first + count - 1}, and {told} is ignored")


def paired(where: Path, images: Sequence[Path], mask_of: Callable[[Path], Path]) -> tuple[Pair, ...]:
    """Every image with its mask.

    Raises:
        InputError: No images, or images without a mask, ten of them named.
    """
    if not images:
        raise InputError(f"{where}: there are no images", "see whether the data are unpacked there")
    pairs = tuple(Pair(image, mask_of(image)) for image in images)
    without = [pair for pair in pairs if not pair.mask.is_file()]
    if without:
        names = listed([pair.image.name for pair in without])
        raise InputError(
            f"{where}: {len(without)} of {len(pairs)} images have no mask: {names}",
            f"the first should be {without[0].mask}",
        )
    return pairs


def named_in(listing: Path, folder: Path, suffix: str = ".jpg") -> list[Path]:
    """The images that a file lists by name, one a line.

    Raises:
        InputError: No such file, or a name without an image, with its line.
    """
    found = []
    for number, name in read_lines(listing):
        image = folder / f"{name}{suffix}"
        if not image.is_file():
            raise InputError(f"{listing}, line {number}: there is no {image}")
        found.append(image)
    return found


def read_lines(listing: Path) -> Iterator[tuple[int, str]]:
    """Number and text of the lines that are not empty."""
    if not listing.is_file():
        raise InputError(f"{listing}: no such file", "it lists the images of this side, one a line")
    for number, line in enumerate(listing.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        if line.strip():
            yield number, line.strip()


def pictures(folder: Path) -> list[Path]:
    """Every image below a folder, in order of name.

    Raises:
        InputError: There is no such folder.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not there", "see whether the data are unpacked completely")
    return images_in(folder)


def palette(count: int) -> tuple[Colour, ...]:
    """The colours PASCAL VOC gives to its classes: bit i of red, green and blue is spread over bits of the index."""
    colours = []
    for index in range(count):
        rgb = [sum((index >> (3 * bit + channel) & 1) << (7 - bit) for bit in range(8)) for channel in range(3)]
        colours.append((rgb[0], rgb[1], rgb[2]))
    return tuple(colours)
