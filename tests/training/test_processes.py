"""Two processes do what one does: the loss is divided by the count of all, every validation image counts once."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from saccade.training.distributed import SingleProcess, distributed

from .two_processes import found

ROOT = Path(__file__).parents[2]


def torchrun(*words, processes=2):
    """Run a Python program in several processes of this machine."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", *words]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=ROOT)


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    out = tmp_path_factory.mktemp("two")
    done = torchrun("-m", "tests.training.two_processes", str(out))
    assert done.returncode == 0, done.stderr
    return json.loads((out / "found.json").read_text())


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return found(SingleProcess(), tmp_path_factory.mktemp("one"))


@pytest.mark.processes
@pytest.mark.parametrize("parts", ["in 1", "in 2"])
def test_losses_are_those_of_one_process(alone, together, parts):
    assert together["processes"] == 2
    assert len(together["losses"][parts]) == 20
    assert together["losses"][parts] == pytest.approx(alone["losses"]["in 1"], rel=1e-5)


@pytest.mark.processes
def test_a_network_of_three_losses_does_so_too(alone, together):
    assert together["losses"]["danet"] == pytest.approx(alone["losses"]["danet"], rel=1e-5)


def test_parts_are_those_of_one_batch(alone):
    assert alone["losses"]["in 2"] == pytest.approx(alone["losses"]["in 1"], rel=1e-5)
    assert alone["losses"]["in 1"][-1] < 0.8 * alone["losses"]["in 1"][0]  # something is learned


@pytest.mark.processes
def test_scores_are_those_of_one_process(alone, together):
    assert together["scores"] == alone["scores"]


@pytest.mark.parametrize(
    ("device", "message"),
    [("abacus", "unknown device 'abacus'"), ("meta", "unknown device 'meta'"), ("cuda", "torch sees no GPU")],
)
def test_a_device_that_is_not_there_is_refused(device, message, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ValueError, match=message):
        distributed(device)


def test_one_gpu_is_not_for_several_processes(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match=r"'cuda:1' is one device, and torchrun started 2 processes"):
        distributed("cuda:1")
