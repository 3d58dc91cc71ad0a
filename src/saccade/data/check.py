"""Read every file of a folder once before training: report files that are broken and images that occur twice."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from saccade.data import IGNORE
from saccade.data.images import UnreadableError, read_image
from saccade.data.layouts import Item, Layout, listed
from saccade.data.mask_folder import MaskFiles, find_files
from saccade.errors import require

_RARE = 10  # images of a class below which it is mentioned
_SIDE, _COLUMNS, _ROWS = 96, 8, 20  # of the contact sheet: pixels, images per class, classes


@dataclass
class Findings:
    """The findings of a check of one folder.

    Args:
        note: The layout, as recognised.
        task: ``"classification"`` or ``"segmentation"``.
        counts: Class name to the number of images (masks: pixels) on each side.
        images: Number of images read.
        bad: File to the reason why it cannot be used.
        repeated: Groups of files with the same content.
        leaked: Groups with files on both sides.
        remarks: Other points worth knowing.
    """

    note: str
    task: str
    counts: dict[str, dict[str, int]]
    images: int = 0
    bad: dict[str, str] = field(default_factory=dict)
    repeated: list[list[str]] = field(default_factory=list)
    leaked: list[list[str]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """True if training would not fail on a file, and no image of the validation side is also trained on."""
        return not (self.bad or self.leaked)

    def __str__(self) -> str:
        what = "images" if self.task == "classification" else "pixels"
        width = max(map(len, self.counts), default=0)
        lines = [self.note, "", f"{'class':<{width}}  {'training':>12}  {'validation':>12}   ({what})"]
        lines += [f"{name:<{width}}  {n['train']:>12,}  {n['val']:>12,}" for name, n in self.counts.items()]
        lines += ["", f"{len(self.bad)} of {self.images} files cannot be used" + (":" if self.bad else "")]
        lines += [f"  {name}: {reason}" for name, reason in self.bad.items()]
        if self.leaked:
            lines.append(f"{len(self.leaked)} images are both in training and validation:")
            lines += [f"  {' = '.join(group)}" for group in self.leaked]
        within = len(self.repeated) - len(self.leaked)
        lines += [f"{within} images occur more than once within one side"] if within else []
        return "\n".join(lines + self.remarks)

    def to_json(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return vars(self) | {"good": self.good}


@dataclass(frozen=True)
class _Read:
    """One item as read; `pixels` counts the pixels of each class of a mask."""

    problem: str = ""
    file: Path | None = None
    digest: str = ""
    shape: tuple[int, int] = (0, 0)
    pixels: Any = None


def check_data(
    path: str | Path, *, split_seed: int = 0, on_progress: Callable[[int, int], None] = lambda done, total: None
) -> Findings:
    """Read every image and mask of a folder, and count images or pixels per class.

    Args:
        path: The data, in any layout that is recognised.
        split_seed: Seed of the split, for a layout without a validation side.
        on_progress: Called with (done, total).

    Raises:
        InputError: The layout is not recognised or is incomplete.
    """
    path = Path(path)
    layout, masks = find_files(path, split_seed)
    found = Findings(layout.said, layout.task, {})
    places: dict[str, list[tuple[str, str]]] = defaultdict(list)
    pixels = {side: np.zeros(256, dtype=np.int64) for side in ("train", "val")}
    counted: dict[str, Counter[int]] = {"train": Counter(), "val": Counter()}
    shapes: Counter[tuple[int, int]] = Counter()
    items = [(side, item) for side in ("train", "val") for item in getattr(layout, side)]
    for (side, item), read in _reading(items, masks):
        found.images += 1
        name = item.image.relative_to(path).as_posix()
        on_progress(found.images, len(items))
        if read.problem:
            found.bad[(read.file or item.image).relative_to(path).as_posix()] = read.problem
            continue
        shapes[read.shape] += 1
        places[read.digest].append((side, name))
        if isinstance(item.target, int):
            counted[side][item.target] += 1
        else:
            pixels[side] += read.pixels
    found.counts = _counts(layout, counted, pixels)
    for group in places.values():
        if len(group) > 1:
            names = [name for _, name in group]
            found.repeated.append(names)
            if len({side for side, _ in group}) > 1:
                found.leaked.append(names)
    found.remarks = list(_remarks(found, shapes))
    return found


def _reading(items: Sequence[tuple[str, Item]], masks: MaskFiles | None) -> Iterator[tuple[tuple[str, Item], _Read]]:
    """Decode items in parallel threads; Pillow releases the interpreter lock while it decodes."""
    require("PIL.Image", extra="train")

    def one(given: tuple[str, Item]) -> _Read:
        item = given[1]
        file = item.image
        try:
            content = hashlib.blake2b(file.read_bytes(), digest_size=16).hexdigest()
            size = read_image(file).size
            if isinstance(item.target, int) or masks is None:
                return _Read(digest=content, shape=size)
            file = item.target
            classes = masks.classes(file)
            if classes.shape[::-1] != size:
                return _Read(
                    f"the mask is {classes.shape[1]} x {classes.shape[0]} px, its image {size[0]} x {size[1]} px", file
                )
            return _Read("", file, content, size, np.bincount(classes.ravel(), minlength=256))
        except (UnreadableError, OSError) as problem:
            return _Read(str(problem), file)

    with ThreadPoolExecutor() as pool:
        yield from zip(items, pool.map(one, items), strict=True)


def _counts(layout: Layout, counted: dict[str, Counter[int]], pixels: dict[str, Any]) -> dict[str, dict[str, int]]:
    if layout.task == "classification":
        return {name: {side: counted[side][i] for side in counted} for i, name in enumerate(layout.classes)}
    there = np.flatnonzero((pixels["train"] + pixels["val"])[:IGNORE])
    names = layout.classes or tuple(map(str, range(int(there.max(initial=-1)) + 1)))
    rows = [*enumerate(names), (IGNORE, "ignored (255)")]
    return {name: {side: int(pixels[side][index]) for side in pixels} for index, name in rows}


def _remarks(found: Findings, shapes: Counter[tuple[int, int]]) -> Iterator[str]:
    if shapes:
        smallest, largest = min(shapes, key=min), max(shapes, key=max)
        yield f"sizes from {smallest[0]} x {smallest[1]} to {largest[0]} x {largest[1]} px, {len(shapes)} different"
    classes = {name: n for name, n in found.counts.items() if not name.startswith("ignored")}
    empty = [name for name, n in classes.items() if not n["train"]]
    unseen = [name for name, n in classes.items() if n["train"] and not n["val"]]
    if empty:
        yield f"no training images for: {listed(empty)}"
    if unseen:
        yield f"no validation images, so never scored: {listed(unseen)}"
    if found.task == "classification":
        rare = [name for name, n in classes.items() if 0 < n["train"] < _RARE]
        if rare:
            yield f"fewer than {_RARE} training images: {listed(rare)}"
        most, least = (
            max((n["train"] for n in classes.values()), default=0),
            min((n["train"] for n in classes.values() if n["train"]), default=0),
        )
        if least and most / least >= _RARE:
            yield f"the largest class has {most / least:.0f} times the images of the smallest: see scores per class"
