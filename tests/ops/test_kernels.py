"""The Triton kernels, run by Triton's interpreter (see conftest), equal the operations they stand for.

The interpreter multiplies the bits of bfloat16 as whole numbers, so half precision is tried with float16.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from saccade.ops import pairwise, using
from saccade.ops.reading import Reading
from saccade.ops.tuning import WAYS
from tests.suites import everyday

pytest.importorskip("triton", reason="PyTorch brings Triton on Linux")
from saccade.ops.kernels import attention, operators


def with_gradients(function: Callable[..., Tensor], tensors: Sequence[Tensor]) -> list[Tensor]:
    leaves = [tensor.detach().requires_grad_() for tensor in tensors]
    y = function(*leaves)
    grad = torch.randn(y.shape, generator=torch.Generator().manual_seed(1)).to(y.dtype)
    return [y, *torch.autograd.grad(y, leaves, grad)]


def assert_as_close(ours: Callable[..., Tensor], theirs: Callable[..., Tensor], tensors: Sequence[Tensor]) -> None:
    """In outputs and gradients at most twice as far from float64 as PyTorch's operations, and a last digit."""
    exact = with_gradients(theirs, [tensor.double() for tensor in tensors])
    for mine, plain, true in zip(with_gradients(ours, tensors), with_gradients(theirs, tensors), exact, strict=True):
        assert mine.dtype == plain.dtype
        digit = torch.finfo(mine.dtype).eps * true.detach().norm()
        assert (mine - true).detach().norm() <= 2 * (plain - true).detach().norm() + digit


# B, N, M, D, E: ragged blocks, one of everything, two slices of what is carried, widths that are no powers of two.
@pytest.mark.parametrize("sizes", [(2, 70, 41, 5, 300), (1, 1, 1, 1, 1), (2, 33, 130, 64, 48)], ids=str)
@pytest.mark.parametrize("dtype", everyday([torch.float32], [torch.float32, torch.float16]), ids=str)
def test_attention(sizes: tuple[int, ...], dtype: torch.dtype) -> None:
    batch, queries, keys, width, carried = sizes
    draw = torch.Generator().manual_seed(0)
    # Channel first in memory, as they come from a convolution.
    shapes = ((width, queries), (width, keys), (carried, keys))
    tensors = [torch.randn(batch, *shape, generator=draw).to(dtype).mT for shape in shapes]
    assert attention.fits(*tensors)
    # Of ordinary logits: backward makes them in another order than forward, which costs digits of large ones.
    scale = width**-0.5
    assert_as_close(lambda *t: operators.softmax_attention(*t, scale), lambda *t: definition(*t, scale), tensors)


