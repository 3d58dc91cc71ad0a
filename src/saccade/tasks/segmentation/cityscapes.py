"""Cityscapes: street scenes with 19 classes, from the files as they are unpacked.

M. Cordts et al., "The Cityscapes Dataset for Semantic Urban Scene Understanding", CVPR 2016, arXiv:1604.01685.
"""

from __future__ import annotations

from pathlib import Path

from saccade.data import IGNORE
from saccade.tasks.segmentation.labelled import Labelled, Pair, ValueTable, indexed, paired, pictures

# Name, number in labelIds, colour; the place in the list is the train id.
_CLASSES = (
    ("road", 7, (128, 64, 128)), ("sidewalk", 8, (244, 35, 232)), ("building", 11, (70, 70, 70)),
    ("wall", 12, (102, 102, 156)), ("fence", 13, (190, 153, 153)), ("pole", 17, (153, 153, 153)),
    ("traffic light", 19, (250, 170, 30)), ("traffic sign", 20, (220, 220, 0)), ("vegetation", 21, (107, 142, 35)),
    ("terrain", 22, (152, 251, 152)), ("sky", 23, (70, 130, 180)), ("person", 24, (220, 20, 60)),
    ("rider", 25, (255, 0, 0)), ("car", 26, (0, 0, 142)), ("truck", 27, (0, 0, 70)), ("bus", 28, (0, 60, 100)),
    ("train", 31, (0, 80, 100)), ("motorcycle", 32, (0, 0, 230)), ("bicycle", 33, (119, 11, 32)),
)  # fmt: skip
_LABELS = 34  # numbers in labelIds: 0 to 33, and -1, which a picture cannot hold: 255 stands for it
_IMAGE, _IDS, _TRAIN_IDS = "_leftImg8bit", "_gtFine_labelIds", "_gtFine_labelTrainIds"


def is_cityscapes(path: Path) -> bool:
    """Return whether the folder has the layout of Cityscapes."""
    return (path / "leftImg8bit").is_dir() and (path / "gtFine").is_dir()


def load_cityscapes(path: str | Path) -> Labelled:
    """Load Cityscapes' fine annotations: ``leftImg8bit/SIDE/CITY/*.png`` and ``gtFine/SIDE/CITY/*.png``.

    Masks hold the 34 label ids, as distributed, or the 19 train ids that the authors' scripts write; label ids are used
    if both are there. Pixels of none of the 19 classes are ignored.

    Args:
        path: The folder that holds both.

    Raises:
        InputError: A folder or a mask is missing, or a side is empty.
    """
    path = Path(path)
    images = {side: pictures(path / "leftImg8bit" / side) for side in ("train", "val")}
    first = (images["train"] or images["val"] or [path / f"train/none{_IMAGE}.png"])[0]
    ends = _IDS if _mask(path, first, _IDS).is_file() or not _mask(path, first, _TRAIN_IDS).is_file() else _TRAIN_IDS
    train, val = (_side(path, side, found, ends) for side, found in images.items())
    names, _, colours = zip(*_CLASSES, strict=True)
    note = f"Cityscapes, fine annotations: 19 classes, {len(train)} training and {len(val)} validation images"
    return Labelled("cityscapes", names, train, val, _table(ends), note, colours)


def _side(path: Path, side: str, images: list[Path], ends: str) -> tuple[Pair, ...]:
    return paired(path / "leftImg8bit" / side, images, lambda image: _mask(path, image, ends))


def _mask(path: Path, image: Path, ends: str) -> Path:
    """Return the mask of an image: ``leftImg8bit/S/C/N_leftImg8bit.png`` to ``gtFine/S/C/N_gtFine_labelIds.png``."""
    inside = image.parent.relative_to(path / "leftImg8bit") if image.is_relative_to(path / "leftImg8bit") else Path()
    return path / "gtFine" / inside / f"{image.stem.removesuffix(_IMAGE)}{ends}.png"


def _table(ends: str) -> ValueTable:
    if ends == _TRAIN_IDS:
        return indexed(len(_CLASSES))
    values = dict.fromkeys((*range(_LABELS), IGNORE), IGNORE)
    values |= {number: index for index, (_, number, _) in enumerate(_CLASSES)}
    return ValueTable(values, f"label ids are 0 to {_LABELS - 1}, and 255 stands for -1")
