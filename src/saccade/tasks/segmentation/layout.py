"""Images and masks of the same names, in folders of their own or side by side, on the sides of a split or alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from saccade.data.doubts import look_like_masks, masks_among
from saccade.data.layouts import (
    FRACTION,
    Item,
    divide,
    kinds_of,
    known_layouts,
    listed,
    relative,
    said_inside,
    unwrapped,
)
from saccade.data.names import IMAGES, MASKS, TEST, TRAIN, VAL, may_be_sides, shown
from saccade.data.reading import Reading
from saccade.data.tree import Folder, account, scan
from saccade.errors import InputError
from saccade.tasks.base import Files

PAIRS, SIDED_PAIRS, TOGETHER = "images-masks", "train-val/images-masks", "side-by-side"

# Ends of the names of masks that lie next to their images, as tools write them.
_SUFFIXES = (
    "_mask", "-mask", ".mask", " mask", "_masks", "_Mask", "_MASK", "_gt", "-gt", "_GT", "_label", "-label", "_labels",
    "_Label", "_seg", "-seg", "_segmentation", "_Segmentation", "_segm", "_annotation", "_anno", "_ann", "_labelIds",
    "_labelTrainIds", "_gtFine_labelIds", "_L", "_P", "_matte", "_target", "_groundtruth", "_ground_truth", "_semantic",
    "_manual1", "_1stHO",
)  # fmt: skip
_ANY_PAIR = 0.5  # fraction of the images of a folder that must be pairs for it to hold images and masks side by side
_DEEPEST = 4


@dataclass(frozen=True)
class _Place:
    """A folder of images or of masks, and the side that the names of the folders say."""

    side: str | None
    kind: str
    folder: Folder


def pair_readings(path: Path, reading: Reading) -> Mapping[str, str]:
    """Return the layouts with images and masks that a folder may be in, and what each would make of it."""
    top = scan(path)
    root = unwrapped(top)
    places = _places(root, reading)
    sides = {one.side for one in places}
    names = [relative(one.folder.path, root.path) + "/" for one in places]
    # A folder of masks that holds text only is one of another task; an empty one is incomplete.
    filled = {one.kind for one in places if one.folder.has_images or not one.folder.has_files}
    if {one.kind for one in places} == filled == {IMAGES, MASKS} and top.has_images:
        layout = PAIRS if sides == {None} else SIDED_PAIRS
        return {layout: f"images and masks in {listed(names)}"}
    found = [ends for one in _together(root, reading) if (ends := _ends(one, reading)) is not None]
    if found:
        return {TOGETHER: f"images and masks next to them, called {found[0].said()}"}
    return {}


def find_pairs(path: Path, reading: Reading, layout: str, listing: Path | None = None) -> Files:
    """List images and masks; where there is no validation side, split them by the seed.

    Args:
        path: The folder.
        reading: How it is to be read.
        layout: `PAIRS`, `SIDED_PAIRS` or `TOGETHER`.
        listing: The list of the classes, if there is one.

    Raises:
        InputError: A side or a mask is missing, or there are too few images to split.
    """
    top = scan(path)
    root = unwrapped(top)
    if layout == TOGETHER:
        found, said, names = _side_by_side(root, reading)
    else:
        found, said, names = _in_two_folders(root, reading)
    if set(found.pairs) == {None} and len(found.pairs[None]) < 2:
        raise InputError(f"{path}: too few images; at least 2 with masks are needed; received {len(found.pairs[None])}")
    division = divide(found.pairs, top, reading, names=names)
    note = f"segmentation, from {said}{said_inside(top, root)}"
    note += "" if division.origin == "the sides of the folder" else f", {division.origin}"
    items = (*division.train, *division.val)
    used = [file for item in items for file in (item.image, item.target)] + ([listing] if listing is not None else [])
    unused = dict(division.left_out)
    unused |= {
        item.target: unused[item.image] for some in found.pairs.values() for item in some if item.image in unused
    }
    return Files(
        (), division.train, division.val, note, drawn=division.drawn, layout=layout, origin=division.origin,
        left_out=account(top, used, found.unused | unused), problems=division.problems,
        allow_copies=reading.allow_copies,
    )  # fmt: skip


def pair_doubts(path: Path, reading: Reading) -> tuple[str, str] | None:
    """Say which other folders may as well be the masks, and what to do; None if there are none."""
    root = unwrapped(scan(path))
    places = {one.folder.path: one for one in _places(root, reading)}
    above = {one.path: one for one in root.walk()}
    for one in places.values():
        if one.kind != IMAGES or one.folder.path.parent not in above:
            continue
        others = [each for each in above[one.folder.path.parent].visible() if each.path not in places]
        pair = masks_among([one.folder, *(each for each in others if each.role is None)])
        if pair is not None and pair[0] is one.folder:
            other = f"{relative(pair[1].path, path)}/"
            return (
                f"{other} has a file for each image too, which looks like a mask, and its name does not say that it is "
                "not the one that is meant",
                f"move {other} elsewhere, or, if it is meant, call it masks and move the other folder of masks",
            )
    return None


def masks_in(path: Path) -> frozenset[Path]:
    """Return the masks below a folder that has images too; empty for any other folder."""
    reading = Reading()
    try:
        layouts = pair_readings(path, reading)
        root = unwrapped(scan(path))
        if TOGETHER in layouts:
            found = _side_by_side(root, reading)[0]
            return frozenset(item.target for some in found.pairs.values() for item in some)
    except InputError:  # an image without a mask, say: what is not sure to be a mask is an input
        return frozenset()
    places = _places(root, reading, sure=True) if layouts else []
    if {one.kind for one in places} != {IMAGES, MASKS}:
        return frozenset()
    return frozenset(path for one in places if one.kind == MASKS for path in one.folder.every_image())


def value_table(path: Path) -> tuple[Path, tuple[str, ...]] | None:
    """Return Roboflow's ``_classes.csv`` in a folder, and the classes it names in the order of their values.

    Raises:
        InputError: Its values are not 0, 1, 2, ...
    """
    root = unwrapped(scan(path))
    tables = [file for one in root.walk() for file in one.others if file.name == "_classes.csv"]
    if not tables:
        return None
    file = tables[0]
    try:
        rows = [line.split(",", 1) for line in file.read_text(encoding="utf-8-sig").splitlines()[1:] if line.strip()]
        values = {int(value): name.strip() for value, name in rows}
        other = next((one for one in tables[1:] if one.read_bytes().split() != file.read_bytes().split()), None)
    except (OSError, ValueError) as cause:
        raise InputError(
            f"{file}: expected lines of a value and a class ({cause})", "name them: --classes FILE"
        ) from cause
    if other is not None:
        raise InputError(
            f"{other} and {file} do not say the same", "make them alike, or name the classes: --classes FILE"
        )
    if sorted(values) != list(range(len(values))):
        raise InputError(f"{file}: expected the values 0 to {len(values) - 1}", "name the classes: --classes FILE")
    return file, tuple(values[value] for value in range(len(values)))


@dataclass(frozen=True)
class _Found:
    """Pairs by side, and reasons for what is not used."""

    pairs: dict[str | None, list[Item]]
    unused: dict[Path, str]


def _in_two_folders(root: Folder, reading: Reading) -> tuple[_Found, str, dict[str, str]]:
    """Pair the files of folders of images with those of folders of masks."""
    places = _places(root, reading)
    for kind in (IMAGES, MASKS):
        if not any(one.kind == kind and one.folder.has_images for one in places):
            raise InputError(f"{root.path}: {kind}/ is missing or empty", known_layouts())
    by_side: dict[str | None, dict[str, list[Folder]]] = {}
    for one in places:
        by_side.setdefault(one.side, {}).setdefault(one.kind, []).append(one.folder)
    _refuse_several(root, by_side)
    pooled = _pooled(by_side)
    found = _Found({}, {})
    wanted = {one.side for one in places if one.kind == IMAGES}
    for side in sorted(wanted, key=lambda one: one or ""):
        kinds = by_side[side]
        masks = kinds.get(MASKS) or pooled
        images = kinds[IMAGES]
        if not any(one.has_images for one in images):
            raise InputError(f"{images[0].path} contains no images", "both sides need some")
        if not any(one.has_images for one in masks):
            divided = side == VAL and reading.fraction is not None
            if (side == TEST or divided) and wanted - {side, None}:  # a test side is often without masks
                reason = f"the side {relative(images[0].path, root.path)}/ has no masks"
                found.unused.update({image: reason for one in images for image in one.every_image()})
                continue
            raise InputError(f"{images[0].path.parent}: masks/ is missing or empty", known_layouts())
        found.pairs[side] = _paired(images, masks, reading, shared=masks is pooled)
    for side, kinds in by_side.items():
        if IMAGES not in kinds and kinds.get(MASKS) and side is not None:
            raise InputError(f"{kinds[MASKS][0].path}: images/ of the side {side} is missing or empty", known_layouts())
    paired = {item.target for some in found.pairs.values() for item in some}
    masks_there = [path for one in places if one.kind == MASKS for path in one.folder.every_image()]
    found.unused.update({path: "a mask without an image" for path in masks_there if path not in paired})
    names = {side or "": _side_name(root, kinds) for side, kinds in by_side.items() if side is not None}
    if set(found.pairs) == {None}:
        some = by_side[None]
        _refuse_short_sides(some[IMAGES][0], reading)
        masks = some.get(MASKS) or pooled
        return found, f"{_called(root, some[IMAGES])} and {_called(root, masks)}", names
    held = VAL if VAL in found.pairs else TEST
    sides = [names[side] for side in (TRAIN, held) if side in found.pairs]
    inner = sorted({one.kind for one in places})
    there = [listed(sorted({one.folder.name + "/" for one in places if one.kind == kind})) for kind in inner]
    if any(one.folder.path == root.path / name for one in places for name in sides):  # train/ next to train_masks/
        there = there[1:]
    if any("/" in one for one in sides):
        return found, " and ".join(f"{one}/" for one in sides), names
    return found, f"{' and '.join(f'{one}/' for one in sides)} with {' and '.join(there)}", names


def _side_name(root: Folder, kinds: Mapping[str, Sequence[Folder]]) -> str:
    """What a side is called: the folder above its images, or that of the images where it says the side itself."""
    folder = (kinds.get(IMAGES) or kinds[MASKS])[0]
    role = folder.role
    path = folder.path if role is None or role.side is not None else folder.path.parent
    return relative(path, root.path)


def _called(root: Folder, folders: Sequence[Folder]) -> str:
    return " and ".join(f"{relative(one.path, root.path)}/" for one in folders)


def _refuse_several(root: Folder, by_side: Mapping[str | None, Mapping[str, Sequence[Folder]]]) -> None:
    for side, kinds in by_side.items():
        for kind, folders in kinds.items():
            some = [one for one in folders if one.has_images]
            if len(some) > 1:
                where = f" of the side {side}" if side else ""
                raise InputError(
                    f"{root.path}: several folders may be the {kind}{where}: {_called(root, some)}",
                    "keep one of them there, or rename the others",
                )


def _refuse_short_sides(images: Folder, reading: Reading) -> None:
    """Ask whether ``tr`` and ``va`` below a folder of images are the sides, before a seed divides them again."""
    inside = [one.name for one in images.inside()]
    if reading.split is None and may_be_sides(inside):
        first, second = sorted(inside, key=lambda name: not name.lower().startswith("tr"))[:2]
        raise InputError(
            f"{images.path}: {listed([f'{name}/' for name in inside])} may be the sides of a split",
            f"if they are, say so: --split {first}:{second}; if not, have all images split: --split {FRACTION}",
        )


def _pooled(by_side: Mapping[str | None, Mapping[str, list[Folder]]]) -> list[Folder]:
    """Folders of masks that serve images on any side."""
    return by_side.get(None, {}).get(MASKS, [])


def _places(root: Folder, reading: Reading, *, sure: bool = False) -> list[_Place]:
    """Folders of images and of masks; `sure` goes by their names alone."""
    if reading.split_folders is not None:
        found = []
        for side, name in zip((TRAIN, VAL), reading.split_folders, strict=True):
            folder = root.under(name)
            if folder is not None:
                found += list(_below(folder, side, None, 0, sure))
        if {one.kind for one in found} == {IMAGES, MASKS}:
            return found
        return [  # images/TRAIN and masks/TRAIN
            _Place(side, one.kind, folder)
            for one in _below(root, None, None, 0, sure)
            for side, name in zip((TRAIN, VAL), reading.split_folders, strict=True)
            if (folder := one.folder.under(name)) is not None
        ]
    return list(_below(root, None, None, 0, sure))


def _below(folder: Folder, side: str | None, kind: str | None, depth: int, sure: bool) -> Iterator[_Place]:
    children = folder.visible()
    kinds = kinds_of(children)
    if not sure and kind is None and set(kinds.values()) == {MASKS}:
        kinds |= _images_of(children, kinds)
    for one in children:
        role = one.role
        says_side = role.side if role is not None else None
        says_kind = kinds.get(one.name)
        if (says_side is None and says_kind is None) or (kind is not None and says_kind not in (None, kind)):
            continue
        if side is not None and says_side not in (None, side):
            continue
        at, what = side or says_side, kind or says_kind
        deeper = list(_below(one, at, what, depth + 1, sure)) if depth < _DEEPEST else []
        if deeper:
            yield from deeper
        elif what is not None:
            yield _Place(at, what, one)
        elif one.images and any(
            other.role and other.role.side == at and kinds.get(other.name) == MASKS for other in children
        ):
            yield _Place(at, IMAGES, one)  # train/ with images next to train_masks/


def _images_of(children: Sequence[Folder], kinds: Mapping[str, str]) -> dict[str, str]:
    """Return the only other folder as that of images, if the masks fit it by the names of files and by how they look.

    Classification reads such folders too, so it is asked which is meant.
    """
    inside = [one for one in children if one.has_images]
    others = [one for one in inside if one.name not in kinds]
    pair = masks_among(inside) if len(inside) == 2 and len(others) == 1 and others[0].role is None else None
    return {others[0].name: IMAGES} if pair is not None and pair[0] is others[0] else {}


def _paired(images: Sequence[Folder], masks: Sequence[Folder], reading: Reading, *, shared: bool) -> list[Item]:
    """Pair images with the masks of the same name, whatever the ends of the files' names."""
    pictures, drawn = _by_stem(images[0]), _by_stem(masks[0])
    suffix = _common_suffix(pictures, drawn) if reading.mask_suffix is None else reading.mask_suffix
    targets = {stem + suffix: stem for stem in pictures}
    if shared:  # masks of both sides in one folder, perhaps by name alone
        drawn |= {Path(stem).name: path for stem, path in drawn.items()}
        targets |= {Path(stem).name + suffix: stem for stem in pictures if stem + suffix not in drawn}
    partner = {image: drawn[target] for target, image in targets.items() if target in drawn}
    without = [shown(pictures[stem].name) for stem in pictures if stem not in partner]
    if without:
        example = next(iter(pictures))
        raise InputError(
            f"{images[0].path.parent}: {len(without)} of {len(pictures)} images have no mask: {listed(without)}",
            "a mask has the name of its image: images/a.jpg and masks/a.png; where it has more, such as a_mask.png, "
            f"say so: --mask-suffix _mask; a mask of {shown(pictures[example].name)} is looked for in "
            f"{masks[0].path}",
        )
    return [Item(pictures[stem], partner[stem]) for stem in pictures]


