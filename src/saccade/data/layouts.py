"""Reading folders, as all tasks do it: wrapping folders, sides and splits, and saying what was seen."""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from saccade.data.images import SUFFIXES
from saccade.data.names import IMAGES, MASKS, TEST, TRAIN, VAL, shown, side_of_word, weak_kind_of
from saccade.data.reading import Reading
from saccade.data.tree import WRITTEN, Folder, scan
from saccade.errors import InputError

FRACTION = 0.2
"""Fraction of the images that a seed holds out for validation, unless ``--split`` says another."""

_SHOWN = 10
_ANNOTATIONS = (".json", ".xml", ".txt", ".csv")


@dataclass(frozen=True)
class Item:
    """One image with its target: the index of its class, the file of its mask, or whatever a task reads."""

    image: Path
    target: Any


@dataclass(frozen=True)
class Division:
    """Images divided into sides.

    Args:
        train: Training images.
        val: Validation images.
        origin: Where the sides come from, in words.
        drawn: True if a seed chose the validation side.
        left_out: The reason why an image is on neither side.
        problems: What is wrong with the sides, in words, where training on them would not be honest.
    """

    train: tuple[Item, ...]
    val: tuple[Item, ...]
    origin: str
    drawn: bool = False
    left_out: Mapping[Path, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


def known_layouts() -> str:
    """The layouts that tasks recognise, one per line."""
    from saccade.tasks import every_task

    rows = [(f"{task.name}:", line) for task in reversed(every_task()) for line in task.layouts.values()]
    width = max(len(name) for name, _ in rows)
    return "known layouts:\n" + "\n".join(f"  {name:<{width}} {line}" for name, line in rows)


def listed(names: Sequence[str]) -> str:
    """Return the first ten names, and how many more there are."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def images_in(folder: Path) -> list[Path]:
    """Return every image below `folder`, in order of name; hidden files and folders are left out."""
    return scan(folder).every_image()


def unwrapped(top: Folder) -> Folder:
    """Look through folders that only wrap another one: of ``data/dataset/train/...`` that is ``dataset``.

    A folder is looked through if it has no image itself and one folder alone, whose name says no role and which holds
    folders in turn. A folder with the images of the only class does not wrap anything.
    """
    found = top
    while not found.images:
        with_files = [one for one in found.visible() if one.has_files]
        if len(with_files) != 1 or with_files[0].role is not None:
            break
        inner = with_files[0]
        if inner.images or not inner.inside():
            break
        found = inner
    return found


def kinds_of(children: Sequence[Folder]) -> dict[str, str]:
    """Tell what folders hold by their names; ``photos`` and its like count where another folder says the other kind."""
    found = {one.name: one.role.kind for one in children if one.role is not None and one.role.kind is not None}
    for one in children:
        weak = weak_kind_of(one.path.name)
        others = {kind for name, kind in found.items() if name != one.name}
        if one.role is None and weak is not None and others == {MASKS if weak == IMAGES else IMAGES}:
            found[one.name] = weak
    if not found:
        weak_ones = {one.name: weak for one in children if (weak := weak_kind_of(one.path.name)) is not None}
        if sorted(weak_ones.values()) == [IMAGES, MASKS]:
            found = weak_ones
    return found


def said_inside(top: Folder, root: Folder) -> str:
    """Say which folder was looked through, as the end of a sentence."""
    return f", inside {shown(root.path.relative_to(top.path))}/" if root is not top else ""


def split(
    groups: Sequence[Sequence[Item]], seed: int, fraction: float = FRACTION
) -> tuple[tuple[Item, ...], tuple[Item, ...]]:
    """Split every group of at least 2 items; each side gets at least one item of each."""
    train: list[Item] = []
    val: list[Item] = []
    for index, group in enumerate(groups):
        count = min(len(group) - 1, max(1, round(fraction * len(group))))
        chosen = set(np.random.default_rng((seed, index)).permutation(len(group))[:count].tolist())
        for place, item in enumerate(group):
            (val if place in chosen else train).append(item)
    return tuple(train), tuple(val)


def divide(
    found: Mapping[str | None, Sequence[Item]],
    top: Folder,
    reading: Reading,
    stratum: Callable[[Item], Hashable] = lambda item: 0,
    *,
    names: Mapping[str, str] | None = None,
) -> Division:
    """Divide images into training and validation, as the folder or the reading says.

    Args:
        found: Images by the side that their folder says, None where it says none.
        top: The whole folder.
        reading: How it is to be read.
        stratum: What is split evenly, such as the class.
        names: Names of the folders of the sides, for messages.

    Raises:
        InputError: A side is missing or empty, there are too few images to split, or the reading does not fit.
    """
    called = names or {}
    sides = {side: tuple(items) for side, items in found.items() if items}
    if reading.split_file is not None:
        return _grouped(_by_file(sides, top, reading.split_file), top, reading)
    if None in sides and len(sides) > 1:
        raise InputError(
            f"{top.path}: {len(sides[None])} images are on no side, and others are in "
            f"{listed([called.get(side or '', str(side)) for side in sides if side])}/",
            "move them to a side, or say which folders are the sides: --split TRAIN:VAL",
        )
    if reading.fraction is not None or None in sides:
        return _drawn(sides, top, reading, stratum, called)
    if TRAIN not in sides:
        raise InputError(
            f"{top.path}: there is no training side, only {listed([called.get(s or '', str(s)) for s in sides])}",
            "say which folders are the sides: --split TRAIN:VAL",
        )
    held = VAL if VAL in sides else TEST if TEST in sides else None
    if held is None:
        name = called.get(TRAIN, TRAIN)
        raise InputError(
            f"{top.path}: it has {name}/, but no validation side", f"to have {name}/ split, add --split {FRACTION}"
        )
    words = f"validation on {called.get(held, held)}/"
    unused = {
        item.image: f"the side {called.get(side or '', str(side))}/ is not used: {words}"
        for side, items in sides.items()
        if side not in (TRAIN, held)
        for item in items
    }
    return _grouped(Division(sides[TRAIN], sides[held], "the sides of the folder", left_out=unused), top, reading)


def _drawn(
    sides: Mapping[str | None, tuple[Item, ...]],
    top: Folder,
    reading: Reading,
    stratum: Callable[[Item], Hashable],
    called: Mapping[str, str],
) -> Division:
    """Split the images without a side, or the training side, by the seed."""
    of = None if None in sides else TRAIN
    if of not in sides:
        raise InputError(f"{top.path}: there is no training side to split", "leave --split out")
    left_out = {
        item.image: f"the side {called.get(side or '', str(side))}/ is not used: --split divides the training side"
        for side, items in sides.items()
        if side != of
        for item in items
    }
    fraction, seed = reading.fraction or FRACTION, reading.split_seed
    strata: dict[Hashable, list[Item]] = defaultdict(list)
    for item in sides[of]:
        strata[stratum(item)].append(item)
    if reading.group is not None:
        train, val = _split_groups(sides[of], top, reading, fraction, stratum)
    else:
        train, val = split(list(strata.values()), seed, fraction)
    if not train or not val:
        missing = "validation" if train else "training"
        raise InputError(
            f"{top.path}: too few images to split: {len(sides[of])} leave none for {missing}",
            "add images, or give a validation side",
        )
    share = "" if reading.fraction is None else f"{fraction:.0%} for validation, "
    together = "" if reading.group is None else ", groups kept together"
    return Division(train, val, f"{share}split by seed {seed}{together}", True, left_out)


def _split_groups(
    items: Sequence[Item], top: Folder, reading: Reading, fraction: float, stratum: Callable[[Item], Hashable]
) -> tuple[tuple[Item, ...], tuple[Item, ...]]:
    """Hold out whole groups until each stratum has its fraction; what only one group has is trained on."""
    groups: dict[str, list[Item]] = defaultdict(list)
    spread: dict[Hashable, set[str]] = defaultdict(set)
    total: dict[Hashable, int] = defaultdict(int)
    for item in items:
        group = reading.group_of(relative(item.image, top.path))
        assert group is not None
        groups[group].append(item)
        spread[stratum(item)].add(group)
        total[stratum(item)] += 1
    if len(groups) < 2:
        raise InputError(
            f"--group {reading.group}: all images belong to one group ({next(iter(groups))!r})",
            "a split needs two groups or more: see whether the pattern says what you mean",
        )
    wanted = {one: max(1, math.floor(fraction * count + 0.5)) for one, count in total.items()}
    held: dict[Hashable, int] = defaultdict(int)
    names = sorted(groups)
    chosen: set[str] = set()
    for place in np.random.default_rng(reading.split_seed).permutation(len(names)).tolist():
        name = names[place]
        counts: dict[Hashable, int] = defaultdict(int)
        for item in groups[name]:
            counts[stratum(item)] += 1
        # A group must bring what is still missing, and leave every stratum something to train on.
        needed = any(held[one] < wanted[one] for one in counts)
        leaves = all(spread[one] - chosen - {name} for one in counts)
        before = sum(abs(wanted[one] - held[one]) for one in counts)
        after = sum(abs(wanted[one] - held[one] - count) for one, count in counts.items())
        if needed and leaves and (after <= before or not chosen):
            chosen.add(name)
            for one, count in counts.items():
                held[one] += count
    if not chosen:
        raise InputError(
            f"--group {reading.group}: no group can be held out, since each has a class of its own",
            "validation needs images of a class in two groups",
        )
    val = {id(item) for name in chosen for item in groups[name]}
    return tuple(i for i in items if id(i) not in val), tuple(i for i in items if id(i) in val)


def _by_file(sides: Mapping[str | None, tuple[Item, ...]], top: Folder, file: Path) -> Division:
    """Divide by a file: a list of the images for validation, or a table of files and sides."""
    items = [item for some in sides.values() for item in some]
    rows = _split_rows(file)
    places: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        name = relative(item.image, top.path)
        for key in {name, item.image.name, item.image.stem, name.rpartition(".")[0]}:
            places[key].append(item)
    side_of: dict[int, str] = {}
    unknown, several = [], []
    for name, side in rows:
        found = places.get(name.removeprefix("./").replace("\\", "/"), [])
        if not found:
            unknown.append(name)
        elif len(found) > 1:
            several.append(name)
        elif side_of.setdefault(id(found[0]), side) != side:
            raise InputError(f"{file}: {name!r} is on two sides", "list each image once")
    if unknown or several:
        what = f"no image is called {listed(unknown)}" if unknown else f"several images are called {listed(several)}"
        raise InputError(f"{file}: {what}", f"give paths relative to {top.path}")
    table = any(side == TRAIN for _, side in rows)
    held = VAL if any(side == VAL for _, side in rows) else TEST
    chosen = {id(item): side_of.get(id(item), "" if table else TRAIN) for item in items}
    train = tuple(item for item in items if chosen[id(item)] == TRAIN)
    val = tuple(item for item in items if chosen[id(item)] == held)
    if not train or not val:
        raise InputError(
            f"{file}: it leaves no images for {'validation' if train else 'training'}", "both sides need some"
        )
    left_out = {
        item.image: f"{file.name} has it on {chosen[id(item)] or 'no side'}"
        for item in items
        if chosen[id(item)] not in (TRAIN, held)
    }
    return Division(train, val, f"split by {shown(file.name)}", left_out=left_out)


def _split_rows(file: Path) -> list[tuple[str, str]]:
    """Names and sides in a file; a plain list is of validation images."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as cause:
        raise InputError(f"--split {file}: cannot be read ({cause})", "save it as text in UTF-8") from cause
    if file.suffix.lower() != ".csv":
        return [(line.strip(), VAL) for line in text.splitlines() if line.strip()]
    rows = [[cell.strip() for cell in row] for row in csv.reader(text.splitlines()) if any(row)]
    header = [cell.lower() for cell in rows[0]] if rows else []
    columns = [next((header.index(name) for name in some if name in header), None) for some in _COLUMNS]
    if columns[0] is None or columns[1] is None:
        raise InputError(
            f"--split {file}: expected the columns file and side; received {', '.join(header) or 'nothing'}",
            "such as a first line of file,side and then lines like cats/1.jpg,val",
        )
    found = []
    for number, row in enumerate(rows[1:], 2):
        name, word = (row[column] if column < len(row) else "" for column in columns if column is not None)
        side = side_of_word(word)
        if side is None:
            raise InputError(f"--split {file}, line {number}: {word!r} does not say a side", "write train, val or test")
        found.append((name, side))
    return found


_COLUMNS = (("file", "filename", "image", "path", "name"), ("side", "split", "set", "subset"))


def _grouped(division: Division, top: Folder, reading: Reading) -> Division:
    """Name the groups that are on both sides, where the sides are given."""
    if reading.group is None:
        return division
    sides = [
        {reading.group_of(relative(item.image, top.path)) for item in items} for items in (division.train, division.val)
    ]
    both = sorted(str(group) for group in sides[0] & sides[1])
    if not both:
        return division
    problem = f"groups of --group {reading.group} on both sides, {len(both)} in number: {listed(both)}"
    return Division(
        division.train, division.val, division.origin, division.drawn, division.left_out, (*division.problems, problem)
    )


def relative(path: Path, root: Path) -> str:
    """Return a path relative to a folder as text, with slashes on every system."""
    return shown(path.relative_to(root) if path.is_relative_to(root) else path)


def unusable(folder: Folder) -> str:
    """Say why nothing in a folder can be used."""
    from saccade.data.tree import other_reason

    if folder.problem:
        return folder.problem
    files = list(folder.files())
    if not files:
        return "it is empty" if not folder.folders else "it holds empty folders only"
    return f"{len(files)} file{'s' if len(files) > 1 else ''}, such as {shown(files[0].name)}: {other_reason(files[0])}"


def not_recognised(path: Path) -> InputError:
    """Say what a folder holds that no task recognises, and what tasks would."""
    from saccade.data.doubts import masks_beside  # here, for that module imports this one

    top = scan(path)
    if top.problem:
        return InputError(f"{path}: {top.problem}", "see its permissions")
    ours = f"{len(top.all_written())} files left out: {WRITTEN}" if top.all_written() else ""
    if not top.has_images and ours:
        return InputError(f"{path} contains no images; {ours}", "copy what is to be learned from into another folder")
    if not top.has_images:
        return InputError(f"{path} contains no images", f"images are files ending in {' '.join(SUFFIXES)}")
    root = unwrapped(top)
    seen = [f"{one.name}/ ({len(one.every_image())} images)" for one in root.folders.values()]
    seen += [f"{len(root.images)} images directly inside"] if root.images else []
    seen += [ours] if ours else []
    advice = known_layouts()
    train = [one for one in root.folders.values() if one.role is not None and one.role.side == TRAIN]
    if len(train) == 1 and len(root.inside()) == 1:
        name = train[0].name
        advice = f"it has {name}/ but no val/: to have {name}/ split, add --split {FRACTION}; {advice}"
    beside = masks_beside(root)
    if beside is not None:
        one, other = (relative(each, path) for each in beside)
        advice = (
            f"{other} looks like the mask of {one}: put the masks into a folder of their own, images/ next to masks/; "
            f"{advice}"
        )
    notes = {file.suffix.lower() for one in root.walk() for file in one.others} & set(_ANNOTATIONS)
    if notes:
        advice = f"annotations of other tools ({' '.join(sorted(notes))}) are read by saccade data import; {advice}"
    return InputError(f"the layout of {path} is not recognised; seen: {listed(seen)}", advice)


def ambiguous(path: Path, readings: Mapping[str, str]) -> InputError:
    """Say in which ways a folder can be read.

    Args:
        path: The folder.
        readings: What each layout would make of it, in words.
    """
    root = unwrapped(scan(path))
    seen = [f"{one.name}/ ({len(one.every_image())} images)" for one in root.inside()]
    seen += [f"{len(root.images)} images directly inside"] if root.images else []
    ways = "".join(f"\n  --layout {name}: {words}" for name, words in readings.items())
    return InputError(
        f"{path} can be read in {len(readings)} ways; seen: {listed(seen)}{ways}", "say which: add --layout"
    )
