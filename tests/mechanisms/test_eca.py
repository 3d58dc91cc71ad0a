"""ECA is its formula in all four forms, and follows the paper's rule for k."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import saccade
from saccade.mechanisms.base import Mechanism
from tests.mechanisms.randomised import SIZES, equal, random_map, randomised


def written_out(eca: Mechanism, x: Tensor) -> Tensor:
    """One channel and one neighbour at a time."""
    channels, k = x.shape[1], eca.k
    means = x.flatten(2).sum(-1) / x[0, 0].numel()
    out = torch.empty_like(x)
    for c in range(channels):
        logit = torch.zeros_like(means[:, 0])
        for j in range(k):
            neighbour = c + j - (k - 1) // 2
            if eca.circular:
                neighbour %= channels
            if 0 <= neighbour < channels:
                logit += eca.conv.weight[0 if eca.shared else c, 0, j] * means[:, neighbour]
        out[:, c] = x[:, c] * torch.sigmoid(logit)[:, None, None]
    return out


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("k", [1, 3, 7])
@pytest.mark.parametrize("shared", [True, False], ids=["shared", "unshared"])
@pytest.mark.parametrize("circular", [False, True], ids=["zeros", "ring"])
def test_agrees_with_the_formula(size: tuple[int, int], k: int, shared: bool, circular: bool) -> None:
    eca, x = randomised("eca", 5, k=k, shared=shared, circular=circular), random_map(5, size)
    equal(eca(x), written_out(eca, x))
    equal(x * eca.gates(x)["channel"][:, :, None, None], written_out(eca, x))


def test_k_above_the_channels_is_zero_padded() -> None:
    eca, x = randomised("eca", 3, k=9), random_map(3, (2, 2))
    equal(eca(x), written_out(eca, x))


def test_the_rule() -> None:
    """Where k changes, from the formula: 1 from C = 1, 3 from 8, 5 from 128, 7 from 2048."""
    starts = {1: 1, 7: 1, 8: 3, 127: 3, 128: 5, 2047: 5, 2048: 7}
    assert {channels: saccade.create("eca", channels).k for channels in starts} == starts


@pytest.mark.parametrize(
    ("channels", "options", "message"),
    [
        (32, {"k": 4}, "ECA: `k` must be odd, so that a gate has a middle; received k=4"),
        (32, {"k": 0}, "ECA: `k` must be a whole number of at least 1"),
        (3, {"k": 9, "circular": True}, "ECA: `k` is too large for a ring.*\nhint: take k=7 or less"),
    ],
    ids=["even", "zero", "ring"],
)
def test_names_what_is_wrong(channels: int, options: dict[str, object], message: str) -> None:
    with pytest.raises(saccade.InputError, match=message):
        saccade.create("eca", channels, **options)
