"""GC is its formula in every pooling and fusion, starts as the sheet says, and is SE where it pools evenly."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import saccade
from saccade.mechanisms.base import Mechanism
from tests.mechanisms.randomised import SIZES, equal, random_map, randomised

FUSIONS = (("add",), ("mul",), ("add", "mul"))


def transform(layers: nn.Module, g: Tensor, eps: float) -> Tensor:
    hidden = layers.reduce.weight @ g + layers.reduce.bias
    spread = ((hidden - hidden.mean()) ** 2).mean()
    hidden = (hidden - hidden.mean()) / torch.sqrt(spread + eps) * layers.norm.weight + layers.norm.bias
    return layers.expand.weight @ hidden.clamp(min=0) + layers.expand.bias


def written_out(gc: Mechanism, x: Tensor, eps: float = 1e-5) -> Tensor:
    """One sample at a time, the context one position at a time."""
    out = []
    for sample in x:
        positions = sample.flatten(1).T
        logits = [
            0.0 * p.sum() if gc.mask is None else gc.mask.weight[0, :, 0, 0] @ p + gc.mask.bias for p in positions
        ]
        exponents = torch.stack([torch.exp(logit).reshape(()) for logit in logits])
        g = sum(e / exponents.sum() * p for e, p in zip(exponents, positions, strict=True))
        if gc.mul is not None:
            sample = sample * torch.sigmoid(transform(gc.mul, g, eps))[:, None, None]
        out.append(sample if gc.add is None else sample + transform(gc.add, g, eps)[:, None, None])
    return torch.stack(out)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("fusion", FUSIONS, ids=str)
@pytest.mark.parametrize("pooling", ["att", "avg"])
def test_agrees_with_the_formula(size: tuple[int, int], fusion: tuple[str, ...], pooling: str) -> None:
    gc, x = randomised("gc", 12, ratio=1 / 4, pooling=pooling, fusion=fusion), random_map(12, size)
    equal(gc(x), written_out(gc, x))


def test_timm_has_another_eps() -> None:
    gc, x = randomised("gc", 12, ratio=1 / 4, variant="timm"), random_map(12, (5, 7)) * 1e-2
    equal(gc(x), written_out(gc, x, eps=1e-6))
    assert (gc(x) - written_out(gc, x)).abs().max() > 1e-8


@pytest.mark.parametrize("pooling", ["att", "avg"])
def test_the_map(pooling: str) -> None:
    gc, x = randomised("gc", 12, ratio=1 / 4, pooling=pooling), random_map(12, (5, 7))
    attention = gc.attention(x)
    assert attention.shape == (2, 1, 35)
    equal(attention.sum(-1), torch.ones(2, 1, dtype=torch.float64))
    # The context is what the map gathers.
    context = torch.einsum("bn,bcn->bc", attention[:, 0], x.flatten(2))
    equal(gc(x) - x, gc.add(context)[:, :, None, None].expand_as(x))
    rows = gc.weights(x, [(0, 0), (4, 6), (2, 3)])
    assert rows.shape == (2, 3, 5, 7)
    assert (rows == attention.view(2, 1, 5, 7)).all(), "all positions share the one row"
    with pytest.raises(saccade.InputError, match=r"GC: query \(5, 0\) is not a position on the map of 5 x 7"):
        gc.weights(x, [(5, 0)])


def test_the_gate_is_of_the_multiplying_forms() -> None:
    x = random_map(12, (5, 7))
    gc = randomised("gc", 12, ratio=1 / 4, fusion="mul")
    equal(x * gc.gates(x)["channel"][:, :, None, None], gc(x))
    assert randomised("gc", 12, ratio=1 / 4, fusion="add").gates(x) == {}


def test_averaging_and_multiplying_is_se_with_a_norm() -> None:
    gc, x = randomised("gc", 12, ratio=1 / 4, pooling="avg", fusion="mul"), random_map(12, (5, 7))
    se = saccade.create("se", 12, reduction=4).double()
    with torch.no_grad():
        for theirs, ours in ((se.reduce, gc.mul.reduce), (se.expand, gc.mul.expand)):
            theirs.weight.copy_(ours.weight[:, :, None, None])
            theirs.bias.copy_(ours.bias)
    se.reduce = nn.Sequential(se.reduce, nn.Flatten(), gc.mul.norm, nn.Unflatten(1, (3, 1, 1)))
    equal(gc(x), se(x))


def test_starts_as_the_sheet_says() -> None:
    x = torch.randn(2, 64, 5, 7)
    add, mul, both = (saccade.create("gc", 64, fusion=fusion) for fusion in FUSIONS)
    torch.testing.assert_close(add(x), x, rtol=0, atol=0)
    torch.testing.assert_close(mul(x), x / 2, rtol=0, atol=0)
    torch.testing.assert_close(both(x), x / 2, rtol=0, atol=0)
    timm = saccade.create("gc", 64, variant="timm", fusion="add")
    assert not timm.add.expand.weight.any()
    assert timm.add.expand.bias.any()
    assert [m.starts_as_identity for m in (add, mul, both, timm)] == [True, False, False, False]


@pytest.mark.parametrize(
    ("channels", "options", "width"),
    [
        (64, {}, 4),
        (48, {"ratio": 0.3}, 14),
        (64, {"ratio": 1}, 64),
        (64, {"variant": "timm"}, 8),
        (60, {"variant": "timm"}, 8),
        (64, {"inner_channels": 5}, 5),
    ],
    ids=str,
)
def test_hidden_width(channels: int, options: dict[str, object], width: int) -> None:
    gc = saccade.create("gc", channels, **options)
    layers = gc.add or gc.mul
    assert layers.reduce.out_features == width
    assert sum(p.numel() for p in gc.parameters()) == channels + 1 + 2 * channels * width + 3 * width + channels


@pytest.mark.parametrize("channels", [8, 16])
def test_one_hidden_channel_is_warned_of(channels: int) -> None:
    with pytest.warns(saccade.SaccadeWarning, match=f"GC: {channels} channels leave one hidden channel"):
        gc = saccade.create("gc", channels)
    assert gc.add.reduce.out_features == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ratio": 16}, "GC: `ratio` must be a fraction above 0 and at most 1; received ratio=16\nhint: .*write 1/16"),
        ({"ratio": 0}, "GC: `ratio` must be a fraction"),
        ({"pooling": "max"}, "GC: unknown pooling='max'"),
        ({"fusion": ("add", "max")}, "GC: unknown fusion='max'"),
        ({"fusion": ("add", "add")}, "GC: `fusion` must name"),
        ({"fusion": ()}, "GC: `fusion` must name"),
        ({"inner_channels": 0}, "GC: `inner_channels` must be a whole number"),
    ],
    ids=str,
)
def test_names_what_is_wrong(options: dict[str, object], message: str) -> None:
    with pytest.raises(saccade.InputError, match=message):
        saccade.create("gc", 64, **options)
