"""saccade's loop computes what a plain PyTorch loop of forty lines computes."""

import pytest
import timm
import torch

import saccade
from saccade.tasks.classification.task import Classification
from saccade.training.loop import train
from saccade.training.recipe import Recipe
from saccade.training.recipes import RECIPES
from saccade.training.sources import ArraySource, Share

from . import plain
from .tiny import dataset


@pytest.mark.parametrize("mechanism", [None, "se"])
def test_losses_and_weights_are_those_of_a_plain_loop(tmp_path, mechanism):
    """The recipe of the command line, on the same batches; 20 steps with warm-up, peak and end."""
    nets = []
    for _ in range(2):
        torch.manual_seed(0)
        net = timm.create_model("test_resnet", num_classes=3)
        nets.append(saccade.insert(net, mechanism) if mechanism else net)
    data = dataset(n=24, side=32, task="classification")
    how = Recipe(steps=20, batch=8, **RECIPES["default"].values)
    source, losses = ArraySource(data), []
    batches = (parts[0] for parts in source.steps(how, 0, Share()))
    expected = plain.train(nets[0], batches, how.steps)
    train(nets[1], Classification(data.classes), source, how, tmp_path, on_step=lambda row: losses.append(row.loss))
    assert losses == pytest.approx(expected, rel=1e-3)  # layouts and fused kernels round differently
    assert losses[:3] == pytest.approx(expected[:3], rel=1e-5)
    assert min(losses) < 0.5 * losses[0]
