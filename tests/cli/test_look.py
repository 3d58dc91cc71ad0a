"""``saccade look`` hands its words on, says what it wrote, and refuses what does not go together."""

import json

import pytest

from saccade.cli import main
from saccade.cli.compare import complete_pretrained
from tests.look.networks import picture, saved


@pytest.fixture
def run(capsys):
    def run(*words, status=0):
        with pytest.raises(SystemExit) as left:
            main(["look", *map(str, words)])
        printed = capsys.readouterr()
        assert left.value.code == status, printed.err
        return printed.out if status == 0 else printed.err

    return run


def test_writes_a_page_and_its_pictures(run, tmp_path):
    model, image = saved(tmp_path, ("pam", "block2")), picture(tmp_path)
    out = run(
        image, "--model", model, "--query", "10,20", "--query", "0,79", "--png", "--out", tmp_path / "o", "--json"
    )
    (found,) = json.loads(out)
    assert found["page"] == str(tmp_path / "o" / "scene.html")
    assert [path.rpartition("/")[2] for path in found["pictures"]] == ["scene.block2.1-2.png", "scene.block2.0-9.png"]
    assert found["places"][0]["mechanism"] == "pam"
    assert run(image, "--model", model, "--out", tmp_path / "o").splitlines() == [str(tmp_path / "o" / "scene.html")]


def test_says_that_weights_are_random(run, tmp_path):
    out = run(picture(tmp_path), "--mechanism", "se[reduction=8]", "--backbone", "notes", "--out", tmp_path)
    assert out.splitlines()[-1] == "untrained weights: all are random"
    assert "untrained weights" in (tmp_path / "scene.html").read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "no network was given"),
        (("--mechanism", "se"), "no network was given"),
        (("--model", "x", "--at", "stage"), "--model names a whole network"),
        (("--model", "nowhere"), "nowhere: no such file"),
        (("--mechanism", "se", "--backbone", "notes", "--query", "3x4"), "--query: expected Y,X such as 120,64"),
        (("--mechanism", "se", "--backbone", "notes", "--query", "60,0"), "which is 60 pixels high and 80 wide"),
        (("--mechanism", "se", "--backbone", "notes", "--size", "0"), "It must be a whole number from 8"),
        (("--mechanism", "sse", "--backbone", "notes"), "unknown mechanism"),
        (("--mechanism", "se", "--backbone", "notes", "--pretrained", "w.pth"), "has no trained weights"),
    ],
)
def test_refuses(run, tmp_path, words, said):
    assert said in run(picture(tmp_path), *words, "--out", tmp_path / "o", status=2)
    assert not (tmp_path / "o").exists()


def test_needs_an_image(run):
    assert "no image was given" in run("--model", "x", status=2)


@pytest.mark.parametrize("following", ["photo.jpg", "scan.TIFF"])
def test_what_follows_pretrained_is_no_picture(tmp_path, monkeypatch, following):
    monkeypatch.chdir(tmp_path)
    (tmp_path / following).touch()
    (tmp_path / "weights").touch()
    assert complete_pretrained(["look", "--pretrained", following]) == ["look", "--pretrained=timm", following]
    assert complete_pretrained(["look", "--pretrained", "weights"]) == ["look", "--pretrained=weights"]
