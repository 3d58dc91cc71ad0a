"""The demo is the same everywhere, its two sides share nothing, and it is drawn once."""

from __future__ import annotations

import numpy as np
import pytest

from saccade.data import notes
from saccade.data.notes import CLASSES, load_notes
from saccade.data.scenes import SIZE
from saccade.errors import InputError


def drawn(cache, **options) -> dict[str, np.ndarray]:
    data = load_notes(cache, **({"train": 6, "held_out": 4} | options))
    return {"train": data.train.images, "val": data.val.images}


def test_is_a_segmentation_dataset(tmp_path):
    data = load_notes(tmp_path, train=40, held_out=3)
    assert (data.task, data.classes) == ("segmentation", ("photograph", *"0123456789"))
    assert data.train.images.shape == (40, SIZE, SIZE, 3)
    assert data.val.targets.shape == (3, SIZE, SIZE)
    assert data.train.images.dtype == data.train.targets.dtype == np.uint8
    assert set(np.unique(data.train.targets)) == set(range(len(CLASSES)))
    assert data.val.names == ("scene 0", "scene 1", "scene 2")
    assert "40 training and 3 validation scenes" in data.note


@pytest.mark.parametrize("kind", ["task", "start"])
def test_same_seed_same_bytes(tmp_path, kind):
    first, second = (drawn(tmp_path / name, kind=kind, seed=5) for name in "ab")
    other = drawn(tmp_path, kind=kind, seed=6)
    for side in first:
        assert first[side].tobytes() == second[side].tobytes()
        assert all((a != b).any() for a, b in zip(first[side], other[side], strict=True))


def test_more_scenes_continue_fewer(tmp_path):
    few, more = drawn(tmp_path), drawn(tmp_path, train=9, held_out=5)
    np.testing.assert_array_equal(more["train"][:6], few["train"])
    np.testing.assert_array_equal(more["val"][:4], few["val"])


def test_the_kinds_and_sides_are_different_scenes(tmp_path):
    task, start = drawn(tmp_path), drawn(tmp_path, kind="start")
    assert all((a != b).any() for a, b in zip(task["train"], start["train"], strict=True))
    assert all((a != b).any() for a, b in zip(task["train"], task["val"], strict=False))


def without_columns(side):
    """The photographs with the columns of one side painted over."""
    photos = [photo.copy() for photo in notes._photos()]
    for photo in photos:
        cut = round(0.62 * photo.shape[1])
        photo[:, slice(0, cut) if side == "train" else slice(cut, None)] = 128
    return photos


def without_digits(side):
    """The digits with those of one side blanked."""
    digits, labels = notes._digits()
    held = np.arange(len(digits)) % 5 == 0
    return np.where((held == (side == "val"))[:, None, None], 0, digits).astype(np.uint8), labels


@pytest.mark.parametrize("source", ["_photos", "_digits"])
@pytest.mark.parametrize("side", ["train", "val"])
def test_what_one_side_is_made_of_is_not_in_the_other(tmp_path, monkeypatch, source, side):
    """Take away what one side is made of: its scenes change, every one, and the other side's not by a bit."""
    whole = drawn(tmp_path / "whole")
    taken = {"_photos": without_columns, "_digits": without_digits}[source](side)
    monkeypatch.setattr(notes, source, lambda: taken)
    lacking = drawn(tmp_path / "lacking")
    other = "val" if side == "train" else "train"
    assert lacking[other].tobytes() == whole[other].tobytes()
    assert all((a != b).any() for a, b in zip(lacking[side], whole[side], strict=True))


def test_the_digits_are_1797_and_360_of_them_are_held_out():
    train, held_out = notes.materials()
    assert (sum(map(len, train.digits)), sum(map(len, held_out.digits))) == (1437, 360)
    assert len(train.photos) == len(held_out.photos) == 11
    for photo in (*train.photos, *held_out.photos):
        assert min(photo.shape[:2]) >= SIZE + 30  # room to move the crop


def test_scenes_come_from_the_cache_the_second_time(tmp_path):
    calls = []
    first = drawn(tmp_path, on_progress=lambda *call: calls.append(call))
    assert calls == [(done, 10, "drawing scenes") for done in range(1, 11)]
    second = drawn(tmp_path, on_progress=lambda *call: calls.append(call))
    assert len(calls) == 10
    assert all(isinstance(array, np.memmap) for array in second.values())
    np.testing.assert_array_equal(first["val"], second["val"])


def test_a_cut_cache_and_an_old_recipe_are_drawn_again(tmp_path, monkeypatch):
    first = drawn(tmp_path)["train"].copy()
    (file,) = tmp_path.glob("*/train_images.npy")
    file.write_bytes(file.read_bytes()[:5000])
    np.testing.assert_array_equal(drawn(tmp_path)["train"], first)
    calls = []
    monkeypatch.setattr(notes, "RECIPE", notes.RECIPE + 1)
    drawn(tmp_path, on_progress=lambda *call: calls.append(call))
    assert len(calls) == 10


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "taks"}, "unknown kind='taks'\nhint: did you mean task"),
        ({"seed": -1}, "`seed` must be at least 0; received seed=-1"),
        ({"train": 0}, "must be at least 1; received train=0, held_out=None"),
    ],
)
def test_refuses(tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        load_notes(tmp_path, **options)


def test_credits_name_the_photographers():
    assert ["danielbuechele" in notes.CREDITS[0], "vultilion" in notes.CREDITS[1]] == [True, True]
    assert all("CC BY 2.0" in line for line in notes.CREDITS[:2])
