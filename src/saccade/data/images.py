"""Read one picture or one mask of any format into 8-bit arrays of the working size."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saccade.data import IGNORE, PADDING
from saccade.errors import MissingExtraError, require

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".jp2")

Pixels = NDArray[np.uint8]


class UnreadableError(Exception):
    """A file is not a picture, is cut short, or holds what cannot be shown in 8 bits; the text says which.

    Attributes:
        file: The file, where it is not the image that is being read.
    """

    file: Path | None = None


def read_image(path: Path, *, near: int | None = None) -> Any:
    """Read a picture as a Pillow image of mode RGB, turned the way its EXIF data says.

    16-bit grey is assumed to use its whole range, 0 to 65,535. Transparent pixels are laid over white. Only the first
    frame or page is read.

    Args:
        path: The file.
        near: The side to which the picture will be reduced; large JPEGs are then decoded at a fraction of their size,
            never below twice this side.

    Raises:
        UnreadableError: The file is not a picture or cannot be decoded.
    """
    with _decoding(path) as image:
        if near is not None:
            image.draft(None, (2 * near, 2 * near))
        image = require("PIL.ImageOps", extra="train").exif_transpose(image)
        if image.mode in ("I", "F") or image.mode.startswith("I;"):
            return _from_deep_grey(image)
        if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
            return _over_white(image.convert("RGBA"))
        return image.convert("RGB")


def read_mask(path: Path) -> NDArray[Any]:
    """Read a mask at its own size: integers (height, width), or (height, width, 3) uint8 if it is in colour.

    Grey, palette, bilevel and 16-bit masks give their stored values; a palette's colours mean nothing. Lossy formats
    are refused: compression invents values between two classes.
    """
    with _decoding(path) as image:
        lossy = _lossy_format(image, path)
        if lossy is not None:
            raise UnreadableError(f"the mask is a {lossy}, which changes class numbers and colours: save masks as PNG")
        image = require("PIL.ImageOps", extra="train").exif_transpose(image)
        if image.mode in ("1", "L", "P", "I") or image.mode.startswith("I;"):
            return np.asarray(image).astype(np.int64)
        if image.mode in ("LA", "PA"):
            return np.asarray(image.getchannel(0)).astype(np.int64)
        if image.mode == "F":
            raise UnreadableError("its values are 32-bit floats, which are not class indices")
        return np.asarray(image.convert("RGB"))


def square(image: Any, side: int) -> Pixels:
    """Resize the shorter side of a picture to `side` (bicubic) and return its centre, (side, side, 3)."""
    scale = side / min(image.size)
    width, height = (max(side, round(length * scale)) for length in image.size)
    left, top = (width - side) // 2, (height - side) // 2
    resized = image.resize((width, height), _pil().Resampling.BICUBIC)
    return np.asarray(resized.crop((left, top, left + side, top + side)))


def centre(pixels: Pixels, side: int) -> Pixels:
    """Return the central (side, side) of a square."""
    first = (len(pixels) - side) // 2
    return pixels[first : first + side, first : first + side]


def padded(image: Any, classes: Pixels, side: int) -> tuple[Pixels, Pixels]:
    """Resize picture and mask so that the longer side is `side`, and place both at the top left of a square.

    The picture is resized bicubically and padded with :data:`saccade.data.PADDING`; the mask takes the nearest pixel
    and is padded with 255, to be ignored.
    """
    pil = _pil()
    scale = side / max(image.size)
    width, height = (min(side, max(1, round(length * scale))) for length in image.size)
    pixels = np.full((side, side, 3), PADDING, dtype=np.uint8)
    pixels[:height, :width] = np.asarray(image.resize((width, height), pil.Resampling.BICUBIC))
    target = np.full((side, side), IGNORE, dtype=np.uint8)
    target[:height, :width] = np.asarray(pil.fromarray(classes).resize((width, height), pil.Resampling.NEAREST))
    return pixels, target


def _pil() -> ModuleType:
    return require("PIL.Image", extra="train")


@contextmanager
def _decoding(path: Path) -> Iterator[Any]:
    """Open a file; whatever Pillow raises while it is opened, decoded or converted becomes an UnreadableError."""
    pil = _pil()
    try:
        with pil.open(path) as image:
            yield image
    except pil.UnidentifiedImageError as cause:
        raise UnreadableError("it is not a picture, or its format is unknown") from cause
    except (UnreadableError, MissingExtraError, MemoryError):
        raise
    except Exception as cause:  # damaged headers surface from Pillow's decoders as anything, struct.error among them
        raise UnreadableError(f"it cannot be decoded ({str(cause) or type(cause).__name__})") from cause


def _lossy_format(image: Any, path: Path) -> str | None:
    if image.format in ("JPEG", "MPO"):
        return "JPEG"
    if image.info.get("compression") in ("jpeg", "tiff_jpeg"):
        return "TIFF with JPEG compression"
    if image.format == "WEBP" and b"VP8L" not in path.read_bytes():  # the chunk of lossless pixels
        return "lossy WebP"
    return None


def _from_deep_grey(image: Any) -> Any:
    values = np.asarray(image)
    if image.mode == "F" or values.min() < 0 or values.max() > 65535:
        raise UnreadableError(
            f"its values (mode {image.mode}) run from {values.min()} to {values.max()}; 8 or 16 bits can be read"
        )
    return _pil().fromarray(np.rint(values / 257).astype(np.uint8)).convert("RGB")


def _over_white(image: Any) -> Any:
    pil = _pil()
    white = pil.new("RGBA", image.size, (255, 255, 255, 255))
    return pil.alpha_composite(white, image).convert("RGB")
