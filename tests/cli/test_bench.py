"""``saccade bench`` measures small maps in a moment, writes where it says, and names what it cannot take."""

import json

import pytest

from saccade.cli import main

QUICK = ("--shape", "1,32,8,8", "--no-compile", "--rounds", "2")


def run(capsys, *words, status=0):
    with pytest.raises(SystemExit) as left:
        main(["bench", *words])
    assert left.value.code == status
    return capsys.readouterr()


def test_prints_a_table_and_writes_what_it_was_told(capsys, tmp_path):
    found, picture = tmp_path / "found.json", tmp_path / "growth.png"
    out = run(capsys, "pam", "se", *QUICK, "--json", str(found), "--plot", str(picture)).out
    assert "1x32x8x8" in out
    assert "not measured, not requested" in " ".join(out.split())
    data = json.loads(found.read_text())
    assert [row["name"] for row in data["rows"]] == ["pam", "se"]
    assert data["machine"]["threads"] >= 1
    assert data["rows"][0]["forward"]["saccade"]["ms"] > 0
    assert data["rows"][0]["forward"]["authors compiled"] is None
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_json_on_stdout_is_one_document(capsys):
    data = json.loads(run(capsys, "cam", *QUICK, "--json").out)
    assert data["schema"] == 1
    assert data["rows"][0]["forward_backward"]["saccade"]["spread"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("pamm",), "unknown mechanism 'pamm'"),
        (("pam", "--shape", "a,b"), "must be like 1,512,64,64"),
        (("pam", "--rounds", "0"), "must be a whole number from 1"),
        (("pam", "--device", "abacus"), "unknown device 'abacus'"),
    ],
    ids=["mechanism", "shape", "rounds", "device"],
)
def test_names_what_is_wrong(capsys, words, told):
    assert told in run(capsys, *words, status=2).err
