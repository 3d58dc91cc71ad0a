"""Shards with a class for each image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from saccade.data.layouts import Item, listed
from saccade.data.names import TEST, TRAIN, VAL, shown
from saccade.data.reading import Reading, class_names
from saccade.data.shard_names import text_of
from saccade.data.shards import Listed, class_list, divided, image_of, left_out, list_shards, refuse_incomplete
from saccade.errors import InputError
from saccade.tasks.base import Files

SHARDS = "shards"
_OTHER = "of a class that is not in --classes"


def find_shards(path: Path, reading: Reading) -> Files:
    """List the images of shards with their classes; where no shard is for validation, split each class by the seed.

    Args:
        path: A folder with shards, or their names.
        reading: How they are to be read.

    Raises:
        InputError: See :func:`saccade.data.shards.list_shards`; a sample without image or class, a class that is not in
            the list of classes, one class only, or a class without training images.
    """
    shards = list_shards(path)
    refuse_incomplete(path, shards, "label")
    listing = reading.classes_file if reading.classes is not None else class_list(path)
    given = class_names(reading)
    names = given if given is not None else _read(listing) if listing is not None else None
    classes = names if names is not None else _named(shards)
    if len(classes) < 2:
        raise InputError(f"{text_of(path)}: only one class ({listed(classes)}); classification needs two or more")
    items = [[*_items(path, one, classes, given is not None)] for one in shards]
    every = sum(len(one.samples) for one in shards)
    division = divided(path, shards, items, reading, lambda item: item.target)
    there = {item.target for item in division.train}
    without = [name for index, name in enumerate(classes) if index not in there]
    if without:
        raise InputError(
            f"{text_of(path)}: no training images of {listed(without)}",
            "nothing can be learned about them: see --split, --classes",
        )
    note = f"classification, from {len(shards)} shard{'s' if len(shards) > 1 else ''}, {division.origin}"
    return Files(
        classes, division.train, division.val, note, others=(listing,) if listing is not None else (),
        drawn=division.drawn, layout=SHARDS, origin=division.origin,
        left_out=left_out(shards, division, {_OTHER: every - sum(map(len, items))}), problems=division.problems,
        allow_copies=reading.allow_copies,
    )  # fmt: skip


def scored_shards(path: Path, classes: Sequence[str], reading: Reading) -> tuple[tuple[Item, ...], str | None]:
    """Return the images that a trained network is scored on, and the name of their side; None if there are no sides.

    Args:
        path: The shards.
        classes: Classes of the network.
        reading: How they are to be read.

    Raises:
        InputError: See :func:`find_shards`; or there are shards for training only.
    """
    shards = list_shards(path)
    refuse_incomplete(path, shards, "label")
    sides = {one.side for one in shards}
    side = next((side for side in (VAL, TEST, None) if side in sides), TRAIN)
    if side == TRAIN:
        raise InputError(f"{text_of(path)} has no shards for validation", "give those that the network has not seen")
    asked = reading.classes is not None
    items = [item for one in shards if one.side == side for item in _items(path, one, classes, asked)]
    return tuple(items), None if side is None else f"{side} shards"


def _items(path: Path, one: Listed, classes: Sequence[str], chosen: bool) -> list[Item]:
    """The images of a shard by the index of their class; names that are not among chosen ones are left out."""
    index = {name: number for number, name in enumerate(classes)}
    found = []
    for sample in one.samples:
        label = _plain(str(sample.label))
        number = index.get(label)
        if number is None and label.isdecimal() and int(label) < len(classes):
            number = int(label)
        if number is None and chosen and not label.isdecimal():
            continue
        if number is None:
            raise InputError(
                f"{text_of(path)}: {one.shard.name}: sample {shown(sample.key)} is of class {shown(label)}, and there "
                f"are {len(classes)}: {listed(classes)}",
                "name all classes in the order of their numbers: --classes FILE",
            )
        found.append(Item(image_of(path, one, sample), number))
    return found


def _named(shards: Sequence[Listed]) -> tuple[str, ...]:
    """Names of the classes that samples say, numbers in their order."""
    said = {_plain(str(sample.label)) for one in shards for sample in one.samples}
    numbers = all(label.isdecimal() for label in said)
    return tuple(sorted(said, key=int) if numbers else sorted(said))


def _plain(label: str) -> str:
    return str(int(label)) if label.isdecimal() else label


def _read(listing: Path) -> tuple[str, ...]:
    return class_names(Reading(classes=str(listing))) or ()
