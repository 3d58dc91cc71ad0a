"""The lean forms equal the definitions, in outputs and all gradients, and survive what would break a careless one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import saccade
from saccade.mechanisms.base import Mechanism
from saccade.ops import blocks, definitions, pairwise
from tests.mechanisms.contract import Form, all_forms, marked

every_form = pytest.mark.parametrize("form", marked(all_forms()), ids=str)


def results(module: Mechanism, x: Tensor) -> list[Tensor]:
    """The output, and the gradients of the map and of every parameter."""
    x = x.detach().requires_grad_()
    y = module(x)
    cotangent = torch.randn(y.shape, generator=torch.Generator().manual_seed(5), dtype=y.dtype)
    return [y, *torch.autograd.grad(y, [x, *module.parameters()], cotangent, allow_unused=True)]


@every_form
def test_every_form_equals_its_definition(form: Form, monkeypatch: pytest.MonkeyPatch) -> None:
    """With blocks of 7 queries, the last ragged, and with one block; on odd maps and, where it can, on 1 x 1."""
    module = form.awake()
    for size, fewest in ((form.size, 7), (form.other_size, 10_000), ((1,) * form.dims, 7)):
        if form.pools and max(size) == 1:
            continue
        monkeypatch.setattr(blocks, "_FEWEST_ROWS", fewest)
        monkeypatch.setattr(blocks, "CPU_BYTES", fewest)
        x = form.map(batch=3, size=size)
        with definitions():
            expected = results(module, x)
        for ours, theirs in zip(results(module, x), expected, strict=True):
            torch.testing.assert_close(
                ours, theirs, rtol=1e-12, atol=1e-12 * max(1.0, float(theirs.detach().abs().max()))
            )


@every_form
def test_derivatives_of_derivatives_are_right_or_refused(form: Form) -> None:
    module, x = form.awake(), form.map(batch=2).requires_grad_()
    direction = torch.randn(x.shape, generator=torch.Generator().manual_seed(6), dtype=x.dtype)

    def twice() -> Tensor:
        (slope,) = torch.autograd.grad(module(x).pow(2).sum(), x, create_graph=True)
        (curve,) = torch.autograd.grad((slope * direction).sum(), x)
        return curve

    with definitions():
        expected = twice()
    if str(form) == "fla":  # PyTorch's kernel has no second derivative, and says so
        with pytest.raises(RuntimeError, match="not implemented"):
            twice()
    else:
        torch.testing.assert_close(twice(), expected, rtol=1e-10, atol=1e-10 * float(expected.abs().max()))


ATTENTIONS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "softmax": pairwise.softmax_attention,
    "dot product": pairwise.dot_product_attention,
    "concatenation": lambda q, k, v: pairwise.concatenation_attention(
        q, k, v, torch.ones(2 * q.shape[2], dtype=q.dtype)
    ),
}


def one_huge(*shape: int) -> Tensor:
    values = torch.zeros(shape)
    values[:, -1] = 1e4
    return values


# Logits of 1e4 and more, all equal, all zero, one huge.
@pytest.mark.parametrize("attend", ATTENTIONS.values(), ids=ATTENTIONS)
@pytest.mark.parametrize("make", [lambda *shape: 100 * torch.randn(*shape), torch.ones, torch.zeros, one_huge])
def test_stays_finite(attend: Callable[..., Tensor], make: Callable[..., Tensor]) -> None:
    torch.manual_seed(0)
    tensors = [make(2, count, width).requires_grad_() for count, width in ((40, 4), (30, 4), (30, 6))]
    y = attend(*tensors)
    assert y.isfinite().all()
    y.sum().backward()
    assert all(tensor.grad is not None and tensor.grad.isfinite().all() for tensor in tensors)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("attend", ATTENTIONS.values(), ids=ATTENTIONS)
def test_errs_at_most_twice_as_much_as_the_definition(attend: Callable[..., Tensor], dtype: torch.dtype) -> None:
    draw = torch.Generator().manual_seed(0)
    tensors = [torch.randn(2, *shape, generator=draw, dtype=torch.float64).to(dtype) for shape in
               ((900, 8), (700, 8), (700, 12))]  # fmt: skip
    exact = attend(*(tensor.double() for tensor in tensors))
    ours = (attend(*tensors) - exact).abs().max()
    with definitions():
        plain = (attend(*tensors) - exact).abs().max()
    assert ours <= 2 * plain


def test_blocks_cover_every_query_of_every_sample_once() -> None:
    for batch, queries, keys, budget in ((3, 700, 500, 2000), (5, 30, 20, 10_000), (2, 1, 1, 1), (0, 5, 5, 100)):
        seen = torch.zeros(batch, queries, dtype=torch.int)
        for samples, rows in blocks.blocks(batch, queries, keys, budget, 4):
            seen[samples, rows] += 1
        assert (seen == 1).all()
    many = list(blocks.blocks(1, 9216, 9216, 8 << 20, 4))
    assert len(many) == 36
    assert max(rows.stop - rows.start for _, rows in many) * 9216 * 4 <= 2 * (8 << 20)


def test_definitions_end_with_their_block() -> None:
    from saccade.ops.modes import by_definition

    with definitions(), definitions():
        assert by_definition()
    assert not by_definition()
    with pytest.raises(ZeroDivisionError), definitions():
        1 / 0  # noqa: B018
    assert not by_definition()


def test_works_under_torch_func() -> None:
    pam, x = saccade.create("pam", channels=8).double(), torch.randn(1, 8, 3, 4, dtype=torch.float64)
    torch.nn.init.ones_(pam.gamma)
    parameters = dict(pam.named_parameters())
    found = torch.func.grad(lambda p: torch.func.functional_call(pam, p, (x,)).pow(2).sum())(parameters)
    pam(x).pow(2).sum().backward()
    for name, parameter in parameters.items():
        torch.testing.assert_close(found[name], parameter.grad)
