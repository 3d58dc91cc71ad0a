"""A user's folder of images as a dataset: decoded once, at the working size, into memory-mapped arrays."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from saccade.data import IGNORE, Dataset, Progress, Split
from saccade.data.cache import Append, Shapes, load_or_build
from saccade.data.classes import ClassList, MaskReader, read_classes
from saccade.data.identity import DataFiles, Identity, identify
from saccade.data.images import UnreadableError, centre, padded, read_image, read_mask, square
from saccade.data.layouts import Item, Layout, find_layout
from saccade.errors import InputError

_VERSION = 2  # raised when decoding or resizing changes, so that older caches are made again
_SHOWN = 10


def load_folder(
    path: str | Path,
    cache: Path,
    *,
    size: int,
    split_seed: int = 0,
    identity: str | None = None,
    on_progress: Progress | None = None,
) -> Dataset:
    """A folder of images as a dataset; what it is for is recognised from its layout and said in `Dataset.note`.

    Classification: ``train/CLASS/*`` and ``val/CLASS/*`` (or ``valid``, ``validation``, ``test``), or ``CLASS/*``,
    split 80/20 within every class. Segmentation: ``images/`` and ``masks/``, split 80/20, or both below ``train/`` and
    ``val/``. Masks have the names of their images and hold class indices (grey, palette, 16-bit or bilevel; 255 is
    ignored), or colours that a ``classes.txt`` in `path` lists as ``name R G B``. Without colours that file names the
    classes; without it they are 0 to the largest index found.

    Classification images are reduced to their centre square: training images of side round(size * 8 / 7), from which
    augmentation crops, validation images of side `size`, cut from the same. Segmentation images and masks get a longer
    side of `size` and are padded to a square, where the mask is ignored.

    Pictures are turned as their EXIF data says; 16-bit grey is taken to use its whole range; transparent pixels are
    laid over white.

    Args:
        path: The data.
        cache: Where the arrays are kept; they are used again as long as no name and no content of a file differs.
        size: Side of the squares networks see.
        split_seed: Decides a split that the layout does not give.
        identity: Digest of the files, of :func:`folder_identity`, where it is known; by default every file is read.
        on_progress: Called with (done, total, what) while files are read, not when images come from the cache.

    Raises:
        InputError: The folder, a file in it, or the cache cannot be used; all bad files are counted, ten named.
        MissingExtraError: Pillow is missing.
    """
    path = Path(path)
    if not isinstance(size, int) or size < 8:
        raise InputError(f"load_folder: `size` must be a whole number of at least 8; received {size=}")
    if split_seed < 0:
        raise InputError(f"load_folder: `split_seed` must be at least 0; received {split_seed=}")
    layout = find_layout(path, split_seed)
    listing = path / "classes.txt"
    known = read_classes(listing) if layout.task == "segmentation" and listing.is_file() else None
    reading = _Reading(path, layout, size, known, on_progress)
    digest = identify(DataFiles.of(path, layout), None, on_progress).digest if identity is None else identity
    arrays, facts = load_or_build(Path(cache) / _entry_name(path, digest, size), reading.shapes(), reading.fill)
    splits = {
        side: Split(arrays[f"{side}_images"], arrays[f"{side}_targets"], tuple(_name(path, item) for item in items))
        for side, items in (("train", layout.train), ("val", layout.val))
    }
    classes = layout.classes or (known.names if known else tuple(map(str, range(facts["classes"]))))
    return Dataset(path.resolve().name, layout.task, classes, **splits, note=_note(layout, classes), identity=digest)


def folder_identity(
    path: str | Path, record: Path | None = None, *, split_seed: int = 0, on_progress: Progress | None = None
) -> Identity:
    """Return the identity of a folder that :func:`load_folder` takes, without decoding an image.

    Args:
        path: The data.
        record: Hashes of files read earlier, see :func:`saccade.data.identity.identify`.
        split_seed: Decides a split that the layout does not give.
        on_progress: Called with (done, total, what) while files are read.

    Raises:
        InputError: The layout is not recognised, or a file cannot be read.
    """
    path = Path(path)
    return identify(DataFiles.of(path, find_layout(path, split_seed)), record, on_progress)


class _Reading:
    """One pass over the files: decodes, resizes, appends, and collects every file that cannot be used."""

    def __init__(
        self, path: Path, layout: Layout, size: int, known: ClassList | None, on_progress: Progress | None
    ) -> None:
        self.path, self.layout, self.size, self.on_progress = path, layout, size, on_progress
        self.reader = MaskReader(known) if layout.task == "segmentation" else None
        self.bad: list[str] = []
        self.pixels = np.zeros(256, dtype=np.int64)  # of every class, over all masks

    def side_length(self, side: str) -> int:
        return round(self.size * 8 / 7) if self.layout.task == "classification" and side == "train" else self.size

    def shapes(self) -> Shapes:
        shapes: dict[str, tuple[tuple[int, ...], str]] = {}
        for side, items in (("train", self.layout.train), ("val", self.layout.val)):
            n, length = len(items), self.side_length(side)
            shapes[f"{side}_images"] = ((n, length, length, 3), "uint8")
            shapes[f"{side}_targets"] = ((n, length, length), "uint8") if self.reader else ((n,), "int64")
        return shapes

    def fill(self, append: Append) -> dict[str, Any]:
        done, total = 0, len(self.layout.train) + len(self.layout.val)
        for side, items in (("train", self.layout.train), ("val", self.layout.val)):
            for item in items:
                row = self.row(item, side)
                if row is not None:
                    append(f"{side}_images", row[0])
                    append(f"{side}_targets", row[1])
                done += 1
                if self.on_progress is not None:
                    self.on_progress(done, total, "reading images")
        self.refuse_bad(total)
        if self.reader is None:
            return {}
        self.refuse_one_class()
        return {"classes": int(np.flatnonzero(self.pixels[:IGNORE]).max()) + 1}

    def row(self, item: Item, side: str) -> tuple[Any, Any] | None:
        """Image and target of the working size; None, and a line in `bad`, where a file cannot be used."""
        file = item.image
        try:
            if isinstance(item.target, int):
                stored = round(self.size * 8 / 7)
                return centre(square(read_image(file, near=stored), stored), self.side_length(side)), item.target
            image, file = read_image(file), item.target
            return padded(image, self.mask(file, image.size), self.size)
        except UnreadableError as problem:
            self.bad.append(f"{file.relative_to(self.path).as_posix()}: {problem}")
            return None

    def mask(self, file: Path, expected: tuple[int, int]) -> Any:
        mask = read_mask(file)
        height, width = mask.shape[:2]
        if (width, height) != expected:
            raise UnreadableError(f"the mask is {width} x {height} px, its image {expected[0]} x {expected[1]} px")
        assert self.reader is not None
        classes = self.reader.classes(mask)
        self.pixels += np.bincount(classes.ravel(), minlength=256)
        return classes

    def refuse_bad(self, total: int) -> None:
        if not self.bad:
            return
        lines = "".join(f"\n  {line}" for line in self.bad[:_SHOWN])
        more = f"\n  and {len(self.bad) - _SHOWN} more" if len(self.bad) > _SHOWN else ""
        what = "images" if self.reader is None else "images with their masks"
        raise InputError(
            f"{self.path}: {len(self.bad)} of {total} {what} cannot be used:{lines}{more}", "repair or remove them"
        )

    def refuse_one_class(self) -> None:
        there = np.flatnonzero(self.pixels[:IGNORE])
        if len(there) >= 2:
            return
        hint = "masks hold 0 for the first class, 1 for the second, and so on"
        if self.pixels[IGNORE]:
            hint += "; 255 is ignored: if it is meant as a class, save it as 1, or save colour masks and a classes.txt"
        found = f"class {there[0]}" if len(there) else "no class at all"
        raise InputError(f"{self.path}: one class only: the masks hold {found}; segmentation needs at least two", hint)


def _entry_name(path: Path, identity: str, size: int) -> str:
    """A name that changes with the data and with every setting of how they are decoded."""
    key = json.dumps([_VERSION, size, identity])
    name = re.sub(r"[^\w-]+", "_", path.resolve().name) or "data"
    return f"{name[:40]}-{size}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"


def _name(path: Path, item: Item) -> str:
    return item.image.relative_to(path).as_posix()


def _note(layout: Layout, classes: tuple[str, ...]) -> str:
    counts = f"{len(layout.train)} training and {len(layout.val)} validation images"
    return f"{layout.said}: {len(classes)} classes, {counts}"