def _common_suffix(images: Mapping[str, Path], masks: Mapping[str, Path]) -> str:
    """What all masks have after the names of their images, where every image has such a mask; else nothing."""
    if not images or any(stem in masks for stem in images):
        return ""
    first = next(iter(images))
    ends = [stem[len(first) :] for stem in masks if stem.startswith(first)]
    fitting = [end for end in ends if all(stem + end in masks for stem in images)]
    return min(fitting, key=len) if fitting else ""


def _by_stem(folder: Folder) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in folder.every_image():
        stem = path.relative_to(folder.path).with_suffix("").as_posix()
        if stem in found:
            raise InputError(
                f"{found[stem]} and {path.name} have the same name, so masks cannot be told apart", "rename one"
            )
        found[stem] = path
    return found


def _together(root: Folder, reading: Reading) -> list[Folder]:
    """Folders that may hold images with their masks next to them: the sides, or the folder itself."""
    return list(_together_by_side(root, reading).values())


def _together_by_side(root: Folder, reading: Reading) -> dict[str | None, Folder]:
    if reading.split_folders is not None:
        both = [root.under(name) for name in reading.split_folders]
        return {side: one for side, one in zip((TRAIN, VAL), both, strict=True) if one is not None}
    sides: dict[str | None, Folder] = {}
    for one in root.inside():
        role = one.role
        if role is not None and role.side is not None and role.kind != MASKS:
            if role.side in sides:
                raise InputError(
                    f"{root.path}: {sides[role.side].name}/ and {one.name}/ both say the side {role.side}",
                    "say which folders are the sides: --split TRAIN:VAL",
                )
            sides[role.side] = one
    return sides or {None: root}


