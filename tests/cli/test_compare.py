"""``saccade compare`` hands on what was asked, and prints the table and where the page is."""

import json
from pathlib import Path

import pytest

import saccade
from saccade.cli import main
from saccade.cli.app import ours


class Finished:
    report = Path("saccade-compare/demo/report.html")

    def table(self):
        return "arm  mIoU\nse[reduction=8]  0.7"

    def to_json(self):
        return {"schema": 2, "arms": []}


@pytest.fixture
def asked(monkeypatch):
    """What the last `saccade.compare` was called with."""
    calls = {}

    def compare(data=None, mechanisms=None, **options):
        calls.update(options, data=data, mechanisms=mechanisms)
        return Finished()

    monkeypatch.setitem(vars(saccade), "compare", compare)
    return calls


def run(*words):
    with pytest.raises(SystemExit) as left:
        main(list(words))
    assert left.value.code == 0


def test_without_anything_the_library_decides(asked):
    run("compare")
    assert asked == {"data": None, "mechanisms": None, "progress": True, "command": "saccade compare"}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["photos"], {"data": "photos"}),
        (["--mechanisms", "none,psa[variant=sequential]"], {"mechanisms": "none,psa[variant=sequential]"}),
        (["--preset", "gates", "--backbone", "resnet50"], {"preset": "gates", "backbone": "resnet50"}),
        (["--at", "stage:-1"], {"at": "stage:-1"}),
        (["--seeds", "7", "--steps", "20", "--size", "64", "--batch", "4", "--jobs", "1"],
         {"seeds": 7, "steps": 20, "size": 64, "batch": 4, "jobs": 1}),
        (["--epochs", "1.5"], {"epochs": 1.5}),
        (["--quick", "--control-params", "--fresh-start", "--overwrite", "--dry-run"],
         {"quick": True, "control_params": True, "fresh_start": True, "overwrite": True, "dry_run": True}),
        (["--device", "cuda", "--out", "there"], {"device": "cuda", "out": Path("there")}),
        (["--pretrained", "photos"], {"pretrained": True, "data": "photos"}),
        (["photos", "--pretrained", "w.pth"], {"pretrained": "w.pth", "data": "photos"}),
        (["--quiet"], {"progress": False}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_options_reach_the_library(asked, words, expected):
    run("compare", *words)
    assert {name: asked[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("--pretrained", "--pretrained=timm"),
        ("--pretrained --quick", "--pretrained=timm --quick"),
        ("--pretrained photos", "--pretrained=timm photos"),
        ("--pretrained kept", "--pretrained=kept"),
        ("--pretrained weights.pth photos", "--pretrained=weights.pth photos"),
        ("photos --pretrained a/W.SafeTensors", "photos --pretrained=a/W.SafeTensors"),
        ("--pretrained w.bin --pretrained", "--pretrained=w.bin --pretrained=timm"),
        ("--pretrained w.pt", "--pretrained=w.pt"),
        ("--pretrained=any", "--pretrained=any"),
        ("--quick -- --pretrained w.pt", "--quick -- --pretrained w.pt"),
        ("--pretrained a_run", "--pretrained=a_run"),
        ("--pretrained a_run photos", "--pretrained=a_run photos"),
        ("photos --pretrained a_run --quick", "photos --pretrained=a_run --quick"),
        ("photos --pretrained not_there", "photos --pretrained=not_there"),
        ("--pretrained not_there --quick --seeds 3 photos", "--pretrained=not_there --quick --seeds 3 photos"),
        ("--seeds 3 --pretrained photos", "--seeds 3 --pretrained=timm photos"),
    ],
)
def test_the_optional_value_of_pretrained(words, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    (tmp_path / "kept").touch()
    (tmp_path / "a_run").mkdir()
    (tmp_path / "a_run" / "run.json").touch()
    assert ours(["compare", *words.split()]) == ["compare", *expected.split()]


def test_prints_the_table_and_the_path_of_the_page(asked, capsys):
    run("compare")
    printed = capsys.readouterr()
    assert printed.out == "arm  mIoU\nse[reduction=8]  0.7\n\nsaccade-compare/demo/report.html\n"
    assert printed.err == ""


def test_json_prints_the_results(asked, capsys):
    run("compare", "--json")
    assert json.loads(capsys.readouterr().out) == Finished().to_json()


def test_the_command_can_be_pasted_into_a_shell(asked):
    run("--quiet", "compare", "my photos", "--mechanisms", "none,psa[variant=sequential]", "--pretrained", "--quick")
    assert asked["command"] == (
        "saccade compare 'my photos' --mechanisms 'none,psa[variant=sequential]' --pretrained --quick"
    )
