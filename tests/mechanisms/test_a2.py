"""A2 is its formula, in one, two and three dimensions, and the two orders of its product agree."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from saccade import InputError
from saccade.mechanisms.a2 import DoubleAttention
from saccade.mechanisms.base import Mechanism
from saccade.ops.double import distributing, double_attention, gathering, pair_weights
from tests.mechanisms.randomised import SIZES, equal, random_map, randomised


def project(layer: torch.nn.Module, position: Tensor) -> Tensor:
    return layer.weight.flatten(1) @ position + layer.bias


def written_out(a2: Mechanism, x: Tensor) -> Tensor:
    """Descriptor by descriptor, then position by position, with the exponentials in sight."""
    out = []
    for sample in x:
        positions = sample.flatten(1).T
        values = torch.stack([project(a2.value, p) for p in positions])
        powers = torch.stack([project(a2.gather, p).exp() for p in positions])
        gathered = []
        for k in range(powers.shape[1]):
            share = powers[:, k] / powers[:, k].sum()
            gathered.append(sum(w * v for w, v in zip(share, values, strict=True)))
        made = []
        for p in positions:
            wanted = project(a2.distribute, p).exp()
            mixture = sum(w * g for w, g in zip(wanted / wanted.sum(), gathered, strict=True))
            made.append(project(a2.project, mixture) if a2.reconstruct else mixture)
        branch = torch.stack(made, dim=1).view(-1, *sample.shape[1:])
        out.append(sample + branch if a2.residual else branch)
    return torch.stack(out)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"value_channels": 5, "key_channels": 3},
        {"residual": False},
        {"value_channels": 7, "residual": False, "reconstruct": False},
        {"value_channels": 12, "reconstruct": False},
    ],
    ids=str,
)
def test_agrees_with_the_formula(options: dict[str, int], size: tuple[int, int]) -> None:
    a2, x = randomised("a2", 12, **options), random_map(12, size)
    y = a2(x)
    assert y.shape == (2, a2.value_channels if not a2.reconstruct else 12, *size)
    equal(y, written_out(a2, x))


@pytest.mark.parametrize(("dims", "size"), [(1, (7,)), (3, (2, 3, 5))])
def test_agrees_with_the_formula_on_sequences_and_clips(dims: int, size: tuple[int, ...]) -> None:
    a2, x = randomised("a2", 6, dims=dims), torch.randn(2, 6, *size, dtype=torch.float64)
    equal(a2(x), written_out(a2, x))


def test_both_orders_of_the_product_agree() -> None:
    draw = torch.Generator().manual_seed(0)
    value, gather, distribute = (torch.randn(2, n, 35, generator=draw, dtype=torch.float64) for n in (5, 3, 3))
    maps = gathering(gather), distributing(distribute)
    equal(double_attention(value, *maps), value @ pair_weights(*maps).mT)
    equal(maps[0].sum(dim=2), torch.ones(2, 3, dtype=torch.float64))
    equal(maps[1].sum(dim=1), torch.ones(2, 35, dtype=torch.float64))


def test_its_map_gathers_what_the_output_holds() -> None:
    a2, x = randomised("a2", 12, value_channels=5, residual=False, reconstruct=False), random_map(12, (5, 7))
    equal(a2(x).flatten(2), a2.value(x).flatten(2) @ a2.attention(x).mT)


@pytest.mark.parametrize(("channels", "width"), [(1, 1), (2, 1), (5, 2), (64, 32)])
def test_rounds_its_default_widths_down_but_not_to_0(channels: int, width: int) -> None:
    a2 = DoubleAttention(channels)
    assert (a2.value_channels, a2.key_channels) == (width, width)
    assert sum(p.numel() for p in a2.parameters()) == 4 * width * channels + 3 * width + channels


def test_starts_as_the_identity_where_it_can() -> None:
    x = torch.randn(2, 8, 3, 5)
    assert torch.equal(DoubleAttention(8)(x), x)
    for options in ({"residual": False}, {"value_channels": 8, "reconstruct": False}):
        a2 = DoubleAttention(8, **options)
        assert not a2.starts_as_identity
        assert a2(x).any()


def test_names_what_is_wrong() -> None:
    with pytest.raises(InputError, match=r"^A2: without `reconstruct` the output has 4 channels and cannot be .* 8"):
        DoubleAttention(8, reconstruct=False)
    with pytest.raises(InputError, match=r"^A2: `key_channels` must be .* received key_channels=0"):
        DoubleAttention(8, key_channels=0)
    with pytest.raises(InputError, match=r"^A2: unknown dims=4"):
        DoubleAttention(8, dims=4)
    with pytest.raises(InputError, match=r"^A2: unknown residual=2"):
        DoubleAttention(8, residual=2)


def test_finds_options_that_hold_its_tensors() -> None:
    for options in ({"value_channels": 5, "key_channels": 3}, {"residual": False, "reconstruct": False, "dims": 3}):
        tensors = DoubleAttention(20, **options).state_dict()
        found = DoubleAttention.fitting(tensors)
        DoubleAttention(**found, residual=found["reconstruct"]).load_state_dict(tensors)


def test_without_a_residual_it_keeps_the_memory_layout() -> None:
    a2, x = randomised("a2", 12, residual=False), random_map(12, (5, 7))
    assert a2(x).is_contiguous()
    assert a2(x.contiguous(memory_format=torch.channels_last)).is_contiguous(memory_format=torch.channels_last)
