"""Open picture files: by their first bytes, within a limit of size, and with a sentence for whatever cannot be read."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from saccade.data.members import Member
from saccade.errors import InputError, MissingExtraError, require

SUFFIXES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".png", ".apng", ".bmp", ".dib", ".gif", ".webp", ".tif", ".tiff", ".ppm",
    ".pgm", ".pbm", ".pnm", ".jp2", ".j2k", ".jpx", ".jpf", ".heic", ".heif", ".hif", ".avif",
)  # fmt: skip
"""Ends of the names of files that are taken for pictures; which format one has, its first bytes say."""

MAX_PIXELS = "SACCADE_MAX_PIXELS"
"""Environment variable that raises Pillow's limit of the size of a picture, in pixels."""

_ORIENTATION = 0x0112
_HEIF = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")
_AVIF = (b"avif", b"avis")
_FOREIGN = (  # where it stands, the bytes, and what to do
    (128, b"DICM", "it is a DICOM file, which is not read: save its pixels as 16-bit PNG"),
    (
        0,
        b"version https://git-lfs",
        "it is a pointer of Git LFS, without the picture itself: run `git lfs pull`",
    ),
    (0, b"%PDF", "it is a PDF document: save its pages as PNG"),
    (0, b"<?xml", "it is an XML file, perhaps a drawing (SVG): save it as PNG"),
    (0, b"<svg", "it is a drawing (SVG): save it as PNG"),
    (0, b"<!DOCTYPE html", "it is a web page, perhaps the answer of a server that had no picture: fetch it again"),
    (0, b"<html", "it is a web page, perhaps the answer of a server that had no picture: fetch it again"),
    (0, b"\x93NUMPY", "it is an array of NumPy: save it as PNG or TIFF"),
    (0, b"PK\x03\x04", "it is a zip archive: unpack it"),
    (0, b"\x1f\x8b", "it is compressed by gzip: unpack it"),
)


class UnreadableError(Exception):
    """A file is not a picture, is cut short, or holds what its reader cannot use; the text says which.

    Args:
        text: What is wrong.
        hint: Advice on what to do, where the file itself is sound.

    Attributes:
        file: The file, where it is not the image that is being read.
    """

    file: Path | None = None

    def __init__(self, text: str, hint: str | None = None) -> None:
        super().__init__(text)
        self.hint = hint

    @property
    def whole(self) -> str:
        """The text with the advice, as one line of a list."""
        return f"{self}: {self.hint}" if self.hint else str(self)


