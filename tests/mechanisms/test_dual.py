"""Dual attention is the sum of its two branches, with the input in it twice or once."""

import pytest
import torch

from saccade import InputError
from saccade.mechanisms.dual import DualAttention


def awake(**options):
    torch.manual_seed(0)
    dual = DualAttention(12, **options).double()
    torch.nn.init.constant_(dual.position.gamma, 0.7)
    torch.nn.init.constant_(dual.channel.gamma, -0.4)
    return dual


@pytest.mark.parametrize("size", [(1, 1), (4, 4), (5, 7)], ids=str)
def test_is_the_sum_of_its_branches(size):
    x = torch.randn(2, 12, *size, dtype=torch.float64)
    twice, once = awake(), awake(residual="once")
    total = twice.position(x) + twice.channel(x)
    torch.testing.assert_close(twice(x), total, rtol=0, atol=0)
    torch.testing.assert_close(once(x), total - x, rtol=1e-12, atol=1e-12)


def test_starts_by_doubling_or_as_the_identity():
    x = torch.randn(2, 12, 5, 7)
    assert torch.equal(DualAttention(12)(x), 2 * x)
    torch.manual_seed(0)
    large = torch.full((1, 12, 2, 2), 33_000.0, dtype=torch.float16)  # twice that is no float16
    assert torch.equal(DualAttention(12, residual="once").half()(large), large)


def test_its_branches_are_mechanisms_with_maps_of_their_own():
    dual, x = awake(), torch.randn(2, 12, 3, 5, dtype=torch.float64)
    assert dual.position.attention(x).shape == (2, 15, 15)
    assert dual.channel.attention(x).shape == (2, 12, 12)
    assert dual.channel.sign == "released"


def test_names_what_is_wrong():
    with pytest.raises(InputError, match=r"^Dual: unknown residual='one'"):
        DualAttention(8, residual="one")
    with pytest.raises(
        InputError, match=r"^Dual: expected a feature map \(B, 8, H, W\); received shape \(2, 7, 3, 3\)"
    ):
        DualAttention(8)(torch.zeros(2, 7, 3, 3))


def test_finds_options_that_hold_its_tensors():
    tensors = DualAttention(20).state_dict()
    DualAttention(**DualAttention.fitting(tensors)).load_state_dict(tensors)
