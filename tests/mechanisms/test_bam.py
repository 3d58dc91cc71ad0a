"""BAM is its formula: branches joined by product or sum, on the whole map or in the released window."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import saccade
from saccade.mechanisms.base import Mechanism
from tests.mechanisms.randomised import SIZES, equal, random_map, randomised

FORMS = (
    {},
    {"combine": "sum"},
    {"combine": "sum", "final_norm": True},
    {"parts": "channel"},
    {"parts": "spatial"},
    {"dilation": 1, "num_layers": 2, "num_convs": 3},
)


def normalised(norm: nn.Module | None, x: Tensor) -> Tensor:
    """What a batch norm in evaluation does, along axis 1."""
    if norm is None:
        return x
    view = (-1, *([1] * (x.dim() - 2)))
    scale = norm.weight / (norm.running_var + 1e-5).sqrt()
    return x * scale.view(view) + (norm.bias - norm.running_mean * scale).view(view)


def dilated(conv: nn.Module, x: Tensor, dilation: int) -> Tensor:
    """A 3x3 convolution as the sum of nine shifted products."""
    height, width = x.shape[2:]
    out = conv.bias.view(1, -1, 1, 1).expand(len(x), -1, height, width).clone()
    for i in range(3):
        for j in range(3):
            down, right = (i - 1) * dilation, (j - 1) * dilation
            for h in range(height):
                for w in range(width):
                    if 0 <= h + down < height and 0 <= w + right < width:
                        out[:, :, h, w] += x[:, :, h + down, w + right] @ conv.weight[:, :, i, j].T
    return out


def pointwise(conv: nn.Module, x: Tensor) -> Tensor:
    return torch.einsum("oc,bchw->bohw", conv.weight[:, :, 0, 0], x) + conv.bias.view(1, -1, 1, 1)


def channel_logits(bam: Mechanism, x: Tensor) -> Tensor:
    branch, v = bam.channel, x.sum(dim=(2, 3)) / (x.shape[2] * x.shape[3])
    for layer, norm in zip(branch.layers, branch.norms, strict=True):
        v = normalised(norm, v @ layer.weight.T + layer.bias).clamp(min=0)
    return normalised(branch.final_norm, v @ branch.expand.weight.T + branch.expand.bias)[:, :, None, None]


def spatial_logits(bam: Mechanism, x: Tensor) -> Tensor:
    branch = bam.spatial
    h = normalised(branch.reduce_norm, pointwise(branch.reduce, x)).clamp(min=0)
    for conv, norm in zip(branch.convs, branch.norms, strict=True):
        h = normalised(norm, dilated(conv, h, bam.dilation)).clamp(min=0)
    return normalised(branch.final_norm, pointwise(branch.project, h))


def written_out(bam: Mechanism, x: Tensor) -> Tensor:
    channel = None if bam.channel is None else channel_logits(bam, x)
    spatial = None if bam.spatial is None else spatial_logits(bam, x)
    if channel is None or spatial is None:
        logits = spatial if channel is None else channel
    else:
        logits = channel + spatial if bam.combine == "sum" else channel * spatial
    return x + x / (1 + torch.exp(-logits))


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("options", FORMS, ids=str)
def test_agrees_with_the_formula(size: tuple[int, int], options: dict[str, object]) -> None:
    bam, x = randomised("bam", 12, reduction=4, **options), random_map(12, size)
    equal(bam(x), written_out(bam, x))


def test_the_parts_are_the_branches_of_the_whole() -> None:
    whole, x = randomised("bam", 12, reduction=4), random_map(12, (5, 7))
    joined = torch.ones((), dtype=torch.float64)
    for part in ("channel", "spatial"):
        alone = saccade.create("bam", 12, reduction=4, parts=part).double().eval()
        alone.load_state_dict({k: v for k, v in whole.state_dict().items() if k.startswith(part)})
        equal(alone.gates(x)[part], whole.gates(x)[part])
        joined = joined * torch.logit(alone.gate(x))
    equal(whole.gate(x), joined.sigmoid())


def test_the_released_window_is_the_left_square() -> None:
    whole, released = randomised("bam", 12, parts="channel"), randomised("bam", 12, parts="channel", window="released")
    square, wide = random_map(12, (5, 5)), random_map(12, (5, 9))
    equal(released(square), whole(square))
    equal(released.gate(wide), whole.gate(wide[..., :5]))
    assert not torch.allclose(released(wide), whole(wide))


@pytest.mark.parametrize("size", [(6, 5), (4, 8)], ids=str)
def test_the_released_window_refuses_what_the_authors_code_cannot_take(size: tuple[int, int]) -> None:
    with pytest.raises(saccade.InputError, match=r"released window needs H <= W < 2 H; received shape \(2, 12"):
        saccade.create("bam", 12, window="released")(random_map(12, size).float())


@pytest.mark.parametrize(
    ("options", "shape", "message"),
    [
        ({}, (1, 12, 4, 4), "needs more than one sample; .*\n.*larger batch, eval.*parts='spatial'"),
        ({"parts": "channel"}, (1, 12, 4, 4), "needs more than one sample"),
        ({"parts": "spatial"}, (1, 12, 1, 1), "need more than one position; .*\n.*larger batch or map, or eval"),
    ],
    ids=str,
)
def test_training_names_what_its_norms_need(options: dict[str, str], shape: tuple[int, ...], message: str) -> None:
    bam, x = saccade.create("bam", 12, **options), torch.ones(shape)
    with pytest.raises(saccade.InputError, match=message):
        bam.train()(x)
    assert bam.eval()(x).isfinite().all()


@pytest.mark.parametrize("channels", [16, 64, 256])
def test_has_the_parameters_of_the_authors(channels: int) -> None:
    h = channels // 16
    count = sum(p.numel() for p in saccade.create("bam", channels).parameters())
    assert count == 3 * channels * h + channels + 18 * h * h + 13 * h + 1


def test_three_of_them_make_the_published_network() -> None:
    added = sum(sum(p.numel() for p in saccade.create("bam", c).parameters()) for c in (256, 512, 1024))
    assert 25_557_032 + added == 25_915_099


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reduction": 0}, "BAM: `reduction` must be a whole number of at least 1; received reduction=0"),
        ({"num_convs": 0}, "BAM: `num_convs` must be a whole number of at least 1"),
        ({"combine": "add"}, "BAM: unknown combine='add'"),
        ({"window": "square"}, "BAM: unknown window='square'"),
        ({"parts": "spacial"}, "BAM: unknown parts='spacial'\nhint: did you mean spatial"),
    ],
    ids=str,
)
def test_names_what_is_wrong(options: dict[str, object], message: str) -> None:
    with pytest.raises(saccade.InputError, match=message):
        saccade.create("bam", 32, **options)
