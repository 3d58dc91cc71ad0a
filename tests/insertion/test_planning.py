"""The plan: costs by outside counts, the table, and refusals."""

import pytest
import timm
import torch
from torch import nn

import saccade
from saccade.errors import InputError
from saccade.insertion import plan
from saccade.networks.notes import NotesNet
from tests.insertion import networks

SIZE = {"example_input": torch.zeros(1, 3, 96, 96)}


def params(model):
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.full
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
    assert lines[2].split() == [
        "place", "side", "kind", "in", "shape", "layout", "stride", "mechanism", "start", "params", "MACs"
    ]  # fmt: skip
    assert " ".join(lines[3].split()) == "block1.bn2 after residual Block 32 x 24 x 24 NCHW 4 se g = 0 163 128"
    assert lines[5].split() == ["total", "744", "640"]


def test_the_table_says_what_is_not_used_and_what_is_there():
    noted = str(plan(networks.Flat(), "se[reduction=4]", example_input=networks.example()))
    assert "note: 1 elementwise operations earlier: u" in noted
    assert "not used: 1 addition: the branch ends in an upsampling (a fusion of levels)" in str(
        plan(networks.Holder(), "se", example_input=networks.example())
    )
    with torch.device("meta"):
        found = plan(timm.create_model("efficientnet_b0"), "cbam").present
    assert found == ("a gate on channels in SqueezeExcite: blocks.0.0.se, blocks.1.0.se, blocks.1.1.se ... "
                     "blocks.6.0.se (16)",)  # fmt: skip
    at_zero = plan(timm.create_model("resnet18"), "se", example_input=torch.zeros(1, 3, 64, 64)).remarks
    assert at_zero == (
        "branches that start at zero, or nearly: mechanisms in them learn only after the branch has grown: "
        "layer1.0, layer1.1, layer2.0 ... layer4.1 (8)",
    )
    assert not plan(NotesNet(), "se", **SIZE).remarks


def test_attention_is_told_from_activations_and_gated_units():
    class Gates(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.out = nn.Conv2d(3, 8, 3), nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3)

        def forward(self, x):
            y = self.a(x) * torch.sigmoid(self.b(x))  # a gated linear unit: of the same input, not of the map
            y = y * torch.sigmoid(y)
            return self.out(y)

    class Attends(Gates):
        def forward(self, x):
            y = self.a(x)
            y = y * torch.sigmoid(self.out(y.mean((2, 3), keepdim=True).expand(-1, -1, 3, 3)))
            z = y.flatten(2)
            return (z @ (z.mT @ z).softmax(-1)).view_as(y)

    assert plan(Gates(), "se", at="out", example_input=networks.example()).present == ()
    found = plan(Attends(), "se", at="a", example_input=networks.example()).present
    assert found == (
        "a gate on channels in Attends: Attends",
        "weights between positions or channels in Attends: Attends",
    )


def test_a_chain():
    both = plan(NotesNet(), "cam+pam[reduction=4]", at="stage:-1", **SIZE)
    assert [str(step.mechanism) for step in both.steps] == ["cam", "pam[reduction=4]"]
    assert len(both.places) == 1
    alone = [plan(NotesNet(), name, at="stage:-1", **SIZE) for name in ("cam", "pam[reduction=4]")]
    assert both.params == sum(one.params for one in alone)
    listed = plan(NotesNet(), ["cam", {"name": "pam", "reduction": 4}], at="stage:-1", **SIZE)
    assert listed.steps == both.steps
    with pytest.raises(InputError, match=r"options= is for one mechanism; received 2\nhint: give each its own"):
        plan(NotesNet(), "se+eca", options={"reduction": 2}, **SIZE)
    with pytest.raises(TypeError, match=r"a mechanism is a string, .* or a list of these"):
        plan(NotesNet(), [], **SIZE)


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
