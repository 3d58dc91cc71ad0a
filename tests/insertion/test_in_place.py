"""Networks that add and rectify in place can be trained with every mechanism at every kind of place."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
import torchvision
from torch import Tensor, nn

import saccade
from saccade.insertion.attach import Attachment, attach
from saccade.insertion.writing import needs_its_output
from tests.mechanisms.contract import CHANNELS, Form, all_forms
from tests.suites import everyday

MAPS = [form for form in all_forms() if form.dims == 2]
PLACES = ("residual", "inner", "stage", "*.a")  # the last: before a ReLU that writes in place
X = torch.randn(2, 3, 12, 12, generator=torch.Generator().manual_seed(0))


class Unit(nn.Module):
    """A residual unit as torchvision has it, or the same without writing in place."""

    in_place = True

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.a = nn.Sequential(nn.Conv2d(channels, channels, 3, 1, 1), nn.BatchNorm2d(channels))
        self.b = nn.Sequential(nn.Conv2d(channels, channels, 3, 1, 1), nn.BatchNorm2d(channels))
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y = self.b(self.relu(self.a(x)))
        if self.in_place:
            y += x
        else:
            y = y + x
        return self.relu(y)


class TurnedTanh(nn.Module):
    """Returns a view of what it needs."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mT.tanh().mT


class Host(nn.Module):
    """A stem and one unit, whose output is written to as well."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, CHANNELS, 3, 2, 1)
        self.unit = Unit(CHANNELS)
        self.head = nn.Linear(CHANNELS, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.unit(self.stem(x))
        if self.unit.in_place:
            x += 1.0
        else:
            x = x + 1.0
        return self.head(x.mean(dim=(2, 3)))

    def writing(self, in_place: bool) -> Host:
        for module in self.modules():
            if isinstance(module, Unit):
                module.in_place = in_place
            if isinstance(module, nn.ReLU):
                module.inplace = in_place
        return self


def gradients(host: Host, in_place: bool) -> list[Tensor]:
    """Gradients of one step of training, from the same state."""
    state = copy.deepcopy(host.state_dict())
    host.zero_grad()
    host.writing(in_place)(X).square().sum().backward()
    host.load_state_dict(state)
    return [parameter.grad.clone() for parameter in host.parameters() if parameter.grad is not None]


@pytest.fixture(scope="module")
def plan() -> tuple[Host, saccade.Plan]:
    torch.manual_seed(0)
    host = Host()
    planned = saccade.plan(host, "se", at=list(PLACES), example_input=X)
    names = {str(place) for place in planned.places}
    assert names == {"unit.b.1", "before:unit.b.0", "unit", "unit.a.1"}
    return host, planned


@pytest.mark.parametrize("start", ["identity", "paper"])
@pytest.mark.parametrize("form", everyday([form for form in MAPS if not form.options], MAPS), ids=str)
def test_every_form_trains_at_every_place(plan: tuple[Host, saccade.Plan], form: Form, start: str) -> None:
    host = copy.deepcopy(plan[0])
    for place in plan[1].places:
        mechanism = form.fresh()
        wrapped = start == "identity" and not mechanism.starts_as_identity
        attach(host.get_submodule(place.name), Attachment(mechanism, side=place.side, wrapped=wrapped))
    with torch.no_grad():
        for parameter in host.parameters():
            if not parameter.any():  # what starts at zero would hide the rest of the branch
                parameter.fill_(0.3)
    for ours, theirs in zip(gradients(host, True), gradients(host, False), strict=True):
        torch.testing.assert_close(ours, theirs)


def ending_in(last: Callable[[], nn.Module]) -> Callable[[int], nn.Module]:
    return lambda channels: nn.Sequential(nn.Conv2d(channels, channels, 3, 1, 1), last())


@pytest.mark.parametrize("last", [nn.ReLU, nn.Sigmoid, TurnedTanh])
def test_a_block_from_outside_is_copied_where_it_needs_its_output(last: Callable[[], nn.Module]) -> None:
    host = saccade.insert(Host(), ending_in(last), at=list(PLACES), start="paper", example_input=X)
    assert all(step.copied for step in host.saccade_report.steps)
    for ours, theirs in zip(gradients(host, True), gradients(host, False), strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("last", [nn.Identity, lambda: nn.BatchNorm2d(CHANNELS), nn.Hardswish, nn.Dropout])
def test_no_other_is_copied(last: Callable[[], nn.Module]) -> None:
    steps = saccade.plan(Host(), ending_in(last), at=list(PLACES), start="paper", example_input=X).steps
    assert not any(step.copied for step in steps)
    steps = saccade.plan(Host(), ending_in(nn.ReLU), at=list(PLACES), example_input=X).steps
    assert all(step.wrapped and not step.copied for step in steps)


def test_no_mechanism_of_the_catalog_is_copied() -> None:
    for form in MAPS:
        assert not needs_its_output(form.fresh(), form.map(dtype=torch.float32)), form


@pytest.mark.parametrize("mechanism", ["fla", "gsop[variant=spatial]"])
def test_a_resnet_of_torchvision_trains_as_the_authors_start_it(mechanism: str) -> None:
    model = torchvision.models.resnet18(num_classes=2)
    options = {"at": "layer1.*.bn2", "start": "paper", "example_input": X}
    saccade.insert(model, mechanism, **options)
    model(X).sum().backward()
    assert len(model.saccade_report.places) == 2
    assert all(parameter.grad is not None for parameter in model.parameters())
