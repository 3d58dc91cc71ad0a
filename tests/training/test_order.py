"""Every sample once an epoch, in an order that only the seed decides."""

import numpy as np
import pytest
import torch

from saccade.training.loop import Interrupted, train
from saccade.training.order import Groups, batch_at
from saccade.training.sources import ArraySource, Share

from .tiny import dataset, network, recipe, task_of


def test_epochs_follow_each_other_without_a_gap():
    parts = [batch_at(step, count=7, batch=3, seed=5) for step in range(7)]
    indices, epochs = (np.concatenate([part[i] for part in parts]) for i in range(2))
    for epoch in range(3):
        assert sorted(indices[epochs == epoch]) == list(range(7))
    assert (np.diff(epochs) >= 0).all()


def test_the_seed_decides():
    same = [batch_at(2, count=50, batch=8, seed=1)[0] for _ in range(2)]
    np.testing.assert_array_equal(*same)
    assert (batch_at(2, count=50, batch=8, seed=2)[0] != same[0]).any()


def test_a_training_by_groups_resumes_bit_for_bit_and_is_shared_by_processes(tmp_path):
    data, how = dataset(), recipe(steps=6)
    groups = Groups.of([np.arange(2), np.arange(2, 12)])
    source = ArraySource(data, augment=task_of(data).augment, groups=groups)
    nets = []
    for folder, stop in ((tmp_path / "whole", False), (tmp_path / "parts", True)):
        if stop:
            with pytest.raises(Interrupted):
                train(network(), task_of(data), source, how, folder, should_stop=lambda: True)
        nets.append(network(seed=int(stop)))
        train(nets[-1], task_of(data), source, how, folder)
    for name, tensor in nets[0].state_dict().items():
        assert torch.equal(tensor, nets[1].state_dict()[name]), name
    (whole,) = next(source.steps(how, 3, Share()))
    parts = [next(source.steps(how, 3, Share(index, 2)))[0].images for index in range(2)]
    assert torch.equal(whole.images[::2], parts[0])
    assert torch.equal(whole.images[1::2], parts[1])
