"""Training from the command line: killed, told to stop, gone on with, on one process and on two."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file

from saccade.cli import main
from tests.comparison import folders
from tests.training.test_processes import torchrun

WORDS = ["--network", "test_resnet", "--mechanism", "se", "--size", "32", "--batch", "8", "--device", "cpu"]
COMMAND = [sys.executable, "-m", "saccade", "train"]
COMMANDS = """
from saccade.cli import main

for words in {lines!r}:
    try:
        main(words)
    except SystemExit as left:
        if left.code:
            raise
"""


@pytest.fixture
def run(capsys):
    """Runs a command line in this process; gives its exit status, stdout and stderr."""

    def run(*words):
        with pytest.raises(SystemExit) as left:
            main(list(map(str, words)))
        printed = capsys.readouterr()
        print(printed.err, file=sys.__stderr__)  # shown where a test fails
        return left.value.code, printed.out, printed.err

    return run


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return folders.classification(tmp_path_factory.mktemp("data") / "textures")


def wait_for(condition, process):
    while not condition():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


def weights(out):
    return load_file(out / "model.safetensors")


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.processes
def test_killed_and_told_to_stop_it_ends_as_if_nothing_had_been(pictures, tmp_path, run):
    """SIGKILL, then SIGTERM, then the end; beside it a run that nobody disturbed. Then it is evaluated and used."""
    words = [str(pictures), *WORDS, "--steps", "60", "--workers", "1", "--evaluate-every", "20"]
    often = [*words, "--checkpoint-seconds", "0", "--out", str(tmp_path / "run")]
    checkpoints = tmp_path / "run" / "checkpoints"
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    for number, after in ((signal.SIGKILL, 5), (signal.SIGTERM, 15)):
        process = subprocess.Popen(
            [*COMMAND, *often], env=os.environ | {"OMP_NUM_THREADS": "1"}, stderr=subprocess.PIPE, text=True,
            start_new_session=True,
        )  # fmt: skip
        wait_for(lambda n=after: any(int(p.stem) > n for p in checkpoints.glob("[0-9]*.safetensors")), process)
        os.killpg(process.pid, number)  # as terminals, torchrun and job schedulers do: to the readers as well
        _, errors = process.communicate()
        assert not (tmp_path / "run" / "result.json").exists()
    assert process.returncode == 1
    assert f"stopped; {tmp_path / 'run'} keeps what is done: run the same command to resume" in errors
    assert "Traceback" not in errors
    assert run("train", *often)[0] == 0
    assert run("train", *words, "--out", tmp_path / "whole")[0] == 0
    assert same(weights(tmp_path / "run"), weights(tmp_path / "whole"))
    torch.set_num_threads(before)

    status, out, _ = run("evaluate", pictures, "--model", tmp_path / "run", "--json")
    assert status == 0
    best = json.loads((tmp_path / "run" / "result.json").read_text())["best"]
    assert json.loads(out)["scores"]["accuracy"] == pytest.approx(best)
    status, out, _ = run("predict", pictures / "brick", "--model", tmp_path / "run", "--out", tmp_path / "said")
    assert (status, len(out.splitlines())) == (0, 12)
    assert len((tmp_path / "said" / "predictions.csv").read_text().splitlines()) == 11


@pytest.mark.processes
def test_two_processes_lose_one_and_go_on(pictures, tmp_path, run):
    """One of two is killed: torchrun begins again, to what two that nobody disturbed end with."""
    words = [str(pictures), *WORDS, "--steps", "40", "--workers", "0"]
    often = [*words, "--checkpoint-seconds", "0", "--out", str(tmp_path / "run")]
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--max-restarts=1", "-m", "saccade"]
    process = subprocess.Popen(
        [*command, "train", *often], env=os.environ | {"OMP_NUM_THREADS": "1"}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    wait_for(lambda: len(list(tmp_path.glob("run/checkpoints/*.safetensors"))) > 2, process)
    psutil.Process(process.pid).children()[-1].kill()
    out, errors = process.communicate()
    assert process.returncode == 0, errors
    assert "error: another process of this training is gone" in errors
    assert "hint: run the same command to resume from the last checkpoint" in errors
    assert out.count("saccade evaluate") == 1  # one of the two speaks
    whole, script = tmp_path / "whole", tmp_path / "both.py"
    evaluate = ["evaluate", str(pictures), "--model", str(whole), "--json"]
    lines = [["train", *words, "--quiet", "--out", str(whole)], evaluate]
    script.write_text(COMMANDS.format(lines=lines))
    two = torchrun(str(script))
    assert two.returncode == 0, two.stderr
    assert same(weights(tmp_path / "run"), weights(whole))
    status, out, _ = run(*evaluate)
    assert status == 0
    assert json.loads(two.stdout[two.stdout.index("{") :]) == json.loads(out)


@pytest.mark.processes
def test_kills_at_random_moments_change_no_bit(tmp_path):
    """Five SIGKILLs; a hundred are dealt by the same script without the option."""
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.training_survival", "--kills", "5", "--workers", "1"],
        capture_output=True, text=True, check=False, cwd=root, env=os.environ | {"TMPDIR": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("5 kills")


def test_what_is_printed(pictures, tmp_path, run):
    words = [pictures, *WORDS, "--steps", "2", "--recipe", "eca", "--augment", "none", "--out", tmp_path / "run"]
    status, out, err = run("train", *words, "--lr-factor", "fc.*=10")
    assert status == 0
    assert out.startswith("2 steps in ")
    assert f"saccade evaluate {pictures} --model {tmp_path / 'run'}" in out
    assert "weight_decay = 0.0001  (Wang et al., ECA-Net, CVPR 2020, section 4.1)" in err
    assert "one folder per class, split by seed 0: 3 classes, 24 training and 6 validation images" in err
    assert "step 2/2: loss" in err
    assert "waiting for data" in err
    again = run("train", *words, "--lr-factor", "fc.*=10", "--json")
    assert json.loads(again[1])["steps"] == 2
    assert run("train", *words, "--lr-factor", "fc")[2].startswith("error: --lr-factor: expected NAMES=FACTOR")
    quiet = run("train", *words, "--lr-factor", "fc.*=10", "--overwrite", "--quiet")
    assert quiet[0] == 0
    assert quiet[2] == ""


def test_predicting_names_what_cannot_be_read(pictures, tmp_path, run):
    assert run("train", pictures, *WORDS, "--steps", "1", "--out", tmp_path / "run", "--quiet")[0] == 0
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    status, out, _ = run("predict", tmp_path / "broken.jpg", pictures / "grass" / "1.jpg", "--model", tmp_path / "run")
    assert status == 1
    assert "broken.jpg  it is not a picture" in " ".join(out.split("  ")).replace("broken.jpg ", "broken.jpg  ")
