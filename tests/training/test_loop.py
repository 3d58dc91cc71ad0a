"""The loop learns, resumes bit for bit, and says what went wrong."""

import csv

import numpy as np
import pytest
import torch

from saccade.data.augment import augment  # noqa: F401 (what `augment=True` needs is there)
from saccade.training.checkpoint import load_checkpoint, load_weights
from saccade.training.loop import CHECKPOINT, WEIGHTS, Diverged, Interrupted, evaluate, one_cycle, train
from saccade.training.metrics import score
from saccade.training.tasks import task_for

from .tiny import dataset, network, recipe


def rows(folder):
    with (folder / "log.csv").open(newline="") as opened:
        return list(csv.DictReader(opened))


def test_it_learns(tmp_path):
    data, net = dataset(), network()
    before = score(evaluate(net, task_for(data.task, 3), data.val, device=torch.device("cpu"), batch=4)[1])
    train(net, data, recipe(steps=40), tmp_path)
    after = score(evaluate(net, task_for(data.task, 3), data.val, device=torch.device("cpu"), batch=4)[1])
    assert after > 0.9 > before


@pytest.mark.parametrize("stops", [(4,), (1, 8)], ids=str)
@pytest.mark.parametrize("augmented", [False, True], ids=["plain", "augmented"])
def test_a_resumed_run_ends_with_the_same_bits(tmp_path, stops, augmented):
    data, whole = dataset(), network()
    how = recipe(augment=augmented, evaluate_every=3)
    train(whole, data, how, tmp_path / "whole")
    for stop in stops:
        reached = []
        with pytest.raises(Interrupted):
            train(
                network(), data, how, tmp_path / "parts",
                on_step=lambda step, loss, reached=reached: reached.append(step),
                should_stop=lambda reached=reached, stop=stop: reached[-1] == stop,
            )  # fmt: skip
        torch.rand(5)  # another process would have another random state
    resumed = network(seed=9)  # its weights must come from the checkpoint
    train(resumed, data, how, tmp_path / "parts")
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name
    for a, b in zip(rows(tmp_path / "whole"), rows(tmp_path / "parts"), strict=True):
        assert {k: a[k] for k in a if k != "seconds"} == {k: b[k] for k in b if k != "seconds"}


def test_the_written_weights_are_the_trained_ones(tmp_path):
    net, other = network(), network(seed=1)
    train(net, dataset(), recipe(steps=2), tmp_path)
    load_weights(other, tmp_path / WEIGHTS)
    assert all(torch.equal(a, b) for a, b in zip(net.state_dict().values(), other.state_dict().values(), strict=True))


def test_the_learning_curve_looks_at_the_whole_split(tmp_path):
    """Folders come class by class: the first few images would be of one class only."""
    data = dataset(task="classification", k=2)
    last = data.val.targets[-1]
    data.val.targets[:] = [1 - last] * 6 + [last] * 2
    net = ConstantNet(int(last))
    train(net, data, recipe(steps=1, learning_rate=0.0, evaluate_every=1, evaluate_images=4), tmp_path)
    assert float(rows(tmp_path)[0]["score"]) == 0.25  # of images 0, 2, 4, 6; of the first four it would be 0


class ConstantNet(torch.nn.Module):
    """Says one class of every image."""

    def __init__(self, answer):
        super().__init__()
        self.bias = torch.nn.Parameter(10 * torch.eye(2)[answer])

    def forward(self, x):
        return self.bias.expand(len(x), 2)


def test_a_damaged_checkpoint_is_refused_by_name(tmp_path):
    net = network()
    reached = []
    with pytest.raises(Interrupted):
        train(net, dataset(), recipe(), tmp_path, on_step=lambda s, _: reached.append(s), should_stop=lambda: True)
    whole = (tmp_path / CHECKPOINT).read_bytes()
    (tmp_path / CHECKPOINT).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"checkpoint.safetensors is no whole checkpoint"):
        load_checkpoint(tmp_path / CHECKPOINT, net, torch.optim.AdamW(net.parameters()))


def test_a_loss_that_is_no_number_stops_with_step_and_files(tmp_path):
    net = network()
    torch.nn.init.constant_(net.head.weight, float("nan"))
    with pytest.raises(Diverged, match=r"the loss is nan at step 1, .*the batch began with train \d+"):
        train(net, dataset(), recipe(), tmp_path)
    assert not (tmp_path / WEIGHTS).exists()


def test_the_schedule_rises_for_a_fifth_and_ends_near_zero():
    rates = np.array([one_cycle(step, 100, 0.2) for step in range(100)])
    assert rates[0] == pytest.approx(1 / 25)
    assert rates.argmax() == 19
    assert rates.max() == 1
    assert rates[-1] == pytest.approx(1e-5)
    assert (np.diff(rates[20:]) < 0).all()
