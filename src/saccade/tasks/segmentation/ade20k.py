"""ADE20K's scene parsing challenge, 150 classes, from the files as they are unpacked.

B. Zhou et al., "Scene Parsing through ADE20K Dataset", CVPR 2017.
"""

from __future__ import annotations

from pathlib import Path

from saccade.data import IGNORE
from saccade.errors import InputError
from saccade.tasks.segmentation.labelled import Labelled, indexed, paired, pictures, read_lines

_SIDES = ("training", "validation")
_COUNT = 150


def ade20k_root(path: Path) -> Path | None:
    """The folder that holds images and annotations, here or one below."""
    for root in (path, path / "ADEChallengeData2016"):
        if all((root / kind / side).is_dir() for kind in ("images", "annotations") for side in _SIDES):
            return root
    return None


def load_ade20k(path: str | Path) -> Labelled:
    """ADE20K as released for scene parsing: ``images/training/*.jpg`` and ``annotations/training/*.png``.

    Stored values 1 to 150 are the classes, 0 is everything else and ignored. Their names are those in
    ``objectInfo150.txt``; without it, their numbers.

    Args:
        path: Path of ``ADEChallengeData2016``, or of the folder above it.

    Raises:
        InputError: A folder or a mask is missing, a side is empty, or the names cannot be read.
    """
    root = ade20k_root(Path(path))
    if root is None:
        raise InputError(f"{path}: expected images/ and annotations/ there, each with training/ and validation/")
    train, val = (
        paired(
            root / "images" / side,
            pictures(root / "images" / side),
            lambda image, side=side: root / "annotations" / side / f"{image.stem}.png",  # type: ignore[misc]
        )
        for side in _SIDES
    )
    note = f"ADE20K: {_COUNT} classes, {len(train)} training and {len(val)} validation images"
    return Labelled("ade20k", _names(root), train, val, indexed(_COUNT, first=1, ignored=(0, IGNORE)), note)


def _names(root: Path) -> tuple[str, ...]:
    """Read the class names from a table of five columns: the first holds the number, the last the names."""
    listing = root / "objectInfo150.txt"
    if not listing.is_file():
        return tuple(map(str, range(1, _COUNT + 1)))
    names = {}
    for _, line in read_lines(listing):
        number, *_, words = line.split("\t")
        if number.strip().isdigit():
            names[int(number)] = words.split(",")[0].strip()
    if sorted(names) != list(range(1, _COUNT + 1)):
        raise InputError(
            f"{listing}: expected one line per class, 1 to {_COUNT}; received {len(names)} lines",
            "fetch the file again, or remove it: classes are then named by their numbers",
        )
    return tuple(names[number] for number in range(1, _COUNT + 1))
