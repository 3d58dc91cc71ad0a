"""``saccade plan`` shows where a mechanism would go, without weights or memory for them."""

import json

import pytest

from saccade.cli import main


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
        (("resnet18", "se", "--within", "lair"), "error: within='lair': no module of ResNet has that name"),
        (("resnet19", "se"), "error: unknown network 'resnet19'\n\nhint: did you mean resnet1"),
        (("resnet18", "sse"), "error: unknown mechanism 'sse'\n\nhint: did you mean se"),
        (("resnet18", "se[reduktion=8]"), "error: se: unknown option 'reduktion'\n\nhint: did you mean reduction?"),
    ],
)
def test_names_what_is_wrong(capsys, words, error):
    status, out, err = run(capsys, *words)
    assert (status, out) == (2, "")
    assert err.startswith(error)
