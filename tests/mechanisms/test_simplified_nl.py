"""Simplified non-local is its formula, and the global context block with one convolution as its transform."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from saccade.mechanisms.base import Mechanism
from saccade.mechanisms.simplified_nl import SimplifiedNonLocal
from tests.mechanisms.randomised import SIZES, equal, random_map, randomised


def written_out(block: Mechanism, x: Tensor) -> Tensor:
    """The projection of every position first, as the equation has it before it is simplified."""
    out = []
    for sample in x:
        positions = sample.flatten(1).T
        powers = torch.stack([(block.mask.weight.flatten() @ p + block.mask.bias[0]).exp() for p in positions])
        projected = [block.project.weight @ p + block.project.bias for p in positions]
        total = sum(w * p for w, p in zip(powers / powers.sum(), projected, strict=True))
        out.append(sample + total[:, None, None])
    return torch.stack(out)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_agrees_with_the_formula(size: tuple[int, int]) -> None:
    block, x = randomised("simplified_nl", 12), random_map(12, size)
    equal(block(x), written_out(block, x))


def test_is_gc_with_one_convolution() -> None:
    gc, x = randomised("gc", 12, ratio=1 / 4), random_map(12, (5, 7))
    block = randomised("simplified_nl", 12)
    block.mask.load_state_dict(gc.mask.state_dict())
    gc.add = block.project  # in the place of the narrow transform
    equal(block(x), gc(x))


def test_its_gradients_are_those_of_finite_differences() -> None:
    block, x = randomised("simplified_nl", 3), random_map(3, (2, 3), batch=1).requires_grad_()
    names = [name for name, _ in block.named_parameters()]
    assert torch.autograd.gradcheck(
        lambda x, *rest: torch.func.functional_call(block, dict(zip(names, rest, strict=True)), (x,)),
        [x, *block.parameters()],
    )


def test_starts_as_the_identity_and_learns_its_projection_first() -> None:
    block, x = SimplifiedNonLocal(8), torch.randn(2, 8, 3, 5)
    y = block(x)
    assert torch.equal(y, x)
    y.pow(3).sum().backward()
    assert block.project.weight.grad.any()
    assert block.mask.weight.any()
    assert not block.mask.weight.grad.any()
