"""Mechanisms on maps of one and of three axes: their formula is that of two axes, and so are their numbers."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import saccade
import saccade.ops
from saccade import InputError
from saccade.catalog import CATALOG, Entry
from saccade.mechanisms.base import Mechanism
from saccade.testing import Subject
from tests.mechanisms.contract import FORMS
from tests.suites import everyday

C, H, W = 32, 5, 6
OF_ANY_AXES = [entry for entry in CATALOG.values() if not entry.flat]
each = pytest.mark.parametrize("entry", OF_ANY_AXES, ids=lambda entry: entry.name)


def map_of(*sides: int, batch: int = 2) -> Tensor:
    draw = torch.Generator().manual_seed(5)
    return torch.randn(batch, C, *sides, generator=draw, dtype=torch.float64) + 0.3


def drawn(entry: Entry, dims: int, **options: object) -> Mechanism:
    """With no number at its start, in evaluation."""
    return Subject.of(entry.name, options={**options, "dims": dims}, channels=C).awake()


def carried(flat: nn.Module, deep: nn.Module, axis: int) -> None:
    """Give a module of one axis more the numbers of another: kernels in the middle of the new axis, else 0."""
    own = flat.state_dict()
    for name, tensor in deep.state_dict().items():
        given = own[name]
        if given.dim() == tensor.dim():
            tensor.copy_(given)
            continue
        tensor.zero_()
        tensor.select(2 + axis, tensor.shape[2 + axis] // 2).copy_(given)


FORMS_OF_TWO_AXES = [
    (entry.name, options)
    for entry in OF_ANY_AXES
    for options in ({}, *FORMS.get(entry.name, ()))
    if options.get("window") != "released" and (entry.name != "gsop" or options.get("variant", "channel") == "channel")
]
DEFAULTS = [case for case in FORMS_OF_TWO_AXES if not case[1]]


@pytest.mark.parametrize(("name", "options"), everyday(DEFAULTS, FORMS_OF_TWO_AXES), ids=str)
def test_a_clip_of_one_frame_gives_what_the_frame_gives(name: str, options: dict[str, object]) -> None:
    """With the kernels of two axes in the middle of those of three; every gradient as well."""
    entry = CATALOG[name]
    flat, deep = drawn(entry, 2, **options), drawn(entry, 3, **options)
    carried(flat, deep, axis=0)
    x = map_of(H, W).requires_grad_()
    clip = x.detach()[:, :, None].clone().requires_grad_()
    y, of_clip = flat(x), deep(clip)
    torch.testing.assert_close(of_clip[:, :, 0], y, rtol=1e-10, atol=1e-12)
    grad = torch.randn_like(y)
    y.backward(grad)
    of_clip.backward(grad[:, :, None])
    torch.testing.assert_close(clip.grad[:, :, 0], x.grad, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize(("name", "options"), everyday(DEFAULTS, FORMS_OF_TWO_AXES), ids=str)
def test_a_map_of_one_row_gives_what_the_sequence_gives(name: str, options: dict[str, object]) -> None:
    if name in ("sagan", "non_local"):  # a row of one position cannot be halved, a sequence can
        options = {**options, **({"variant": "popular"} if name == "sagan" else {"sub_sample": False})}
        if options.get("update_u") is False:
            return
    entry = CATALOG[name]
    line, flat = drawn(entry, 1, **options), drawn(entry, 2, **options)
    carried(line, flat, axis=0)
    x = map_of(11)
    torch.testing.assert_close(flat(x[:, :, None])[:, :, 0], line(x), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("dims", [1, 3])
@each
def test_its_lean_form_is_its_definition(entry: Entry, dims: int) -> None:
    module, x = drawn(entry, dims), map_of(*(9,) if dims == 1 else (3, H, W)).requires_grad_()
    grad = torch.randn_like(x)
    y = module(x)
    (of_x,) = torch.autograd.grad(y, x, grad)
    with saccade.ops.definitions():
        written = module(x)
        (of_written,) = torch.autograd.grad(written, x, grad)
    torch.testing.assert_close(y, written, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(of_x, of_written, rtol=1e-8, atol=1e-10)


def test_the_formula_of_a_gate_written_out_for_a_volume() -> None:
    """SE and CBAM by their equations, position by position."""
    x = map_of(3, 4, 5)
    se = drawn(CATALOG["se"], 3)
    mean = x.sum(dim=(2, 3, 4)) / 60
    hidden = (mean @ se.reduce.weight.flatten(1).T + se.reduce.bias).clamp_min(0)
    gate = 1 / (1 + torch.exp(-(hidden @ se.expand.weight.flatten(1).T + se.expand.bias)))
    torch.testing.assert_close(se(x), torch.einsum("bcdhw,bc->bcdhw", x, gate), rtol=1e-10, atol=1e-12)

    cbam = drawn(CATALOG["cbam"], 3, kernel_size=3, variant="popular")
    logits = sum(
        (pooled @ cbam.channel.reduce.weight.T).clamp_min(0) @ cbam.channel.expand.weight.T
        for pooled in (mean, x.flatten(2).max(dim=2).values)
    )
    scaled = torch.einsum("bcdhw,bc->bcdhw", x, torch.sigmoid(logits))
    planes = torch.stack([scaled.max(dim=1).values, scaled.mean(dim=1)], dim=1)
    padded = torch.zeros(2, 2, 5, 6, 7, dtype=x.dtype)
    padded[:, :, 1:-1, 1:-1, 1:-1] = planes
    kernel = cbam.spatial.conv.weight[0]
    answer = torch.zeros(2, 3, 4, 5, dtype=x.dtype)
    for d in range(3):
        for h in range(4):
            for w in range(5):
                window = padded[:, :, d : d + 3, h : h + 3, w : w + 3]
                answer[:, d, h, w] = (window * kernel).sum(dim=(1, 2, 3, 4))
    torch.testing.assert_close(cbam(x), scaled * torch.sigmoid(answer)[:, None], rtol=1e-10, atol=1e-12)


def test_the_formula_of_attention_written_out_for_a_volume() -> None:
    """PAM, pair by pair of positions; the query of weights is a position of three axes."""
    x, pam = map_of(2, 3, 2, batch=1), drawn(CATALOG["pam"], 3)
    flat = x[0].flatten(1)
    query, key, value = (
        layer.weight.flatten(1) @ flat + layer.bias[:, None] for layer in (pam.query, pam.key, pam.value)
    )
    y = flat.clone()
    for i in range(12):
        weights = torch.stack([torch.exp(query[:, i] @ key[:, j]) for j in range(12)])
        weights = weights / weights.sum()
        y[:, i] += pam.gamma[0] * sum(weights[j] * value[:, j] for j in range(12))
        position = (i // 6, i // 2 % 3, i % 2)
        torch.testing.assert_close(pam.weights(x, [position])[0, 0].flatten(), weights)
    torch.testing.assert_close(pam(x)[0].flatten(1), y, rtol=1e-10, atol=1e-12)


def test_says_which_axes_it_takes() -> None:
    with pytest.raises(InputError, match=r"^SE: unknown dims=4"):
        saccade.create("se", 8, dims=4)
    with pytest.raises(InputError, match="fla takes maps of two axes only: its strips are"):
        saccade.create("fla", 8, dims=3)
    with pytest.raises(InputError, match="GSoP: variant='sum' compares positions of a square grid of two axes"):
        saccade.create("gsop", 8, variant="sum", dims=3)
    with pytest.raises(InputError, match="BAM: the released window is a square"):
        saccade.create("bam", 8, window="released", dims=1)
    with pytest.raises(InputError, match=r"SE: expected a feature map \(B, 8, T, H, W\); received shape"):
        saccade.create("se", 8, dims=3)(torch.randn(2, 8, 5, 6))


def test_loads_what_it_saved_and_takes_kernels_of_fewer_axes(tmp_path) -> None:
    """1x1 convolutions of images fit volumes: they differ in axes of 1 only."""
    flat, deep = drawn(CATALOG["pam"], 2), drawn(CATALOG["pam"], 3)
    saccade.load_official(deep, flat.state_dict())
    x = map_of(H, W)
    torch.testing.assert_close(deep(x[:, :, None])[:, :, 0], flat(x))
    path = tmp_path / "cbam.pt"
    made = drawn(CATALOG["cbam"], 3)
    torch.save(made.state_dict(), path)
    again = saccade.create("cbam", C, dims=3).double().eval()
    again.load_state_dict(torch.load(path))
    volume = map_of(3, H, W)
    assert torch.equal(again(volume), made(volume))
