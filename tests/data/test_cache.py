"""A cache entry is whole or absent, is used again, and is made again when damaged."""

from __future__ import annotations

import errno
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from saccade.data import cache
from saccade.data.cache import load_or_build
from saccade.errors import InputError

SHAPES = {"images": ((3, 4, 4), "uint8"), "labels": ((3,), "int64")}
IMAGES = np.arange(48, dtype=np.uint8).reshape(3, 4, 4)


class Filling:
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, append):
        self.calls += 1
        for index in range(3):
            append("images", IMAGES[index])
            append("labels", -index)
        return {"classes": 7}


def load(folder: Path, filling: Filling) -> None:
    arrays, facts = load_or_build(folder, SHAPES, filling)
    np.testing.assert_array_equal(arrays["images"], IMAGES)
    np.testing.assert_array_equal(arrays["labels"], [0, -1, -2])
    assert facts == {"classes": 7}
    assert all(isinstance(array, np.memmap) and not array.flags.writeable for array in arrays.values())
    assert [p.name for p in folder.parent.iterdir()] == [folder.name]


def test_is_made_once(tmp_path):
    filling = Filling()
    load(tmp_path / "deep" / "entry", filling)
    load(tmp_path / "deep" / "entry", filling)
    assert filling.calls == 1


def cut(path: Path, length: int) -> None:
    path.write_bytes(path.read_bytes()[:length])


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda entry: cut(entry / "images.npy", -1), id="one byte short"),
        pytest.param(lambda entry: cut(entry / "images.npy", 20), id="header cut"),
        pytest.param(lambda entry: cut(entry / "labels.npy", 0), id="empty file"),
        pytest.param(lambda entry: (entry / "labels.npy").unlink(), id="file missing"),
        pytest.param(lambda entry: (entry / "facts.json").unlink(), id="facts missing"),
        pytest.param(lambda entry: (entry / "facts.json").write_text("{"), id="facts cut"),
        pytest.param(lambda entry: np.save(entry / "images.npy", IMAGES[:2]), id="other shape"),
        pytest.param(lambda entry: np.save(entry / "images.npy", IMAGES.astype(np.int8)), id="other dtype"),
    ],
)
def test_what_is_damaged_is_made_again(tmp_path, damage):
    filling = Filling()
    load(tmp_path / "entry", filling)
    damage(tmp_path / "entry")
    load(tmp_path / "entry", filling)
    assert filling.calls == 2


def test_a_disk_known_to_be_too_small_is_refused_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(2**30, 2**30 - 2**20, 2**20))
    filling = Filling()
    with pytest.raises(InputError, match=rf"disk of {tmp_path} is full: 2\.0 MiB are needed, 1\.0 MiB are free"):
        load_or_build(tmp_path / "entry", {"images": ((2, 1024, 1024), "uint8")}, filling)
    assert filling.calls == 0
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT], ids=["full", "quota"])
def test_a_disk_that_fills_up_leaves_nothing_behind(tmp_path, monkeypatch, code):
    written = []

    def write(file, data):
        if len(written) == 3:
            raise OSError(code, os.strerror(code))
        written.append(file.write(data))

    monkeypatch.setattr(cache, "_write", write)
    with pytest.raises(InputError, match=r"is full: 0\.0 MiB are needed"):
        load_or_build(tmp_path / "entry", SHAPES, Filling())
    assert written == [16, 8, 16]
    assert not list(tmp_path.iterdir())


def test_a_cache_folder_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file cannot be written"):
        load_or_build(tmp_path / "file" / "entry", SHAPES, Filling())


def test_an_interruption_leaves_nothing_behind(tmp_path):
    def interrupted(append):
        append("images", IMAGES[0])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load_or_build(tmp_path / "entry", SHAPES, interrupted)
    assert not list(tmp_path.iterdir())


def test_the_quicker_of_two_processes_wins(tmp_path):
    quicker, kept = Filling(), []

    def slower(append):
        load_or_build(tmp_path / "entry", SHAPES, quicker)
        kept.append((tmp_path / "entry" / "images.npy").stat().st_ino)
        return Filling()(append)

    load(tmp_path / "entry", slower)
    assert kept == [(tmp_path / "entry" / "images.npy").stat().st_ino]


def test_what_a_killed_process_left_is_removed_a_day_later(tmp_path):
    for name, age in (("old.0.part", 25 * 3600), ("new.0.part", 23 * 3600)):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, times=(time.time() - age,) * 2)
    load_or_build(tmp_path / "entry", SHAPES, Filling())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["entry", "new.0.part"]
