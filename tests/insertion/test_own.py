"""Blocks of the user's own: classes, functions and import paths go in like built-in ones, from the identity."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import saccade
from saccade.errors import InputError
from saccade.networks.notes import NotesNet
from tests.catalog.code import own_code

__all__ = ["own_code"]
SIZE = {"example_input": torch.empty(1, 3, 32, 32)}


class Mixer(nn.Module):
    def __init__(self, channels: int, kernel_size: int = 3, out: int | None = None) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, out or channels, kernel_size, padding="same")

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class Zero(Mixer):
    starts_as_identity = True

    def forward(self, x: Tensor) -> Tensor:
        return x + 0 * self.conv(x)


class Pair(Mixer):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        return x, x


class InPlace(nn.Sequential):
    def __init__(self, channels: int) -> None:
        super().__init__(nn.ReLU(inplace=True), nn.Conv2d(channels, channels, 1))


class Raises(Mixer):
    def forward(self, x: Tensor) -> Tensor:
        raise KeyError("depth")


GIVEN = {
    "class": (Mixer, {}),
    "class with options": (Mixer, {"options": {"kernel_size": 5}}),
    "options by place": (Mixer, {"options": lambda place: {"out": place.channels}}),
    "function": (lambda channels: nn.Conv2d(channels, channels, 1), {}),
    "partial": (partial(Mixer, kernel_size=5), {}),
    "import path": ("my_package.blocks:make_mixer[kernel_size=5]", {}),
    "dict": ({"name": "my_package.blocks:Mean", "reduction": 2}, {}),
    "chain": (["se", Mixer, lambda channels: nn.Conv2d(channels, channels, 3, padding=1), nn.Identity], {}),
}


@pytest.mark.parametrize("given", GIVEN)
@pytest.mark.parametrize("training", [True, False])
def test_a_network_computes_what_it_computed_until_it_is_trained(own_code: Path, given: str, training: bool) -> None:
    mechanism, options = GIVEN[given]
    torch.manual_seed(0)
    net = NotesNet().train(training)
    x = torch.randn(2, 3, 32, 32)
    before = net(x)
    planned = saccade.plan(net, mechanism, **SIZE, **options)
    saccade.insert(net, mechanism, **SIZE, **options)
    assert net.saccade_report.steps == planned.steps
    torch.testing.assert_close(net(x), before, rtol=0, atol=0)
    net.train()(x).square().mean().backward()
    gates = [step.g for _, step in saccade.insertion.attachments(net).items()]
    assert all(g is not None and g.grad is not None and g.grad.isfinite() for g in gates)


def test_each_place_gets_a_module_of_its_own_with_its_options() -> None:
    net = saccade.insert(NotesNet(), Mixer, options={"kernel_size": 5}, **SIZE)
    made = [attachment.mechanism for attachment in saccade.insertion.attachments(net).values()]
    assert len(set(made)) == len(made) > 1
    assert {module.conv.kernel_size for module in made} == {(5, 5)}
    assert str(net.saccade_report.steps[0].mechanism) == f"{__name__}:Mixer[kernel_size=5]"


def test_two_functions_of_one_name_are_two_mechanisms() -> None:
    def maker(size: int):  # type: ignore[no-untyped-def]
        return lambda channels: nn.Conv2d(channels, channels, size, padding="same")

    net = saccade.insert(NotesNet(), [maker(1), maker(3)], at="stage:-1", **SIZE)
    made = [attachment.mechanism.kernel_size for attachment in saccade.insertion.attachments(net).values()]
    assert made == [(1, 1), (3, 3)]


def test_a_block_that_starts_as_the_identity_is_not_wrapped() -> None:
    (step, *_) = saccade.plan(NotesNet(), Zero, **SIZE).steps
    assert not step.wrapped
    assert saccade.plan(NotesNet(), Mixer, start="paper", **SIZE).steps[0].wrapped is False


@pytest.mark.parametrize(
    ("mechanism", "options", "message"),
    [
        (Mixer(8), {}, r"expected the class Mixer; received an instance of it, which cannot serve several places"),
        ([Mixer(8)], {}, r"received an instance of it"),
        (Mixer, {"out": 3}, r"bn2.*Mixer\[out=3\] makes a map of shape \(3, 8, 8\) of a map of shape \(32, 8, 8\)"),
        (Mixer, {"size": 3}, r"unknown option 'size'[\s\S]*kernel_size"),
        (Pair, {}, r"Pair makes a tuple of a map"),
        (InPlace, {}, r"InPlace writes into the map that it is given"),
        (Raises, {}, r"Raises raised KeyError: 'depth'"),
        (nn.Conv2d, {}, r"Conv2d could not be made for 32 channels \(TypeError: .*'out_channels'"),
        (lambda channels: nn.Linear(channels, 7), {}, r"<lambda>"),
        (lambda channels: None, {}, r"made a NoneType; expected a torch.nn.Module"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_said_and_changes_nothing(mechanism: object, options: dict, message: str) -> None:
    net = NotesNet()
    keys = list(net.state_dict())
    with pytest.raises(InputError, match=message):
        saccade.insert(net, mechanism, options=options or None, **SIZE)
    assert list(net.state_dict()) == keys


def test_a_class_of_the_catalog_is_its_row() -> None:
    from saccade.mechanisms.a2 import DoubleAttention

    by_class, by_name = (saccade.plan(NotesNet(), given, at="block", **SIZE) for given in (DoubleAttention, "a2"))
    assert by_class.steps == by_name.steps


def test_a_registered_block_goes_to_its_natural_place(own_code: Path) -> None:
    saccade.register("own_mixer", Mixer, place="stage:-1")
    net = saccade.insert(NotesNet(), "own_mixer[kernel_size=5]", **SIZE)
    assert [place.kind for place in net.saccade_report.places] == ["stage"]


def test_a_plain_module_is_recorded_by_what_it_reads_and_has_no_views() -> None:
    net = saccade.insert(NotesNet(), Mixer, at="stage:-1", **SIZE).eval()
    with torch.no_grad(), saccade.record(net) as maps:
        net(torch.randn(1, 3, 32, 32))
    (seen,) = maps.values()
    assert seen.input.shape == (1, 64, 4, 4)
    assert seen.gates == {}
    with pytest.raises(InputError, match=r"Mixer does not weigh positions\nhint: it has no maps"):
        seen.weights([(0, 0)])
