"""The variants of SE without a hidden layer are their formulas."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import saccade
from saccade.official import load_official
from tests.mechanisms.randomised import SIZES, equal, random_map, randomised

CHANNELS = 5


def written_out(name: str, weight: Tensor | None, x: Tensor) -> Tensor:
    """One sample and one channel at a time."""
    out = torch.empty_like(x)
    for b, sample in enumerate(x):
        y = [channel.sum() / channel.numel() for channel in sample]
        for c in range(CHANNELS):
            if name == "se_var1":
                logit = y[c]
            elif name == "se_var2":
                logit = weight[c] * y[c]
            else:
                logit = sum(weight[c, other] * y[other] for other in range(CHANNELS))
            out[b, c] = sample[c] / (1 + torch.exp(-logit))
    return out


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("name", ["se_var1", "se_var2", "se_var3"])
def test_agrees_with_the_formula(name: str, size: tuple[int, int]) -> None:
    gate, x = randomised(name, CHANNELS), random_map(CHANNELS, size)
    expected = written_out(name, getattr(gate, "weight", None), x)
    equal(gate(x), expected)
    equal(x * gate.gates(x)["channel"][:, :, None, None], expected)


@pytest.mark.parametrize(("name", "count"), [("se_var1", 0), ("se_var2", 48), ("se_var3", 48 * 48)])
def test_has_the_parameters_of_the_paper(name: str, count: int) -> None:
    assert sum(p.numel() for p in saccade.create(name, 48).parameters()) == count


def test_the_second_starts_as_the_first() -> None:
    x = random_map(CHANNELS, (4, 5))
    equal(saccade.create("se_var2", CHANNELS).double()(x), saccade.create("se_var1", CHANNELS)(x))


def test_the_second_is_the_third_with_a_diagonal_matrix() -> None:
    second, third, x = randomised("se_var2", CHANNELS), randomised("se_var3", CHANNELS), random_map(CHANNELS, (4, 5))
    load_official(third, {"weight": second.weight.detach().diag()})
    equal(third(x), second(x))


def test_names_the_width_that_would_fit() -> None:
    with pytest.raises(saccade.InputError, match="it fits SE-Var2 made with channels=7"):
        load_official(saccade.create("se_var2", CHANNELS), {"weight": torch.zeros(7)})
