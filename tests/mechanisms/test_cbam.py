"""CBAM is its formula in every variant, starts as its authors start it, and is made of its parts."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

import saccade
from saccade.mechanisms.base import Mechanism
from tests.mechanisms.randomised import SIZES, equal, random_map, randomised

VARIANTS = ("official", "popular", "timm")
WRITTEN_POOLS = {
    "avg": lambda values: sum(values) / len(values),
    "max": max,
    "lp": lambda values: math.sqrt(sum(v * v for v in values)),
    "lse": lambda values: math.log(sum(math.exp(v) for v in values)),
}


def channel_gate(cbam: Mechanism, sample: Tensor) -> Tensor:
    """The first gate of one sample, one pool at a time."""
    gate = cbam.channel
    b0, b1 = (0, 0) if gate.reduce.bias is None else (gate.reduce.bias, gate.expand.bias)
    logits = torch.zeros(len(sample), dtype=sample.dtype)
    for pool in cbam.pools:
        v = torch.tensor([WRITTEN_POOLS[pool](channel.flatten().tolist()) for channel in sample], dtype=sample.dtype)
        logits = logits + gate.expand.weight @ (gate.reduce.weight @ v + b0).clamp(min=0) + b1
    return 1 / (1 + torch.exp(-logits))


def spatial_gate(cbam: Mechanism, sample: Tensor) -> Tensor:
    """The second gate of one sample, one position at a time."""
    weight = cbam.spatial.conv.weight[0]
    reach, (_, height, width) = weight.shape[-1] // 2, sample.shape
    logits = torch.zeros(height, width, dtype=sample.dtype)
    for i in range(height):
        for j in range(width):
            for y in range(max(0, i - reach), min(height, i + reach + 1)):
                for x in range(max(0, j - reach), min(width, j + reach + 1)):
                    tap = weight[:, y - i + reach, x - j + reach]
                    logits[i, j] += tap[0] * sample[:, y, x].max() + tap[1] * sample[:, y, x].sum() / len(sample)
    norm = cbam.spatial.norm
    if norm is not None:
        logits = (logits - norm.running_mean) / (norm.running_var + 1e-5).sqrt() * norm.weight + norm.bias
    return 1 / (1 + torch.exp(-logits))


def written_out(cbam: Mechanism, x: Tensor) -> Tensor:
    outputs = []
    for sample in x:
        if cbam.parts != "spatial":
            sample = sample * channel_gate(cbam, sample)[:, None, None]
        outputs.append(sample if cbam.parts == "channel" else sample * spatial_gate(cbam, sample))
    return torch.stack(outputs)


@torch.no_grad()
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("variant", VARIANTS)
def test_agrees_with_the_formula(size: tuple[int, int], variant: str) -> None:
    cbam, x = randomised("cbam", 6, variant=variant, reduction=2), random_map(6, size)
    equal(cbam(x), written_out(cbam, x))


@torch.no_grad()
@pytest.mark.parametrize("pools", ["lp", ("lse",), ("lse", "avg", "lp", "max")], ids=str)
@pytest.mark.parametrize("kernel_size", [1, 3])
def test_agrees_with_the_formula_for_other_pools_and_kernels(pools: object, kernel_size: int) -> None:
    cbam = randomised("cbam", 6, reduction=2, pools=pools, kernel_size=kernel_size)
    x = random_map(6, (3, 5))
    equal(cbam(x), written_out(cbam, x))


@torch.no_grad()
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_parts_make_the_whole(variant: str) -> None:
    options = {"variant": variant, "reduction": 2}
    whole, x = randomised("cbam", 6, **options), random_map(6, (5, 7))
    channel = randomised("cbam", 6, parts="channel", **options)
    spatial = randomised("cbam", 6, parts="spatial", **options)
    for part in (channel, spatial):
        part.load_state_dict({name: whole.state_dict()[name] for name in part.state_dict()})
    equal(channel(x), written_out(channel, x))
    equal(spatial(channel(x)), whole(x))
    gates = whole.gates(x)
    equal(x * gates["channel"][:, :, None, None] * gates["spatial"], whole(x))
    assert set(channel.gates(x)) == {"channel"}
    assert set(spatial.gates(x)) == {"spatial"}


def test_no_spatial_is_the_channel_part() -> None:
    one, other = (saccade.create("cbam", 32, **options) for options in ({"spatial": False}, {"parts": "channel"}))
    assert one.parts == "channel"
    assert [*one.state_dict()] == [*other.state_dict()] == [f"channel.{part}" for part in
            ("reduce.weight", "reduce.bias", "expand.weight", "expand.bias")]  # fmt: skip


def test_starts_as_the_authors_start() -> None:
    cbam = saccade.create("cbam", 32)
    state = cbam.state_dict()
    assert all(not state[name].any() for name in state if name.endswith(".bias") or name == "spatial.norm.weight")
    assert cbam.spatial.norm.momentum == 0.01
    # Kaiming normal, fan out: one channel out of 7 x 7 taps.
    assert cbam.spatial.conv.weight.std().item() == pytest.approx(math.sqrt(2 / 49), rel=0.25)
    assert (cbam.train().gates(torch.randn(2, 32, 5, 7))["spatial"] == 0.5).all()


@pytest.mark.parametrize(
    ("variant", "params"), [("official", 2 * 64 * 4 + 4 + 64 + 98 + 2), ("popular", 512 + 98), ("timm", 512 + 98 + 2)]
)
def test_counts(variant: str, params: int) -> None:
    assert sum(p.numel() for p in saccade.create("cbam", 64, variant=variant).parameters()) == params


def test_gradients_are_finite_on_a_map_of_zeros() -> None:
    """The derivative of the root of a sum of squares is not, at 0."""
    cbam = randomised("cbam", 6, reduction=2, pools=("avg", "max", "lp", "lse"))
    x = torch.zeros(1, 6, 3, 3, dtype=torch.float64, requires_grad=True)
    cbam(x).sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert all(p.grad.isfinite().all() for p in cbam.parameters())


def test_large_values_do_not_overflow() -> None:
    cbam = randomised("cbam", 6, reduction=2, pools=("lp", "lse"))
    assert cbam(random_map(6, (5, 7)) * 1e4).isfinite().all()
    assert cbam.half()((random_map(6, (5, 7)) * 300).half()).isfinite().all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernel_size": 4}, "CBAM: `kernel_size` must be odd, to keep the map's size; received kernel_size=4"),
        ({"pools": ("avg", "mex")}, "CBAM: unknown pool='mex'\nhint: did you mean max"),
        ({"pools": ()}, "must name at least one pool, and none twice"),
        ({"pools": ("avg", "avg")}, "must name at least one pool, and none twice"),
        ({"spatial": False, "parts": "spatial"}, "CBAM: no part is left; received spatial=False, parts='spatial'"),
        ({"parts": "all"}, "CBAM: unknown parts='all'"),
        ({"reduction": 0}, "CBAM: `reduction` must be a whole number of at least 1"),
    ],
    ids=str,
)
def test_names_what_is_wrong(options: dict[str, object], message: str) -> None:
    with pytest.raises(saccade.InputError, match=message):
        saccade.create("cbam", 32, **options)


def test_a_single_value_cannot_be_normalised() -> None:
    x = torch.randn(1, 32, 1, 1)
    with pytest.raises(saccade.InputError, match=r"needs more than one position; received shape \(1, 32, 1, 1\)"):
        saccade.create("cbam", 32)(x)
    assert saccade.create("cbam", 32, variant="popular")(x).shape == x.shape
    assert saccade.create("cbam", 32).eval()(x).shape == x.shape
