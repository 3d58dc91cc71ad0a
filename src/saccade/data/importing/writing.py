"""Write an export as a folder of images and masks: in full, or not at all."""

from __future__ import annotations

import glob
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from saccade.data import IGNORE, OnProgress
from saccade.data.decoding import UnreadableError, opened, orientation_of
from saccade.data.importing.export import Export, Picture, Shape, Size, UnusableError, is_background, plain
from saccade.errors import InputError, require
from saccade.tasks.segmentation.stored import turned_array

_ORIENTATION = 0x0112
_BACK = {6: 8, 8: 6}  # the other orientations undo themselves
IGNORED = "ignored (255)"
Frame = Literal["turned", "stored"]


@contextmanager
def whole(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder next to `folder`, which it becomes at the end, or vanishes.

    Raises:
        InputError: `folder` is not empty, or cannot be written.
    """
    if folder.is_symlink() or (folder.exists() and (not folder.is_dir() or any(folder.iterdir()))):
        raise InputError(f"{folder} exists and is not empty", "choose another folder")
    try:
        parent = folder.absolute().parent
        parent.mkdir(parents=True, exist_ok=True)
        _clear(parent, folder.absolute().name)
        temporary = parent / f".{folder.absolute().name}.{os.getpid()}.tmp"
        temporary.mkdir()
    except OSError as cause:
        raise InputError(f"{folder} cannot be written: {cause.strerror}", "choose another folder") from cause
    try:
        yield temporary
        if folder.exists():
            folder.rmdir()
        os.replace(temporary, folder)
    except OSError as cause:
        raise InputError(f"{folder} could not be written: {cause.strerror or cause}", "free some space") from cause
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _clear(parent: Path, name: str) -> None:
    """Remove what imports into the same folder left that were killed."""
    for path in parent.glob(f".{glob.escape(name)}.*.tmp"):
        number = path.name.removeprefix(f".{name}.").removesuffix(".tmp")
        if number.isdigit() and path.is_dir() and not path.is_symlink() and not _runs(int(number)):
            shutil.rmtree(path, ignore_errors=True)


def _runs(process: int) -> bool:
    """True if a process exists, or if that cannot be asked."""
    if os.name == "nt":  # where asking would end it
        return process != os.getpid()
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return process != os.getpid()


class Writer:
    """Draws and writes the images of an export.

    Args:
        export: The export; its accounts are completed.
        folder: Folder to write into.
        boxes: Draw rectangles around objects as filled areas.
        by_area: Draw smaller objects over larger ones; False draws them in the order of the export.
        unlabelled: Write images without objects, as background.
        link: Link images instead of copying them.
        frame: Pixels that labels refer to, where an image is to be turned and its size does not tell.
    """

    def __init__(
        self,
        export: Export,
        folder: Path,
        *,
        boxes: bool,
        by_area: bool,
        unlabelled: bool,
        link: bool,
        frame: Frame | None,
    ) -> None:
        self.export, self.folder = export, folder
        self.boxes, self.by_area, self.unlabelled, self.link, self.frame = boxes, by_area, unlabelled, link, frame
        self.classes = _written_names(export)
        self.names = dict(enumerate(self.classes)) | {IGNORE: IGNORED}
        self.objects: Counter[int] = Counter()
        self.pixels: Counter[int] = Counter()
        self.sides: Counter[str] = Counter()
        self.unlabelled_images: list[str] = []
        self.overlapping = 0
        self._index = {name: index for index, name in enumerate(export.classes)}
        self._sided = {"train"} < {one.side for one in export.pictures} - {None}
        self._taken: set[str] = set()

    def write(self, on_progress: OnProgress | None = None) -> None:
        """Write all images and masks, and ``classes.txt``.

        Raises:
            InputError: It cannot be told which pixels labels refer to, or nothing is left to write.
        """
        pictures = self.export.pictures
        if not self._sided:
            for side in sorted({one.side for one in pictures if one.side}):
                self.export.note("all images are of one side, or none is for training, so sides are not kept", side)
        for done, one in enumerate(pictures, 1):
            self._one(one)
            if on_progress is not None:
                on_progress(done, len(pictures), "writing masks")
        text = "".join(f"{name}\n" for name in self.classes)
        (self.folder / "classes.txt").write_text(text, encoding="utf-8")

    def _one(self, one: Picture) -> None:
        shapes = [shape for shape in one.shapes if self.boxes or shape.kind != "box"]
        left = [shape.name for shape in one.shapes if not self.boxes and shape.kind == "box"]
        if left:
            self.export.objects.leave_out("a box without a mask", left)
        one.shapes = shapes
        try:
            stored, orientation = _header(one.file)
            mask = self._mask(one, stored, orientation)
        except UnusableError as reason:
            self.export.leave_out(str(reason), one)
            return
        empty = one.mask is None and not one.shapes
        if empty and not self.unlabelled:
            self.export.leave_out("without labels", one)
            return
        if empty:
            self.unlabelled_images.append(plain(one.name))
        self._save(one, mask, orientation)

    def _save(self, one: Picture, mask: NDArray[np.uint8], orientation: int) -> None:
        side = (one.side or "train") if self._sided else ""
        if self._sided and one.side is None:
            self.export.note("images of no side are put into train", one.name)
        stem = self._stem(one, side)
        image = self.folder / side / "images" / f"{stem}{one.file.suffix}"
        target = self.folder / side / "masks" / f"{stem}.png"
        for path in (image, target):
            path.parent.mkdir(parents=True, exist_ok=True)
        if self.link:
            try:
                os.link(one.file.resolve(), image)
            except OSError as cause:
                raise InputError(
                    f"{one.name} cannot be linked from {self.folder.parent}: {cause.strerror}",
                    "leave --link out, so that images are copied",
                ) from cause
        else:
            shutil.copyfile(one.file, image)
        pil = require("PIL.Image", extra="train")
        exif = pil.Exif()
        if orientation != 1:  # that the mask is turned as its image is, by whoever turns that
            exif[_ORIENTATION] = orientation
        pil.fromarray(mask).save(target, exif=exif)
        counts = np.bincount(mask.reshape(-1), minlength=256)
        self.pixels.update({int(value): int(counts[value]) for value in np.flatnonzero(counts)})
        self.objects.update(IGNORE if shape.kind == "crowd" else self._class(shape) for shape in one.shapes)
        self.export.images.written += 1
        self.export.objects.written += len(one.shapes)
        self.sides[side or "all"] += 1

    def _stem(self, one: Picture, side: str) -> str:
        """A name that no other image of the side has, with the folders before it if it needs them."""
        parts = [part for part in Path(one.name.replace("\\", "/")).parts if part not in ("..", "/", ".")]
        parts = [*parts[:-1], one.file.stem]
        tries = ["_".join(parts[start:]) for start in reversed(range(len(parts)))]
        tries += [f"{tries[-1]}_{number}" for number in range(2, 2 + len(self.export.pictures))]
        stem = next(stem for stem in tries if f"{side}/{stem}".lower() not in self._taken)
        self._taken.add(f"{side}/{stem}".lower())
        if stem != one.file.stem:
            self.export.note("images of the same name are renamed", f"{one.name}: {stem}")
        return stem

    def _mask(self, one: Picture, stored: Size, orientation: int) -> NDArray[np.uint8]:
        """The mask, as the pixels of the image are stored."""
        seen = stored if orientation < 5 else (stored[1], stored[0])
        given = one.mask() if one.mask is not None else None
        stated = one.size if given is None else given.shape
        if stated is not None and tuple(stated) not in (stored, seen):
            raise UnusableError("their size in pixels is not the one that the export states")
        on_stored = tuple(stated or seen) != seen
        if (orientation != 1 and stored == seen) or (orientation != 1 and stated is None):
            if self.frame is None:
                raise InputError(
                    f"{one.name} is to be turned by its EXIF data, and its size does not tell whether the labels "
                    "refer to the pixels as stored or as turned",
                    "--exif turned (most tools show images turned) or --exif stored",
                )
            on_stored = self.frame == "stored"
        if given is None:
            given = self._drawn(one, stored if on_stored else seen)
        return given if on_stored else turned_array(given, _BACK.get(orientation, orientation))

    def _drawn(self, one: Picture, size: Size) -> NDArray[np.uint8]:
        mask = np.zeros(size, dtype=np.uint8)
        owner = np.full(size, -1, dtype=np.int32)
        drawn, kept = [], []
        for shape in one.shapes:
            try:
                region = shape.draw(size)
                if not region.mask.any():
                    raise UnusableError("it covers no pixel")
            except UnusableError as reason:
                self.export.objects.leave_out(str(reason), [shape.name])
                continue
            if region.clipped:
                self.export.note("objects that reach out of their image are cut off", shape.name)
            kept.append(shape)
            drawn.append((shape, region))
        one.shapes = kept
        drawn.sort(key=lambda pair: self._order(pair[0], int(pair[1].mask.sum())))
        for number, (shape, region) in enumerate(drawn):
            height, width = region.mask.shape
            rows, columns = slice(region.top, region.top + height), slice(region.left, region.left + width)
            self.overlapping += int(np.count_nonzero(owner[rows, columns][region.mask] >= 0))
            owner[rows, columns][region.mask] = number
            mask[rows, columns][region.mask] = IGNORE if shape.kind == "crowd" else self._class(shape)
        seen = np.bincount(owner.reshape(-1) + 1, minlength=len(drawn) + 1)[1:]
        for (shape, _), pixels in zip(drawn, seen, strict=True):
            if not pixels:
                self.export.note("objects lie wholly under others", shape.name)
        return mask

    def _order(self, shape: Shape, area: int) -> tuple[bool, int]:
        return shape.kind != "crowd", -area if self.by_area else shape.order

    def _class(self, shape: Shape) -> int:
        return 0 if is_background(shape.label) else self._index[shape.label]


def _header(path: Path) -> tuple[Size, int]:
    """Height and width as stored, and the EXIF orientation, 1 to 8."""
    try:
        with opened(path) as image:
            size = image.height, image.width
        return size, orientation_of(path)
    except UnreadableError as cause:
        raise UnusableError(f"they cannot be used: {cause}") from cause


def _written_names(export: Export) -> list[str]:
    """Names for classes.txt, where a name that ends in three numbers would be read as a colour."""
    if len(export.classes) > IGNORE:
        raise InputError(f"the export has {len(export.classes)} classes; masks of 8 bits hold {IGNORE}")
    names: list[str] = []
    for name in export.classes:
        words = name.split()
        coloured = len(words) > 3 and all(word.isascii() and word.isdigit() for word in words[-3:])
        written = plain("_".join(words) if coloured else " ".join(words))
        while written in names:
            written += "_"
        if written != name:
            export.note("classes are renamed", f"{name}: {written}")
        names.append(written)
    return names
