"""What is no network is refused with the place of one that is near, for every command that takes ``--model``."""

import os
import shlex
from pathlib import Path

import pytest

from saccade import InputError
from saccade.comparison.results import read_results
from saccade.files import read_json
from saccade.runs import train
from saccade.runs.open import open_run
from saccade.runs.train import Training


@pytest.fixture
def comparison(tmp_path):
    """The outline of a comparison of two arms, one of which has no finished run."""
    for arm in ("none", "se"):
        (tmp_path / "cmp" / "runs" / arm / "0").mkdir(parents=True)
    (tmp_path / "cmp" / "experiment.json").write_text("{}")
    (tmp_path / "cmp" / "results.json").write_text("{}")
    (tmp_path / "cmp" / "runs" / "se" / "0" / "model.safetensors").write_text("")
    return tmp_path / "cmp"


@pytest.mark.parametrize("given", ["", "runs", "runs/cbam", "runs/se/7", "results.json", "experiment.json"])
def test_near_a_comparison_its_arms_are_named(comparison, given):
    with pytest.raises(InputError) as refused:
        open_run(comparison / given)
    assert str(comparison / given) in refused.value.message
    assert refused.value.hint == f"give one arm: {comparison / 'runs' / 'se'}"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("nowhere", "no such file or folder"),
        ("~nobody-of-that-name/run", "no such file or folder"),
        (os.devnull, "it is neither"),
        ("log.csv", "it is a csv file"),
    ],
)
def test_elsewhere_it_says_what_to_give(tmp_path, monkeypatch, given, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "log.csv").write_text("step\n")
    with pytest.raises(InputError, match=message) as refused:
        open_run(given)
    assert "the folder that saccade train wrote" in refused.value.hint


def test_a_report_of_an_arm_is_that_of_its_comparison(comparison):
    with pytest.raises(InputError, match=r"no results\.json") as refused:
        read_results(comparison / "runs" / "se")
    assert refused.value.hint == f"give {comparison}"


def test_a_record_is_a_regular_file(tmp_path):
    for kind in ("folder", "endless"):
        (tmp_path / "folder.json").mkdir(exist_ok=True)
        if not (tmp_path / "endless.json").exists():
            (tmp_path / "endless.json").symlink_to("/dev/zero")
        with pytest.raises(InputError, match=f"{kind}.json cannot be read: it is"):
            read_json(tmp_path / f"{kind}.json")


def test_the_commands_that_a_training_ends_with_can_be_copied(monkeypatch):
    """Paths are quoted, and code of one's own is trusted, without which the network is not opened."""
    monkeypatch.setattr(train, "foreign_code", lambda folder: ("blocks:Mine",))
    found = {"data": "/my photos", "steps": 1, "seconds": 1.0, "scores": {"accuracy": 1.0}, "best_step": 1}
    said = str(Training(Path("my runs/one"), found)).splitlines()
    model = ["--model", "my runs/one", "--trust", "blocks:Mine"]
    assert shlex.split(said[-2]) == ["saccade", "evaluate", "/my photos", *model]
    assert shlex.split(said[-1]) == ["saccade", "predict", "IMAGES", *model, "--out", "DIR"]
