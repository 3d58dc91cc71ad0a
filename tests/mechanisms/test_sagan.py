"""SAGAN is its formula, popular SAGAN is PAM, and the gradient goes through the power iteration."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from saccade import InputError
from saccade.mechanisms.base import Mechanism
from saccade.mechanisms.sagan import SelfAttention
from saccade.official import load_official
from tests.mechanisms.randomised import equal, random_map, randomised


def bounded(layer: torch.nn.Module) -> Tensor:
    matrix = layer.weight[:, :, 0, 0]
    v = layer.u @ matrix
    v = v / (v.norm() + 1e-12)
    u = matrix @ v
    u = u / (u.norm() + 1e-12)
    return matrix / (v @ matrix.T @ u)


def written_out(sagan: Mechanism, x: Tensor) -> Tensor:
    """One position at a time."""
    query, key, value = (
        torch.einsum("oc,bchw->bohw", bounded(layer), x) for layer in (sagan.query, sagan.key, sagan.value)
    )
    key, value = F.max_pool2d(key, 2).flatten(2), F.max_pool2d(value, 2).flatten(2)
    y = x.clone()
    for i in range(x.shape[2]):
        for j in range(x.shape[3]):
            powers = torch.einsum("bd,bdn->bn", query[:, :, i, j], key).exp()
            gathered = torch.einsum("bn,bcn->bc", powers / powers.sum(1, keepdim=True), value)
            y[:, :, i, j] += sagan.gamma * gathered @ bounded(sagan.project).T
    return y


@pytest.mark.parametrize("size", [(2, 2), (4, 6), (5, 7), (2, 9)], ids=str)
@pytest.mark.parametrize("channels", [1, 12, 16])
def test_agrees_with_the_formula(channels: int, size: tuple[int, int]) -> None:
    sagan, x = randomised("sagan", channels), random_map(channels, size)
    equal(sagan(x), written_out(sagan, x))


def test_popular_is_position_attention() -> None:
    sagan, x = randomised("sagan", 12, variant="popular"), random_map(12, (5, 7))
    pam = randomised("pam", 12)
    pam.load_state_dict(sagan.state_dict())
    equal(sagan(x), pam(x))
    equal(sagan.attention(x), pam.attention(x))


def test_its_gradients_are_those_of_finite_differences_through_the_power_iteration() -> None:
    sagan, x = randomised("sagan", 4), random_map(4, (4, 2), batch=1).requires_grad_()
    names = [name for name, _ in sagan.named_parameters()]
    assert torch.autograd.gradcheck(
        lambda x, *rest: torch.func.functional_call(sagan, dict(zip(names, rest, strict=True)), (x,)),
        [x, *sagan.parameters()],
    )


def test_training_bounds_the_convolutions_by_their_largest_singular_value() -> None:
    sagan, x = SelfAttention(16).double(), random_map(16, (4, 4))
    for _ in range(200):
        sagan(x)
    for layer in (sagan.query, sagan.key, sagan.value, sagan.project):
        assert torch.linalg.matrix_norm(bounded(layer), 2).item() == pytest.approx(1.0, abs=1e-6)


def test_u_moves_in_training_only_and_only_where_it_may() -> None:
    x = random_map(16, (4, 4)).float()
    for training, update_u, moves in ((True, True, True), (True, False, False), (False, True, False)):
        sagan = SelfAttention(16, update_u=update_u).train(training)
        before = sagan.query.u.clone()
        torch.nn.init.ones_(sagan.gamma)
        sagan(x).sum().backward()
        assert torch.equal(sagan.query.u, before) is not moves


def test_gamma_is_learnt() -> None:
    for variant in ("official", "popular"):
        sagan, x = SelfAttention(8, variant=variant), torch.randn(2, 8, 4, 4)
        assert torch.equal(sagan(x), x)
        sagan(x).pow(3).sum().backward()
        assert "gamma" in dict(sagan.named_parameters())
        assert sagan.gamma.grad.abs() > 0


def test_reads_the_names_of_tensorflow_at_any_depth() -> None:
    sagan, other = randomised("sagan", 16), SelfAttention(16).double()
    names = {"query": "theta", "key": "phi", "value": "g", "project": "attn"}
    theirs: dict[str, Tensor] = {"generator/nl/sigma_ratio": sagan.gamma.detach().reshape(())}
    for ours, name in names.items():
        layer = getattr(sagan, ours)
        theirs[f"generator/nl/sn_conv_{name}/w"] = layer.weight.detach().permute(2, 3, 1, 0)
        theirs[f"generator/nl/sn_conv_{name}/u"] = layer.u[None]
    report = load_official(other, theirs)
    assert report.prefix == "generator/nl/"
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in sagan.state_dict().items())


def test_names_what_is_wrong() -> None:
    with pytest.raises(InputError, match=r"^SAGAN: unknown variant='tf'"):
        SelfAttention(8, variant="tf")
    with pytest.raises(InputError, match=r"^SAGAN: needs at least 2 x 2 positions to pool; received a map of 1 x 5"):
        SelfAttention(8)(torch.zeros(2, 8, 1, 5))
    tensors = SelfAttention(16, variant="popular").state_dict()
    with pytest.raises(InputError, match=r"SAGAN: the state dict") as error:
        load_official(SelfAttention(16), {f"{name}_conv.{rest}" if rest else name: t for key, t in tensors.items()
                                          for name, _, rest in [key.partition(".")]})  # fmt: skip
    assert "variant='popular'" in str(error.value)
