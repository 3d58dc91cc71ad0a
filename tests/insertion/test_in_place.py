"""Networks that add and rectify in place can be trained with every mechanism at every kind of place."""

from __future__ import annotations

import copy

import pytest
import torch
import torchvision
from torch import Tensor, nn

import saccade
from saccade.insertion.attach import Attachment, attach
from tests.mechanisms.contract import CHANNELS, Form, all_forms

MAPS = [form for form in all_forms() if form.dims == 2]
PLACES = ("residual", "inner", "stage", "*.a")  # the last: before a ReLU that writes in place
X = torch.randn(2, 3, 12, 12, generator=torch.Generator().manual_seed(0))


class Unit(nn.Module):
    """A residual unit as torchvision has it, or the same without writing in place."""

    in_place = True

    def __init__(self, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.a = nn.Sequential(nn.Conv2d(channels, channels, 3, stride, 1), nn.BatchNorm2d(channels))
        self.b = nn.Sequential(nn.Conv2d(channels, channels, 3, 1, 1), nn.BatchNorm2d(channels))
        self.shortcut = nn.Conv2d(channels, channels, 1, stride) if stride > 1 else nn.Identity()
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y = self.b(self.relu(self.a(x)))
        if self.in_place:
            y += self.shortcut(x)
        else:
            y = y + self.shortcut(x)
        return self.relu(y)


class Host(nn.Module):
    """Two stages of units; what comes from the last one is written to as well."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, CHANNELS, 3, 2, 1)
        self.one, self.two = Unit(CHANNELS), Unit(CHANNELS, 2)
        self.head = nn.Linear(CHANNELS, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.two(self.one(self.stem(x)))
        if self.two.in_place:
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
    """Of one step of training, from the same state."""
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
    assert names == {"one.b.1", "two.b.1", "before:one.b.0", "before:two.b.0", "one", "two", "one.a.1", "two.a.1"}
    return host, planned


@pytest.mark.parametrize("start", ["identity", "paper"])
@pytest.mark.parametrize("form", MAPS, ids=str)
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


@pytest.mark.parametrize("mechanism", ["fla", "gsop[variant=spatial]"])
def test_a_resnet_of_torchvision_trains_as_the_authors_start_it(mechanism: str) -> None:
    model = torchvision.models.resnet18(num_classes=2)
    options = {"at": "layer1.*.bn2", "start": "paper", "example_input": X}
    saccade.insert(model, mechanism, **options)
    model(X).sum().backward()
    assert len(model.saccade_report.places) == 2
    assert all(parameter.grad is not None for parameter in model.parameters())
