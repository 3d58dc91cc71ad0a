"""A plain folder of images and masks, and the one loader for every layout of segmentation data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from saccade.data import IGNORE, OnProgress
from saccade.data.decoding import UnreadableError
from saccade.data.depth import find_range, spread_over
from saccade.data.layouts import Item, relative
from saccade.data.reading import AS_IT_IS, Reading, class_names
from saccade.data.shard_names import name_of
from saccade.data.shards import class_list
from saccade.data.tree import account, scan
from saccade.errors import InputError
from saccade.tasks.base import Files
from saccade.tasks.segmentation.ade20k import ade20k_root, load_ade20k
from saccade.tasks.segmentation.cityscapes import is_cityscapes, load_cityscapes
from saccade.tasks.segmentation.classes import ClassList, read_classes
from saccade.tasks.segmentation.labelled import Colour, Labelled, Pair, Pixels, Reader
from saccade.tasks.segmentation.layout import TOGETHER, find_pairs, value_table
from saccade.tasks.segmentation.meaning import Meaning, decide, plain_values
from saccade.tasks.segmentation.shards import MASK_SHARDS, find_mask_shards
from saccade.tasks.segmentation.stored import read_stored
from saccade.tasks.segmentation.survey import survey
from saccade.tasks.segmentation.voc import is_context, is_voc, load_context, load_voc

_SAMPLE = 256
_SHOWN = 10


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
    files = find_files(path, reading)
    pixels = find_range([item.image for item in (*files.train, *files.val)], bits=reading.bits, where=str(path))
    return labelled(
        path, replace(examine_masks(files, reading, where=str(path), on_progress=on_progress), pixels=pixels)
    )


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
    names, listing = _list_of(path, reading, layout)
    if known is not None:
        train, val = (tuple(Item(*pair) for pair in pairs) for pairs in (known.train, known.val))
        masks = MaskFiles(known.read, known.reader, known.palette, known)
        used = [file for pair in (*known.train, *known.val) for file in pair] + ([listing] if listing else [])
        found = Files(
            known.classes, train, val, known.note, masks, layout=layout, origin="the lists of the data set",
            left_out=account(scan(path), used), allow_copies=True,
        )  # fmt: skip
        if names is None:
            return found
        what = "--classes" if listing is None else relative(listing, path)
        found = replace(found, note=f"segmentation, laid out as {layout}, with the classes of {what}")
    elif layout == MASK_SHARDS:
        found = find_mask_shards(path, reading)
    else:
        found = find_pairs(path, reading, layout, listing)
    # Until the masks are examined, values are taken for class numbers.
    count = len(names.names) if names else IGNORE
    meaning = Meaning(names.names if names else (), plain_values(count), names.colours if names else {})
    return replace(
        found, classes=meaning.names, reader=MaskFiles(read_stored, meaning, _colours(names), names=names),
        others=() if listing is None else (listing,),
    )  # fmt: skip


def examine_masks(
    files: Files, reading: Reading = AS_IT_IS, *, where: str = "", on_progress: OnProgress | None = None
) -> Files:
    """Determine what the masks of a plain folder mean; those of a published data set are known.

    All masks are read once; where there is a list of classes, only a sample of 256 of them.

    Args:
        files: Files that :func:`find_files` listed.
        reading: How the folder is to be read.
        where: The data in messages.
        on_progress: Called with (done, total, what) while masks are read.

    Returns:
        The files with the names of the classes, the reader of the masks, and what they mean as sentences; masks that
        cannot be read are named where they are read.

    Raises:
        InputError: See :func:`saccade.tasks.segmentation.meaning.decide`.
    """
    masks: MaskFiles = files.reader
    if masks.known is not None:
        if reading.ignore is not None:
            raise InputError(f"--ignore: what the masks of {masks.known.name} mean is fixed", "leave the option out")
        return files
    paths = [item.target for item in (*files.train, *files.val)]
    if masks.names is not None and len(paths) > _SAMPLE:
        paths = spread_over(paths, _SAMPLE)
    whole = len(paths) == len(files.train) + len(files.val)
    found = survey(paths, on_progress)
    if not found.masks:
        return replace(files, reader=masks._replace(bad=found.bad))
    meaning = decide(found, masks.names, reading.ignore, where=where, whole=whole)
    return replace(
        files, classes=meaning.names, reader=masks._replace(reader=meaning, bad=found.bad),
        meaning=(*files.meaning, *meaning.notes),
    )  # fmt: skip


def refuse_white(files: Files, meaning: Meaning, where: str) -> None:
    """Refuse masks of 0 and 255 alone where a network was trained with 255 ignored: only class 0 would be scored.

    Raises:
        InputError: They hold no other value, in a sample of 256.
    """
    paths = spread_over([item.target for item in (*files.train, *files.val)], _SAMPLE)
    held = frozenset[int]().union(*survey(paths).held.values())
    if IGNORE in held <= {0, IGNORE} and meaning.values.get(IGNORE) == IGNORE:
        raise InputError(
            f"{where}: masks hold only 0 and 255, and in the training of this network 255 was ignored",
            "save the masks with the class numbers of training; or, if 255 is what is to be ignored, add --ignore 255",
        )


def _list_of(path: Path, reading: Reading, layout: str) -> tuple[ClassList | None, Path | None]:
    """Return the list of classes that was given, or that lies in the folder, and its file."""
    if layout == MASK_SHARDS and reading.classes is None:
        listing = class_list(path)
    else:
        listing = path / "classes.txt" if reading.classes is None else reading.classes_file
    if layout == TOGETHER and listing is not None and not listing.is_file() and reading.classes is None:
        table = value_table(path)
        return (None, None) if table is None else (ClassList(table[1], {}), table[0])
    if listing is not None:
        return (read_classes(listing), listing) if listing.is_file() or reading.classes is not None else (None, None)
    given = class_names(reading)
    return (None if given is None else ClassList(given, {})), None


def _layout_of(path: Path, reading: Reading) -> str:
    from saccade.tasks import layout_of
    from saccade.tasks.segmentation.task import Segmentation

    return layout_of(Segmentation, path, reading)


class MaskFiles(NamedTuple):
    """Reading of masks: from a path to what is stored, and to classes; with the colours of the classes, if known.

    Of a published data set `known` is all of it, of a plain folder `names` is the list of classes, if there is one;
    `bad` are the masks that could not be read when they were examined.
    """

    read: Callable[[Path], Any]
    reader: Reader
    colours: tuple[Colour, ...]
    known: Labelled | None = None
    names: ClassList | None = None
    bad: Mapping[Path, UnreadableError] = MappingProxyType({})

    def classes(self, path: Path) -> Pixels:
        """Return the class indices (H, W) of a mask, 255 = ignored; raises UnreadableError."""
        return self.reader.classes(self.read(path))


def load_mask_folder(
    path: str | Path, *, reading: Reading = AS_IT_IS, on_progress: OnProgress | None = None
) -> Labelled:
    """Load ``images/`` and ``masks/`` of the same names, split 80/20; or both below ``train/`` and ``val/``.

    Masks hold class numbers, two values, or colours that a ``classes.txt`` in `path` lists as ``name R G B``; see
    :mod:`saccade.tasks.segmentation.meaning`. Without colours that file names the classes; without the file they are
    called as the values that stand for them.

    Args:
        path: The folder.
        reading: How the folder is to be read.
        on_progress: Called with (done, total, what) while masks are read to determine the classes.

    Raises:
        InputError: The layout is another or incomplete, or a mask cannot be read.
    """
    path = Path(path)
    files = find_files(path, reading)
    pixels = find_range([item.image for item in (*files.train, *files.val)], bits=reading.bits, where=str(path))
    return labelled(
        path, replace(examine_masks(files, reading, where=str(path), on_progress=on_progress), pixels=pixels)
    )


def labelled(path: Path, files: Files) -> Labelled:
    """Make the dataset of files that :func:`find_files` listed and :func:`examine_masks` examined.

    Raises:
        InputError: Masks cannot be read; ten of them are named.
    """
    masks: MaskFiles = files.reader
    if masks.known is not None:
        return replace(masks.known, white=files.pixels.white)
    odd = masks.reader.odd if isinstance(masks.reader, Meaning) else ()
    bad = dict(masks.bad)
    for mask in odd[:_SHOWN]:
        try:
            masks.classes(mask)
        except UnreadableError as problem:
            bad[mask] = problem
    if bad:
        lines = "".join(f"\n  {relative(mask, path)}: {problem}" for mask, problem in list(bad.items())[:_SHOWN])
        total = len({*masks.bad, *odd})
        more = f"\n  and {total - _SHOWN} more" if total > _SHOWN else ""
        advice = next((problem.hint for problem in bad.values() if problem.hint), "repair or remove them")
        raise InputError(
            f"{path}: {total} of {len(files.train) + len(files.val)} masks cannot be used:{lines}{more}", advice
        )
    train, val = _pairs(files.train), _pairs(files.val)
    note = f"{files.note}: {len(files.classes)} classes, {len(train)} training and {len(val)} validation images"
    return Labelled(
        name_of(path), files.classes, train, val, masks.reader, note, masks.colours, read=masks.read,
        white=files.pixels.white,
    )  # fmt: skip


def _colours(names: ClassList | None) -> tuple[Colour, ...]:
    """The colours that ``classes.txt`` gives, in the order of the classes."""
    colours = {index: colour for colour, index in names.colours.items()} if names else {}
    return tuple(colours[index] for index in range(len(names.names))) if names and colours else ()


def _pairs(items: tuple[Item, ...]) -> tuple[Pair, ...]:
    return tuple(Pair(item.image, item.target) for item in items if isinstance(item.target, Path))
