"""The demo "notes": read the unreadable note by looking at the readable ones.

Sticky notes with handwritten digits lie on photographs. All notes of a scene show the same digit, sometimes two; most
are faint, blurred or torn. Every pixel of a note is to get its digit's class: other notes of the scene tell what this
one says, which is how context helps in street scenes.

Everything is real and ships with scikit-learn and scikit-image: the 1,797 digits of scikit-learn (of the UCI set
"Optical Recognition of Handwritten Digits"), nine photographs of scikit-image that its documentation puts under CC0 or
into the public domain, and two of scikit-learn under CC BY 2.0: china by danielbuechele and flower by vultilion, see
:data:`CREDITS`. (scikit-image's immunohistochemistry picture is left out: its documentation says "no known copyright
restrictions", which is not a licence.)

Training and validation scenes share nothing: every fifth digit is kept for validation, and every photograph is cut in
two, the left 62% of its columns for training and the rest for validation.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from saccade.data import Arrays, OnProgress, Split
from saccade.data.cache import Append, load_or_build
from saccade.data.scenes import SIZE, Kind, Material, draw_scene
from saccade.errors import InputError, near, require

RECIPE = 1
"""Version of the pictures: raised with every change, so that cached scenes of an older saccade are drawn again."""

CLASSES = ("photograph", *map(str, range(10)))
"""Class names: index 0 is the background; digit d has index d + 1."""

CREDITS = (
    "Photograph china.jpg: danielbuechele, flickr.com/photos/danielbuechele/6061409035, CC BY 2.0; cropped, reduced, "
    "mirrored, darkened.",
    "Photograph flower.jpg: vultilion, flickr.com/photos/vultilion/6056698931, CC BY 2.0; cropped, reduced, mirrored, "
    "darkened.",
    "Digits: E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository.",
)

_PHOTOS = ("astronaut", "coffee", "chelsea", "rocket", "retina", "brick", "grass", "gravel", "camera")
_TRAIN_COLUMNS = 0.62
_SHORTER_SIDE = 340
_COUNTS = {"task": (2000, 500), "start": (2000, 200)}


def load_notes(
    cache: Path,
    *,
    kind: Kind = "task",
    seed: int = 0,
    train: int | None = None,
    held_out: int | None = None,
    on_progress: OnProgress | None = None,
) -> Arrays:
    """Load the demo's scenes, 96 x 96 px, drawn once and kept in `cache`.

    Scene i depends only on `kind`, `seed`, its side and i: a larger number of scenes begins with the same ones.

    Args:
        cache: Folder for the uint8 arrays (about 37 kB per scene).
        kind: ``"task"``, mostly spoilt notes of one or two digits, or ``"start"``, clean notes of any digits, on which
            the demo's shared network learns to read.
        seed: Seed of the scenes; digits and photographs stay the same.
        train: Number of training scenes; None means 2,000.
        held_out: Number of validation scenes; None means 500 for the task and 200 for the start.
        on_progress: Called with (done, total, what) while scenes are drawn, not when they come from the cache.

    Returns:
        A segmentation dataset of 11 classes; class 0 is the photograph.

    Raises:
        InputError: An unknown `kind`, a negative `seed`, a count below 1, or a cache that cannot be written.
        MissingExtraError: scikit-learn or scikit-image is missing.
    """
    counts = _checked(kind, seed, train, held_out)
    shapes: dict[str, tuple[tuple[int, ...], str]] = {}
    for side, count in counts.items():
        shapes[f"{side}_images"] = ((count, SIZE, SIZE, 3), "uint8")
        shapes[f"{side}_targets"] = ((count, SIZE, SIZE), "uint8")

    def fill(append: Append) -> dict[str, Any]:
        done, total = 0, sum(counts.values())
        for number, (side, material) in enumerate(zip(counts, materials(), strict=True)):
            for image, target in _scenes(material, kind, (seed, number), counts[side]):
                append(f"{side}_images", image)
                append(f"{side}_targets", target)
                done += 1
                if on_progress is not None:
                    on_progress(done, total, "drawing scenes")
        return {}

    folder = Path(cache) / f"notes-v{RECIPE}-{kind}-seed{seed}-{counts['train']}-{counts['val']}"
    arrays, _ = load_or_build(folder, shapes, fill)
    splits = {
        side: Split(arrays[f"{side}_images"], arrays[f"{side}_targets"], tuple(f"scene {i}" for i in range(count)))
        for side, count in counts.items()
    }
    return Arrays(
        "notes" if kind == "task" else "notes-start", "segmentation", CLASSES, splits["train"], splits["val"],
        note=_note(kind, counts), facts={"longer_side": True},
    )  # fmt: skip


def materials() -> tuple[Material, Material]:
    """Return the material of training and of validation scenes: no digit and no part of a photograph is in both."""
    digits, labels = _digits()
    held = np.arange(len(digits)) % 5 == 0
    left, right = photographs()
    train_digits = tuple(digits[~held & (labels == digit)] for digit in range(10))
    held_digits = tuple(digits[held & (labels == digit)] for digit in range(10))
    return Material(train_digits, left), Material(held_digits, right)


def photographs() -> tuple[tuple[NDArray[np.uint8], ...], tuple[NDArray[np.uint8], ...]]:
    """Return the parts of the photographs for training and for validation, reduced."""
    photos = _photos()
    cuts = [round(_TRAIN_COLUMNS * photo.shape[1]) for photo in photos]
    # Cut before reducing: a reduced column averages its neighbours and would belong to both sides.
    left = tuple(_reduced(photo, slice(0, cut)) for photo, cut in zip(photos, cuts, strict=True))
    right = tuple(_reduced(photo, slice(cut, None)) for photo, cut in zip(photos, cuts, strict=True))
    return left, right


def _scenes(
    material: Material, kind: Kind, seed: tuple[int, int], count: int
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    for index in range(count):
        yield draw_scene(material, np.random.default_rng((*seed, get_args(Kind).index(kind), index)), kind)


def _digits() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Load the 1,797 digits (n, 8, 8), stretched from 0..16 to 0..255, and the label of each."""
    images, labels = require("sklearn.datasets", extra="demo").load_digits(return_X_y=True)
    return np.rint(images.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8), labels


