"""Draw the demo's scenes: sticky notes with handwritten digits on photographs, most of them hard to read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from saccade.errors import require

SIZE = 96
CELL = 32
NOTE_SIZES = (22, 24, 26, 28)
MARGIN = 2
"""Pixels of paper around the digit's own square."""

BACKGROUND = 0
"""Class of pixels outside all notes; digit d has class d + 1."""

Kind = Literal["task", "start"]
Spoil = Literal["faint", "blurred", "torn"]
SPOILS: tuple[Spoil, ...] = ("faint", "blurred", "torn")

_PAPERS = np.array(
    [
        (255, 241, 148),
        (255, 208, 214),
        (196, 232, 255),
        (205, 242, 200),
        (255, 221, 178),
        (226, 211, 250),
        (245, 243, 235),
    ],
    dtype=np.float32,
)
_INKS = np.array([(22, 22, 26), (24, 38, 110), (112, 20, 28), (14, 72, 44), (70, 40, 24)], dtype=np.float32)

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Material:
    """The digits and photographs that the scenes of one split are drawn from.

    Args:
        digits: Handwritten examples (n, 8, 8) uint8 of each digit 0 to 9, 255 = ink.
        photos: Photograph regions (height, width, 3) uint8, both sides at least 96.
    """

    digits: tuple[Pixels, ...]
    photos: tuple[Pixels, ...]


@dataclass(frozen=True)
class Note:
    """One note of a scene: its digit, the example of that digit, and how it is spoilt."""

    digit: int
    example: int
    spoil: Spoil | None


def draw_scene(material: Material, rng: np.random.Generator, kind: Kind) -> tuple[Pixels, Pixels]:
    """Draw one scene and its target.

    Args:
        material: Digits and photographs to draw from.
        rng: Source of all randomness, so a scene is a function of its seed.
        kind: ``"task"``: 5 to 7 notes of one digit (70%) or two, mostly spoilt. ``"start"``: 4 to 6 clean notes of
            any digits.

    Returns:
        Image (96, 96, 3) uint8, and target (96, 96) uint8: each note's visible pixels have its digit's class.
    """
    image = _photograph(material, rng)
    target = np.full((SIZE, SIZE), BACKGROUND, dtype=np.uint8)
    notes = plan_notes(material, rng, kind)
    cells = rng.permutation((SIZE // CELL) ** 2)[: len(notes)]
    for note, cell in zip(notes, cells, strict=True):
        pixels, visible = draw_note(material.digits[note.digit][note.example], note.spoil, rng)
        size = len(pixels)
        row, column = divmod(int(cell), SIZE // CELL)
        top = row * CELL + rng.integers(CELL - size + 1)
        left = column * CELL + rng.integers(CELL - size + 1)
        image[top : top + size, left : left + size][visible] = pixels[visible]
        target[top : top + size, left : left + size][visible] = note.digit + 1
    return image, target


def plan_notes(material: Material, rng: np.random.Generator, kind: Kind) -> list[Note]:
    """Choose the digits of a scene and the notes to spoil: of every digit in a task scene the first is clean."""
    if kind == "start":
        digits = [int(digit) for digit in rng.integers(10, size=rng.integers(4, 7))]
        return [Note(digit, int(rng.integers(len(material.digits[digit]))), None) for digit in digits]
    shown = rng.permutation(10)[: 1 if rng.random() < 0.7 else 2]
    notes = []
    for place in range(rng.integers(5, 8)):
        digit = int(shown[place % len(shown)])
        example = int(rng.integers(len(material.digits[digit])))
        spoilt = place >= len(shown) and rng.random() < 0.75
        notes.append(Note(digit, example, SPOILS[rng.integers(len(SPOILS))] if spoilt else None))
    return notes


def draw_note(digit: Pixels, spoil: Spoil | None, rng: np.random.Generator) -> tuple[Pixels, NDArray[np.bool_]]:
    """Draw a square note (size, size, 3) and a mask of its remaining pixels: all, unless it is torn."""
    size = NOTE_SIZES[rng.integers(len(NOTE_SIZES))]
    paper = _PAPERS[rng.integers(len(_PAPERS))] * rng.uniform(0.9, 1.0)
    ink = _INKS[rng.integers(len(_INKS))]
    coverage = np.zeros((size, size, 1), dtype=np.float32)
    coverage[MARGIN:-MARGIN, MARGIN:-MARGIN, 0] = _enlarged(digit, size - 2 * MARGIN, blurred=spoil == "blurred")
    if spoil == "faint":
        coverage *= rng.uniform(0.06, 0.16)
    pixels = np.rint(paper + coverage * (ink - paper)).astype(np.uint8)
    visible = _torn(size, rng) if spoil == "torn" else np.ones((size, size), dtype=np.bool_)
    return pixels, visible


def _enlarged(digit: Pixels, size: int, *, blurred: bool) -> NDArray[np.float32]:
    """Enlarge a digit to ink coverage 0 to 1, (size, size); if blurred, only its 3 x 3 averages are left."""
    pil = require("PIL.Image", extra="train")
    if blurred:
        digit = np.asarray(pil.fromarray(digit).resize((3, 3), pil.Resampling.BOX))
    rim = 1 - len(digit) / 8  # of the padding only an eighth of the digit's width is shown: strokes fade into it
    box = (rim, rim, len(digit) + 2 - rim, len(digit) + 2 - rim)
    # Pillow resizes 8-bit pictures in whole numbers, which gives every machine the same scenes.
    enlarged = pil.fromarray(np.pad(digit, 1)).resize((size, size), pil.Resampling.BICUBIC, box=box)
    return np.asarray(enlarged, dtype=np.float32) / np.float32(255)


def _torn(size: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return the mask of a note of which half to 62% is torn off, along a ragged edge, from any side."""
    edge = size * (1 - rng.uniform(0.5, 0.62))
    knots = rng.uniform(-2.5, 2.5, size=size // 3 + 1)
    wander = np.interp(np.arange(size), np.arange(len(knots)) * 3, knots) + rng.integers(2, size=size)
    wander -= wander.mean()  # the torn fraction stays as drawn
    left: NDArray[np.bool_] = np.arange(size)[:, None] < np.rint(edge + wander)
    return np.rot90(left, int(rng.integers(4)))


def _photograph(material: Material, rng: np.random.Generator) -> Pixels:
    """Cut a 96 x 96 crop, mirrored half the time, at 0.6 to 1 of its brightness."""
    photo = material.photos[rng.integers(len(material.photos))]
    top = rng.integers(photo.shape[0] - SIZE + 1)
    left = rng.integers(photo.shape[1] - SIZE + 1)
    crop = photo[top : top + SIZE, left : left + SIZE]
    if rng.random() < 0.5:
        crop = crop[:, ::-1]
    darkened: Pixels = np.rint(crop * np.float32(rng.uniform(0.6, 1.0))).astype(np.uint8)
    return darkened
