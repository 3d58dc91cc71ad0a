"""GSoP is its formula: gates from the covariance of channels, from the released matrix of positions, and fusions."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import saccade
from saccade.mechanisms.base import Mechanism
from tests.mechanisms.randomised import SIZES, equal, random_map, randomised

C = 6
CONCAT = {"variant": "concat", "fusion_kernel": 3, "fusion_groups": 2}
FORMS = (
    {},
    {"stride": 2},
    {"variant": "spatial"},
    {"variant": "spatial", "covariance": "true"},
    {"variant": "sum"},
    {"variant": "max", "stride": 2},
    CONCAT,
)


def normalised(norm: nn.Module, x: Tensor) -> Tensor:
    mean, deviation = norm.running_mean.view(-1, 1, 1), (norm.running_var + 1e-5).sqrt().view(-1, 1, 1)
    return (x - mean) / deviation * norm.weight.view(-1, 1, 1) + norm.bias.view(-1, 1, 1)


def pointwise(conv: nn.Module, x: Tensor) -> Tensor:
    return torch.einsum("oc,chw->ohw", conv.weight[:, :, 0, 0], x) + conv.bias.view(-1, 1, 1)


def of_rows(gate: nn.Module, matrix: Tensor) -> Tensor:
    """Each normalised row to four numbers."""
    rows = normalised(gate.row_norm, matrix[..., None])[..., 0]
    weight = gate.rows.weight[:, 0, :, 0]
    return torch.stack([weight[o] @ rows[o // 4] + gate.rows.bias[o] for o in range(len(weight))])


def pooled(x: Tensor, height: int, width: int) -> Tensor:
    """Adaptive means: bin i of n over L runs from floor(i L / n) to ceil((i + 1) L / n)."""
    rows, columns = x.shape[1:]
    out = torch.empty(len(x), height, width, dtype=x.dtype)
    for i in range(height):
        for j in range(width):
            top, bottom = i * rows // height, -(-(i + 1) * rows // height)
            left, right = j * columns // width, -(-(j + 1) * columns // width)
            out[:, i, j] = x[:, top:bottom, left:right].mean(dim=(1, 2))
    return out


def channel_gate(gsop: Mechanism, x: Tensor) -> Tensor:
    gate, stride = gsop.channel, gsop.stride
    h = normalised(gate.reduce_norm, pointwise(gate.reduce, x.clamp(min=0)[:, ::stride, ::stride])).clamp(min=0)
    covariance = torch.cov(h.flatten(1), correction=0).view(gsop.dim, gsop.dim)
    return torch.sigmoid(gate.expand.weight[:, :, 0, 0] @ of_rows(gate, covariance) + gate.expand.bias)


def spatial_gate(gsop: Mechanism, x: Tensor) -> Tensor:
    gate, positions = gsop.spatial, gsop.grid**2
    k = pooled(normalised(gate.reduce_norm, pointwise(gate.reduce, x.clamp(min=0))), gsop.grid, gsop.grid).flatten(1)
    if gsop.covariance == "true":
        matrix = torch.cov(k.T, correction=0).view(positions, positions)
    else:
        matrix = k.T @ k / positions - torch.outer(k.sum(dim=0), k.sum(dim=0)) / positions**2
    logits = gate.expand.weight[:, :, 0, 0] @ of_rows(gate, matrix).clamp(min=0) + gate.expand.bias
    return pooled(logits.sigmoid().view(1, gsop.grid, gsop.grid), *x.shape[1:])


def vertical(conv: nn.Module, x: Tensor) -> Tensor:
    half, width = conv.weight.shape[2] // 2, conv.weight.shape[1]
    out = conv.bias.view(-1, 1, 1).expand_as(x).clone()
    for o in range(len(x)):
        first = o // (len(x) // conv.groups) * width
        for row in range(x.shape[1]):
            for step in range(-half, half + 1):
                if 0 <= row + step < x.shape[1]:
                    out[o, row] += conv.weight[o, :, step + half, 0] @ x[first : first + width, row + step]
    return out


def written_out(gsop: Mechanism, x: Tensor) -> Tensor:
    """Of one sample."""
    scaled = None if gsop.channel is None else x * channel_gate(gsop, x).view(-1, 1, 1)
    placed = None if gsop.spatial is None else (x * spatial_gate(gsop, x)).clamp(min=0)
    if gsop.variant == "concat":
        both = vertical(gsop.fusion.channel, scaled) + vertical(gsop.fusion.spatial, placed)
        return normalised(gsop.fusion.norm, both)
    if gsop.variant == "sum":
        return scaled + placed
    if gsop.variant == "max":
        return torch.where(scaled > placed, scaled, placed)
    return placed if scaled is None else scaled


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("options", FORMS, ids=str)
def test_agrees_with_the_formula(size: tuple[int, int], options: dict[str, object]) -> None:
    gsop, x = randomised("gsop", C, dim=5, grid=3, **options), random_map(C, size)
    equal(gsop(x), torch.stack([written_out(gsop, sample) for sample in x]))
    gates = gsop.gates(x)
    if "channel" in gates:
        equal(gates["channel"], torch.stack([channel_gate(gsop, sample) for sample in x]))
    if "spatial" in gates:
        equal(gates["spatial"], torch.stack([spatial_gate(gsop, sample) for sample in x]))


@pytest.mark.parametrize(("variant", "published"), [("channel", 28_285_224), ("spatial", 26_182_952)])
def test_four_of_them_make_the_authors_network(variant: str, published: int) -> None:
    gates = [saccade.create("gsop", channels, variant=variant) for channels in (256, 512, 1024, 2048)]
    assert 25_557_032 + sum(p.numel() for gate in gates for p in gate.parameters()) == published


@pytest.mark.parametrize(("channels", "groups", "kernel"), [(256, 4, 11), (512, 8, 9), (1024, 16, 7), (2048, 32, 5)])
def test_the_convolutions_of_concat_have_the_authors_sizes(channels: int, groups: int, kernel: int) -> None:
    with torch.device("meta"):
        fusion = saccade.create("gsop", channels, variant="concat").fusion
    assert fusion.channel.weight.shape == (channels, channels // groups, kernel, 1)


def test_the_released_matrix_is_nocovariance() -> None:
    """The grid's 64 positions and 128 channels give it negative eigenvalues; the true one has none."""
    from saccade.mechanisms.gsop import _released
    from saccade.ops.covariance import covariance

    k = torch.rand(1, 64, 128, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert torch.linalg.eigvalsh(_released(k)).min() < -1
    assert torch.linalg.eigvalsh(covariance(k)).min() > -1e-12


@pytest.mark.parametrize(("stride", "size"), [(1, (1, 1)), (2, (1, 1)), (2, (2, 2))], ids=str)
def test_training_names_what_its_norms_need(stride: int, size: tuple[int, int]) -> None:
    gsop, x = saccade.create("gsop", C, dim=5, stride=stride), torch.ones(1, C, *size)
    with pytest.raises(saccade.InputError, match=rf"more than one position \(after stride {stride}\)"):
        gsop.train()(x)
    assert gsop.eval()(x).isfinite().all()
    assert gsop.train()(x.expand(2, -1, -1, -1)).isfinite().all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dim": 0}, "GSoP: `dim` must be a whole number of at least 1; received dim=0"),
        ({"stride": 0}, "GSoP: `stride` must be a whole number"),
        ({"variant": "spacial"}, "GSoP: unknown variant='spacial'\nhint: did you mean spatial"),
        ({"covariance": "half"}, "GSoP: unknown covariance='half'"),
        ({"variant": "concat"}, "GSoP: variant='concat' has a rule for multiples of 64 .* received channels=32"),
        ({"variant": "concat", "fusion_kernel": 4, "fusion_groups": 1}, "must be odd .* received fusion_kernel=4"),
        ({"variant": "concat", "fusion_kernel": 3, "fusion_groups": 5}, "divide 32 channels; .* fusion_groups=5"),
    ],
    ids=str,
)
def test_names_what_is_wrong(options: dict[str, object], message: str) -> None:
    with pytest.raises(saccade.InputError, match=message):
        saccade.create("gsop", 32, **options)