def _photos() -> list[NDArray[np.uint8]]:
    """Load the eleven photographs, (height, width, 3), at their original size."""
    skimage, sklearn = require("skimage.data", extra="demo"), require("sklearn.datasets", extra="demo")
    photos = [getattr(skimage, name)() for name in _PHOTOS]
    photos = [photo if photo.ndim == 3 else np.repeat(photo[..., None], 3, axis=2) for photo in photos]
    return photos + [sklearn.load_sample_image(f"{name}.jpg") for name in ("china", "flower")]


def _reduced(photo: NDArray[np.uint8], columns: slice) -> NDArray[np.uint8]:
    """Reduce some columns of a photograph by area averaging, so that its shorter side is at most 340 px."""
    pil = require("PIL.Image", extra="train")
    scale = min(1.0, _SHORTER_SIDE / min(photo.shape[:2]))
    part = np.ascontiguousarray(photo[:, columns])
    size = (round(part.shape[1] * scale), round(part.shape[0] * scale))
    return np.asarray(pil.fromarray(part).resize(size, pil.Resampling.BOX))


def _checked(kind: str, seed: int, train: int | None, held_out: int | None) -> dict[str, int]:
    if kind not in _COUNTS:
        raise InputError(f"notes: unknown kind={kind!r}", near(str(kind), _COUNTS))
    if seed < 0:
        raise InputError(f"notes: `seed` must be at least 0; received {seed=}")
    counts = [
        standard if count is None else count for standard, count in zip(_COUNTS[kind], (train, held_out), strict=True)
    ]
    if min(counts) < 1:
        raise InputError(f"notes: `train` and `held_out` must be at least 1; received {train=}, {held_out=}")
    return {"train": counts[0], "val": counts[1]}


def _note(kind: Kind, counts: dict[str, int]) -> str:
    what = "most notes faint, blurred or torn" if kind == "task" else "all notes clean"
    return f"the demo 'notes', {what}: {counts['train']} training and {counts['val']} validation scenes, 11 classes"
