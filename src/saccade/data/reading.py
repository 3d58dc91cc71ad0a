"""Options of reading a folder whose names alone do not say it: one declaration for every command."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from saccade.errors import InputError
from saccade.files import at_home
from saccade.options import Option, Options, declared
from saccade.ranges import SEED, Whole


@dataclass(frozen=True, kw_only=True)
class Reading(Options):
    """How a folder is to be read; everything that is None is recognised."""

    layout: Annotated[
        str | None,
        Option(
            "The layout of the folder by name, where it could be several: `classes`, `train-val/classes`, `table`, "
            "`multi-label`, `images-masks`, `side-by-side`, `cityscapes`, `voc`, `context`, `ade20k`, "
            "`coco-keypoints`, `yolo-pose`, `shards`, `mask-shards` or `cifar`.",
            default="recognised",
        ),
    ] = None
    classes: Annotated[
        str | os.PathLike[str] | Sequence[str] | None,
        Option(
            "The classes in their order: a file with a name per line (of colour masks `name R G B`), or the names "
            "separated by commas; in Python also a list, and with Datasets the names of theirs. Other classes of the "
            "folder are left out.",
            default="those of the folder, in order of name",
            typed=str | None,
            metavar="FILE",
        ),
    ] = None
    split: Annotated[
        str | os.PathLike[str] | float | None,
        Option(
            "What validation is done on: a fraction such as `0.3`; a file that lists the images for validation, or a "
            "`.csv` with columns `file` and `side`; or the folders of both sides as `TRAIN:VAL`.",
            default="the sides of the folder, else a fifth of each class",
            typed=str | None,
        ),
    ] = None
    split_seed: Annotated[int, Option("Another number splits a folder without `val/` differently.", Whole(0, SEED))] = 0
    group: Annotated[
        str | None,
        Option(
            "A regular expression with one group, found in the path of each image: all images of which the group reads "
            'the same (one patient, video or site) stay on one side, such as `"(patient[0-9]+)"`.',
            metavar="PATTERN",
        ),
    ] = None
    mask_suffix: Annotated[
        str | None,
        Option("What the name of a mask has after that of its image, such as `_mask`.", default="recognised"),
    ] = None
    bits: Annotated[
        int | None,
        Option(
            "Bits of an image's values that are used, such as 12 of 16.",
            Whole(1, 16),
            default="all, or as the files say",
        ),
    ] = None
    ignore: Annotated[
        int | str | None,
        Option(
            "The value of mask pixels that count neither in the loss nor in the score, several as `0,255`, or `none`.",
            default="255, unless masks hold 0 and 255 alone",
            typed=str | None,
            metavar="VALUE",
        ),
    ] = None

    allow_copies: Annotated[
        bool,
        Option("Also read a folder in which one image is under two classes, or on both sides."),
    ] = False
    category: Annotated[
        str | None,
        Option("The category whose key points are read, where annotations are of several.", default="the only one"),
    ] = None
    joints: Annotated[
        str | os.PathLike[str] | None,
        Option(
            "What key points are: a file (JSON or YAML) with any of names, pairs, flip_idx, sigmas, skeleton and "
            "upper; or `coco`, `crowdpose`, or `coco-wholebody`, with `-feet`, `-face`, `-left-hand` and `-right-hand` "
            "for its parts.",
            default="as the annotations say; pairs by left and right in the names",
            typed=str | None,
            metavar="FILE",
        ),
    ] = None
    hidden: Annotated[
        Literal["learn", "ignore"],
        Option("Key points that are hidden (visibility 1): `learn` or `ignore` them, in training and in the scores."),
    ] = "learn"
    boxes: Annotated[
        str | os.PathLike[str] | None,
        Option(
            "A detector's boxes (COCO results, JSON) in which key points of validation images are looked for.",
            default="the annotated boxes",
            typed=str | None,
            metavar="FILE",
        ),
    ] = None
    codec: Annotated[
        str | None,
        Option(
            "The pixel convention between key points and heat maps: `biased`, `dark`, `udp` or `udp_offset`.",
            default="udp",
        ),
    ] = None
    aspect: Annotated[
        str | None,
        Option(
            "Width and height of the crops of objects with key points, as a ratio; `size` is their height.",
            default="3:4 for people, else 1:1",
            metavar="W:H",
        ),
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.group is not None:
            _pattern(self.group)
        object.__setattr__(self, "joints", _plain_file("joints", self.joints, KNOWN_JOINTS))
        object.__setattr__(self, "boxes", _plain_file("boxes", self.boxes))
        object.__setattr__(self, "ignore", _plain_ignore(self.ignore))
        object.__setattr__(self, "classes", _plain_classes(self.classes))
        object.__setattr__(self, "split", _plain_split(self.split))

    @classmethod
    def of(cls, options: Reading) -> Reading:
        """Return the part of other options that says how the folder is read."""
        return Reading(**{one.name: getattr(options, one.name) for one in declared(Reading)})

    @classmethod
    def from_json(cls, written: Mapping[str, Any]) -> Reading:
        """Return what :meth:`changed` described; names of other versions are left out."""
        known = {one.name for one in declared(Reading)}
        return Reading(**{name: value for name, value in written.items() if name in known})

    def changed(self) -> dict[str, Any]:
        """Return the values that differ from the defaults, as plain values."""
        plain, standard = Reading.of(self).plain(), Reading().plain()
        return {name: value for name, value in plain.items() if value != standard[name]}

    def without(self, *names: str) -> Self:
        """Return the same with the defaults of some fields."""
        standard, values = Reading(), {one.name: getattr(self, one.name) for one in fields(self) if one.init}
        return type(self)(**values | {name: getattr(standard, name) for name in names})

    @property
    def classes_file(self) -> Path | None:
        """The file with the classes, if one was given."""
        return Path(self.classes) if isinstance(self.classes, str) else None

    @property
    def fraction(self) -> float | None:
        """The fraction of the images for validation, if one was given."""
        return self.split if isinstance(self.split, float) else None

    @property
    def split_file(self) -> Path | None:
        """The file that says the sides, if one was given."""
        return Path(self.split) if isinstance(self.split, str) and os.path.isabs(self.split) else None

    @property
    def split_folders(self) -> tuple[str, str] | None:
        """Names of the folders of training and validation, if they were given."""
        if not isinstance(self.split, str) or os.path.isabs(self.split):
            return None
        train, _, val = self.split.partition(":")
        return train, val

    def group_of(self, name: str) -> str | None:
        """Return the group of an image by its path relative to the folder; None without a pattern.

        Raises:
            InputError: The pattern does not fit the path.
        """
        if self.group is None:
            return None
        found = re.search(self.group, name)
        if found is None or found[1] is None:
            raise InputError(
                f"--group {self.group}: nothing in the path {name!r} fits it", "every image must belong to a group"
            )
        return found[1]


def class_names(reading: Reading) -> tuple[str, ...] | None:
    """Names of the classes that were given, in order; None if none were.

    Raises:
        InputError: Their file cannot be read, is empty, or lists a name twice.
    """
    path = reading.classes_file
    if path is None:
        return None if reading.classes is None else tuple(map(str, reading.classes))  # type: ignore[arg-type]
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as cause:
        raise InputError(f"--classes {path}: cannot be read ({cause})", "save it as text in UTF-8") from cause
    return tuple(line.strip() for line in lines if line.strip())


def _pattern(text: str) -> None:
    try:
        groups = re.compile(text).groups
    except re.error as cause:
        raise InputError(f"--group {text}: not a regular expression ({cause})", r'such as "(patient\d+)"') from cause
    if groups != 1:
        raise InputError(
            f"--group {text}: expected one group in parentheses; received {groups}", r'such as "(patient\d+)"'
        )


def _plain_classes(given: Any) -> str | tuple[str, ...] | None:
    """The absolute path of a file, or names."""
    if given is None:
        return None
    if not isinstance(given, (str, os.PathLike)):
        return tuple(map(str, given))
    path = at_home(given)
    if path.is_file():
        return str(path.resolve())
    if isinstance(given, str) and "," in given:
        return tuple(name.strip() for name in given.split(",") if name.strip())
    if path.is_absolute():  # recorded, and gone since: reading it will say so
        return str(path)
    raise InputError(
        f"--classes {given}: no such file", "write one class name per line, or give the names separated by commas"
    )


def _plain_file(name: str, given: Any, words: Sequence[str] = ()) -> str | None:
    """The absolute path of a file, or one of some words."""
    if given is None or given in words:
        return None if given is None else str(given)
    path = Path(given).expanduser()
    if path.is_file() or path.is_absolute():  # one recorded may be gone since: reading it will say so
        return str(path.resolve())
    known = f", or one of {', '.join(words)}" if words else ""
    raise InputError(f"--{name} {given}: no such file", f"give the path of a file{known}")


def _plain_ignore(given: Any) -> int | str | None:
    """A value, several as ``"0,255"``, or ``"none"``."""
    text = "" if given is None else str(given).strip().lower()
    if not text or text == "none":
        return text or None
    values = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and int(part) <= 65535 for part in values):
        raise InputError(f"--ignore must be a value of a mask, 0 to 65535, or none; received {given!r}")
    return int(text) if len(values) == 1 else ",".join(values)


def _plain_split(given: Any) -> str | float | None:
    """A fraction, the absolute path of a file, or ``TRAIN:VAL``."""
    if given is None:
        return None
    fraction = given if isinstance(given, (int, float)) else _number(str(given))
    if fraction is not None:
        if not 0 < fraction < 1:
            raise InputError(f"--split {given}: a fraction must lie between 0 and 1", "such as 0.3 for three tenths")
        return float(fraction)
    path = at_home(given)
    if path.is_file() or path.is_absolute():
        return str(path.resolve())
    train, colon, val = str(given).partition(":")
    if colon and train and val:
        return f"{train}:{val}"
    raise InputError(
        f"--split {given}: neither a file, nor a fraction, nor two folders",
        "give a file that lists the images for validation, a fraction such as 0.3, or the folders as TRAIN:VAL",
    )


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


KNOWN_JOINTS = (
    "coco", "crowdpose", "coco-wholebody", "coco-wholebody-feet", "coco-wholebody-face", "coco-wholebody-left-hand",
    "coco-wholebody-right-hand",
)  # fmt: skip
"""Sets of joints that have a name."""
OF_KEYPOINTS = ("category", "joints", "hidden", "boxes", "codec", "aspect")
"""Fields that are about key points alone."""
AS_IT_IS = Reading()
"""Everything recognised."""
