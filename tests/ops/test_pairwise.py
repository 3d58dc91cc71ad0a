"""The pairwise averages against their formulas, a trusted kernel, and the precision they promise."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from saccade.ops import pairwise

SIZES = [(1, 1), (1, 6), (7, 1), (5, 3)]
by_size = pytest.mark.parametrize(("queries", "keys"), SIZES, ids=str)


def inputs(queries: int, keys: int, width: int = 4, carried: int = 6) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    shapes = ((2, queries, width), (2, keys, width), (2, keys, carried), (2 * width,))
    return tuple(torch.randn(shape, generator=draw, dtype=torch.float64) for shape in shapes)


def summed(weights: Tensor, value: Tensor) -> Tensor:
    return torch.einsum("bnm,bme->bne", weights, value)


@by_size
@pytest.mark.parametrize("scale", [1.0, 0.5, -1.0])
def test_softmax_is_its_formula_and_torchs_own_kernel(queries: int, keys: int, scale: float) -> None:
    query, key, value, _ = inputs(queries, keys)
    powers = torch.stack([torch.exp(scale * (query * key[:, j : j + 1]).sum(-1)) for j in range(keys)], dim=-1)
    expected = powers / powers.sum(-1, keepdim=True)
    torch.testing.assert_close(pairwise.softmax_weights(query, key, scale=scale), expected)
    got = pairwise.softmax_attention(query, key, value, scale=scale)
    torch.testing.assert_close(got, summed(expected, value))
    torch.testing.assert_close(got, F.scaled_dot_product_attention(query, key, value, scale=scale))


@by_size
def test_dot_product_is_its_formula_in_either_order(queries: int, keys: int) -> None:
    query, key, value, _ = inputs(queries, keys)
    got = pairwise.dot_product_attention(query, key, value)
    torch.testing.assert_close(got, query @ torch.einsum("bmd,bme->bde", key, value) / keys)
    torch.testing.assert_close(got, summed(pairwise.dot_product_weights(query, key), value))


@by_size
def test_concatenation_is_its_formula(queries: int, keys: int) -> None:
    query, key, value, score = inputs(queries, keys)
    pairs = torch.cat(
        [query[:, :, None].expand(-1, -1, keys, -1), key[:, None].expand(-1, queries, -1, -1)], dim=-1
    )  # (B, N, M, 2 D)
    expected = torch.relu((pairs * score).sum(-1)) / keys
    torch.testing.assert_close(pairwise.concatenation_weights(query, key, score), expected)
    torch.testing.assert_close(pairwise.concatenation_attention(query, key, value, score), summed(expected, value))


def test_their_gradients_are_those_of_finite_differences() -> None:
    query, key, value, score = (t.requires_grad_() for t in inputs(3, 4, width=2, carried=3))
    assert torch.autograd.gradcheck(lambda *t: pairwise.softmax_attention(*t, scale=-0.7), (query, key, value))
    assert torch.autograd.gradcheck(pairwise.dot_product_attention, (query, key, value))
    assert torch.autograd.gradcheck(pairwise.concatenation_attention, (query, key, value, score))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_maps_are_exact_to_float32_for_half_inputs(dtype: torch.dtype) -> None:
    query, key, value, score = (t.to(dtype) for t in inputs(9, 11, width=16))
    query, key = query * 100, key * 100  # products far beyond the largest float16
    for weights, arguments in (
        (pairwise.softmax_weights, (query, key)),
        (pairwise.dot_product_weights, (query, key)),
        (pairwise.concatenation_weights, (query, key, score)),
    ):
        got, exact = weights(*arguments), weights(*(t.double() for t in arguments))
        assert got.dtype == torch.float32
        torch.testing.assert_close(got.double(), exact, rtol=1e-4, atol=1e-5)
    assert pairwise.softmax_attention(query, key, value).dtype == dtype


def test_autocast_does_not_reach_the_maps() -> None:
    query, key, _, score = (t.float() for t in inputs(9, 11, width=16))
    for weights, arguments in (
        (pairwise.softmax_weights, (query, key)),
        (pairwise.dot_product_weights, (query, key)),
        (pairwise.concatenation_weights, (query, key, score)),
    ):
        expected = weights(*arguments)
        with torch.autocast("cpu", torch.bfloat16):
            got = weights(*arguments)
        assert torch.equal(got, expected)
