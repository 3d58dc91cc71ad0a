"""The loop learns, resumes bit for bit, and says what went wrong."""

import csv
import json
from functools import partial

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from saccade.saving.store import LAST
from saccade.training.checkpoint import FOLDER, CheckpointManager, TrainState, load_weights
from saccade.training.distributed import SingleProcess
from saccade.training.evaluation import collect_arrays
from saccade.training.loop import Diverged, Interrupted, _check_state
from saccade.training.optimizers import optimizer_for

from .tiny import dataset, network, recipe, run, task_of


def rows(folder):
    with (folder / "log.csv").open(newline="") as opened:
        return list(csv.DictReader(opened))


def scored(net, data):
    return task_of(data).score(collect_arrays(net, task_of(data), data.val, device=torch.device("cpu"), batch=4))


def test_it_learns(tmp_path):
    data, net = dataset(), network()
    before = scored(net, data)
    run(net, data, recipe(steps=40), tmp_path)
    after = scored(net, data)
    assert after > 0.9 > before


VARIANTS = {
    "plain": {},
    "averaged": {"ema": 0.9, "clip": 0.5},
    "in parts": {"accumulate": 2, "schedule": "cosine"},
    "bf16": {"amp": "bf16"},
    "fp16": {"amp": "fp16"},
    "momentum": {"optimizer": "momentum", "learning_rate": 0.05},
    "lamb": {"optimizer": "lamb"},
    "rows of several steps": {"log_every": 4, "patience": 9},
}


@pytest.mark.parametrize("stops", [(4,), (1, 8)], ids=str)
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_resumed_run_ends_with_the_same_bits(tmp_path, stops, variant):
    data, whole = dataset(), network()
    how = recipe(evaluate_every=3, **VARIANTS[variant])
    augmented = variant == "plain"
    run(whole, data, how, tmp_path / "whole", augment=augmented)
    for before, stop in zip((0, *stops), stops, strict=False):
        reached = [before]
        with pytest.raises(Interrupted):
            run(
                network(), data, how, tmp_path / "parts", augment=augmented,
                on_step=lambda row, reached=reached: reached.append(row.step),
                should_stop=lambda reached=reached, stop=stop: reached[-1] == stop - 1,
            )  # fmt: skip
        assert reached[-1] == stop
    torch.rand(5)  # another process would have another random state
    resumed = network(seed=9)  # its weights must come from the checkpoint
    run(resumed, data, how, tmp_path / "parts", augment=augmented)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name
    timed = ("seconds", "waiting")
    for a, b in zip(rows(tmp_path / "whole"), rows(tmp_path / "parts"), strict=True):
        assert {k: a[k] for k in a if k not in timed} == {k: b[k] for k in b if k not in timed}


def test_the_written_weights_are_the_trained_ones(tmp_path):
    net, other = network(), network(seed=1)
    run(net, dataset(), recipe(steps=2), tmp_path)
    load_weights(other, tmp_path / LAST)
    assert all(torch.equal(a, b) for a, b in zip(net.state_dict().values(), other.state_dict().values(), strict=True))


def test_the_learning_curve_looks_at_the_whole_split(tmp_path):
    """Folders come class by class: the first few images would be of one class only."""
    data = dataset(task="classification", k=2)
    last = data.val.targets[-1]
    data.val.targets[:] = [1 - last] * 6 + [last] * 2
    net = ConstantNet(int(last))
    run(net, data, recipe(steps=1, learning_rate=0.0, evaluate_every=1), tmp_path, images=4)
    assert float(rows(tmp_path)[0]["score"]) == 0.25  # of images 0, 2, 4, 6; of the first four it would be 0


class ConstantNet(torch.nn.Module):
    """Says one class of every image."""

    def __init__(self, answer):
        super().__init__()
        self.bias = torch.nn.Parameter(10 * torch.eye(2)[answer])

    def forward(self, x):
        return self.bias.expand(len(x), 2)


