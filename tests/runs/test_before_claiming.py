"""What only single images or masks show is found before a training claims its folder, or deletes an earlier one."""

import json
import os

import numpy as np
import pytest
from PIL import Image

import saccade
from saccade import InputError
from saccade.data import depth
from saccade.runs.options import RunSpec
from saccade.tasks import task_for
from saccade.tasks.segmentation import mask_folder

COUNT, ODD = 7, 3  # what a sample of two looks at is the first and the last


def grey16(path, top):
    Image.fromarray(np.linspace(0, top, 256, dtype=np.uint16).reshape(16, 16)).save(path)


def mask(path, *values, side=16):
    pixels = np.resize(np.repeat(np.array(values, np.uint8), 8), (side, side))
    Image.fromarray(pixels).save(path)


def scenes(folder, listed):
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    if listed:
        (folder / "classes.txt").write_text("ground\nhouse\n")
    for number in range(COUNT):
        grey16(folder / "images" / f"{number}.png", 4095)
        mask(folder / "masks" / f"{number}.png", 0, 1)
    for path in folder.rglob("*.*"):
        os.utime(path, (1e9, 1e9))
    return folder


ODDITIES = {
    "value": (True, lambda d: mask(d / "masks" / f"{ODD}.png", 0, 9), rf"masks/{ODD}\.png: class 9 at pixel"),
    "size": (False, lambda d: mask(d / "masks" / f"{ODD}.png", 0, 1, side=8), rf"masks/{ODD}\.png: the mask is 8 x 8"),
    "bits": (False, lambda d: grey16(d / "images" / f"{ODD}.png", 60000), rf"images/{ODD}\.png: its values go up to"),
    "decoded": (
        True,
        lambda d: (d / "masks" / f"{ODD}.png").write_bytes(b"no picture"),
        rf"masks/{ODD}\.png",
    ),
}


@pytest.mark.parametrize("oddity", ODDITIES)
def test_a_sample_decides_and_all_are_held_to_it(tmp_path, monkeypatch, oddity):
    monkeypatch.setattr(mask_folder, "_SAMPLE", 2)
    monkeypatch.setattr(depth, "_SAMPLE", 2)
    listed, spoil, message = ODDITIES[oddity]
    folder = scenes(tmp_path / "d", listed)
    spec = RunSpec(data=str(folder), network="fcn", size=16, augment="none")
    good = task_for(spec).load(spec)
    record = tmp_path / "data.json"
    good.identity().write(record)
    spoil(folder)
    seen = []
    spoilt = task_for(spec).load(spec)
    with pytest.raises(InputError, match=message) as refused:
        spoilt.identity(record, lambda done, total, what: seen.append((total, what)))
    assert seen == [(1, "checking files"), (1, "checking values")]  # only what is not on record is read again
    assert refused.value.hint


def test_the_earlier_training_stays_and_nothing_new_is_made(tmp_path):
    """Also with --overwrite, which deletes an earlier training only once the new one could begin."""
    folder = tmp_path / "d"
    for name in ("a", "b"):
        (folder / name).mkdir(parents=True)
        for number in range(5):
            rng = np.random.default_rng(number + 10 * ord(name))
            Image.fromarray(rng.integers(0, 255, (16, 16, 3), np.uint8)).save(folder / name / f"{number}.png")
    how = {"steps": 1, "batch": 2, "size": 16, "workers": 0, "device": "cpu", "progress": False}
    run = saccade.train(folder, "test_resnet", out=tmp_path / "run", **how).folder
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    (folder / "b" / "copy.png").write_bytes((folder / "a" / "0.png").read_bytes())
    for out, further in ((run, {"overwrite": True}), (tmp_path / "new", {})):
        with pytest.raises(InputError, match="under two classes"):
            saccade.train(folder, "test_resnet", out=out, **how, **further)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    assert json.loads((run / "result.json").read_text())["steps"] == 1
    assert not (tmp_path / "new").exists()
