"""Read one picture of any format into 8-bit RGB, and bring pictures and masks to the working size."""

from __future__ import annotations

import io
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saccade.data import IGNORE, PADDING
from saccade.data.decoding import SUFFIXES, UnreadableError, opened, orientation, pillow, turned
from saccade.data.depth import deep_values, is_deep, to_8_bits
from saccade.errors import require

__all__ = [
    "SUFFIXES",
    "UnreadableError",
    "centre",
    "described_profile",
    "has_alpha",
    "padded",
    "read_image",
    "read_turned",
    "square",
]

Pixels = NDArray[np.uint8]

_ALPHA_TAGS = (1, 2, 999)  # what a TIFF says its fourth band is: opacity, in the words of three programs
_SPACES = {"L": "GRAY", "RGB": "RGB", "RGBA": "RGB", "CMYK": "CMYK", "LAB": "Lab"}


def read_image(path: Path, *, near: int | None = None, white: float | None = None) -> Any:
    """Read a picture as a Pillow image of mode RGB, turned the way its EXIF data says.

    Colours are brought to sRGB if the file has a colour profile. Transparent pixels are laid over white. Of the bands
    of a TIFF the first three are taken, or the first alone. Only the first frame or page is read.

    Args:
        path: The file.
        near: The side to which the picture will be reduced; large JPEGs are then decoded at a fraction of their size,
            never below twice this side.
        white: Stored value that becomes 255 in a picture of more than 8 bits, see
            :func:`saccade.data.depth.find_range`.

    Raises:
        UnreadableError: The file is not a picture or cannot be decoded, or it has more than 8 bits and values above
            `white`.
    """
    return read_turned(path, near=near, white=white)[0]


def read_turned(path: Path, *, near: int | None = None, white: float | None = None) -> tuple[Any, int]:
    """Read a picture as :func:`read_image` does, and return also the EXIF orientation by which it was turned."""
    with opened(path) as image:
        if near is not None:
            image.draft(None, (2 * near, 2 * near))
        profile, tiff = image.info.get("icc_profile"), image.format == "TIFF"
        asked = orientation(image) if tiff else 1  # Pillow turns a TIFF itself, while it is loaded
        eight = _of_deep(path, image, white) if is_deep(image) else _of_8_bits(image)
        if not tiff:
            asked = orientation(image)
            eight = turned(eight, asked)
        if profile and eight.mode in _SPACES:
            eight = _in_srgb(eight, profile)
        return (_over_white(eight) if eight.mode in ("RGBA", "LA") else eight.convert("RGB")), asked


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
    return pillow()


def _of_8_bits(image: Any) -> Any:
    """Convert a picture to channels of 8 bits, with alpha (RGBA) only where it means opacity."""
    if image.format == "TIFF" and max(_tag(image, 258)) > 8:
        raise UnreadableError(
            "it is a TIFF whose channels of more than 8 bits are stored in planes, which Pillow misreads",
            "save it as 16-bit PNG",
        )
    if image.mode.startswith("I"):  # of a portable map, whose values Pillow has stretched to 16 bits
        return _pil().fromarray(np.rint(np.asarray(image) / 257).astype(np.uint8))
    if image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info:
        # Alpha that is multiplied into grey is first taken out of it; colours do that by themselves.
        whole = image.convert("LA") if image.mode == "La" else image
        return whole.convert("RGBA" if has_alpha(image) else "RGB")
    return image.convert("RGB") if image.mode == "P" else image


def has_alpha(image: Any) -> bool:
    """Return False for a TIFF that does not say that its last band is opacity: it is another band then."""
    if image.format != "TIFF":
        return True
    return any(band in _ALPHA_TAGS for band in _tag(image, 338))


def _tag(image: Any, number: int) -> tuple[int, ...]:
    """Return the values of a tag of a TIFF; 0 where it is absent."""
    said = image.tag_v2.get(number, 0)
    return said if isinstance(said, tuple) else (said,)


def _of_deep(path: Path, image: Any, white: float | None) -> Any:
    values, alpha = deep_values(path, image)
    eight = _pil().fromarray(to_8_bits(values, white))
    if alpha is not None and has_alpha(image):
        eight = eight.convert("RGB")
        eight.putalpha(_pil().fromarray(alpha))
    return eight


def _in_srgb(image: Any, profile: bytes) -> Any:
    """Convert colours from a profile to sRGB; a profile for other channels, or a damaged one, says nothing."""
    transform = _transform(profile, image.mode)
    if transform is None:
        return image
    return require("PIL.ImageCms", extra="train").applyTransform(image, transform)


def described_profile(image: Any) -> str | None:
    """Return the name of the colour profile from which a picture is brought to sRGB; None if there is nothing to do.

    Args:
        image: The picture, open.
    """
    profile = image.info.get("icc_profile")
    mode = "RGB" if image.mode == "P" else image.mode
    if not profile or mode not in _SPACES or _transform(profile, mode) is None:
        return None
    cms: Any = require("PIL.ImageCms", extra="train")
    return (cms.getProfileDescription(io.BytesIO(profile)) or "").strip() or "without a name"


@lru_cache(maxsize=16)
def _transform(profile: bytes, mode: str) -> Any:
    """Return the transform to sRGB, or None where there is nothing to do."""
    try:
        cms: Any = require("PIL.ImageCms", extra="train")
        source = cms.ImageCmsProfile(io.BytesIO(profile))
        if source.profile.xcolor_space.strip() != _SPACES[mode]:
            return None
        if "srgb" in (cms.getProfileDescription(source) or "").lower():
            return None
        return cms.buildTransform(source, cms.createProfile("sRGB"), mode, "RGBA" if mode == "RGBA" else "RGB")
    except Exception:  # a damaged profile surfaces as anything; a Pillow without LittleCMS reads colours as they are
        return None


def _over_white(image: Any) -> Any:
    pil = _pil()
    white = pil.new("RGBA", image.size, (255, 255, 255, 255))
    return pil.alpha_composite(white, image.convert("RGBA")).convert("RGB")