def stopped(folder, steps, how=None):
    """Checkpoints of a run that was stopped after so many steps, again and again."""
    for _ in range(steps):
        with pytest.raises(Interrupted):
            run(network(), dataset(), how or recipe(), folder, should_stop=lambda: True)
    return sorted((folder / FOLDER).iterdir())


def test_a_damaged_checkpoint_is_named_and_the_one_before_is_taken(tmp_path):
    paths = stopped(tmp_path, 2)
    whole = paths[-1].read_bytes()
    paths[-1].write_bytes(whole[: len(whole) // 2])
    steps = []
    with pytest.warns(match=r"000000002.safetensors: cannot be read as safetensors.*; resuming from the one before"):
        run(network(), dataset(), recipe(), tmp_path, on_step=lambda row: steps.append(row.step))
    assert steps == list(range(2, 11))


def flipped(path):
    """Change one bit of the weights; the file stays a safetensors file."""
    whole = bytearray(path.read_bytes())
    whole[-100] ^= 4
    path.write_bytes(whole)


def rewritten(**changes):
    """Change the state, as an editor would; the digest is that of the file as it was, or gone."""

    def damage(path, *, keep=True):
        with safe_open(path, framework="pt") as opened:
            kept = opened.metadata()
        header = json.loads(kept["saccade"])
        state = header["run"]["state"]
        header["run"]["state"] = {**state, **changes} if changes else {}
        save_file(load_file(path), path, {"saccade": json.dumps(header)} | ({"digest": kept["digest"]} if keep else {}))

    return damage


DAMAGES = {
    "bits": (flipped, "its content is not what was written"),
    "state": (rewritten(), "its content is not what was written"),
    "old file, no state": (partial(rewritten(), keep=False), "its state: step: expected a whole number"),
    "old file, step before the first": (partial(rewritten(step=-5), keep=False), "its state has step -5"),
    "old file, step after the last": (partial(rewritten(step=10**6), keep=False), "its state has step 1000000"),
    "old file, another step": (partial(rewritten(step=7), keep=False), "it says step 7"),
    "old file, another key": (partial(rewritten(stop=1), keep=False), "no such key"),
    "a folder": (lambda path: (path.unlink(), path.mkdir()), "cannot be read"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_changed_checkpoint_is_never_resumed(tmp_path, name):
    one, two = stopped(tmp_path, 2)
    damage, said = DAMAGES[name]
    damage(two)
    net, kept = network(5), CheckpointManager(tmp_path)
    state = TrainState(net, optimizer_for(net, recipe()), torch.amp.GradScaler("cpu", enabled=False))
    with pytest.warns(match=rf"{two.name}.*{said}.*; resuming from the one before"):
        assert kept.restore(state, check=partial(_check_state, 10))["step"] == 1
    damage(one)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    with pytest.warns(match=rf"{one.name}.*; there is none before it: the training begins again at step 1"):
        assert kept.restore(state, check=partial(_check_state, 10)) is None
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert {path.suffix for path in kept.folder.iterdir()} == {".damaged"}


def test_the_newest_checkpoints_are_kept(tmp_path):
    paths = stopped(tmp_path, 4, recipe(keep=3))
    assert [path.name for path in paths] == [f"00000000{step}.safetensors" for step in (2, 3, 4)]


def test_a_loss_that_is_no_number_stops_with_step_and_files(tmp_path):
    net = network()
    torch.nn.init.constant_(net.head.weight, float("nan"))
    with pytest.raises(Diverged, match=r"the loss is nan at step 1, learning rate 4.00e-04; .*was train \d+"):
        run(net, dataset(), recipe(), tmp_path)
    assert not (tmp_path / LAST).exists()


class WithAnother(SingleProcess):
    """One of two processes; the other has made three more steps."""

    def __init__(self):
        super().__init__()
        self.processes = 2

    def sum(self, tensor):
        return 2 * tensor + 3


def test_processes_that_see_different_folders_are_stopped(tmp_path):
    with pytest.raises(ValueError, match=r"the processes do not find the same checkpoints in .*process 0 has step 0"):
        run(network(), dataset(), recipe(), tmp_path, where=WithAnother())
