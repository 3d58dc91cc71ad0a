"""Every way gives the same numbers, and only an explicit call changes which is taken."""

from __future__ import annotations

import pytest
import torch

import saccade
from saccade import ops
from saccade.catalog import parse
from saccade.errors import InputError
from saccade.ops import tuning


@pytest.fixture(autouse=True)
def afterwards_as_before():
    before = ops.chosen()
    yield
    ops.use(before)


@pytest.mark.parametrize("name", ["cam", "non_local[pairwise=dot_product,sub_sample=False]", "pam"])
@pytest.mark.parametrize("batch", [1, 3])
def test_convolutions_give_what_products_give(name: str, batch: int) -> None:
    torch.manual_seed(0)
    spec = parse(name)
    module = saccade.create(spec.name, 16, **spec.options).double()
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    x = torch.randn(batch, 16, 5, 7, dtype=torch.float64)

    def results() -> list[torch.Tensor]:
        leaf = x.clone().requires_grad_()
        y = module(leaf)
        return [y, *torch.autograd.grad(y.pow(2).sum(), [leaf, *module.parameters()], allow_unused=True)]

    expected = results()
    with ops.using({"products": "convolution"}):
        for ours, theirs in zip(results(), expected, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


def test_tune_takes_what_was_fastest_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = {"matmul": 1.0, "convolution": 0.5}
    monkeypatch.setattr(tuning, "_seconds", lambda *_: seconds[ops.chosen().products])
    assert ops.tune() == ops.chosen() == ops.Choice(products="convolution")
    seconds["convolution"] = 0.97  # no more than noise
    assert ops.tune() == ops.Choice()


def test_a_way_that_fails_here_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    def seconds(*_: object) -> float:
        if ops.chosen().products == "convolution":
            raise RuntimeError("not on this machine")
        return 1.0

    monkeypatch.setattr(tuning, "_seconds", seconds)
    assert ops.tune().products == "matmul"


def test_tune_really_measures() -> None:
    assert ops.tune().products in tuning.WAYS["products"]


def test_a_choice_is_written_down_and_taken_up_again() -> None:
    choice = ops.Choice(products="convolution")
    ops.use(choice.to_json())
    assert ops.chosen() == choice


@pytest.mark.parametrize(
    ("choice", "message"),
    [({"products": "magic"}, "must be one of matmul, convolution"), ({"product": "matmul"}, "did you mean products")],
)
def test_mistakes_are_named(choice: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match="ops: ") as caught:
        ops.use(choice)
    assert message in f"{caught.value} {caught.value.hint}"
    assert ops.chosen() == ops.Choice()


def test_the_choice_stands_in_the_configuration_of_a_run() -> None:
    from saccade.training.recipe import Recipe

    with ops.using({"products": "convolution"}):
        recipe = Recipe(steps=1, batch=1, learning_rate=0.1)
    assert recipe.to_json()["ops"] == ops.Choice(products="convolution").to_json()
    assert Recipe(steps=1, batch=1, learning_rate=0.1).to_json()["ops"] == ops.Choice().to_json()
