"""SK is its formula: branches of growing reach, mixed channel by channel with a softmax over the branches."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import saccade
from saccade.mechanisms.base import Mechanism
from saccade.official import load_official
from tests.mechanisms.randomised import SIZES, equal, random_map, randomised

FORMS = (
    {},
    {"branches": 3},
    {"second": "5x5"},
    {"stride": 2},
    {"stride": 2, "second": "5x5", "branches": 3},
    {"variant": "popular"},
    {"variant": "timm"},
    {"variant": "timm", "split": False},
    {"inner_channels": 3},
    {"second": "grouped", "stride": 2},
)


TIMM = ({"split": False, "groups": 4}, {"second": "5x5"}, {"stride": 2}, {"out_channels": 48})


def convolved(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """A grouped convolution, one output number at a time."""
    (stride, _), (padding, _), (dilation, _) = conv.stride, conv.padding, conv.dilation
    rows = -(-x.shape[2] // stride)
    columns = -(-x.shape[3] // stride)
    padded = torch.zeros(*x.shape[:2], x.shape[2] + 2 * padding, x.shape[3] + 2 * padding, dtype=x.dtype)
    padded[:, :, padding : padding + x.shape[2], padding : padding + x.shape[3]] = x
    per_group_in, per_group_out = conv.weight.shape[1], conv.out_channels // conv.groups
    out = torch.zeros(len(x), conv.out_channels, rows, columns, dtype=x.dtype)
    for o in range(conv.out_channels):
        first = o // per_group_out * per_group_in
        for i in range(rows):
            for j in range(columns):
                top, left, reach = i * stride, j * stride, dilation * (conv.weight.shape[2] - 1) + 1
                window = padded[
                    :, first : first + per_group_in, top : top + reach : dilation, left : left + reach : dilation
                ]
                out[:, o, i, j] = (window * conv.weight[o]).sum(dim=(1, 2, 3))
    return out if conv.bias is None else out + conv.bias.view(1, -1, 1, 1)


def normalised(norm: nn.Module, x: Tensor) -> Tensor:
    view = (-1, *([1] * (x.dim() - 2)))
    mean, deviation = norm.running_mean.view(view), (norm.running_var + 1e-5).sqrt().view(view)
    return (x - mean) / deviation * norm.weight.view(view) + norm.bias.view(view)


def written_out(sk: Mechanism, x: Tensor) -> tuple[Tensor, Tensor]:
    """The output and the shares."""
    parts = x.split(x.shape[1] // sk.branches, dim=1) if sk.split else [x] * sk.branches
    maps = [
        normalised(norm, convolved(conv, part)).clamp(min=0)
        for conv, norm, part in zip(sk.convs, sk.norms, parts, strict=True)
    ]
    z = sum(maps).mean(dim=(2, 3)) @ sk.reduce.weight.T
    if sk.variant == "popular":
        z = z + sk.reduce.bias
        logits = [z @ layer.weight.T + layer.bias for layer in sk.select]
    else:
        z = normalised(sk.reduce_norm, z).clamp(min=0)
        logits = list((z @ sk.select[0].weight.T).split(x.shape[1], dim=1))
    powers = torch.stack([logit.exp() for logit in logits], dim=1)
    shares = powers / powers.sum(dim=1, keepdim=True)
    return sum(shares[:, i, :, None, None] * u for i, u in enumerate(maps)), shares


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("options", FORMS, ids=str)
def test_agrees_with_the_formula(size: tuple[int, int], options: dict[str, object]) -> None:
    sk, x = randomised("sk", 12, **({"groups": 3} | options)), random_map(12, size)
    output, shares = written_out(sk, x)
    equal(sk(x), output)
    equal(sk.shares(x), shares)
    equal(sk.gates(x)["channel"], 1 - shares[:, 0])


@pytest.mark.parametrize("second", ["dilated", "5x5"])
@pytest.mark.parametrize(("size", "smaller"), [((12, 5), (6, 3)), ((7, 9), (4, 5)), ((1, 1), (1, 1))], ids=str)
def test_a_stride_makes_the_map_smaller(second: str, size: tuple[int, int], smaller: tuple[int, int]) -> None:
    sk = saccade.create("sk", 32, stride=2, second=second).eval()
    assert sk(torch.ones(2, 32, *size)).shape == (2, 32, *smaller)


@pytest.mark.parametrize(
    ("channels", "options", "width"),
    [
        (128, {}, 32),
        (1024, {}, 64),
        (64, {"variant": "popular"}, 32),
        (32, {"variant": "timm"}, 8),
        (192, {"variant": "timm"}, 16),
        (64, {"inner_channels": 5}, 5),
    ],
    ids=str,
)
def test_hidden_width(channels: int, options: dict[str, object], width: int) -> None:
    assert saccade.create("sk", channels, **options).reduce.out_features == width


@pytest.mark.parametrize(("channels", "branches"), [(64, 2), (128, 3)])
def test_has_the_parameters_its_docstring_counts(channels: int, branches: int) -> None:
    d, convolution = 32, 9 * channels * channels // 32
    expected = branches * (convolution + 2 * channels) + (branches + 1) * channels * d + 2 * d
    assert sum(p.numel() for p in saccade.create("sk", channels, branches=branches).parameters()) == expected


@pytest.mark.parametrize("options", TIMM, ids=str)
def test_is_the_layer_of_timm(options: dict[str, object]) -> None:
    layers = pytest.importorskip("timm.layers")
    theirs = {"split_input": options.get("split", True), "keep_3x3": options.get("second") != "5x5"}
    theirs |= {name: options[name] for name in ("groups", "stride", "out_channels") if name in options}
    reference = layers.SelectiveKernel(32, **theirs).double().eval()
    sk, x = saccade.create("sk", 32, variant="timm", **options).double().eval(), random_map(32, (5, 7))
    load_official(sk, reference.state_dict())
    equal(sk(x), reference(x))


def test_training_names_what_its_norms_need() -> None:
    sk, x = saccade.create("sk", 32), torch.ones(1, 32, 5, 5)
    with pytest.raises(saccade.InputError, match=r"needs more than one sample; .*\n.*larger batch, eval.*popular"):
        sk.train()(x)
    assert sk.eval()(x).isfinite().all()
    popular = saccade.create("sk", 32, variant="popular").train()
    assert popular(x).isfinite().all()
    with pytest.raises(saccade.InputError, match="need more than one position"):
        popular(x[..., :1, :1])


def test_split_branches_are_not_taken_for_groups() -> None:
    split, grouped = saccade.create("sk", 32, variant="timm"), saccade.create("sk", 32, groups=2)
    tensors = {f"paths.{i}.conv.weight": conv.weight for i, conv in enumerate(split.convs)}
    with pytest.raises(saccade.InputError, match="the module has variant='official'"):
        load_official(grouped, tensors)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"groups": 0}, "SK: `groups` must be a whole number of at least 1; received groups=0"),
        ({"groups": 5}, "SK: `groups` must divide the channels .* received groups=5, channels 32 and 32"),
        ({"groups": 32, "variant": "timm"}, "received groups=32, channels 16 and 32"),
        ({"branches": 1}, "SK: `branches` must be at least 2"),
        ({"branches": 3, "variant": "timm"}, "SK: 32 channels do not split into 3 branches"),
        ({"stride": 0}, "SK: `stride` must be a whole number"),
        ({"second": "7x7"}, "SK: unknown second='7x7'"),
        ({"variant": "tim"}, "SK: unknown variant='tim'\nhint: did you mean timm"),
    ],
    ids=str,
)
def test_names_what_is_wrong(options: dict[str, object], message: str) -> None:
    with pytest.raises(saccade.InputError, match=message):
        saccade.create("sk", 32, **options)
