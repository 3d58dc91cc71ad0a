"""FLA is its formula on every strip; the released pairing mixes images, the default does not."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saccade import InputError
from saccade.mechanisms.base import Mechanism
from saccade.mechanisms.fla import FullyAttentional
from tests.mechanisms.randomised import SIZES, equal, random_map, randomised


def written_out(fla: Mechanism, x: Tensor, released: bool = False) -> Tensor:
    """Strip by strip and channel by channel."""
    batch, channels, height, width = x.shape
    gathered = torch.zeros_like(x)
    of_rows = [[fla.rows.weight @ x[b, :, h].mean(dim=1) + fla.rows.bias for h in range(height)] for b in range(batch)]
    of_columns = [
        [fla.columns.weight @ x[b, :, :, w].mean(dim=1) + fla.columns.bias for w in range(width)] for b in range(batch)
    ]
    for b in range(batch):
        strips = [(x[b, :, :, w], of_rows, b * width + w, gathered[b, :, :, w]) for w in range(width)]
        strips += [(x[b, :, h], of_columns, b * height + h, gathered[b, :, h]) for h in range(height)]
        for strip, descriptors, count, into in strips:
            seen = torch.stack(descriptors[count % batch if released else b])
            for c in range(channels):
                powers = torch.stack([(strip[c] * seen[:, d]).sum().exp() for d in range(channels)])
                into[c] += (powers / powers.sum()) @ strip
    mixed = F.conv2d(fla.gamma * gathered + x, fla.conv.weight, padding=1)
    norm = fla.norm
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    return (mixed * scale[:, None, None] + (norm.bias - norm.running_mean * scale)[:, None, None]).clamp(min=0)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("pairing", ["sample", "released"])
def test_agrees_with_the_formula(pairing: str, size: tuple[int, int]) -> None:
    fla, x = randomised("fla", 6, pairing=pairing), random_map(6, size, batch=3)
    with torch.no_grad():
        equal(fla(x), written_out(fla, x, released=pairing == "released"))


def test_the_released_pairing_leaks_and_the_default_does_not() -> None:
    x = random_map(6, (5, 7), batch=3)
    changed = x.clone()
    changed[1] *= -2
    fla, released = randomised("fla", 6), randomised("fla", 6, pairing="released")
    equal(fla(changed)[[0, 2]], fla(x)[[0, 2]])
    assert (released(changed)[0] - released(x)[0]).abs().max() > 1e-2
    equal(fla(x[:1]), released(x[:1]))
    assert released(x[:0]).shape == (0, 6, 5, 7)


def test_its_maps_are_those_of_the_columns_then_of_the_rows() -> None:
    fla, x = randomised("fla", 6), random_map(6, (5, 7))
    maps = fla.attention(x)
    assert maps.shape == (2, 12, 6, 6)
    descriptors = fla.rows(x.mean(dim=3).mT)  # (B, H, C)
    equal(maps[:, 3], (x[:, :, :, 3] @ descriptors).softmax(dim=-1))
    descriptors = fla.columns(x.mean(dim=2).mT)
    equal(maps[:, 7 + 2], (x[:, :, 2] @ descriptors).softmax(dim=-1))


def test_takes_another_norm() -> None:
    fla = FullyAttentional(8, norm_layer=partial(nn.GroupNorm, 2)).train()
    assert isinstance(fla.norm, nn.GroupNorm)
    assert fla(torch.randn(1, 8, 1, 1)).shape == (1, 8, 1, 1)
    with pytest.raises(TypeError, match=r"FLA: `norm_layer` must make a norm from a width.* received 'BatchNorm2d'"):
        FullyAttentional(8, norm_layer="BatchNorm2d")


def test_has_the_parameters_of_the_released_block() -> None:
    assert sum(p.numel() for p in FullyAttentional(512).parameters()) == 2_885_633


def test_names_what_is_wrong() -> None:
    with pytest.raises(InputError, match=r"^FLA: unknown pairing='batch'"):
        FullyAttentional(8, pairing="batch")
    with pytest.raises(InputError, match=r"^FLA: in training its norm needs more .* received shape \(1, 8, 1, 1\)"):
        FullyAttentional(8)(torch.zeros(1, 8, 1, 1))
