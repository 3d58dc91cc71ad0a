"""CS is position attention of what channel attention made, in this order, and starts as the identity."""

from __future__ import annotations

import pytest
import torch

from saccade.mechanisms.cs import ChannelThenPosition
from tests.mechanisms.randomised import SIZES, equal, random_map, randomised


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_is_its_parts_one_behind_the_other(size: tuple[int, int]) -> None:
    cs, x = randomised("cs", 12), random_map(12, size)
    pam, cam = randomised("pam", 12), randomised("cam", 12)
    pam.load_state_dict(cs.position.state_dict())
    cam.load_state_dict(cs.channel.state_dict())
    equal(cs(x), pam(cam(x)))


def test_the_order_matters() -> None:
    cs, x = randomised("cs", 12), random_map(12, (5, 7))
    assert (cs(x) - cs.channel(cs.position(x))).abs().max() > 1e-3


def test_finds_options_that_hold_its_tensors() -> None:
    tensors = ChannelThenPosition(20).state_dict()
    ChannelThenPosition(**ChannelThenPosition.fitting(tensors)).load_state_dict(tensors)


def test_starts_as_the_identity_with_only_gammas_to_learn() -> None:
    cs, x = ChannelThenPosition(8), torch.randn(2, 8, 3, 5)
    y = cs(x)
    assert torch.equal(y, x)
    y.pow(3).sum().backward()
    assert {name for name, p in cs.named_parameters() if p.grad is not None and p.grad.any()} == {
        "channel.gamma", "position.gamma",
    }  # fmt: skip
