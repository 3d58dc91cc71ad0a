"""Read a mask as the values, colours and opacity that its file stores, before anything is known of classes."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saccade.data.decoding import UnreadableError, declared_white, opened, orientation, raw_mode
from saccade.data.depth import deep_values, is_deep
from saccade.data.images import has_alpha

_NARROW = re.compile(r"[LP]?;?(?P<bits>[24])(?!\d)")


@dataclass(frozen=True)
class StoredMask:
    """The content of a mask file.

    Args:
        kind: How pixels are stored, in words, such as ``"grey"`` or ``"palette"``.
        values: (H, W) whole numbers: grey values, or places in a palette; None of a mask in colour.
        colours: (H, W, 3) uint8 of a mask in colour; None otherwise.
        alpha: (H, W) uint8, where some pixel is not opaque; None otherwise.
        palette: (N, 3) uint8, the colours of the places; None without a palette.
    """

    kind: str
    values: NDArray[Any] | None = None
    colours: NDArray[np.uint8] | None = None
    alpha: NDArray[np.uint8] | None = None
    palette: NDArray[np.uint8] | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        pixels = self.values if self.values is not None else self.colours
        assert pixels is not None
        return int(pixels.shape[0]), int(pixels.shape[1])

    @property
    def plain(self) -> NDArray[Any]:
        """Values (H, W), or colours (H, W, 3)."""
        pixels = self.values if self.values is not None else self.colours
        assert pixels is not None
        return pixels

    def in_grey(self) -> StoredMask:
        """Return the same with values instead of colours, if all of its colours are grey."""
        if self.colours is None or not (self.colours == self.colours[..., :1]).all():
            return self
        return replace(self, kind="grey, stored as colours", values=self.colours[..., 0], colours=None)


def read_mask(path: Path) -> NDArray[Any]:
    """Read a mask at its own size: integers (height, width), or (height, width, 3) uint8 if it is in colour.

    Grey, palette, bilevel and 16-bit masks give their stored values; a palette's colours mean nothing. Lossy formats
    are refused: compression invents values between two classes.
    """
    plain = read_stored(path).plain
    return plain.astype(np.int64) if plain.ndim == 2 else plain


def read_stored(path: Path) -> StoredMask:
    """Read a mask, turned as its own EXIF data ask, which almost none has.

    Grey of 2 or 4 bits, and portable maps, give the values that are stored, which Pillow stretches to 255.

    Raises:
        UnreadableError: The file is not a picture, is in a lossy format, or holds fractions.
    """
    with opened(path) as image:
        lossy = _lossy_format(image, path)
        if lossy is not None:
            raise UnreadableError(
                f"the mask is a {lossy}, which changes class numbers and colours: save masks as PNG",
                "draw or export the masks again as PNG; those that were compressed cannot be repaired for certain",
            )
        found = _deep(path, image) if is_deep(image) else _of_8_bits(image)
        asked = (
            1 if image.format == "TIFF" or (image.format == "PNG" and "exif" not in image.info) else orientation(image)
        )
    return found if asked == 1 else turned_mask(found, asked)


def turned_mask(mask: StoredMask, asked: int) -> StoredMask:
    """Turn or mirror a mask as an EXIF orientation of 1 to 8 asks."""

    def one(pixels: NDArray[Any] | None) -> NDArray[Any] | None:
        return pixels if pixels is None else turned_array(pixels, asked)

    return replace(mask, values=one(mask.values), colours=one(mask.colours), alpha=one(mask.alpha))


def turned_array(pixels: NDArray[Any], asked: int) -> NDArray[Any]:
    """Turn or mirror an array (H, W) or (H, W, C) as an EXIF orientation of 1 to 8 asks."""
    if asked in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if asked in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if asked in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def _deep(path: Path, image: Any) -> StoredMask:
    values, alpha = deep_values(path, image, as_shown=False)
    if alpha is not None and (not has_alpha(image) or (alpha == 255).all()):
        alpha = None
    if values.ndim == 3:
        if (values == values[..., :1]).all():
            return StoredMask("16-bit grey, stored as colours", values[..., 0], alpha=alpha)
        return StoredMask("16-bit colours", colours=(values >> 8).astype(np.uint8), alpha=alpha)
    if values.dtype.kind == "f":
        whole = np.rint(values)
        if not (whole == values).all():
            y, x = np.unravel_index((whole != values).argmax(), values.shape)
            raise UnreadableError(
                f"its values are 32-bit floats, which are not class indices (value {values[y, x]:g} at pixel y={y}, "
                f"x={x})",
                "save class numbers, as PNG of 8 bits; of probabilities, the number of the likeliest class",
            )
        return StoredMask("floating-point numbers", whole.astype(np.int64))
    return StoredMask("grey of more than 8 bits", values, alpha=alpha)


def _of_8_bits(image: Any) -> StoredMask:
    mode, raw, white = image.mode, raw_mode(image), declared_white(image)
    narrow = _NARROW.match(raw) if mode == "L" else None
    if mode == "1":
        return StoredMask("bilevel", np.asarray(image).astype(np.uint8))
    if mode in ("L", "I"):
        values: NDArray[Any] = np.asarray(image)
        if mode == "L" and "I" in raw:  # a TIFF whose 0 is white, which Pillow has turned over
            values = 255 - values
        if white is not None:
            full = 255 if mode == "L" else 65535
            return StoredMask("grey", np.rint(values * (white / full)).astype(np.int64))
        if narrow is not None:
            bits = int(narrow["bits"])
            return StoredMask(f"grey of {bits} bits", values // (255 // (2**bits - 1)))
        return StoredMask("grey", values)
    if mode == "P":
        return StoredMask("palette", np.asarray(image), palette=_palette(image))
    if mode in ("LA", "La", "PA"):
        colours = _palette(image) if mode == "PA" else None
        kind = "palette with transparency" if mode == "PA" else "grey with transparency"
        return StoredMask(kind, np.asarray(image.getchannel(0)), alpha=_alpha(image), palette=colours)
    alpha = _alpha(image) if mode == "RGBA" and has_alpha(image) else None
    return StoredMask("colours", colours=np.asarray(image.convert("RGB")), alpha=alpha)


def _alpha(image: Any) -> NDArray[np.uint8] | None:
    alpha = np.asarray(image.getchannel("A" if "A" in image.getbands() else "a"))
    return None if (alpha == 255).all() else alpha


def _palette(image: Any) -> NDArray[np.uint8] | None:
    stored = image.getpalette("RGB")
    return None if not stored else np.asarray(stored, dtype=np.uint8).reshape(-1, 3)


def _lossy_format(image: Any, path: Path) -> str | None:
    if image.format in ("JPEG", "MPO"):
        return "JPEG"
    if image.format in ("AVIF", "HEIF"):
        return str(image.format)
    if image.info.get("compression") in ("jpeg", "tiff_jpeg"):
        return "TIFF with JPEG compression"
    if image.format == "WEBP" and b"VP8L" not in path.read_bytes():  # the chunk of lossless pixels
        return "lossy WebP"
    return None
