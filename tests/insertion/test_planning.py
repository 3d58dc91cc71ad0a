"""The plan: costs by outside counts, the table, and refusals."""

import pytest
import timm
import torch

import saccade
from saccade.errors import InputError
from saccade.insertion import plan
from saccade.networks.notes import NotesNet
from tests.insertion import networks

SIZE = {"example_input": torch.zeros(1, 3, 96, 96)}


def params(model):
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("start", ["identity", "paper"])
@pytest.mark.parametrize("mechanism", ["se", "cbam", "psa", "gc", "pam", "dual", "non_local", "conv3x3"])
def test_parameters_are_what_insertion_adds(mechanism, start):
    model = NotesNet()
    before, planned = params(model), plan(model, mechanism, start=start, **SIZE)
    assert params(model) == before
    saccade.insert(model, mechanism, start=start, **SIZE)
    assert planned.params == params(model) - before == model.saccade_report.params


@pytest.mark.parametrize(
    ("mechanism", "macs"),
    [
        ("se[reduction=8]", 2 * 32 * 4 + 2 * 64 * 8),
        # f = theta . phi over N queries and N / 4 pooled keys: 2 N C d + 2 M C d + 2 N M d
        ("non_local", 2 * 144 * 64 * 32 + 2 * 36 * 64 * 32 + 2 * 144 * 36 * 32),
        ("cam", 2 * 64 * 64 * 144),
        ("conv3x3", 9 * 64 * 64 * 144),
    ],
)
def test_macs_are_those_of_the_formula(mechanism, macs):
    assert plan(NotesNet(), mechanism, **SIZE).macs == macs


def test_the_demo_arms_have_the_parameters_of_the_published_table():
    widths = {
        "non_local": 102_747,
        "pam": 99_468,
        "dual": 99_469,
        "cam": 94_268,
        "eca": 94_275,
        "se[reduction=8]": 95_657,
    }
    found = {name: 94_267 + plan(NotesNet(), name, **SIZE).params for name in widths}
    assert found == widths


def test_the_table():
    lines = str(plan(NotesNet(), "se", **SIZE)).splitlines()
    assert lines[0] == "se in NotesNet: 2 places, start=identity, input 1 x 3 x 96 x 96"
    assert lines[2].split() == ["place", "kind", "in", "map", "stride", "mechanism", "start", "params", "MACs"]
    assert " ".join(lines[3].split()) == "after block1.bn2 residual Block 32 x 24 x 24 4 se g = 0 163 128"
    assert lines[5].split() == ["total", "744", "640"]
    noted = str(plan(networks.Flat(), "se[reduction=4]", example_input=networks.example()))
    assert "after u (1 elementwise operations earlier)" in noted
    assert "not used: 1 addition: the branch ends in an upsampling (a fusion of levels)" in str(
        plan(networks.Holder(), "se", example_input=networks.example())
    )


def test_a_plan_needs_no_weights_and_a_timm_network_brings_its_size():
    with torch.device("meta"):
        model = timm.create_model("resnet50")
    planned = plan(model, "se")
    assert planned.input_shape == (1, 3, 224, 224)
    # SE-ResNet-50 as released has 28,088,024 parameters, ResNet-50 25,557,032; and there is one g a place.
    assert planned.params == 28_088_024 - 25_557_032 + 16


def test_channels_that_do_not_suit_are_named_with_their_place():
    with pytest.raises(InputError, match=r"block1.bn2, 32 channels: SE: `reduction` must be a whole number"):
        plan(NotesNet(), "se[reduction=0]", **SIZE)


def test_a_pure_transformer_is_refused_with_the_reason():
    with torch.device("meta"):
        vit = timm.create_model("vit_tiny_patch16_224")
    expected = r"VisionTransformer: expected a conv.*16 x 16 patches; it works on tokens of shape \(1, 197, 192\)"
    with pytest.raises(InputError, match=expected):
        plan(vit, "se")
    with pytest.raises(InputError, match=r"its convolutions: none"):
        plan(
            torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 3)), "se", example_input=torch.zeros(1, 3, 4, 4)
        )


def test_unknown_words_are_refused():
    with pytest.raises(InputError, match=r"unknown start='zero'"):
        plan(NotesNet(), "se", start="zero")
    with pytest.raises(InputError, match=r"unknown mechanism 'sse'"):
        plan(NotesNet(), "sse")
    with pytest.raises(InputError, match=r"se: unknown option 'ratio'"):
        plan(NotesNet(), "se", options={"ratio": 2})


def test_a_forward_that_fails_asks_for_an_example():
    with pytest.raises(InputError, match=r"Flat: the forward failed.*\nhint: give example_input="):
        plan(networks.Flat(), "se", example_input=torch.zeros(1, 4, 32, 32))