@dataclass(frozen=True)
class _Ends:
    """Ends of the names of images and of their masks in one folder: ``.jpg`` and ``_mask.png``, or ``_sat`` too."""

    image: str
    mask: str

    def said(self) -> str:
        return f"NAME{self.image} and NAME{self.mask}" if self.image else f"NAME{self.mask}"

    def of(self, stem: str) -> str:
        """Return the name of the mask of an image."""
        return (stem.removesuffix(self.image) if self.image else stem) + self.mask


def _ends(folder: Folder, reading: Reading) -> _Ends | None:
    """The ends of names, if masks lie next to their images; None if there are no such pairs."""
    stems = {path.with_suffix("").relative_to(folder.path).as_posix(): path for path in folder.every_image()}
    best, most = None, 0
    for suffix in _SUFFIXES if reading.mask_suffix is None else (reading.mask_suffix,):
        bases = [stem.removesuffix(suffix) for stem in stems if suffix and stem.endswith(suffix) and stem != suffix]
        for end in ("", *_image_ends(bases[0], stems, suffix)) if bases else ():
            pairs = [(stems[base + end], stems[base + suffix]) for base in bases if base + end in stems]
            # Of hand_R and hand_L neither need be a mask.
            if len(pairs) > most and (not end or reading.mask_suffix or look_like_masks(*zip(*pairs, strict=True))):
                best, most = _Ends(end, suffix), len(pairs)
    return best if 2 * most > _ANY_PAIR * len(folder.every_image()) else None


