"""A scene's labels say what is on it, and its notes are spoilt as the recipe says."""

from __future__ import annotations

import numpy as np
import pytest

from saccade.data.scenes import CELL, SIZE, SPOILS, Material, draw_note, draw_scene, plan_notes
from tests.suites import everyday

BLANK, FULL = np.zeros((1, 8, 8), np.uint8), np.full((1, 8, 8), 255, np.uint8)
BLACK = (np.zeros((SIZE, SIZE, 3), np.uint8),)
KINDS = pytest.mark.parametrize("kind", ["task", "start"])


def cells(array: np.ndarray) -> list[np.ndarray]:
    corners = [(top, left) for top in range(0, SIZE, CELL) for left in range(0, SIZE, CELL)]
    return [array[top : top + CELL, left : left + CELL] for top, left in corners]


@KINDS
def test_labels_are_the_visible_notes(kind):
    """On black, with nothing written, a note is what is not black."""
    for seed in range(30):
        image, target = draw_scene(Material((BLANK,) * 10, BLACK), np.random.default_rng(seed), kind)
        np.testing.assert_array_equal(target > 0, image.any(2))


@KINDS
@pytest.mark.parametrize("digit", everyday([1, 8], range(10)))
def test_labels_are_the_digit_on_the_note(kind, digit):
    """With one digit all ink and the others blank, the notes of its class are those that are not plain paper."""
    material = Material(tuple(FULL if d == digit else BLANK for d in range(10)), BLACK)
    seen = 0
    for seed in range(20):
        image, target = draw_scene(material, np.random.default_rng(seed), kind)
        for pixels, labels in zip(cells(image), cells(target), strict=True):
            classes = set(labels[labels > 0].tolist())
            assert len(classes) <= 1
            written = len(np.unique(pixels[labels > 0], axis=0)) > 1
            assert written == (classes == {digit + 1})
            seen += written
    assert seen > 0


def planned(kind: str, count: int = 600):
    material = Material((np.zeros((4, 8, 8), np.uint8),) * 10, BLACK)
    return [plan_notes(material, np.random.default_rng(seed), kind) for seed in range(count)]


def test_task_scenes_follow_the_recipe():
    scenes = planned("task")
    assert {len(notes) for notes in scenes} == {5, 6, 7}
    shown = [list(dict.fromkeys(note.digit for note in notes)) for notes in scenes]
    assert {len(digits) for digits in shown} == {1, 2}
    assert abs(np.mean([len(digits) == 1 for digits in shown]) - 0.7) < 0.06  # 3 standard errors
    for notes, digits in zip(scenes, shown, strict=True):
        assert [note.digit for note in notes] == [digits[i % len(digits)] for i in range(len(notes))]
        assert all(note.spoil is None for note in notes[: len(digits)])
    others = [note.spoil for notes, digits in zip(scenes, shown, strict=True) for note in notes[len(digits) :]]
    assert abs(np.mean([spoil is not None for spoil in others]) - 0.75) < 0.03
    for spoil in SPOILS:
        assert abs(others.count(spoil) / len(others) - 0.25) < 0.03


def test_start_scenes_follow_the_recipe():
    scenes = planned("start")
    assert {len(notes) for notes in scenes} == {4, 5, 6}
    assert all(note.spoil is None for notes in scenes for note in notes)
    assert {note.digit for notes in scenes for note in notes} == set(range(10))
    assert {note.example for notes in scenes for note in notes} == set(range(4))


def pair(spoil: str, digit: np.ndarray, seed: int):
    """A clean and a spoilt note of the same size, paper and ink."""
    clean, _ = draw_note(digit, None, np.random.default_rng(seed))
    spoilt, visible = draw_note(digit, spoil, np.random.default_rng(seed))
    return clean.astype(float), spoilt.astype(float), visible


def test_faint_notes_keep_6_to_16_percent_of_the_contrast():
    left = []
    for seed in range(200):
        clean, faint, visible = pair("faint", FULL[0], seed)
        paper, middle = clean[0, 0], len(clean) // 2
        left.append((paper - faint[middle, middle]).sum() / (paper - clean[middle, middle]).sum())
        assert visible.all()
    assert 0.055 < min(left) < 0.07
    assert 0.15 < max(left) < 0.165


def test_blurred_notes_lose_what_is_finer_than_a_third():
    """Stripes two pixels apart average out; a dark half against a light one stays."""
    stripes = np.tile(np.array([255, 0], np.uint8), (8, 4))
    half = np.repeat(np.array([[255, 0]], np.uint8), 4, axis=1).repeat(8, axis=0)
    for digit, low, high in ((stripes, 0.0, 0.35), (half, 0.5, 1.1)):
        clean, blurred, visible = pair("blurred", digit, 3)
        inner = slice(9, -9)  # away from the note's paper edge
        ratio = np.ptp(blurred[inner, inner].sum(2), axis=1).mean() / np.ptp(clean[inner, inner].sum(2), axis=1).mean()
        assert low <= ratio < high
        assert visible.all()


def test_torn_notes_lose_half_to_62_percent_from_any_side():
    left, sides = [], set()
    for seed in range(300):
        _, _, visible = pair("torn", FULL[0], seed)
        left.append(visible.mean())
        whole = [visible[0].all(), visible[-1].all(), visible[:, 0].all(), visible[:, -1].all()]
        assert sum(whole) == 1  # one side is untouched
        sides.add(whole.index(True))
    assert sides == {0, 1, 2, 3}
    assert 0.34 < min(left) < 0.4
    assert 0.48 < max(left) < 0.54