def pillow() -> ModuleType:
    """Import Pillow, with the limit of size that :data:`MAX_PIXELS` asks for.

    Raises:
        InputError: The variable holds no number of pixels.
        MissingExtraError: Pillow is missing.
    """
    module = require("PIL.Image", extra="train")
    asked = os.environ.get(MAX_PIXELS)
    if asked:
        if not asked.isdigit() or not int(asked):
            raise InputError(
                f"the environment variable {MAX_PIXELS} must be a number of pixels; received {asked!r}",
                f"such as {MAX_PIXELS}=500000000",
            )
        module.MAX_IMAGE_PIXELS = int(asked)  # type: ignore[attr-defined]
    return module


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Open a picture with Pillow; whatever is raised until the block ends becomes an UnreadableError.

    Args:
        path: The file; its name does not matter, its first bytes say what it is.

    Raises:
        UnreadableError: The file is not a picture, is too large, or cannot be decoded.
    """
    pil = pillow()
    try:
        head = _head(path)
        if head[4:8] == b"ftyp" and head[8:12] in _HEIF:
            _with_heif()
        with pil.open(path.open("rb") if isinstance(path, Member) else path) as image:
            yield image
    except pil.UnidentifiedImageError as cause:
        raise _unidentified(path, head) from cause
    except pil.DecompressionBombError as cause:
        raise _too_large(pil, str(cause)) from cause
    except (UnreadableError, MissingExtraError, InputError, MemoryError):
        raise
    except Exception as cause:  # damaged headers surface from Pillow's decoders as anything, struct.error among them
        raise UnreadableError(f"it cannot be decoded ({str(cause) or type(cause).__name__})") from cause


def orientation(image: Any) -> int:
    """Return how the EXIF data of an open picture ask to turn it: 1 (not at all) to 8."""
    found = image.getexif().get(_ORIENTATION, 1)
    return found if isinstance(found, int) and 1 <= found <= 8 else 1


def orientation_of(path: Path) -> int:
    """Return how the EXIF data of a file ask to turn it: 1 (not at all) to 8; pixels are decoded only if they must be.

    Raises:
        UnreadableError: The file cannot be opened.
    """
    with opened(path) as image:
        # Pillow decodes a PNG to look for EXIF data after its pixels: only where there are some at all.
        if image.format == "PNG" and not re.search(rb"eXIf|exif|Orientation", path.read_bytes()):
            return 1
        return orientation(image)


def size_as_turned(path: Path) -> tuple[tuple[int, int], int]:
    """Return width and height of a picture once it is turned by its EXIF data, and how these ask to turn it.

    Raises:
        UnreadableError: The file cannot be opened.
    """
    asked = orientation_of(path)
    with opened(path) as image:
        if asked > 1 and image.format == "TIFF":  # Pillow turns it while it is loaded
            image.load()
            return image.size, asked
        return (image.size[::-1] if asked >= 5 else image.size), asked


def turned(image: Any, asked: int) -> Any:
    """Turn or mirror a picture as an EXIF orientation of 1 to 8 asks."""
    way = pillow().Transpose
    ways = {
        2: way.FLIP_LEFT_RIGHT, 3: way.ROTATE_180, 4: way.FLIP_TOP_BOTTOM, 5: way.TRANSPOSE, 6: way.ROTATE_270,
        7: way.TRANSVERSE, 8: way.ROTATE_90,
    }  # fmt: skip
    return image.transpose(ways[asked]) if asked in ways else image


def raw_mode(image: Any) -> str:
    """Return how a picture that is open, and not yet loaded, stores its pixels, such as ``"L;4"`` or ``"RGB;16B"``."""
    args = image.tile[0][3] if getattr(image, "tile", None) else ""
    first = args if isinstance(args, str) else args[0] if args else ""
    return first if isinstance(first, str) else ""


def declared_white(image: Any) -> int | None:
    """Return the value of white that a portable map (PGM, PPM) which is not yet loaded declares, below 65,535."""
    args = image.tile[0][3] if image.format == "PPM" and image.tile else ""
    return args[1] if isinstance(args, tuple) and len(args) == 2 and isinstance(args[1], int) else None


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(256)


def _with_heif() -> None:
    """Register the plug-in for HEIC, which does no harm where it is registered already."""
    try:
        require("pillow_heif", extra="formats").register_heif_opener()
    except MissingExtraError as cause:
        raise UnreadableError("it is a HEIC picture, which Pillow reads with a plug-in only", cause.hint) from cause


def _unidentified(path: Path, head: bytes) -> UnreadableError:
    if not head:
        return UnreadableError("the file is empty")
    if head[4:8] == b"ftyp" and head[8:12] in _AVIF:
        return UnreadableError("it is an AVIF picture, which this Pillow cannot read", "install Pillow 11.3 or newer")
    for place, bytes_, said in _FOREIGN:
        if head[place : place + len(bytes_)].lower() == bytes_.lower():
            return UnreadableError(said.partition(": ")[0], said.partition(": ")[2])
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return _tiff(path)
    return UnreadableError("it is not a picture, or its format is unknown")


def _tiff(path: Path) -> UnreadableError:
    """Say what a TIFF that Pillow does not know stores."""
    plugin = require("PIL.TiffImagePlugin", extra="train")
    try:
        with path.open("rb") as file:
            header = file.read(8)
            header += file.read(8) if header[2:3] == b"+" or header[3:4] == b"+" else b""
            tags = plugin.ImageFileDirectory_v2(header)
            file.seek(tags.next)
            tags.load(file)
            bands, bits = int(tags.get(277, 1)), tags.get(258, (1,))
    except Exception:  # a damaged TIFF
        return UnreadableError("it is a TIFF whose header is damaged")
    bits = max(bits) if isinstance(bits, tuple) else bits
    if bands > 1:
        return UnreadableError(
            f"it is a TIFF of {bands} bands of {bits} bits",
            "networks here see three: save the bands that are to be red, green and blue as a file of their own, such "
            f"as `gdal_translate -b 1 -b 2 -b 3 {path.name} OUT.tif`",
        )
    return UnreadableError(f"it is a TIFF whose pixels ({bits} bits) are stored in an unknown way", "save it as PNG")


def _too_large(pil: ModuleType, said: str) -> UnreadableError:
    pixels = max(map(int, re.findall(r"\d+", said)), default=0)
    return UnreadableError(
        f"it has {pixels:,} pixels; Pillow, which reads pictures, refuses more than {2 * pil.MAX_IMAGE_PIXELS:,}, "
        "because a small file can be made that unpacks to more than the memory holds",
        f"if the file is from a source you trust, raise the limit by the environment variable {MAX_PIXELS}={pixels}, "
        "or cut the picture, and its mask, into tiles",
    )
