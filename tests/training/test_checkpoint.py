"""Checkpoints are written whole or not at all."""

import resource

import pytest
import timm.optim
import torch

from saccade.training.checkpoint import TrainState, load_checkpoint, save_checkpoint

from .tiny import network


def trained(seed, make=None):
    """A network and an optimizer that has state."""
    net = network(seed).to(memory_format=torch.channels_last)
    optimizer = make(net.parameters()) if make else torch.optim.AdamW(net.parameters(), fused=True)
    for parameter in net.parameters():
        parameter.grad = torch.randn_like(parameter)
    optimizer.step()
    return TrainState(net, optimizer, torch.amp.GradScaler("cpu", enabled=False))


OPTIMIZERS = {
    "fused AdamW": None,
    "SGD": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    "NAdam": lambda p: torch.optim.NAdam(p, lr=0.1),
    "Adafactor": lambda p: torch.optim.Adafactor(p, lr=0.1),
    "timm's Lion": lambda p: timm.optim.create_optimizer_v2(p, "lion", lr=0.1),
    "timm's Muon": lambda p: timm.optim.create_optimizer_v2(p, "muon", lr=0.1),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_weights_and_any_optimizer_come_back(tmp_path, name):
    make = OPTIMIZERS[name]
    one, other = trained(0, make), trained(1, make)
    save_checkpoint(tmp_path / "c", one, {"step": 7})
    assert load_checkpoint(tmp_path / "c", other) == {"step": 7}
    for a, b in zip(one.model.parameters(), other.model.parameters(), strict=True):
        assert torch.equal(a, b)
        for key, value in one.optimizer.state[a].items():
            again = other.optimizer.state[b][key]
            assert type(value) is type(again)
            if isinstance(value, torch.Tensor):
                assert torch.equal(value, again)
                assert value.shape != a.shape or again.stride() == b.stride()
            else:
                assert value == again
    assert one.optimizer.state_dict()["param_groups"] == other.optimizer.state_dict()["param_groups"]


def test_the_scaler_and_the_average_come_back(tmp_path):
    one, other = trained(0), trained(1)
    one.scaler = torch.amp.GradScaler("cpu", init_scale=8.0, growth_interval=1)
    one.scaler.scale(torch.ones(1))
    one.average, other.average = network(5), network(6)
    other.scaler = torch.amp.GradScaler("cpu")
    save_checkpoint(tmp_path / "c", one, {})
    load_checkpoint(tmp_path / "c", other)
    assert other.scaler.state_dict() == one.scaler.state_dict()
    assert other.scaler.get_scale() == 8.0
    assert all(torch.equal(a, b) for a, b in zip(one.average.parameters(), other.average.parameters(), strict=True))
    assert other.shown is other.average


def test_a_disk_that_refuses_leaves_the_checkpoint_before(tmp_path):
    one = trained(0)
    save_checkpoint(tmp_path / "c", one, {"step": 1})
    before = (tmp_path / "c").read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))  # bytes a file may have: the write fails in the middle
    try:
        with pytest.raises(ValueError, match=r"could not write .*c: .*\nhint: free some space"):
            save_checkpoint(tmp_path / "c", one, {"step": 2})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (tmp_path / "c").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


def test_a_checkpoint_of_another_network_is_refused_by_what_differs(tmp_path):
    save_checkpoint(tmp_path / "c", trained(0), {})
    other = network()
    other.head, other.stem[0], other.extra = torch.nn.Identity(), torch.nn.Conv2d(3, 4, 1), torch.nn.Linear(2, 2)
    message = (
        r"c belongs to another network than this Net: of its tensors "
        r"3 are missing, the first is stem.0.bias; 2 are not its own, the first is head.bias; "
        r"1 have another shape, the first is stem.0.weight"
    )
    with pytest.raises(ValueError, match=message):
        load_checkpoint(
            tmp_path / "c", TrainState(other, torch.optim.SGD(other.parameters()), torch.amp.GradScaler("cpu"))
        )
