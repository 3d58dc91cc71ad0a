"""SE is its formula, with the hidden width that each source gives it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import saccade
from saccade.mechanisms.base import Mechanism
from tests.mechanisms.randomised import SIZES, equal, random_map, randomised


def written_out(se: Mechanism, x: Tensor) -> Tensor:
    """One sample and one channel at a time."""
    w1, w2 = se.reduce.weight[:, :, 0, 0], se.expand.weight[:, :, 0, 0]
    b1, b2 = (0, 0) if se.reduce.bias is None else (se.reduce.bias, se.expand.bias)
    out = torch.empty_like(x)
    for b, sample in enumerate(x):
        z = torch.stack([channel.sum() / channel.numel() for channel in sample])
        logits = w2 @ (w1 @ z + b1).clamp(min=0) + b2
        for c in range(len(z)):
            out[b, c] = sample[c] / (1 + torch.exp(-logits[c]))
    return out


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no-bias"])
def test_agrees_with_the_formula(size: tuple[int, int], bias: bool) -> None:
    se, x = randomised("se", 12, reduction=4, bias=bias), random_map(12, size)
    equal(se(x), written_out(se, x))
    equal(x * se.gates(x)["channel"][:, :, None, None], written_out(se, x))


@pytest.mark.parametrize(
    ("channels", "options", "width"),
    [
        (64, {}, 4),
        (48, {"reduction": 4}, 12),
        (8, {}, 1),
        (64, {"variant": "timm"}, 8),
        (160, {"variant": "timm"}, 8),
        (256, {"variant": "timm"}, 16),
        (64, {"variant": "timm", "inner_channels": 5}, 5),
    ],
    ids=str,
)
def test_hidden_width(channels: int, options: dict[str, object], width: int) -> None:
    se = saccade.create("se", channels, **options)
    assert se.reduce.out_channels == width
    assert sum(p.numel() for p in se.parameters()) == 2 * channels * width + width + channels


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reduction": 0}, "SE: `reduction` must be a whole number of at least 1; received reduction=0"),
        ({"inner_channels": 0}, "SE: `inner_channels` must be a whole number of at least 1"),
        ({"variant": "tim"}, "SE: unknown variant='tim'\nhint: did you mean timm"),
    ],
    ids=str,
)
def test_names_what_is_wrong(options: dict[str, object], message: str) -> None:
    with pytest.raises(saccade.InputError, match=message):
        saccade.create("se", 32, **options)
