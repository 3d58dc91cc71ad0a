"""A folder belongs to one comparison, and only one process works in it."""

import json
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from saccade.comparison.options import CompareOptions
from saccade.comparison.settings import Settings, clear, refuse
from saccade.files import locked, write_json
from saccade.tasks import find_task

ASKED = Settings(
    data=None, mechanisms=("none", "se"), backbone="notes", pretrained=False, at=None, seeds=3, steps=10, epochs=None,
    size=96, batch=None, device="cpu", control_params=False, fresh_start=False,
)  # fmt: skip


def begun(folder):
    write_json(folder / "settings.json", ASKED.to_json())
    return folder


def kept(folder):
    """A comparison with a finished run."""
    write_json(folder / "runs" / "se" / "0" / "result.json", {})
    return begun(folder)


def test_the_same_settings_go_on(tmp_path):
    refuse(tmp_path / "new", ASKED)
    assert not (tmp_path / "new").exists()
    refuse(begun(tmp_path), ASKED)


def test_other_settings_are_refused_by_name(tmp_path):
    with pytest.raises(ValueError, match=r"seeds: 3 there, 5 now; steps: 10 there, 20 now"):
        refuse(kept(tmp_path), replace(ASKED, seeds=5, steps=20))


def test_a_comparison_without_a_step_does_not_hold_its_folder(tmp_path):
    refuse(begun(tmp_path), replace(ASKED, seeds=5))


def test_a_cleared_folder_is_free(tmp_path):
    (begun(tmp_path) / "runs" / "se").mkdir(parents=True)
    (tmp_path / "notes.txt").write_text("mine")
    clear(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_folder_with_other_files_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("do not lose")
    (tmp_path / "runs").mkdir()
    clear(tmp_path)
    assert (tmp_path / "runs").exists()
    with pytest.raises(ValueError, match="not empty and does not hold a comparison"):
        refuse(tmp_path, ASKED)
    assert (tmp_path / "thesis.txt").read_text() == "do not lose"


def test_the_command_that_repeats_it_is_whole():
    words = shlex.split(replace(ASKED, data="my photos", pretrained="w.pth", scenes=0).command_line(Path("out")))
    expected = "saccade compare|my photos|--mechanisms|none,se|--backbone|notes|--pretrained|w.pth|--seeds|3|--steps|10"
    assert words == [*expected.replace(" ", "|", 1).split("|"), "--size", "96", "--device", "cpu", "--out", "out"]


def test_a_second_comparison_in_one_folder_is_refused(tmp_path):
    with (
        locked(tmp_path, "comparison"),
        pytest.raises(ValueError, match="another comparison is running"),
        locked(tmp_path, "comparison"),
    ):
        pass
    with locked(tmp_path, "comparison"):
        pass


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seeds": 0}, "seeds must be a whole number from 1"),
        ({"steps": 1.5}, "steps must be a whole number"),
        ({"steps": 5, "epochs": 2.0}, "steps or epochs, not both"),
        ({"steps": None, "epochs": -1.0}, "epochs must be a number above 0"),
        ({"size": 8}, "size must be a whole number from 32"),
    ],
)
def test_values_that_make_no_sense(change, message):
    with pytest.raises(ValueError, match=message):
        replace(ASKED, **change)


@pytest.mark.parametrize(("task", "name"), [("classification", "light"), ("segmentation", "scale")])
def test_augmentation_is_chosen_by_name(task, name):
    kind = find_task(task)(("a", "b"), size=8)
    images, masks, how = torch.zeros(2, 3, 8, 8, dtype=torch.uint8), torch.zeros(2, 8, 8), {"keys": [(1,), (2,)]}
    for asked in (None, name, "shift", "none"):
        change = kind.augmentation(asked)
        changed = (images, masks) if change is None else change(images, masks, size=8, **how)
        assert changed[0].shape == images.shape
    with pytest.raises(
        ValueError, match=f"unknown augmentation '{name}e' of a comparison\\s+hint: did you mean {name}"
    ):
        kind.augmentation(f"{name}e")


def test_the_demo_has_its_own_images():
    with pytest.raises(ValueError, match="the demo has its own network, size and images"):
        Settings.decide(CompareOptions(augment="shift"), ("none", "se"), "cpu")


def test_how_a_folder_is_read_is_recorded_and_reads_back(tmp_path):
    how = {"layout": "classes", "classes": ("cat", "dog"), "split": 0.3, "group": r"(p\d)_"}
    asked = replace(ASKED, data="photos", scenes=0, **how)
    words = shlex.split(asked.command_line(tmp_path))
    assert words[words.index("--classes") + 1] == "cat,dog"
    assert words[words.index("--split") + 1] == "0.3"
    assert Settings(**json.loads(json.dumps(asked.to_json())) | {"mechanisms": asked.mechanisms}) == asked
    with pytest.raises(ValueError, match=r"split: None there, 0.3 now"):
        refuse(kept(tmp_path), replace(ASKED, split=0.3))
