"""Images with a class for each pixel, as files: image and mask pairs, class names, and the meaning of mask values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from saccade.data import IGNORE
from saccade.data.decoding import UnreadableError, orientation_of
from saccade.data.images import read_turned
from saccade.data.layouts import images_in, listed
from saccade.errors import InputError
from saccade.tasks.segmentation.stored import read_mask, turned_array

Pixels = NDArray[np.uint8]
Colour = tuple[int, int, int]


class Pair(NamedTuple):
    """An image and its mask."""

    image: Path
    mask: Path


class Reader(Protocol):
    """Converter of decoded masks to class indices."""

    def classes(self, mask: Any) -> Pixels:
        """Return (height, width) uint8, 255 = ignored; UnreadableError names value and pixel of what is not a class."""


@dataclass(frozen=True)
class Labelled:
    """Images with masks on both sides of a split.

    Args:
        name: Name of the dataset.
        classes: Class names, in order of their index.
        train: Pairs for training.
        val: Pairs for validation.
        reader: Converts mask values to class indices.
        note: The layout, as recognised, as a sentence.
        palette: One colour per class.
        read: Reads the values of a mask from its path; pictures by default.
        white: Stored value of white in images of more than 8 bits.
    """

    name: str
    classes: tuple[str, ...]
    train: tuple[Pair, ...]
    val: tuple[Pair, ...]
    reader: Reader
    note: str
    palette: tuple[Colour, ...] = ()
    read: Callable[[Path], Any] = field(default=read_mask)
    white: float | None = None

    def __post_init__(self) -> None:
        for side, pairs in (("train", self.train), ("val", self.val)):
            if not pairs:
                raise InputError(f"{self.name}: the side {side!r} is empty", "both sides need images")
        if not self.palette:
            object.__setattr__(self, "palette", palette(len(self.classes)))

    def load(self, pair: Pair) -> tuple[Pixels, Pixels]:
        """Load an image (H, W, 3) and its classes (H, W), both uint8; 255 = ignored.

        Raises:
            InputError: Names the file, and value and pixel if a value is not a class.
        """
        file = pair.image
        try:
            image, asked = read_turned(file, white=self.white)
            file = pair.mask
            classes = aligned(self.reader.classes(self.read(file)), file, image.size, asked)
        except UnreadableError as problem:
            advice = problem.hint or "repair the file, or remove image and mask"
            raise InputError(f"{file}: {problem}", advice) from problem
        return np.array(image), classes

    def target(self, pair: Pair) -> Pixels:
        """Load the classes (H, W) of a pair without its image.

        Raises:
            InputError: The mask cannot be read.
        """
        try:
            return self.reader.classes(self.read(pair.mask))
        except UnreadableError as problem:
            raise InputError(f"{pair.mask}: {problem}", "repair the file, or remove image and mask") from problem


def aligned(classes: Pixels, mask: Path, size: tuple[int, int], asked: int) -> Pixels:
    """Return the classes of a mask as they lie on its image, which was turned by its EXIF orientation.

    A mask that was drawn on the stored pixels of a turned image is turned alike, where its size shows that.

    Args:
        classes: Classes (H, W).
        mask: File of the mask.
        size: Width and height of the image, turned.
        asked: EXIF orientation of the image, 1 to 8.

    Raises:
        UnreadableError: Another size than the image, or a turned image with a mask that may be turned or not.
    """
    found = classes.shape[::-1]
    if asked >= 5 and found == size[::-1] != size:
        return turned_array(classes, asked)
    if found != size:
        raise UnreadableError(f"the mask is {found[0]} x {found[1]} px, its image {size[0]} x {size[1]} px")
    if asked == 1 or (size != size[::-1] and asked >= 5):
        return classes
    if np.array_equal(turned_array(classes, asked), classes) or orientation_of(mask) != 1:
        return classes
    raise UnreadableError(
        f"the EXIF data of its image ask to turn it (orientation {asked}), those of the mask do not, and the size of "
        "the mask does not show whether it was drawn on the turned image",
        "if it was, turn the pixels of the image itself, as `mogrify -auto-orient` does; if it was drawn on the stored "
        "pixels, remove the orientation, as `exiftool -Orientation= FILE` does",
    )


class ValueTable:
    """Lookup table from the values that a mask stores to class indices.

    Args:
        values: Stored value, from 0, to class index; 255 for ignored pixels.
        meaning: Allowed values, in words, for the error message.
    """

    def __init__(self, values: Mapping[int, int], meaning: str) -> None:
        self.meaning = meaning
        self.table = np.full(2**16 + 1, -1, dtype=np.int16)  # the last entry stands for all larger values
        for value, index in values.items():
            self.table[value] = index

    def classes(self, mask: NDArray[Any]) -> Pixels:
        """Return class indices (height, width) uint8, 255 = ignored.

        Raises:
            UnreadableError: The mask is in colour, or a value is not in the table; the first such pixel is named.
        """
        if mask.ndim != 2:
            raise UnreadableError("it is a colour picture; expected class numbers")
        outside = len(self.table) - 1
        found = self.table[np.where((mask >= 0) & (mask < outside), mask, outside)]
        wrong = found < 0
        if wrong.any():
            y, x = np.unravel_index(wrong.argmax(), wrong.shape)
            raise UnreadableError(f"value {mask[y, x]} at pixel y={y}, x={x} is not a class: {self.meaning}")
        return found.astype(np.uint8)


def indexed(count: int, *, first: int = 0, ignored: Sequence[int] = (IGNORE,)) -> ValueTable:
    """Return the table of masks whose classes are `first`, `first` + 1, ..."""
    values = dict.fromkeys(ignored, IGNORE) | {first + index: index for index in range(count)}
    told = " and ".join(map(str, ignored))
    return ValueTable(values, f"classes are {first} to {first + count - 1}, and {told} is ignored")


def paired(where: Path, images: Sequence[Path], mask_of: Callable[[Path], Path]) -> tuple[Pair, ...]:
    """Pair every image with its mask.

    Raises:
        InputError: No images, or images without a mask, ten of them named.
    """
    if not images:
        raise InputError(f"{where}: no images found", "check that the data are unpacked there")
    pairs = tuple(Pair(image, mask_of(image)) for image in images)
    without = [pair for pair in pairs if not pair.mask.is_file()]
    if without:
        names = listed([pair.image.name for pair in without])
        raise InputError(
            f"{where}: {len(without)} of {len(pairs)} images have no mask: {names}",
            f"the first expected mask is {without[0].mask}",
        )
    return pairs


def named_in(listing: Path, folder: Path, suffix: str = ".jpg") -> list[Path]:
    """Return the images that a file lists by name, one per line.

    Raises:
        InputError: The file is missing, or a name has no image; the line is named.
    """
    found = []
    for number, name in read_lines(listing):
        image = folder / f"{name}{suffix}"
        if not image.is_file():
            raise InputError(f"{listing}, line {number}: {image} does not exist")
        found.append(image)
    return found


def read_lines(listing: Path) -> Iterator[tuple[int, str]]:
    """Yield number and text of every line that is not empty."""
    if not listing.is_file():
        raise InputError(f"{listing}: no such file", "it lists the images of this side, one per line")
    for number, line in enumerate(listing.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        if line.strip():
            yield number, line.strip()


def pictures(folder: Path) -> list[Path]:
    """Return every image below a folder, in order of name.

    Raises:
        InputError: The folder does not exist.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} does not exist", "check that the data are unpacked completely")
    return images_in(folder)


def palette(count: int) -> tuple[Colour, ...]:
    """Return PASCAL VOC's class colours: bit i of red, green and blue is spread over bits of the index."""
    colours = []
    for index in range(count):
        rgb = [sum((index >> (3 * bit + channel) & 1) << (7 - bit) for bit in range(8)) for channel in range(3)]
        colours.append((rgb[0], rgb[1], rgb[2]))
    return tuple(colours)
