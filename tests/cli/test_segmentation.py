"""Segmentation as it is typed: the demo as a folder, a network on it, its scores, its masks; and what is printed."""

import json

import pytest
import torch

from saccade.tasks.segmentation.mask_folder import load_labelled
from tests.cli.test_train import run as run  # a fixture

WORDS = ["--network", "danet", "--backbone", "test_resnet", "--size", "32", "--batch", "2", "--device", "cpu"]


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_from_nothing_to_masks(tmp_path, run):
    notes, out = tmp_path / "notes", tmp_path / "run"
    status, said, _ = run("data", "demo", notes, "--train", "4", "--held-out", "2")
    assert (status, said) == (0, f"4 training and 2 validation scenes in {notes}\n")
    assert load_labelled(notes).classes[:2] == ("photograph", "0")
    status, _, errors = run("data", "demo", notes)
    assert (status, errors.splitlines()[0]) == (2, f"error: {notes} exists and is not empty")
    status, said, _ = run("data", "check", notes, "--sheet", tmp_path / "sheet.png")
    assert status == 0
    assert "0 of 6 files cannot be used" in said

    words = [notes, *WORDS, "--steps", "2", "--workers", "0", "--recipe", "danet-cityscapes", "--out", out]
    status, said, errors = run("train", *words)
    assert status == 0
    assert said.startswith("2 steps in ")
    assert "danet on test_resnet, 426,297 parameters; 2 steps of 2 images" in errors
    assert "power = 0.9  (Fu et al., DANet, CVPR 2019, section 4.1)" in errors
    assert "learning_rate = 0.003  (the authors, issues 27 and 30 of CASIA-IVA-Lab/DANet)" in errors

    status, said, _ = run("evaluate", notes, "--model", out, "--protocol", "sliding", "--workers", "0")
    assert status == 0
    assert f"{out / 'best.safetensors'} on 2 images: the validation side of notes; windows of 32 x 32, step 2/3" in said
    status, said, _ = run("evaluate", notes, "--model", out, "--workers", "0", "--json")
    assert json.loads(said)["protocol"] == "whole image"
    (tmp_path / "broken.png").write_bytes(b"no picture")
    images = [str(notes / "val" / "images" / "*.png"), tmp_path / "broken.png"]
    status, said, errors = run("predict", *images, "--model", out, "--out", tmp_path / "said")
    assert status == 1
    assert f"2 masks in {tmp_path / 'said' / 'masks'}" in said
    assert f"{tmp_path / 'broken.png'}: it is not a picture" in said
    assert "predicting: 3/3" in errors
    status, _, errors = run("predict", *images, "--model", out)
    assert (status, errors.splitlines()[0]) == (2, "error: predict: masks are files, and no folder for them was given")
