"""``saccade plan`` shows where a mechanism would go, without weights or memory for them."""

import json

import pytest

from saccade.cli import main
from saccade.cli.options import as_typed


def run(capsys, *words):
    with pytest.raises(SystemExit) as left:
        main(["plan", *words])
    printed = capsys.readouterr()
    return left.value.code, printed.out, printed.err


def test_a_gate_goes_to_the_end_of_every_residual_branch(capsys):
    status, out, _ = run(capsys, "resnet18", "se[reduction=8]", "--json")
    plan = json.loads(out)
    expected = [f"layer{stage}.{block}.bn2" for stage in (1, 2, 3, 4) for block in (0, 1)]
    # SE at C channels with C/8 hidden ones: 2 C C/8 weights, C/8 + C biases, and the factor g of the identity start.
    params = sum(2 * (2 * c * c // 8 + c // 8 + c + 1) for c in (64, 128, 256, 512))
    assert status == 0
    assert [place["name"] for place in plan["places"]] == expected
    assert plan["params"] == params


def test_the_table_names_the_places_asked_for(capsys):
    status, out, _ = run(capsys, "notes", "pam", "--at", "stage:-1")
    assert status == 0
    assert "stage" in out


def test_parts_chains_and_other_sizes(capsys):
    words = ("torchvision/fcn_resnet50", "se+eca", "--at", "residual,stage:-1", "--within", "backbone.layer4")
    status, out, _ = run(capsys, *words, "--every", "3", "--example-input", "1x3x64x128", "--json")
    plan = json.loads(out)
    assert status == 0
    assert plan["input_shape"] == [1, 3, 64, 128]
    found = [(place["name"], place["mechanism"], place["width"]) for place in plan["places"]]
    assert found == [("backbone.layer4.2.bn3", name, 16) for name in ("se", "eca")]


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (
            ("torchvision/resnet17", "se"),
            "error: torchvision has no network called 'resnet17'\n\nhint: did you mean resnet1",
        ),
        (
            ("resnet18", "se", "--example-input", "3x64"),
            "error: --example-input: expected four numbers such as 1x3x224x224",
        ),
        (("resnet18", "se", "--within", "lair"), "error: --within lair: no module of ResNet has that name"),
        (
            ("resnet18", "se", "--example-input", "1x5x64x64"),
            "hint: give --example-input, the shape of an image that it takes, such as 1x3x64x64\n",
        ),
        (("resnet18", "se", "--at", "stage:9"), "error: --at stage:9: ResNet has 5 stages"),
        (("vgg11", "se", "--at", "residual"), "choose with --at, such as --at stage:-1"),
        (("resnet19", "se"), "error: unknown network 'resnet19'\n\nhint: did you mean resnet1"),
        (("resnet18", "sse"), "error: unknown mechanism 'sse'\n\nhint: did you mean se"),
        (("resnet18", "se[reduktion=8]"), "error: se: unknown option 'reduktion'\n\nhint: did you mean reduction?"),
    ],
)
def test_names_what_is_wrong(capsys, words, error):
    status, out, err = run(capsys, *words)
    assert (status, out) == (2, "")
    assert error in err


@pytest.mark.parametrize(
    ("said", "typed"),
    [
        ("at='stage:-1': no such", "--at stage:-1: no such"),
        ("choose with at=, such as at='layer3.*.bn2'", "choose with --at, such as --at 'layer3.*.bn2'"),
        ("every=0: too few (within=)", "--every 0: too few (--within)"),
        ("saccade.load(path, at='x') or match='order'", "saccade.load(path, at='x') or match='order'"),
        ("what=at= stays in math: y=x", "what=at= stays in math: y=x"),
    ],
)
def test_arguments_of_python_are_named_as_they_are_typed(said, typed):
    assert as_typed(said, {"at", "within", "every"}) == typed
