"""The main job, whole: on folders of pictures, killed and continued, and what it refuses."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import timm
import torch

import saccade
from saccade.comparison.arms import resolve_arms
from saccade.comparison.compare import _devices
from saccade.comparison.costs import step_of
from saccade.comparison.experiment import Experiment
from saccade.comparison.results import read_results
from saccade.comparison.settings import Settings
from saccade.comparison.statistics import differences
from saccade.training.signals import STOPPING
from tests.comparison import folders
from tests.comparison.inline import InlinePool
from tests.training.tiny import dataset, run

TINY = {"seeds": 3, "steps": 4, "size": 32, "batch": 6, "backbone": "test_resnet", "jobs": 1, "progress": False}
COMMAND = [str(Path(sys.executable).with_name("saccade")), "compare"]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return folders.classification(tmp_path_factory.mktemp("data") / "textures")


@pytest.fixture(scope="module")
def finished(pictures, tmp_path_factory):
    """Without processes of its own; those of the tests that kill them have to find the same scores."""
    out = tmp_path_factory.mktemp("out") / "textures"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("saccade.comparison.compare.Pool", InlinePool)
        return saccade.compare(pictures, "none,se[reduction=8],none", control_params=True, out=out, **TINY)


@pytest.mark.full
def test_results_hold_what_the_schema_says(finished):
    found = finished.results
    assert (found.task, found.metric, found.seeds) == ("classification", "accuracy", (0, 1, 2))
    assert [arm.name for arm in found.arms] == ["none", "se[reduction=8]", "none-2", "conv3x3"]
    assert found.arms[0].difference is None
    for arm in found.arms:
        assert len(arm.scores) == 3
        assert arm.mean == pytest.approx(np.mean(arm.scores))
        for cost in (arm.params, arm.macs, arm.latency_ms, arm.peak_mib, arm.train_seconds):
            assert cost > 0
        if arm.difference:
            assert arm.difference.verdict in ("better", "worse", "can't tell")
    on_disk = json.loads((finished.folder / "results.json").read_text())
    assert on_disk == json.loads(json.dumps(finished.to_json()))
    assert read_results(finished.folder) == found


def test_the_statistics_are_those_of_the_scores(finished):
    table = np.array([arm.scores for arm in finished.results.arms])
    plain = differences(table)  # without the spread of the test images intervals can only be narrower
    for arm, expected in zip(finished.results.arms[1:], plain, strict=True):
        low, high = arm.difference.interval
        assert arm.difference.mean == pytest.approx(expected.mean)
        assert high - low >= expected.interval[1] - expected.interval[0] - 1e-12


def test_costs_are_counted_exactly(finished):
    arms = {arm.name: arm for arm in finished.results.arms}
    plain = timm.create_model("test_resnet", num_classes=3)
    assert arms["none"].params == sum(p.numel() for p in plain.parameters())
    widths = [place.channels for place in saccade.plan(plain, "se").places]
    gates = sum(2 * c * (c // 8) + c // 8 + c + 1 for c in widths)  # two layers with biases, and g
    assert arms["se[reduction=8]"].params == arms["none"].params + gates
    assert len(arms["se[reduction=8]"].place) == len(widths)
    assert arms["conv3x3"].params >= arms["se[reduction=8]"].params


def test_everything_lies_in_the_folder(finished):
    names = {path.name for path in finished.folder.iterdir()}
    assert {"report.html", "results.json", "settings.json", "runs", "pictures"} <= names
    assert "cache" not in names
    run = finished.folder / "runs" / "se[reduction=8]" / "2"
    assert {path.name for path in run.iterdir()} >= {"model.safetensors", "config.json", "log.csv", "result.json"}
    assert not list(finished.folder.rglob("checkpoint.safetensors"))


def test_the_same_call_again_prints_and_another_one_is_refused(finished, pictures):
    before = {path: path.stat().st_mtime_ns for path in finished.folder.rglob("*.safetensors")}
    given = {"control_params": True, "out": finished.folder}
    again = saccade.compare(pictures, "none,se[reduction=8],none", **given, **TINY)
    assert again.table() == finished.table()
    assert before == {path: path.stat().st_mtime_ns for path in finished.folder.rglob("*.safetensors")}
    with pytest.raises(ValueError, match=r"steps: 4 there, 5 now"):
        saccade.compare(pictures, "none,se[reduction=8],none", **given, **TINY | {"steps": 5})


class Interrupting(InlinePool):
    """Ctrl-C in the fifth run, which then saves."""

    left = 5

    def _send(self, number, job):
        self.left -= 1
        if not self.left:
            self.workers[number].stop.set()
        super()._send(number, job)
        if not self.left:
            raise KeyboardInterrupt


@pytest.mark.full
def test_interrupted_it_continues_to_the_same_scores(finished, pictures, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"

    def call(pool):
        monkeypatch.setattr("saccade.comparison.compare.Pool", pool)
        return saccade.compare(pictures, "none,se[reduction=8],none", control_params=True, out=out, **TINY).results

    with pytest.raises(KeyboardInterrupt):
        call(Interrupting)
    assert f"{out} keeps what is done" in capsys.readouterr().err
    done = {path: path.stat().st_mtime_ns for path in out.glob("runs/*/*/result.json")}
    assert len(done) == 4
    assert len(list(out.glob("runs/*/*/checkpoints/*.safetensors"))) == 1
    assert [arm.scores for arm in call(InlinePool).arms] == [arm.scores for arm in finished.results.arms]
    assert all(path.stat().st_mtime_ns == written for path, written in done.items())  # what was done is not repeated


@pytest.mark.processes
def test_killed_half_way_it_continues_to_the_same_scores(finished, pictures, tmp_path, monkeypatch):
    """SIGKILL for the parent; the workers lose their pipe, save and leave. Another process resumes: this one."""
    out = tmp_path / "out"
    command = [*COMMAND, str(pictures), "--mechanisms", "none,se[reduction=8],none", "--control-params", "--quick"]
    command += ["--steps", "4", "--size", "32", "--batch", "6", "--jobs", "2", "--quiet", "--out", str(out)]
    command += ["--backbone", "test_resnet"]
    killed = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _wait_for(lambda: len(list(out.glob("runs/*/*/result.json"))) >= 6, killed)
    workers = psutil.Process(killed.pid).children()
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert not psutil.wait_procs(workers, timeout=300)[1]
    assert not (out / "results.json").exists()
    done = {path: path.stat().st_mtime_ns for path in out.glob("runs/*/*/result.json")}
    monkeypatch.setattr("saccade.comparison.compare.Pool", InlinePool)
    again = saccade.compare(pictures, "none,se[reduction=8],none", control_params=True, out=out, **TINY).results
    assert [arm.scores for arm in again.arms] == [arm.scores for arm in finished.results.arms]
    assert all(path.stat().st_mtime_ns == written for path, written in done.items())  # what was done is not repeated


@pytest.mark.processes
def test_ctrl_c_saves_and_says_how_to_go_on(pictures, tmp_path):
    arguments = [str(pictures), "--mechanisms", "none,eca", "--seeds", "1", "--steps", "4000", "--size", "32"]
    (tmp_path / "queue.py").write_text("raise ImportError('a file of the user')")
    process = subprocess.Popen(
        [*COMMAND, *arguments, "--out", str(tmp_path / "out")], cwd=tmp_path,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        # Shells have what they start in the background ignore Ctrl-C, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    try:
        _wait_for(lambda: list(tmp_path.glob("out/runs/*/*/config.json")), process)
        # The workers are held: an answer that waited for one of them would never come.
        os.killpg(process.pid, signal.SIGSTOP)
        os.kill(process.pid, signal.SIGCONT)
        hanging = threading.Timer(300, os.killpg, (process.pid, signal.SIGKILL))
        hanging.start()
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers as well
        answered = any(STOPPING in line for line in process.stderr)
        hanging.cancel()
        os.killpg(process.pid, signal.SIGCONT)
        errors = process.stderr.read()
        process.communicate()
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert answered
    assert process.returncode == 1
    assert "run the same command to resume" in errors
    assert "Traceback" not in errors
    assert list(tmp_path.glob("out/runs/*/*/checkpoints/*.safetensors"))


@pytest.mark.full
def test_segmentation_folders_and_one_seed(tmp_path, monkeypatch):
    monkeypatch.setattr("saccade.comparison.compare.Pool", InlinePool)
    data = folders.segmentation(tmp_path / "discs")
    how = TINY | {"seeds": 1, "steps": 80, "size": 64, "batch": 4}  # fewer steps: all pixels are one class in both arms
    found = saccade.compare(data, "none,se", out=tmp_path / "out", **how)
    none, se = found.results.arms
    assert found.results.task == "segmentation"
    assert (se.difference.verdict, se.difference.reason) == ("can't tell", "fewer than 3 seeds")
    assert none.interval is None
    assert found.results.groups["size"].names == tuple(none.details["size"]) == ("small", "medium", "large")
    assert read_results(found.folder) == found.results
    assert "can't tell (fewer than 3 seeds)" in found.table()
    columns = r"mIoU by size and thinness +small +medium size +large +compact +medium thinness +thin\nnone +\d\.\d{3} "
    assert re.search(columns, found.table())


def test_dry_run_says_what_would_be_done_and_writes_nothing(pictures, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = saccade.compare(pictures, "none,se", dry_run=True, **TINY).table()
    assert "6 runs of 4 steps" in text
    assert "layer1.0.bn2" in text
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mechanisms": "none,see"}, "unknown mechanism 'see'"),
        ({"backbone": "resnet19"}, r"unknown network 'resnet19'[\s\S]*resnet18"),
        ({"backbone": "vit_tiny_patch16_224", "size": 224}, "(?i)feature map|convolution"),
        ({"backbone": "vit_tiny_patch16_224", "mechanisms": "none,none"}, "cannot work on images of 32 x 32"),
        ({"mechanisms": "none,non_local", "at": "stage:-1"}, "non_local: test_resnet cannot work on images of 32 x 32"),
        ({"at": "layer9.*"}, "layer9"),
        ({"pretrained": "nowhere.safetensors"}, "no such file"),
        ({"device": "abacus"}, "unknown device 'abacus'"),
        ({"jobs": 0}, "jobs must be a whole number from 1"),
        ({"data": None, "backbone": "resnet18"}, "the demo has its own network"),
        ({"data": "nowhere"}, "no such folder"),
    ],
)
def test_mistakes_are_named_before_anything_is_trained(pictures, tmp_path, change, message):
    given = {"data": pictures, "mechanisms": "none,se", "out": tmp_path / "out"} | TINY | change
    with pytest.raises(ValueError, match=message):
        saccade.compare(given.pop("data"), given.pop("mechanisms"), **given)
    assert not (tmp_path / "out").exists()  # or the corrected call would find other settings there


def test_data_that_change_half_way_are_noticed(tmp_path):
    data = folders.classification(tmp_path / "data", count=6)
    how = TINY | {"out": tmp_path / "out", "seeds": 1}
    prepared(data, **how)
    experiment = Experiment.load(tmp_path / "out")
    before, image = experiment.data().train.images.filename, data / "brick" / "0.jpg"
    for path in data.glob("*/*.jpg"):
        path.touch()
    assert experiment.data().train.images.filename == before  # what was decoded is used again
    prepared(data, **how)
    content = image.read_bytes()
    image.write_bytes((data / "grass" / "0.jpg").read_bytes())
    changed = r"its files have changed since the run started \(changed: brick/0.jpg\)"
    with pytest.raises(ValueError, match=changed):
        saccade.compare(data, "none,se", **how)
    with pytest.raises(ValueError, match=changed):  # as a worker has it
        experiment.data()
    image.write_bytes(content)
    prepared(data, **how)
    image.unlink()
    with pytest.raises(ValueError, match=r"its files have changed since the run started \(removed: brick/0.jpg\)"):
        saccade.compare(data, "none,se", **how)
    prepared(data, overwrite=True, **how)


def test_a_finished_comparison_is_not_shown_for_other_data(finished, pictures, tmp_path):
    asked = {"mechanisms": "none,se[reduction=8],none", "control_params": True, **TINY}
    data, out = shutil.copytree(pictures, tmp_path / "textures"), tmp_path / "out"
    shutil.copytree(finished.folder, out)
    for name in ("settings.json", "data.json"):
        (out / name).write_text((out / name).read_text().replace(str(pictures.resolve()), str(data.resolve())))
    assert saccade.compare(data, out=out, **asked).table() == finished.table()
    shutil.copy(data / "grass" / "0.jpg", data / "grass" / "new.jpg")
    expected = r"its files have changed since the run started \(added: grass/new.jpg\)[\s\S]*saccade report .*out shows"
    with pytest.raises(ValueError, match=expected):
        saccade.compare(data, out=out, **asked)
    shutil.rmtree(data)
    with pytest.raises(ValueError, match=r"no such folder: .*textures[\s\S]*saccade report .*out shows"):
        saccade.compare(data, out=out, **asked)


def test_memory_is_measured_on_the_images_that_train(tmp_path):
    """Training images are kept larger, to crop from."""
    data = folders.classification(tmp_path / "data", count=6)
    experiment = prepared(data, out=tmp_path / "out", **TINY)
    net, seen = experiment.network(experiment.arms[0], 0, experiment.data()), []
    net.register_forward_pre_hook(lambda _, given: seen.append(tuple(given[0].shape)))
    step_of(net, experiment.data(), experiment, torch.device("cpu"))()
    assert seen == [(6, 3, 32, 32)]
    assert experiment.data().train.images.shape[1] > 32


def prepared(data, **how):
    """The experiment of a comparison that was begun, and has kept something."""

    def keep(experiment, *_):
        (experiment.folder / "runs" / "none" / "0" / "checkpoints" / "1").mkdir(parents=True, exist_ok=True)
        return experiment

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("saccade.comparison.compare._carry_out", keep)
        return saccade.compare(data, "none,se", **how)


def test_options_of_the_data_and_the_recipe_reach_every_arm(pictures, tmp_path):
    asked = {"learning_rate": 0.02, "augment": "shift", "workers": 3, "split_seed": 5, "seeds": 1}
    experiment = prepared(pictures, **TINY | asked, out=tmp_path / "out")
    data = experiment.data()
    assert experiment.recipe(0).learning_rate == 0.02
    assert json.loads((tmp_path / "out" / "split.json").read_text())["seed"] == 5
    batch = experiment.source(data).batch([(0, 1)], 0)
    assert batch.images.shape == (1, 3, 32, 32)
    window = batch.images[0].permute(1, 2, 0).numpy()
    stored = data.train.images[1]
    places = [(y, x) for y in range(len(stored) - 31) for x in range(len(stored) - 31)]
    assert any((stored[y : y + 32, x : x + 32] == window).all() for y, x in places)


def test_a_comparison_that_kept_nothing_does_not_hold_its_folder(pictures, tmp_path, monkeypatch):
    monkeypatch.setattr("saccade.comparison.compare._carry_out", lambda experiment, *_: experiment)
    how = TINY | {"out": tmp_path / "out", "seeds": 1}
    saccade.compare(pictures, "none,se", **how)
    assert saccade.compare(pictures, "none,eca", **how).settings.mechanisms == ("none", "eca")
    prepared(pictures, **how)
    with pytest.raises(ValueError, match=r"(?s)other settings \(mechanisms: .*hint: choose another folder with --out"):
        saccade.compare(pictures, "none,eca", **how)


def test_one_worker_a_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert _devices("cuda", None, 25) == ["cuda:0", "cuda:1", "cuda:2"]
    assert _devices("cuda", 2, 25) == ["cuda:0", "cuda:1"]
    assert _devices("cuda:1", 8, 25) == ["cuda:1"]
    assert _devices("cpu", 3, 2) == ["cpu", "cpu"]


def test_an_arm_frozen_at_zero_equals_the_control_to_the_last_digit(tmp_path):
    """With g fixed at 0 an attention arm is an exact A/A pair: same losses, same weights."""
    arms = resolve_arms("none,cbam", None, None)
    asked = Settings(
        data=None, mechanisms=("none", "cbam"), backbone="notes", pretrained=False, at=None, seeds=1, steps=6,
        epochs=None, size=96, batch=4, device="cpu", control_params=False, fresh_start=False,
    )  # fmt: skip
    experiment = Experiment(tmp_path, asked, arms, steps=6, batch=4, learning_rate=3e-3, start_steps=0)
    data = dataset(n=8, k=3, side=96)
    trained, losses = [], []
    for arm in arms:
        net = experiment.network(arm, 0, data)
        for name, parameter in net.named_parameters():
            if name.endswith("saccade.g"):
                parameter.requires_grad_(False)
        losses.append([])
        run(net, data, experiment.recipe(0), tmp_path / arm.name, on_step=lambda row: losses[-1].append(row.loss))
        trained.append(net.state_dict())
    assert losses[0] == losses[1]
    assert all(torch.equal(tensor, trained[1][name]) for name, tensor in trained[0].items())


def _wait_for(condition, process):
    while not condition():
        assert process.poll() is None, f"ended with status {process.returncode} before it came to that"
        time.sleep(0.05)
