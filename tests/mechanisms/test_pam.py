"""PAM is its formula, has the authors' sizes, and starts as the identity with only gamma to learn."""

import pytest
import torch

from saccade import InputError
from saccade.mechanisms.pam import PositionAttention
from saccade.official import load_official


def awake(channels, **options):
    torch.manual_seed(0)
    pam = PositionAttention(channels, **options).double()
    torch.nn.init.constant_(pam.gamma, 0.7)
    return pam


def written_out(pam, x):
    """One position at a time."""
    query, key, value = (
        (torch.einsum("oc,bcn->bon", conv.weight[:, :, 0, 0], x.flatten(2)) + conv.bias[:, None])
        for conv in (pam.query, pam.key, pam.value)
    )
    y = x.flatten(2).clone()
    for i in range(y.shape[-1]):
        powers = torch.einsum("bd,bdn->bn", query[..., i], key).exp()
        y[..., i] += pam.gamma * torch.einsum("bn,bcn->bc", powers / powers.sum(1, keepdim=True), value)
    return y.view_as(x)


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (4, 4), (5, 7)], ids=str)
@pytest.mark.parametrize("options", [{}, {"reduction": 1}, {"reduction": 3}], ids=str)
def test_is_its_formula(size, options):
    pam, x = awake(12, **options), torch.randn(2, 12, *size, dtype=torch.float64)
    torch.testing.assert_close(pam(x), written_out(pam, x), rtol=1e-10, atol=1e-12)


def test_its_gradients_are_those_of_finite_differences():
    pam, x = awake(3), torch.randn(1, 3, 2, 3, dtype=torch.float64, requires_grad=True)
    values = [x, *(parameter.detach().requires_grad_() for parameter in pam.parameters())]
    names = [name for name, _ in pam.named_parameters()]
    assert torch.autograd.gradcheck(
        lambda x, *rest: torch.func.functional_call(pam, dict(zip(names, rest, strict=True)), (x,)), values
    )


@pytest.mark.parametrize(("options", "params"), [({}, 328_321), ({"reduction": 1}, 787_969)], ids=str)
def test_has_the_parameters_of_the_released_and_of_the_printed_form(options, params):
    assert sum(p.numel() for p in PositionAttention(512, **options).parameters()) == params


@pytest.mark.parametrize(("channels", "width"), [(1, 1), (7, 1), (8, 1), (20, 2), (64, 8)])
def test_rounds_the_reduced_width_down_but_not_to_0(channels, width):
    pam = PositionAttention(channels)
    assert pam.query.out_channels == pam.key.out_channels == width
    assert pam.value.out_channels == channels


def test_only_gamma_learns_at_first():
    pam, x = PositionAttention(8), torch.randn(2, 8, 3, 5)
    pam(x).pow(3).sum().backward()
    assert pam.gamma.shape == (1,)
    assert pam.gamma.grad.abs() > 0
    assert all(not p.grad.any() for name, p in pam.named_parameters() if name != "gamma")


@pytest.mark.parametrize("reduction", [0, -1, 1.5, True])
def test_names_what_is_wrong(reduction):
    with pytest.raises(InputError, match=rf"PAM: `reduction` must be .* received reduction={reduction}"):
        PositionAttention(8, reduction=reduction)


@pytest.mark.parametrize(("channels", "reduction"), [(64, 8), (20, 8), (8, 1), (5, 8)])
def test_finds_options_that_hold_its_tensors(channels, reduction):
    tensors = PositionAttention(channels, reduction=reduction).state_dict()
    PositionAttention(**PositionAttention.fitting(tensors)).load_state_dict(tensors)


@pytest.mark.parametrize("names", [("query_conv", "key_conv", "value_conv"), ("f", "g", "h")], ids=str)
def test_loads_the_names_of_the_code_and_of_the_listing(names):
    saved, x = awake(16), torch.randn(2, 16, 3, 5, dtype=torch.float64)
    tensors = {"attn.gamma": saved.gamma}
    for name, conv in zip(names, (saved.query, saved.key, saved.value), strict=True):
        tensors |= {f"attn.{name}.weight": conv.weight, f"attn.{name}.bias": conv.bias}
    loaded = PositionAttention(16).double()
    load_official(loaded, tensors)
    assert torch.equal(loaded(x), saved(x))
    with pytest.raises(InputError, match="misshapen") as error:
        load_official(PositionAttention(16, reduction=4), tensors)
    assert "reduction=8" in error.value.hint
