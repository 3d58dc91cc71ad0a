"""One look at the masks of a data set: the values, colours and palettes that they store, before these mean anything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saccade.data import OnProgress
from saccade.data.decoding import UnreadableError, pillow
from saccade.tasks.segmentation.stored import StoredMask, read_stored

Colour = tuple[int, int, int]

_CHUNK = 256
_MOST = 4096  # different values of one mask that are kept; labels have fewer, photographs more
_MANY = 16  # as many different values at edges are no labels
_INNER = 0.1  # values of which a smaller fraction of pixels lies inside a region are edges


@dataclass
class Tally:
    """Pixels by what they store: a value, or a colour as one number.

    Args:
        pixels: Number of pixels.
        inner: Number of those whose four neighbours store the same.
        masks: Number of masks that hold it.
        example: A mask that holds it.
    """

    pixels: Counter[int] = field(default_factory=Counter)
    inner: Counter[int] = field(default_factory=Counter)
    masks: Counter[int] = field(default_factory=Counter)
    example: dict[int, Path] = field(default_factory=dict)

    def add(self, path: Path, found: Mapping[int, tuple[int, int]]) -> None:
        """Add the pixels of one mask, and the inner ones among them."""
        for value, (pixels, inner) in found.items():
            self.pixels[value] += pixels
            self.inner[value] += inner
            self.masks[value] += 1
            self.example.setdefault(value, path)

    @property
    def values(self) -> list[int]:
        """What is stored, in order."""
        return sorted(self.pixels)

    def edges(self, *, known_odd: bool = False) -> list[int]:
        """Return the values that occur at edges only, if they are at least as many as the others and at least three.

        That is what smoothing, resizing by interpolation and lossy compression leave between two classes.

        Args:
            known_odd: True if the values are known not to be class numbers: then fewer of them suffice.
        """
        soft = [value for value in self.values if self.inner[value] < _INNER * self.pixels[value]]
        hard = len(self.pixels) - len(soft)
        if hard >= 2 and len(soft) >= max(3, hard):
            return soft
        if len(soft) > max(_MANY, hard if known_odd else 3 * hard):
            two = sorted(self.values, key=lambda value: -self.pixels[value])[:2]
            return [value for value in self.values if value not in two]
        return []


@dataclass
class Survey:
    """What the masks of a data set store.

    Args:
        masks: Number of masks that were read.
        kinds: Number of masks of each kind.
        grey: Pixels of masks with values.
        colour: Pixels of masks in colour.
        alpha: Opacity of all pixels, if it is the mask: all masks have one colour each, and opacity varies.
        palettes: Place in a palette to its colours, each with a mask that has it.
        bad: Masks that cannot be read, with the reason.
        held: Values that each mask holds; of a mask in colour its colours.
        coloured: Masks in colour.
    """

    masks: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    grey: Tally = field(default_factory=Tally)
    colour: Tally = field(default_factory=Tally)
    alpha: Tally | None = None
    palettes: dict[int, dict[Colour, Path]] = field(default_factory=dict)
    bad: dict[Path, UnreadableError] = field(default_factory=dict)
    held: dict[Path, frozenset[int]] = field(default_factory=dict)
    coloured: set[Path] = field(default_factory=set)


@dataclass(frozen=True)
class _Seen:
    kind: str
    stored: Mapping[int, tuple[int, int]]
    coloured: bool
    alpha: Mapping[int, tuple[int, int]] | None
    palette: Mapping[int, Colour]


def survey(paths: Sequence[Path], on_progress: OnProgress | None = None) -> Survey:
    """Read masks, several at once, and count what they store.

    Args:
        paths: The masks.
        on_progress: Called with (done, total, what).
    """
    pillow()
    found, alpha, uniform = Survey(), Tally(), True
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(paths), _CHUNK):  # a data set may have millions, and Ctrl-C waits for these
            chunk = paths[start : start + _CHUNK]
            for path, seen in zip(chunk, pool.map(_seen, chunk), strict=True):
                if isinstance(seen, UnreadableError):
                    found.bad[path] = seen
                    continue
                found.masks += 1
                found.kinds[seen.kind] += 1
                (found.colour if seen.coloured else found.grey).add(path, seen.stored)
                found.held[path] = frozenset(seen.stored)
                if seen.coloured:
                    found.coloured.add(path)
                uniform &= len(seen.stored) == 1
                alpha.add(path, {255: (1, 1)} if seen.alpha is None else seen.alpha)
                for place, colour in seen.palette.items():
                    found.palettes.setdefault(place, {}).setdefault(colour, path)
            if on_progress is not None:
                on_progress(start + len(chunk), len(paths), "reading masks")
    if uniform and len(alpha.pixels) > 1:
        found.alpha = alpha
    return found


def packed(colours: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Return colours (H, W, 3) as one number each (H, W)."""
    wide = colours.astype(np.int32)
    packed_: NDArray[np.int32] = wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]
    return packed_


def unpacked(colour: int) -> Colour:
    """Return the colour that a number stands for."""
    return colour >> 16, colour >> 8 & 255, colour & 255


def _seen(path: Path) -> _Seen | UnreadableError:
    try:
        mask: StoredMask = read_stored(path).in_grey()
    except UnreadableError as problem:
        return problem
    except OSError as problem:
        return UnreadableError(str(problem))
    stored = _counts(mask.values if mask.colours is None else packed(mask.colours))
    palette = {}
    if mask.palette is not None:
        palette = {
            place: (int(r), int(g), int(b))
            for place in stored
            if place < len(mask.palette)
            for r, g, b in (mask.palette[place],)
        }
    alpha = None if mask.alpha is None else _counts(mask.alpha)
    return _Seen(mask.kind, stored, mask.colours is not None, alpha, palette)


def _counts(values: Any) -> dict[int, tuple[int, int]]:
    """Return for each value the number of its pixels, and of those inside a region of it."""
    inside = np.zeros(values.shape, dtype=np.bool_)
    if min(values.shape) > 2:
        middle = values[1:-1, 1:-1]
        inside[1:-1, 1:-1] = (
            (middle == values[:-2, 1:-1]) & (middle == values[2:, 1:-1])
            & (middle == values[1:-1, :-2]) & (middle == values[1:-1, 2:])
        )  # fmt: skip
    if values.dtype == np.uint8:
        pixels = np.bincount(values.ravel(), minlength=256)
        inner = np.bincount(values[inside], minlength=256)
        return {int(value): (int(pixels[value]), int(inner[value])) for value in np.flatnonzero(pixels)}
    # Labels come in runs, so that few numbers have to be sorted.
    flat = values.ravel()
    starts = np.flatnonzero(np.diff(flat, prepend=flat[:1] - 1))
    lengths, inner_of_run = np.diff(starts, append=flat.size), np.add.reduceat(inside.ravel().astype(np.int64), starts)
    unique, place = np.unique(flat[starts], return_inverse=True)
    pixels, inner = np.bincount(place, weights=lengths), np.bincount(place, weights=inner_of_run)
    most = np.argsort(-pixels, kind="stable")[:_MOST]
    return {int(unique[index]): (int(pixels[index]), int(inner[index])) for index in most}
