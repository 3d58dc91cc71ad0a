"""One folder per class: below the sides of a split, or alone and split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from saccade.data.doubts import doubts_of_classes
from saccade.data.layouts import (
    Item,
    divide,
    kinds_of,
    known_layouts,
    listed,
    relative,
    said_inside,
    unusable,
    unwrapped,
)
from saccade.data.names import IMAGES, MASKS, TEST, TRAIN, VAL
from saccade.data.reading import Reading, class_names
from saccade.data.tree import ELSEWHERE, Folder, account, scan
from saccade.errors import InputError, near
from saccade.tasks.base import Files

CLASSES, SIDES = "classes", "train-val/classes"
_HELD = (VAL, TEST)


def class_readings(path: Path, reading: Reading) -> Mapping[str, str]:
    """Return the layouts with a folder per class that a folder may be in, and what each would make of it."""
    top = scan(path)
    root = _entered(unwrapped(top))
    if reading.split_folders is not None:
        both = [root.under(name) or top.under(name) for name in reading.split_folders]
        if all(one is not None and _entered(one, one).inside() for one in both):
            return {SIDES: f"the sides {' and '.join(reading.split_folders)}"}
        return {}
    inside = root.inside()
    if set(kinds_of(inside).values()) == {IMAGES, MASKS} and len(kinds_of(inside)) == len(inside) and _strong(inside):
        return {}
    said = [one for one in inside if one.role is not None]
    plain = [one for one in inside if one.role is None]
    if not said:
        if _sides_inside(inside):
            return {SIDES: f"sides inside each class: {listed(sorted({one.name for one in inside[0].inside()}))}"}
        return _nested(plain) if plain else {}
    sides = _sides(root)
    train, held = sides.get(TRAIN, []), [one for side in _HELD for one in sides.get(side, [])]
    split = bool(train and held) and any(_has_classes(one) for one in train)
    if not plain:
        only_train = bool(train) and reading.fraction is not None and any(_has_classes(one) for one in train)
        return {SIDES: _said_sides(sides)} if split or only_train else {}
    names = [{one.name for one in _entered(side, side).inside()} for side in (*train, *held)]
    if split and set.intersection(*names):
        return {SIDES: _said_sides(sides)}  # the same classes on each side leave no doubt
    return {
        CLASSES: _said_classes([one.name for one in inside]),
        SIDES: _said_halves(inside)
        or f"a side or all images in {listed([f'{one.name}/' for one in said])}, and the other folders left out",
    }


def class_doubts(path: Path, reading: Reading, layout: str) -> tuple[str, str] | None:
    """Say what speaks against folders as classes, see :func:`saccade.data.doubts.doubts_of_classes`."""
    top = scan(path)
    try:
        found = _found(top, reading, layout)
    except InputError:  # said when the files are listed
        return None
    first = found.folders.get(None, found.folders.get(TRAIN, {}))
    return doubts_of_classes(top, list(first.values()))


def find_classes(path: Path, reading: Reading, layout: str) -> Files:
    """List the images of every class; where there is no validation side, split each class by the seed.

    Args:
        path: The folder.
        reading: How it is to be read.
        layout: `CLASSES` or `SIDES`.

    Raises:
        InputError: A side is missing or empty, there is one class only, a class is in validation only, a folder of a
            class holds nothing that can be used, or there are too few images to split.
    """
    top = scan(path)
    found = _found(top, reading, layout)
    classes = _chosen(found, reading)
    _several(path, classes)
    items = {side: _labelled(folders, classes) for side, folders in found.folders.items()}
    if None in items:
        counts = [sum(item.target == index for item in items[None]) for index in range(len(classes))]
        single = [name for name, count in zip(classes, counts, strict=True) if count < 2]
        if single and reading.split_file is None:
            raise InputError(f"{path}: too few images; a class needs at least 2 to be split: {listed(single)}")
    division = divide(items, top, reading, lambda item: item.target, names=found.names)
    _every_class_is_trained(path, classes, division.train, division.val)
    why = found.reasons(classes) | dict(division.left_out)
    if layout == CLASSES:
        note = f"classification, one folder per class{said_inside(top, found.root)}, {division.origin}"
    else:
        held = VAL if VAL in found.names else TEST
        both = [found.names[side] for side in (TRAIN, held) if side in found.names]
        where = [f"CLASS/{name}" if found.turned else f"{name}/CLASS" for name in both]
        note = f"classification, from {' and '.join(where)}{said_inside(top, found.root)}"
        note += "" if division.origin == "the sides of the folder" else f", {division.origin}"
    note += _inner(top, found, classes)
    used = [item.image for item in (*division.train, *division.val)]
    listing = reading.classes_file
    return Files(
        classes, division.train, division.val, note, others=(listing,) if listing is not None else (),
        drawn=division.drawn, layout=layout, origin=division.origin,
        left_out=account(top, [*used, *([listing] if listing else [])], why), problems=division.problems,
        allow_copies=reading.allow_copies,
    )  # fmt: skip


def _inner(top: Folder, found: _Found, classes: Sequence[str]) -> str:
    """Say that the folders inside those of classes are not classes of their own, as the end of a sentence."""
    for folders in found.folders.values():
        for name, folder in folders.items():
            inside = folder.inside()
            if name in classes and len(inside) > 1:
                example = relative(inside[0].path, top.path)
                return f"; folders inside those of classes are read with them, such as {example}/"
    return ""


def labelled_images(path: Path, classes: Sequence[str]) -> tuple[Item, ...]:
    """Every image of a folder with a folder for each class, labelled by the place of its class in `classes`.

    Raises:
        InputError: No such folder, no images in folders, or a class that is not in `classes`.
    """
    if not path.is_dir():
        raise InputError(f"{path} is not a folder", "give a folder with one folder for each class")
    folders = {one.name: one for one in scan(path).inside()}
    _refuse_unknown(path, folders, classes)
    return _labelled(folders, classes)


def scored_images(
    path: Path, classes: Sequence[str], reading: Reading, layout: str
) -> tuple[tuple[Item, ...], str | None]:
    """Return the images that a trained network is scored on, and the name of their side; None if it has no sides.

    Args:
        path: The folder.
        classes: Classes of the network.
        reading: How the folder is to be read.
        layout: `CLASSES` or `SIDES`.

    Raises:
        InputError: See :func:`labelled_images`.
    """
    found = _found(scan(path), reading, layout)
    side = next((side for side in (*_HELD, TRAIN, None) if side in found.folders), None)
    if side == TRAIN:
        raise InputError(f"{path} has no validation side", known_layouts())
    asked = class_names(reading)
    there = {name: one for name, one in found.folders.get(side, {}).items() if asked is None or name in asked}
    _refuse_unknown(path, there, classes)
    return _labelled(found.folders[side], classes), found.names.get(side or "")


@dataclass(frozen=True)
class _Found:
    """Folders of classes by side; the names of the sides; the folder they are in; and reasons for what is not used.

    `turned` says that sides are inside the classes.
    """

    root: Folder
    folders: dict[str | None, dict[str, Folder]]
    names: dict[str, str] = field(default_factory=dict)
    unused: tuple[tuple[Folder, str], ...] = ()
    loose: tuple[Folder, ...] = ()
    turned: bool = False

    def reasons(self, classes: Sequence[str]) -> dict[Path, str]:
        """The reason why an image was not used."""
        found = {image: "in no folder of a class" for one in self.loose for image in one.images}
        for folders in self.folders.values():
            for name, folder in folders.items():
                if name not in classes:
                    found |= dict.fromkeys(folder.every_image(), "of a class that is not in --classes")
        for folder, reason in self.unused:
            found |= dict.fromkeys(folder.every_image(), reason)
        return found


def _found(top: Folder, reading: Reading, layout: str) -> _Found:
    root = _entered(unwrapped(top))
    if layout == CLASSES:
        plain = unwrapped(top)
        root = plain if [one for one in plain.inside() if one.role is None] else root
        return _Found(root, {None: _class_folders(root, reading)}, loose=(root,))
    if reading.split_folders is None and _sides_inside(root.inside()):
        return _turned(root, reading)
    if reading.split_folders is not None:
        sides = {}
        for side, name in zip((TRAIN, VAL), reading.split_folders, strict=True):
            folder = root.under(name) or top.under(name)
            if folder is None:
                raise InputError(f"--split: {root.path} has no folder {name}/", f"it has {listed(list(root.folders))}")
            sides[side] = [folder]
    else:
        sides = _sides(root)
    for side, several in sides.items():
        if len(several) > 1:
            raise InputError(
                f"{root.path}: {' and '.join(f'{one.name}/' for one in several)} both say the side {side}",
                "say which folders are the sides: --split TRAIN:VAL",
            )
    if TRAIN not in sides or not (set(sides) & set(_HELD) or reading.fraction is not None):
        seen = listed([f"{one.name}/" for one in root.visible()])
        raise InputError(f"{root.path} has no two sides; seen: {seen}", "say which they are: --split TRAIN:VAL")
    folders = {side: several[0] for side, several in sides.items()}
    held = VAL if VAL in folders else TEST
    for side in (TRAIN, held):
        if side in folders and not folders[side].has_images:
            raise InputError(f"{folders[side].path} contains no images", "both sides need some")
    inner = {side: _entered(folder, folder) for side, folder in folders.items()}
    names = {side: relative(folder.path, root.path) for side, folder in folders.items()}
    unused = [
        (one, "neither on the training nor on the validation side")
        for one in root.inside()
        if not any(folder is one or one in folder.walk() for folder in folders.values())
        and not any(folder in one.walk() for folder in folders.values())
    ]
    by_side: dict[str | None, dict[str, Folder]] = {}
    for side, folder in inner.items():
        strict = side in (TRAIN, held)
        by_side[side] = _class_folders(folder, reading) if strict else {one.name: one for one in folder.inside()}
    if held in by_side and not by_side[held]:
        raise InputError(f"{folders[held].path} has images, but none in a folder of its class", known_layouts())
    return _Found(root, by_side, names, tuple(unused), (root, *inner.values()))


def _sides_inside(folders: Sequence[Folder]) -> bool:
    """True if every folder of a class holds a training and a validation side, as in ``CLASS/train``, and no other."""
    if len(folders) < 2:
        return False
    for one in folders:
        roles = [deeper.role for deeper in one.inside()]
        sides = [role.side for role in roles if role is not None and role.kind != MASKS]
        if one.images or len(sides) < len(roles) or len({*sides}) < len(sides) or not {TRAIN} < {*sides}:
            return False
    return True


def _turned(root: Folder, reading: Reading) -> _Found:
    """Folders of classes by the side that is inside each."""
    by_side: dict[str | None, dict[str, Folder]] = {}
    names: dict[str, str] = {}
    every = _class_folders(root, reading)
    for name, folder in every.items():
        for one in folder.inside():
            side = one.role.side if one.role is not None else None
            by_side.setdefault(side, {})[name] = one
            names[side or ""] = one.name
    return _Found(root, by_side, names, loose=(root, *every.values()), turned=True)


def _entered(folder: Folder, side: Folder | None = None) -> Folder:
    """Look through wrapping folders, and through the only folder with images where its name says images.

    Below a side it is looked through too if its name says that side once more, as in ``seg_train/seg_train/CLASS``.
    """
    said = side.role.side if side is not None and side.role is not None else None
    found = unwrapped(folder)
    while not found.images:
        inside = found.inside()
        role = inside[0].role if len(inside) == 1 else None
        if role is None or inside[0].images or role.side not in (None, said):
            break
        if role.side is None and role.kind != IMAGES:
            break
        found = unwrapped(inside[0])
    return found


def _strong(inside: Sequence[Folder]) -> bool:
    """True if a name says images or masks by itself."""
    return any(one.role is not None and one.role.kind is not None for one in inside)


def _has_classes(side: Folder) -> bool:
    """True if a side holds folders with images, other than one of images and one of masks."""
    inside = _entered(side, side).inside()
    return bool(inside) and {one.role.kind for one in inside if one.role is not None} != {IMAGES, MASKS}


def _sides(root: Folder) -> dict[str, list[Folder]]:
    """Folders by the side that their names say; those that speak of masks too only where nothing speaks of images."""
    found: dict[str, list[Folder]] = {}
    roles = [(one, one.role) for one in root.visible()]
    masks_only = all(role is None or role.kind == MASKS for _, role in roles)
    for one, role in roles:
        if role is not None and role.side is not None and (masks_only or role.kind != MASKS):
            found.setdefault(role.side, []).append(one)
    return found


def _nested(plain: Sequence[Folder]) -> dict[str, str]:
    """Folders as classes; those that hold the same folders may as well be parts of the data with the classes inside."""
    classes, halves = {CLASSES: _said_classes([one.name for one in plain])}, _said_halves(plain)
    return classes if halves is None else {**classes, SIDES: halves}


def _said_halves(folders: Sequence[Folder]) -> str | None:
    """Say how folders that hold the same folders are named as sides; None if they do not hold the same."""
    inner = [{deeper.name for deeper in one.inside()} for one in folders if not one.images]
    common = set.intersection(*inner) if len(inner) == len(folders) > 1 else set()
    if len(common) < 2:
        return None
    first, second = sorted((one.name for one in folders), key=lambda name: TRAIN not in name.lower())[:2]
    return f"classes {listed(sorted(common))} in each: say which folders are the sides with --split {first}:{second}"


def _said_classes(names: Sequence[str]) -> str:
    return f"{len(names)} classes: {listed(names)}"


def _said_sides(sides: Mapping[str, Sequence[Folder]]) -> str:
    return "sides " + listed([f"{one.name}/" for some in sides.values() for one in some])


def _class_folders(root: Folder, reading: Reading) -> dict[str, Folder]:
    """Folders of classes by name; one in which nothing can be used is refused, unless it is not asked for."""
    asked = class_names(reading)
    every = [one for one in root.visible() if asked is None or one.name in asked]
    without = [one for one in every if not one.has_images and one.problem != ELSEWHERE]
    if without and any(one.has_images for one in every):
        said = "; ".join(f"{one.name}/ ({unusable(one)})" for one in without[:5])
        good = ",".join(one.name for one in every if one.has_images)
        advice = f"convert the files or remove the folder, or name the classes that count: --classes {good}"
        labels = {file.suffix.lower() for one in without for below in one.walk() for file in below.others}
        if labels and labels <= {".txt", ".json", ".xml"}:  # Supervisely's ann/, YOLO's labels/
            advice = "labels of other tools are read by saccade data import; if these are none: " + advice
        raise InputError(
            f"{root.path}: {len(without)} of {len(every)} folders of classes hold nothing that can be used: {said}",
            advice,
        )
    every = [one for one in root.visible() if one.has_images]
    return {one.name: one for one in every}


def _chosen(found: _Found, reading: Reading) -> tuple[str, ...]:
    """Names of the classes in their order."""
    asked = class_names(reading)
    first = found.folders.get(None, found.folders.get(TRAIN, {}))
    if asked is None:
        held = found.folders.get(VAL, found.folders.get(TEST, {})) if None not in found.folders else {}
        unknown = [name for name in held if name not in first]
        if unknown and reading.split_file is None and reading.fraction is None:
            raise InputError(
                f"{found.root.path / found.names[VAL if VAL in found.names else TEST]} has classes missing from "
                f"{found.root.path / found.names[TRAIN]}: {listed(unknown)}",
                "nothing can be learned about them: move or remove them",
            )
        return tuple(first)
    repeated = [name for index, name in enumerate(asked) if name in asked[:index]]
    if repeated:
        raise InputError(f"--classes: {listed(repeated)} is listed twice", "list each class once")
    missing = [name for name in asked if name not in first]
    if missing:
        raise InputError(
            f"{found.root.path}: no images of {listed(missing)}, which --classes lists", near(missing[0], first)
        )
    return asked


def _labelled(folders: Mapping[str, Folder], classes: Sequence[str]) -> tuple[Item, ...]:
    return tuple(
        Item(image, index)
        for index, name in enumerate(classes)
        if name in folders
        for image in folders[name].every_image()
    )


def _several(path: Path, classes: Sequence[str]) -> None:
    if len(classes) < 2:
        raise InputError(
            f"{path}: only one class ({listed(classes) or 'no folder of a class'}); classification needs two or more",
            f"put each class in a folder of its own; {known_layouts()}",
        )


def _every_class_is_trained(path: Path, classes: Sequence[str], train: Sequence[Item], val: Sequence[Item]) -> None:
    there = {item.target for item in train}
    without = [name for index, name in enumerate(classes) if index not in there]
    if without:
        raise InputError(
            f"{path}: no training images of {listed(without)}",
            "nothing can be learned about them: see --split, --classes",
        )
    if not val:
        raise InputError(f"{path}: no images for validation", "both sides need some")


def _refuse_unknown(path: Path, folders: Mapping[str, Folder], classes: Sequence[str]) -> None:
    unknown = [name for name in folders if name not in classes]
    if unknown or not folders:
        said = f"classes the network does not know: {listed(unknown)}" if unknown else "no folders with images"
        raise InputError(f"{path} has {said}", f"it knows {listed(classes)}")
