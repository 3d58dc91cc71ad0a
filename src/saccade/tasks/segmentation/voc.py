"""PASCAL VOC 2012 and its later annotations (SBD), and PASCAL Context, from the files as they are unpacked.

M. Everingham et al., "The PASCAL Visual Object Classes Challenge: A Retrospective", IJCV 2015; B. Hariharan et al.,
"Semantic Contours from Inverse Detectors", ICCV 2011 (SBD); R. Mottaghi et al., "The Role of Context for Object
Detection and Semantic Segmentation in the Wild", CVPR 2014 (PASCAL Context).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saccade.data import IGNORE
from saccade.data.images import UnreadableError
from saccade.errors import InputError, require
from saccade.tasks.segmentation.labelled import Labelled, Pair, indexed, named_in, paired, read_lines
from saccade.tasks.segmentation.stored import read_mask

VOC_CLASSES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
CONTEXT_CLASSES = (
    "background", "aeroplane", "bag", "bed", "bedclothes", "bench", "bicycle", "bird", "boat", "book", "bottle",
    "building", "bus", "cabinet", "car", "cat", "ceiling", "chair", "cloth", "computer", "cow", "cup", "curtain",
    "dog", "door", "fence", "floor", "flower", "food", "grass", "ground", "horse", "keyboard", "light", "motorbike",
    "mountain", "mouse", "person", "plate", "platform", "pottedplant", "road", "rock", "sheep", "shelves", "sidewalk",
    "sign", "sky", "snow", "sofa", "table", "track", "train", "tree", "truck", "tvmonitor", "wall", "water", "window",
    "wood",
)  # fmt: skip


def voc_root(path: Path) -> Path | None:
    """Return the folder that holds JPEGImages; of several years, the last."""
    for root in (
        path,
        *sorted(path.glob("VOC20*"), reverse=True),
        *sorted(path.glob("VOCdevkit/VOC20*"), reverse=True),
    ):
        if (root / "JPEGImages").is_dir():
            return root
    return None


def is_voc(path: Path) -> bool:
    """Return whether the folder holds VOC's segmentation masks and lists; without lists it is not VOC's."""
    root = voc_root(path)
    return root is not None and (root / "SegmentationClass").is_dir() and (root / "ImageSets").is_dir()


def is_context(path: Path) -> bool:
    """Return whether the folder holds masks of PASCAL Context."""
    root = voc_root(path)
    return root is not None and (root / "SegmentationClassContext").is_dir()


def load_voc(path: str | Path, *, sbd: str | Path | None = None) -> Labelled:
    """Load PASCAL VOC 2012 segmentation, 21 classes with the background; the borders of objects are ignored.

    Args:
        path: Folder with ``JPEGImages``, ``SegmentationClass`` and ``ImageSets``, or ``VOCdevkit`` above it.
        sbd: SBD's ``dataset`` folder (``cls/*.mat``, ``img/*.jpg``, ``train.txt``, ``val.txt``) or the folder above
            it. SBD's images are added to the training side, except those of VOC's validation side; an image in both
            keeps VOC's mask. With the official files that makes 10,582 training images.

    Raises:
        InputError: A folder, a list or a mask is missing, or a side is empty.
        MissingExtraError: SBD's masks need SciPy.
    """
    root = _root(Path(path), "SegmentationClass")
    lists = root / "ImageSets" / "Segmentation"
    train, val = (_listed_pairs(root, lists / f"{side}.txt", "SegmentationClass") for side in ("train", "val"))
    added: tuple[Pair, ...] = ()
    if sbd is not None:
        known = {pair.image.stem for pair in (*train, *val)}
        added = tuple(pair for pair in _sbd(Path(sbd)) if pair.image.stem not in known)
    note = f"PASCAL VOC 2012{' with SBD' if added else ''}: 21 classes, {len(train) + len(added)} training and "
    note += f"{len(val)} validation images"
    return Labelled("voc", VOC_CLASSES, train + added, val, indexed(21), note, read=_read)


def load_context(path: str | Path, *, background: bool = True) -> Labelled:
    """Load PASCAL Context as index masks of 60 classes: ``SegmentationClassContext/*.png`` next to VOC 2010's images.

    Those masks have 0 for the background and 1 to 59 for the classes in alphabetical order, as the conversion that
    most code uses writes them; the lists are in ``ImageSets/SegmentationContext``.

    Args:
        path: Folder with ``JPEGImages``, or ``VOCdevkit`` above it.
        background: If True, the background is a class (60, as in DANet's result); otherwise it is ignored (59).

    Raises:
        InputError: A folder, a list or a mask is missing, or a side is empty.
    """
    root = _root(Path(path), "SegmentationClassContext")
    lists = root / "ImageSets" / "SegmentationContext"
    train, val = (_listed_pairs(root, lists / f"{side}.txt", "SegmentationClassContext") for side in ("train", "val"))
    classes = CONTEXT_CLASSES if background else CONTEXT_CLASSES[1:]
    reader = indexed(60) if background else indexed(59, first=1, ignored=(0, IGNORE))
    note = f"PASCAL Context: {len(classes)} classes, {len(train)} training and {len(val)} validation images"
    return Labelled("pascal_context", classes, train, val, reader, note)


def _root(path: Path, masks: str) -> Path:
    root = voc_root(path)
    if root is None or not (root / masks).is_dir():
        raise InputError(f"{path}: expected JPEGImages/ and {masks}/ there, or in VOCdevkit/VOC2012 below it")
    return root


def _listed_pairs(root: Path, listing: Path, masks: str) -> tuple[Pair, ...]:
    images = named_in(listing, root / "JPEGImages")
    return paired(listing, images, lambda image: root / masks / f"{image.stem}.png")


def _sbd(path: Path) -> tuple[Pair, ...]:
    for root in (path, path / "dataset", path / "benchmark_RELEASE" / "dataset"):
        if (root / "cls").is_dir():
            break
    else:
        raise InputError(f"{path}: expected SBD's cls/ and img/ there, or in dataset/ below it")
    names = [name for side in ("train", "val") for _, name in read_lines(root / f"{side}.txt")]
    images = [root / "img" / f"{name}.jpg" for name in dict.fromkeys(names)]
    gone = next((image for image in images if not image.is_file()), None)
    if gone is not None:
        raise InputError(f"{root}: {gone}, named in its lists, does not exist")
    return paired(root, images, lambda image: root / "cls" / f"{image.stem}.mat")


def _read(path: Path) -> NDArray[Any]:
    """Read a mask: VOC's are pictures, SBD's are MATLAB files."""
    if path.suffix != ".mat":
        return read_mask(path)
    io: Any = require("scipy.io", extra="demo")
    try:
        found = io.loadmat(path, variable_names=["GTcls"])["GTcls"]["Segmentation"][0, 0]
    except Exception as cause:  # damaged files surface from the reader as anything
        raise UnreadableError(f"it is not a mask of SBD ({str(cause) or type(cause).__name__})") from cause
    mask: NDArray[Any] = np.asarray(found).astype(np.int64)
    return mask
