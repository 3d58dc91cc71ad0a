"""Pictures of more than 8 bits per channel: their stored values, and the range of them that a data set uses.

A 16-bit file does not say how many of its bits its sensor had. The same grey must mean the same in all files of a data
set, so one value is found for all of them, that of white: the largest of the range in use.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saccade.data.decoding import UnreadableError, declared_white, opened, pillow, raw_mode
from saccade.errors import InputError

_WIDTHS = (8, 10, 12, 14, 16)  # bits that sensors have
_SAMPLE = 256
_CHUNK = 1024
_SHOWN = 3
_SWAPPED = {"L": "B", "B": "L", "N": "B" if sys.byteorder == "little" else "L"}
_COLOUR = ("RGB;16", "RGBA;16", "RGBX;16")
_GREY_WITH_ALPHA = "LA;16B"


@dataclass(frozen=True)
class ValueRange:
    """The range of values that the images of a data set use.

    Args:
        white: Stored value that is shown as white in images of more than 8 bits; None where there are none.
        note: The same as a sentence; empty where all images have 8 bits.
    """

    white: float | None = None
    note: str = ""


def white_of(bits: int) -> float:
    """Return the largest value of a number of bits.

    Raises:
        InputError: Not from 1 to 16.
    """
    if not 1 <= bits <= 16:
        raise InputError(f"--bits must be a number of bits from 1 to 16; received {bits}")
    return float(2**bits - 1)


def find_range(files: Sequence[Path], *, bits: int | None = None, where: str = "") -> ValueRange:
    """Find the range of values that images of more than 8 bits use; a sample of 256 of them is decoded.

    The first bytes of every file say whether it may have more than 8 bits. Values below twice the largest one must be
    those of a number of bits that sensors have: 8, 10, 12, 14 or 16. Images of floating-point numbers hold 0 to 1.

    Args:
        files: The images, all of them.
        bits: Number of bits that the values use, if it is known.
        where: The data in messages.

    Raises:
        InputError: The range cannot be told from the values; the message names ``--bits``.
    """
    deep = [path for path, found in zip(files, _in_threads(_may_be_deep, files), strict=True) if found]
    if bits is not None:
        white = white_of(bits)
        how_many = f"{len(deep):,} of {len(files):,} images may have more than 8 bits per channel"
        return ValueRange(white, f"{how_many}: {white:,.0f} is white, as --bits {bits} says")
    sample = spread_over(deep, _SAMPLE)
    found = {path: ends for path, ends in zip(sample, _in_threads(_ends, sample), strict=True) if ends is not None}
    if not found:
        return ValueRange()
    return _decided(found, len(deep), len(files), where)


def spread_over(files: Sequence[Path], count: int) -> list[Path]:
    """Return `count` files at most, evenly apart."""
    places = np.linspace(0, max(0, len(files) - 1), min(count, len(files))).round().astype(int)
    return [files[place] for place in dict.fromkeys(places.tolist())]


def is_deep(image: Any) -> bool:
    """Return True if a picture that is open, and not yet loaded, stores more than 8 bits per channel."""
    mode = raw_mode(image)
    if declared_white(image) is not None:  # Pillow stretches its values to 8 or 16 bits, as the file says
        return False
    return _is_grey(image) or mode.startswith(_COLOUR) or mode == _GREY_WITH_ALPHA


def deep_values(path: Path, image: Any, *, as_shown: bool = True) -> tuple[NDArray[Any], NDArray[np.uint8] | None]:
    """Decode the stored values of a picture for which :func:`is_deep` is true.

    Pillow keeps the upper 8 of the 16 bits of colours. The lower ones are had by reading the file a second time, as if
    its bytes stood in the other order.

    Args:
        path: The file.
        image: The picture, open and not yet loaded.
        as_shown: If True, the values of a TIFF whose 0 is white are turned over, which Pillow does for 8 bits only.

    Returns:
        Values (H, W), or (H, W, 3) of a colour picture, and the alpha channel (H, W) if there is one.

    Raises:
        UnreadableError: Values that are not numbers, or that cannot be had.
    """
    if _is_grey(image):
        inverted = as_shown and getattr(image, "tag_v2", {}).get(262) == 0 and image.mode != "F"
        values = np.asarray(image)
        if image.mode == "F" and not np.isfinite(values).all():
            raise UnreadableError(
                "it holds values that are not numbers (NaN or infinite)", "replace them by 0, or leave the image out"
            )
        wide: NDArray[Any] = values if image.mode == "F" else values.astype(np.int64)
        return (65535 - wide if inverted else wide), None
    mode = raw_mode(image)
    if mode == _GREY_WITH_ALPHA:  # high and low byte of grey, high and low byte of alpha
        pixels = _decoded_as(path, "RGBA")
        return pixels[..., 0].astype(np.int64) << 8 | pixels[..., 1], pixels[..., 2]
    high = np.asarray(image)
    low = _decoded_as(path, mode[:-1] + _SWAPPED[mode[-1]])
    values = high[..., :3].astype(np.int64) << 8 | low[..., :3]
    return values, high[..., 3] if mode.startswith("RGBA") and high.shape[2] == 4 else None


def check_values(path: Path, white: float | None) -> None:
    """Refuse a picture that :func:`to_8_bits` would refuse; one of 8 bits is not decoded for that.

    Raises:
        UnreadableError: See there, and :func:`deep_values`.
    """
    if _may_be_deep(path):
        with opened(path) as image:
            if is_deep(image):
                _refuse_outside(deep_values(path, image)[0], white)


def to_8_bits(values: NDArray[Any], white: float | None) -> NDArray[np.uint8]:
    """Scale stored values so that `white` becomes 255.

    Raises:
        UnreadableError: No white is known, or a value is negative or above it.
    """
    return np.rint(values * (255 / _refuse_outside(values, white))).astype(np.uint8)


def _refuse_outside(values: NDArray[Any], white: float | None) -> float:
    """Refuse values that are not between 0 and white, and return white."""
    low, high = values.min(), values.max()
    if low < 0:
        raise UnreadableError(
            f"its values run from {low:g} to {high:g}", "add a number, the same for all images, so that none is below 0"
        )
    if white is None:
        raise UnreadableError(
            f"it has more than 8 bits per channel (values {low:g} to {high:g}), and the images it is read with have 8",
            "save it with 8 bits as those are, or say which range its values use, such as --bits 16",
        )
    if values.dtype.kind == "f" and 0 < high <= 1 < white:
        raise UnreadableError(
            f"its values are fractions, {low:g} to {high:g}, and white is {white:,.0f} in this data set",
            "save all images alike; fractions of 1 alone need no --bits",
        )
    if high > white:
        kind = "1" if white == 1 else f"{white:,.0f} ({(int(white) + 1).bit_length() - 1} bits)"
        raise UnreadableError(
            f"its values go up to {high:,g}, and white is {kind} in this data set",
            f"if it is right, read all images by --bits {_least(float(high))}" if high < 65536 else None,
        )
    return white


def _is_grey(image: Any) -> bool:
    return image.mode in ("I", "F") or image.mode.startswith("I;")


def _decoded_as(path: Path, mode: str) -> NDArray[np.uint8]:
    """Decode a file a second time, with its pixels taken to be stored in another way."""
    with opened(path) as image:
        tiles = []
        for tile in image.tile:
            codec, box, offset, args = tile
            tiles.append(type(tile)(codec, box, offset, mode if isinstance(args, str) else (mode, *args[1:])))
        image.tile = tiles
        return np.asarray(image)


def _may_be_deep(path: Path) -> bool:
    """Return True unless the first bytes say that a picture has 8 bits per channel."""
    try:
        with path.open("rb") as file:
            head = file.read(32)
    except OSError:  # named where it is read
        return False
    if head[:8] == b"\x89PNG\r\n\x1a\n":
        return head[24:25] == b"\x10"
    return head[:2] in (b"II", b"MM", b"P2", b"P3", b"P5", b"P6", b"Pf", b"PF") or head[:4] in (
        b"\0\0\0\x0c", b"\xff\x4f\xff\x51",
    )  # fmt: skip


def _ends(path: Path) -> tuple[float, float] | None:
    """Return the smallest and the largest stored value of an image; None if it has 8 bits or cannot be read."""
    try:
        with opened(path) as image:
            if not is_deep(image):
                return None
            values, _ = deep_values(path, image)
    except (UnreadableError, OSError):  # named where it is read
        return None
    return float(values.min()), float(values.max())


def _in_threads(work: Any, paths: Sequence[Path]) -> Iterator[Any]:
    pillow()
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(paths), _CHUNK):  # a data set may have millions, and Ctrl-C waits for these
            yield from pool.map(work, paths[start : start + _CHUNK])


def _decided(found: dict[Path, tuple[float, float]], deep: int, total: int, where: str) -> ValueRange:
    said = f"{where}: " if where else ""
    odd = {path: ends for path, ends in found.items() if ends[0] < 0 or (ends[1] > 1 and not ends[1].is_integer())}
    if len(odd) * deep / len(found) > total / 2:
        path, (low, high) = next(iter(odd.items()))
        what, advice = "neither 0 to 1 nor whole numbers", f"; if white is known, such as --bits {_least(high)}"
        raise InputError(
            f"{said}images hold values such as {low:g} to {high:g} ({path.name}), "
            + ("and none may be below 0" if low < 0 else what),
            "save them as 16 bits, all scaled alike" + ("" if low < 0 or high >= 65536 else advice),
        )
    found = {path: ends for path, ends in found.items() if path not in odd}  # odd ones are named where they are read
    if not found:
        return ValueRange()
    low, highest = min(ends[0] for ends in found.values()), max(found, key=lambda path: found[path][1])
    high = found[highest][1]
    how_many = f"{deep:,} of {total:,} images have more than 8 bits per channel"
    if 0 < high <= 1:
        return ValueRange(1.0, f"{how_many}: values {low:g} to {high:g}; 1 is white")
    bits = _least(high)
    white = 2**bits - 1
    if bits > 16 or (high and high <= white / 2 and bits < 16):
        others = sorted({*[width for width in _WIDTHS if width >= bits][:2], _WIDTHS[-1]}) if bits <= 16 else []
        readings = " or ".join(f"--bits {width} (white is {2**width - 1:,})" for width in others)
        raise InputError(
            f"{said}{how_many}, and their values go up to {high:,.0f} ({highest.name}): which value is white cannot be "
            "told from that",
            f"say it: {readings}" if others else "save them with 16 bits at most, all scaled alike",
        )
    unused = f" ({bits} of 16 bits are used)" if bits < 16 else ""
    return ValueRange(float(white), f"{how_many}: values {low:,.0f} to {high:,.0f}; {white:,} is white{unused}")


def _least(value: float) -> int:
    """Return the least usual number of bits that holds a value."""
    return next((width for width in _WIDTHS if value < 2**width), 32)
