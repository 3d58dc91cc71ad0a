"""``saccade bench`` measures small maps in a moment, writes where it says, and names what it cannot take."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from saccade.bench import pose as bench
from saccade.cli import main
from saccade.tasks.pose import codec, list_codecs

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
        (("pam", "--task", "pose"), "`--task pose` does not use mechanisms"),
    ],
    ids=["mechanism", "shape", "rounds", "device", "task"],
)
def test_names_what_is_wrong(capsys, words, told):
    assert told in run(capsys, *words, status=2).err


@pytest.mark.parametrize("opencv", [True, False])
def test_codecs_are_measured_next_to_a_loop(capsys, monkeypatch, opencv):
    """Whether or not OpenCV is there; without it the loop has no warp, and the table says so."""
    fake = SimpleNamespace(
        INTER_LINEAR=1,
        __version__="0",
        GaussianBlur=lambda heat, kernel, sigma: heat,
        warpAffine=lambda image, matrix, size, flags: image[: size[1], : size[0]],
    )
    monkeypatch.setattr(bench, "opencv", lambda: fake if opencv else None)
    monkeypatch.setattr(bench, "BATCH", 2)
    found = json.loads(run(capsys, "--task", "pose", "--rounds", "1", "--json").out)
    rows = found["rows"]
    assert len(rows) == 12
    assert found["reading_ms"] > 0
    for row in rows:
        assert row["saccade_ms"] > 0
        assert (row["ratio"] is None) == (row["what"] == "warp" and not opencv)
    told = " ".join(run(capsys, "--task", "pose", "--rounds", "1").out.split())
    assert ("OpenCV (pip install opencv-python-headless) is missing" in told) != opencv


@pytest.mark.parametrize("name", list_codecs())
def test_the_loop_is_the_codecs_definition(monkeypatch, name):
    monkeypatch.setattr(bench, "BATCH", 3)
    one = codec(name, bench.SIZE)
    found = bench.cases(one, bench.Loop(one, None), torch.device("cpu"))
    decoded, targets = found["decode"], found["targets"]
    np.testing.assert_allclose(decoded[0]().points.numpy(), decoded[1](), atol=1e-3)
    np.testing.assert_allclose(targets[0]()[0].numpy(), targets[1](), atol=1e-6)
