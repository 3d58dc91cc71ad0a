"""PSA is its formulas, written as the authors write them (every value made), and is made of its parts."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import saccade
from saccade.mechanisms.base import Mechanism
from saccade.mechanisms.psa import VARIANTS
from tests.mechanisms.randomised import SIZES, equal, random_map, randomised


def rows(layer: torch.nn.Module, x: Tensor) -> Tensor:
    """W x + b for one sample, x of C rows and N columns."""
    product = layer.weight.flatten(1) @ x
    return product if layer.bias is None else product + layer.bias[:, None]


def channel_mask(psa: Mechanism, x: Tensor) -> Tensor:
    branch = psa.channel
    weights = torch.exp(rows(branch.query, x))
    z = rows(branch.value, x) @ (weights / weights.sum()).T  # all values first, then their mean
    logits = rows(branch.up[0], z)[:, 0]
    if len(branch.up) > 1:
        logits = F.layer_norm(logits, logits.shape, branch.up[1].weight, branch.up[1].bias)
    if psa.variant == "sequential":
        logits = rows(branch.up[3], logits.clamp(min=0)[:, None])[:, 0]
    return torch.sigmoid(logits)


def spatial_mask(psa: Mechanism, x: Tensor) -> Tensor:
    query, value = (rows(layer, x) for layer in (psa.spatial.query, psa.spatial.value))
    query = query.mean(1)
    if psa.variant == "parallel":
        return torch.sigmoid(torch.softmax(query @ value, dim=0))
    if psa.variant == "sequential":
        return torch.sigmoid(query @ torch.softmax(value, dim=1))
    return torch.sigmoid(torch.softmax(query, dim=0) @ value)


def written_out(psa: Mechanism, x: Tensor) -> Tensor:
    out = []
    for sample in x.flatten(2):
        if psa.variant.endswith("parallel"):
            out.append(sample * channel_mask(psa, sample)[:, None] + sample * spatial_mask(psa, sample))
        else:
            scaled = sample * channel_mask(psa, sample)[:, None]
            out.append(scaled * spatial_mask(psa, scaled))
    return torch.stack(out).view_as(x)


@torch.no_grad()
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("channels", [16, 19])
@pytest.mark.parametrize("variant", VARIANTS)
def test_agrees_with_the_formula(size: tuple[int, int], channels: int, variant: str) -> None:
    psa, x = randomised("psa", channels, variant=variant), random_map(channels, size)
    equal(psa(x), written_out(psa, x))


@torch.no_grad()
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_parts_make_the_whole(variant: str) -> None:
    whole, x = randomised("psa", 16, variant=variant), random_map(16, (5, 7))
    channel, spatial = (randomised("psa", 16, variant=variant, parts=part) for part in ("channel", "spatial"))
    for part in (channel, spatial):
        part.load_state_dict({name: whole.state_dict()[name] for name in part.state_dict()})
    composed = channel(x) + spatial(x) if variant.endswith("parallel") else spatial(channel(x))
    equal(composed, whole(x))
    gates = whole.gates(x)
    assert {name: gate.shape for name, gate in gates.items()} == {"channel": (2, 16), "spatial": (2, 1, 5, 7)}
    by_channel = gates["channel"][:, :, None, None]
    together = by_channel + gates["spatial"] if variant.endswith("parallel") else by_channel * gates["spatial"]
    equal(x * together, whole(x))
    assert set(channel.gates(x)) == {"channel"}
    assert set(spatial.gates(x)) == {"spatial"}


@pytest.mark.parametrize(
    ("variant", "counts"),
    [
        ("parallel", {48: 4656, 192: 73920, 512: 524800}),
        ("sequential", {48: 4002, 192: 62664, 512: 443584}),
        ("paper_parallel", {48: 4873, 192: 74785, 512: 527105}),
        ("paper_sequential", {48: 4873, 192: 74785, 512: 527105}),
    ],
)
def test_counts(variant: str, counts: dict[int, int]) -> None:
    """The authors' counts, from the sheet."""
    modules = {channels: saccade.create("psa", channels, variant=variant) for channels in counts}
    assert {channels: sum(p.numel() for p in psa.parameters()) for channels, psa in modules.items()} == counts


def test_on_one_position_the_parallel_spatial_gate_is_a_constant() -> None:
    gate = randomised("psa", 16).gates(random_map(16, (1, 1)))["spatial"]
    equal(gate, torch.sigmoid(torch.ones_like(gate)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("variant", ["parallel", "sequential"])
def test_gates_are_not_half_in_half_precision(dtype: torch.dtype, variant: str) -> None:
    """The released spatial gates vary by less than half precision can tell."""
    psa, x = randomised("psa", 16, variant=variant).to(dtype), random_map(16, (24, 24)).to(dtype)
    assert psa(x).dtype == dtype
    gates = psa.gates(x)
    assert {gate.dtype for gate in gates.values()} == {torch.float32}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        in_autocast = psa.float().gates(x.float())
    for name, gate in psa.double().gates(x.double()).items():
        torch.testing.assert_close(gates[name].double(), gate, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(in_autocast[name].double(), gate, rtol=1e-5, atol=1e-6)


def test_starts_as_the_authors_start() -> None:
    """Kaiming normal over the fan in for the projections of the released forms, deviation sqrt(2 / C)."""
    psa = saccade.create("psa", 512)
    for layer in (psa.channel.value, psa.spatial.query, psa.spatial.value):
        assert layer.weight.std().item() == pytest.approx((2 / 512) ** 0.5, rel=0.05)


@pytest.mark.parametrize(
    ("variant", "channels"), [("sequential", 15), ("sequential", 4), ("paper_parallel", 1)], ids=str
)
def test_a_norm_of_one_number_is_warned_of(variant: str, channels: int) -> None:
    with pytest.warns(saccade.SaccadeWarning, match=f"PSA: variant='{variant}' with {channels} channels"):
        psa = randomised("psa", channels, variant=variant)
    one, other = psa.gates(random_map(channels, (5, 7)))["channel"], psa.gates(random_map(channels, (3, 3)))["channel"]
    equal(one, other)


def test_few_channels_keep_one() -> None:
    psa, x = randomised("psa", 1), random_map(1, (5, 7))
    equal(psa(x), written_out(psa, x))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"variant": "paper"}, "PSA: unknown variant='paper'\nhint: did you mean"),
        ({"parts": "left"}, "PSA: unknown parts='left'"),
    ],
    ids=str,
)
def test_names_what_is_wrong(options: dict[str, object], message: str) -> None:
    with pytest.raises(saccade.InputError, match=message):
        saccade.create("psa", 32, **options)
