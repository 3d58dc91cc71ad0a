"""Checkpoints are written whole or not at all."""

import resource

import pytest
import torch

from saccade.training.checkpoint import load_checkpoint, save_checkpoint

from .tiny import network


def with_momentum(seed):
    """A network and an optimiser that has state."""
    net = network(seed).to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(net.parameters(), fused=True)
    for parameter in net.parameters():
        parameter.grad = torch.randn_like(parameter)
    optimiser.step()
    return net, optimiser


def test_weights_optimiser_and_random_state_come_back(tmp_path):
    net, optimiser = with_momentum(0)
    save_checkpoint(tmp_path / "c", net, optimiser, {"step": 7})
    expected = torch.rand(3)
    other, again = with_momentum(1)
    assert load_checkpoint(tmp_path / "c", other, again) == {"step": 7}
    assert torch.equal(torch.rand(3), expected)
    for a, b in zip(net.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)
        for key, value in optimiser.state[a].items():
            assert torch.equal(value, again.state[b][key])
            assert value.stride() == again.state[b][key].stride()


def test_a_disk_that_refuses_leaves_the_checkpoint_before(tmp_path):
    net, optimiser = with_momentum(0)
    save_checkpoint(tmp_path / "c", net, optimiser, {"step": 1})
    before = (tmp_path / "c").read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))  # bytes a file may have: the write fails in the middle
    try:
        with pytest.raises(ValueError, match=r"could not write .*c: .*\nhint: free some space"):
            save_checkpoint(tmp_path / "c", net, optimiser, {"step": 2})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (tmp_path / "c").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    net, optimiser = with_momentum(0)
    save_checkpoint(tmp_path / "c", net, optimiser, {})
    other = torch.nn.Linear(2, 2)
    with pytest.raises(ValueError, match="belongs to another network"):
        load_checkpoint(tmp_path / "c", other, torch.optim.AdamW(other.parameters()))
