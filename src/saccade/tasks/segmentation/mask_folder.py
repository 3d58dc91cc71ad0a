"""A plain folder of images and masks, and the one loader for every layout of segmentation data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from saccade.data import IGNORE, OnProgress
from saccade.data.images import UnreadableError
from saccade.data.layouts import Item
from saccade.data.reading import AS_IT_IS, Reading
from saccade.data.tree import account, scan
from saccade.errors import InputError
from saccade.tasks.base import Files
from saccade.tasks.segmentation.ade20k import ade20k_root, load_ade20k
from saccade.tasks.segmentation.cityscapes import is_cityscapes, load_cityscapes
from saccade.tasks.segmentation.classes import ClassList, MaskReader, read_classes
from saccade.tasks.segmentation.labelled import Colour, Labelled, Pair, Pixels, Reader
from saccade.tasks.segmentation.layout import find_pairs
from saccade.tasks.segmentation.stored import read_mask
from saccade.tasks.segmentation.voc import is_context, is_voc, load_context, load_voc


def load_labelled(path: str | Path, *, reading: Reading = AS_IT_IS, on_progress: OnProgress | None = None) -> Labelled:
    """Load segmentation data in any known layout: Cityscapes, PASCAL Context, PASCAL VOC, ADE20K, or a plain folder.

    Args:
        path: The folder.
        reading: How the folder is to be read.
        on_progress: See :func:`load_mask_folder`.

    Raises:
        InputError: The layout is not recognised or is incomplete.
    """
    path = Path(path)
    return labelled(path, find_files(path, reading), on_progress)


def load_published(path: Path, layout: str) -> Labelled | None:
    """Load one of the published datasets in its own layout; None for any other layout.

    SBD in a folder ``sbd`` or ``benchmark_RELEASE`` next to VOC's is added to its training images.
    """
    if layout == "cityscapes":
        return load_cityscapes(path)
    if layout == "context":
        return load_context(path)
    if layout == "voc":
        return load_voc(path, sbd=next((p for p in (path / "sbd", path / "benchmark_RELEASE") if p.is_dir()), None))
    return load_ade20k(path) if layout == "ade20k" else None


def is_published(path: Path) -> str | None:
    """Return the name of the published data set that a folder is laid out as; None for any other folder."""
    if is_cityscapes(path):
        return "cityscapes"
    if is_context(path):
        return "context"
    if is_voc(path):
        return "voc"
    return "ade20k" if ade20k_root(path) is not None else None


def find_files(path: Path, reading: Reading = AS_IT_IS) -> Files:
    """List the files of any layout with what reads their masks; nothing is opened but ``classes.txt``.

    Raises:
        InputError: The layout is not recognised or is incomplete.
    """
    layout = _layout_of(path, reading)
    known = load_published(path, layout)
    if known is not None:
        train, val = (tuple(Item(*pair) for pair in pairs) for pairs in (known.train, known.val))
        masks = MaskFiles(known.read, known.reader, known.palette, known)
        used = [file for pair in (*known.train, *known.val) for file in pair]
        return Files(
            known.classes, train, val, known.note, masks, layout=layout, origin="the lists of the data set",
            left_out=account(scan(path), used), allow_copies=True,
        )  # fmt: skip
    found = find_pairs(path, reading, layout)
    listing = path / "classes.txt"
    names = read_classes(listing) if listing.is_file() else None
    masks = MaskFiles(read_mask, MaskReader(names), _colours(names))
    return replace(
        found, classes=names.names if names else (), reader=masks, others=(listing,) if listing.is_file() else ()
    )


def _layout_of(path: Path, reading: Reading) -> str:
    from saccade.tasks import layout_of
    from saccade.tasks.segmentation.task import Segmentation

    return layout_of(Segmentation, path, reading)


class MaskFiles(NamedTuple):
    """Reading of masks: from a path to stored values, and to classes; with the colours of the classes, if known.

    Of a published data set `known` is all of it.
    """

    read: Callable[[Path], NDArray[Any]]
    reader: Reader
    colours: tuple[Colour, ...]
    known: Labelled | None = None

    def classes(self, path: Path) -> Pixels:
        """Return the class indices (H, W) of a mask, 255 = ignored; raises UnreadableError."""
        return self.reader.classes(self.read(path))


def load_mask_folder(
    path: str | Path, *, reading: Reading = AS_IT_IS, on_progress: OnProgress | None = None
) -> Labelled:
    """Load ``images/`` and ``masks/`` of the same names, split 80/20; or both below ``train/`` and ``val/``.

    Masks hold class numbers, or colours that a ``classes.txt`` in `path` lists as ``name R G B``. Without colours that
    file names the classes; without the file all masks are read once, and the classes are 0 to the largest number found.
    255 is ignored.

    Args:
        path: The folder.
        reading: How the folder is to be read.
        on_progress: Called with (done, total, what) while masks are read to determine the classes.

    Raises:
        InputError: The layout is another or incomplete, or a mask cannot be read.
    """
    path = Path(path)
    return labelled(path, find_files(path, reading), on_progress)


def labelled(path: Path, files: Files, on_progress: OnProgress | None = None) -> Labelled:
    """Determine the classes of a folder whose files :func:`find_files` listed; see :func:`load_mask_folder`."""
    if files.reader.known is not None:
        published: Labelled = files.reader.known
        return published
    train, val = _pairs(files.train), _pairs(files.val)
    reader, classes = files.reader.reader, files.classes
    if not classes:
        count = _largest((*train, *val), MaskReader(None), on_progress) + 1
        classes, reader = tuple(map(str, range(count))), MaskReader(None, count)
    note = f"{files.note}: {len(classes)} classes, {len(train)} training and {len(val)} validation images"
    return Labelled(path.resolve().name, classes, train, val, reader, note, files.reader.colours)


def _colours(names: ClassList | None) -> tuple[Colour, ...]:
    """The colours that ``classes.txt`` gives, in the order of the classes."""
    colours = {index: colour for colour, index in names.colours.items()} if names else {}
    return tuple(colours[index] for index in range(len(names.names))) if names and colours else ()


def _pairs(items: tuple[Item, ...]) -> tuple[Pair, ...]:
    return tuple(Pair(item.image, item.target) for item in items if isinstance(item.target, Path))


def _largest(pairs: tuple[Pair, ...], reader: MaskReader, on_progress: OnProgress | None) -> int:
    """Return the largest class index in any mask."""
    there = np.zeros(256, dtype=np.bool_)
    for done, pair in enumerate(pairs, 1):
        try:
            there[np.unique(reader.classes(read_mask(pair.mask)))] = True
        except UnreadableError as problem:
            raise InputError(f"{pair.mask}: {problem}", "repair or remove it") from problem
        if on_progress is not None:
            on_progress(done, len(pairs), "reading masks")
    found = np.flatnonzero(there[:IGNORE])
    if len(found) < 2:
        what = f"class {found[0]}" if len(found) else "no class at all"
        raise InputError(
            f"only one class: the masks hold {what}; segmentation needs at least two",
            "masks hold 0 for the first class, 1 for the second, and so on; 255 is ignored",
        )
    return int(found.max())