def definition(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
    return pairwise.weighted_sum(pairwise.softmax_weights(query, key, scale=scale), value)


@pytest.mark.parametrize("value", [1e4, -1e4, 0.0])
def test_attention_survives_huge_and_equal_logits(value: float) -> None:
    query, key, carried = torch.full((1, 20, 4), value), torch.ones(1, 30, 4), torch.randn(1, 30, 8)
    for found in with_gradients(lambda *t: operators.softmax_attention(*t, scale=1.0), (query, key, carried)):
        assert found.isfinite().all()


def test_what_the_kernels_do_not_take() -> None:
    query, key, value = torch.randn(1, 5, 4), torch.randn(1, 6, 4), torch.randn(1, 6, 8)
    assert not attention.fits(query.double(), key.double(), value.double())
    assert not attention.fits(query, key, value.half())
    assert not attention.fits(query, key, torch.randn(1, 6, attention.WIDEST + 1))
    assert not attention.fits(query[:0], key[:0], value[:0])


def test_too_little_memory_on_the_chip_is_done_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    from triton.runtime.errors import OutOfResources

    def fail(*_: object) -> None:
        raise OutOfResources(300_000, 232_448, "shared memory")

    monkeypatch.setattr(attention, "forward", fail)
    monkeypatch.setattr(attention, "backward", fail)
    tensors = [torch.randn(2, 9, 4), torch.randn(2, 7, 4), torch.randn(2, 7, 6)]
    assert_as_close(lambda *t: operators.softmax_attention(*t, scale=1.0), lambda *t: definition(*t, 1.0), tensors)


LAYOUTS = {"channels first": torch.contiguous_format, "channels last": torch.channels_last}


SHAPES = ((2, 37, 9, 11), (3, 1, 1, 1), (1, 5, 17, 20))
CASES = list(itertools.product(SHAPES, (torch.float32, torch.float16), LAYOUTS))
# Each shape, each precision and each layout.
CHOSEN = [CASES[0], CASES[3], CASES[5], CASES[10]]


@pytest.mark.parametrize(("shape", "dtype", "layout"), everyday(CHOSEN, CASES), ids=str)
def test_gates(shape: tuple[int, ...], dtype: torch.dtype, layout: str) -> None:
    draw = torch.Generator().manual_seed(0)
    # Rectified: ties among the largest are common, and the first of them has the gradient.
    x = torch.randn(shape, generator=draw).relu().to(dtype).contiguous(memory_format=LAYOUTS[layout])
    channel = torch.rand(shape[0], shape[1], 1, 1, generator=draw).to(dtype)
    spatial = torch.rand(shape[0], 1, *shape[2:], generator=draw).to(dtype)
    assert_as_close(operators.scale_by_product, lambda x, c, s: x * c * s, (x, channel, spatial))
    assert_as_close(
        operators.largest_and_mean_channel, lambda x, c: Reading(x).largest_and_mean_channel(c), (x, channel)
    )
    assert_as_close(
        lambda x: operators.mean_and_largest_position(x.flatten(2)),
        lambda x: Reading(x).mean_and_largest_position(),
        (x,),
    )
    assert operators.scale_by_product(x, channel, spatial).is_contiguous(memory_format=LAYOUTS[layout])


@pytest.mark.full
@pytest.mark.parametrize(
    ("operator", "tensors"),
    [
        (torch.ops.saccade.softmax_attention, [torch.randn(2, 9, 4), torch.randn(2, 7, 4), torch.randn(2, 7, 6), 0.5]),
        (torch.ops.saccade.scale, [torch.randn(2, 3, 5), torch.randn(2, 3), torch.randn(2, 5)]),
        (torch.ops.saccade.largest_and_mean_channel, [torch.randn(2, 3, 5), torch.randn(2, 3)]),
        (torch.ops.saccade.mean_and_largest_position, [torch.randn(2, 3, 5)]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
@pytest.mark.filterwarnings("ignore:The .grad attribute")  # by the check itself
def test_operators_are_registered_as_torch_asks(operator: object, tensors: list[object]) -> None:
    """Schema, shapes without data, derivatives, and the traced program at changing sizes, by PyTorch's own checks."""
    leaves = [value.requires_grad_() if isinstance(value, Tensor) else value for value in tensors]
    torch.library.opcheck(operator.default, leaves)  # type: ignore[attr-defined]


def test_operations_are_counted() -> None:
    query, key, value = (torch.empty(size, device="meta") for size in ((2, 9, 4), (2, 7, 4), (2, 7, 6)))
    with FlopCounterMode(display=False) as counter:
        operators.softmax_attention(query, key, value, 1.0)
    assert counter.get_total_flops() == 2 * 2 * 9 * 7 * (4 + 6)


def test_a_second_derivative_is_right() -> None:
    tensors = [torch.randn(1, size, width).requires_grad_() for size, width in ((5, 3), (4, 3), (4, 2))]

    def curves(function: Callable[..., Tensor]) -> tuple[Tensor, ...]:
        slopes = torch.autograd.grad(function(*tensors, 1.0).pow(2).sum(), tensors, create_graph=True)
        return torch.autograd.grad(sum(slope.pow(2).sum() for slope in slopes), tensors)

    for ours, theirs in zip(curves(operators.softmax_attention), curves(definition), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_on_a_cpu_they_are_never_taken() -> None:
    x, gate = torch.randn(1, 4, 3, 3), torch.rand(1, 4, 1, 1)
    with (
        using({kind: "triton" for kind, ways in WAYS.items() if "triton" in ways}),
        FlopCounterMode(display=False) as c,
    ):
        Reading(x).largest_and_mean_channel(gate)
        pairwise.softmax_attention(x.flatten(2).mT, x.flatten(2).mT, x.flatten(2).mT)
    assert not [name for counts in c.get_flop_counts().values() for name in counts if "saccade" in str(name)]
