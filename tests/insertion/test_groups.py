"""Parameter groups and freezing: who gets which rate, who is decayed, who is trained."""

import pytest
import torch
from torch import nn

import saccade
from saccade.errors import InputError
from saccade.insertion import attachments, freeze_all_but_attention, parameter_groups
from saccade.networks.notes import NotesNet

SIZE = {"example_input": torch.zeros(1, 3, 32, 32)}


def groups(model, **options):
    given = {"lr": 0.1, "weight_decay": 0.02} | options
    return {group["name"]: group for group in parameter_groups(model, **given)}


def names(model, group):
    known = {id(parameter): name for name, parameter in model.named_parameters()}
    return {known[id(parameter)] for parameter in group["params"]}


@pytest.mark.parametrize(
    ("mechanism", "gates"),
    [
        ("se", {"block1.bn2.saccade.g", "block2.bn2.saccade.g"}),
        ("dual", {f"block2.saccade.mechanism.{part}.gamma" for part in ("position", "channel")}),
        ("non_local", set()),
    ],
)
def test_every_parameter_is_in_one_group(mechanism, gates):
    model = saccade.insert(NotesNet(), mechanism, **SIZE)
    found = groups(model)
    members = [id(parameter) for group in found.values() for parameter in group["params"]]
    assert sorted(members) == sorted(id(parameter) for parameter in model.parameters())
    assert (names(model, found["gates"]) if gates else set()) == gates
    assert all(parameter.dim() >= 2 for parameter in found["weights"]["params"])
    assert all(parameter.dim() < 2 for parameter in found["biases and norms"]["params"])
    assert {name: (group["lr"], group["weight_decay"]) for name, group in found.items()} == {
        "weights": (0.1, 0.02), "biases and norms": (0.1, 0.0), **({"gates": (1.0, 0.0)} if gates else {}),
    }  # fmt: skip
    torch.optim.AdamW(list(found.values()))


def test_a_network_without_attention_has_two_groups():
    assert list(groups(NotesNet())) == ["weights", "biases and norms"]


def test_a_gamma_outside_a_mechanism_and_a_long_one_are_ordinary():
    model = nn.Module()
    model.gamma = nn.Parameter(torch.zeros(1))
    assert list(groups(model)) == ["biases and norms"]
    pam = saccade.create("pam", channels=8)
    pam.gamma = nn.Parameter(torch.zeros(8))
    assert "gates" not in groups(pam)


def test_freezing_leaves_the_mechanisms():
    model = freeze_all_but_attention(saccade.insert(NotesNet(), "cbam", **SIZE))
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trained == {name for name, _ in model.named_parameters() if ".saccade." in name}
    assert groups(model)["gates"]["params"] == [a.g for a in attachments(model).values()]
    with pytest.raises(InputError, match="no mechanism is inserted"):
        freeze_all_but_attention(NotesNet())


def test_refusals():
    with pytest.raises(InputError, match="`lr` must not be negative"):
        parameter_groups(NotesNet(), lr=-1, weight_decay=0)
    with pytest.raises(InputError, match="none of its parameters is trained"):
        parameter_groups(NotesNet().requires_grad_(False), lr=1, weight_decay=0)