def _image_ends(base: str, stems: Iterable[str], suffix: str) -> list[str]:
    """Return ends that images may have after the name they share with a mask: ``_sat`` where masks have ``_mask``."""
    found = (stem[len(base) :] for stem in stems if stem.startswith(base))
    return [end for end in found if end and end != suffix and end[0] in " _-."]


def _side_by_side(root: Folder, reading: Reading) -> tuple[_Found, str, dict[str, str]]:
    sides = _together_by_side(root, reading)
    found = _Found({}, {})
    said: _Ends | None = None
    for side, folder in sides.items():
        ends = _ends(folder, reading)
        if ends is None:
            if side == TEST or (side == VAL and reading.fraction is not None):
                found.unused.update(dict.fromkeys(folder.every_image(), f"the side {folder.name}/ has no masks"))
                continue
            raise InputError(
                f"{folder.path}: no masks lie next to the images",
                "a mask is called like its image and more, such as a_mask.png: say it with --mask-suffix _mask"
                + (f"; to have the training side split instead, add --split {FRACTION}" if side == VAL else ""),
            )
        said = said or ends
        by_stem: dict[str, list[Path]] = {}
        for path in folder.every_image():
            by_stem.setdefault(path.relative_to(folder.path).with_suffix("").as_posix(), []).append(path)
        targets = {ends.of(stem): stem for stem in by_stem if stem.endswith(ends.image)}
        masks = {stem for stem in by_stem if stem.endswith(ends.mask) and stem in targets}
        alone = {stem for stem in by_stem if stem.endswith(ends.mask) and stem not in masks}
        images = [stem for stem in by_stem if stem not in masks and stem not in alone]
        several = [shown(paths[1].name) for paths in by_stem.values() if len(paths) > 1]
        if several:
            raise InputError(f"{folder.path}: several files have the name of {listed(several)}", "rename one of each")
        without = [shown(by_stem[stem][0].name) for stem in images if ends.of(stem) not in masks]
        if without:
            first = next(stem for stem in images if ends.of(stem) not in masks)
            raise InputError(
                f"{folder.path}: {len(without)} of {len(images)} images have no mask: {listed(without)}",
                f"the mask of {without[0]} would be called {shown(Path(ends.of(first)).name)}.png",
            )
        found.unused.update({by_stem[stem][0]: "a mask without an image" for stem in alone})
        found.pairs[side] = [Item(by_stem[stem][0], by_stem[ends.of(stem)][0]) for stem in images]
    names = {side or "": folder.name for side, folder in sides.items()}
    where = (
        " and ".join(f"{folder.name}/" for side, folder in sides.items() if side in found.pairs)
        if None not in sides
        else ""
    )
    return (
        found,
        f"{where + ' with ' if where else ''}images and masks side by side ({said.said() if said else ''})",
        names,
    )
