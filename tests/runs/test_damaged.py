"""A damaged file in the folder of a run or a comparison is named, and nothing else is touched."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

import saccade
from saccade.cli.app import main
from saccade.files import clear_temporary
from tests.comparison.inline import InlinePool
from tests.suites import everyday

DAMAGES = {
    "empty": lambda whole: b"",
    "cut": lambda whole: whole[: len(whole) // 2],
    "null": lambda whole: b"null",
    "list": lambda whole: b"[1, 2]",
    "text": lambda whole: b'"run"',
    "no keys": lambda whole: b"{}",
    "other types": lambda whole: json.dumps({key: [[]] for key in _keys(whole)}).encode(),
    "wrong numbers": lambda whole: json.dumps(dict.fromkeys(_keys(whole), -1e300)).encode(),
    "not a number": lambda whole: b'{"format": NaN, "asked": 1}',
    "deep": lambda whole: b"[" * 100_000,
    "long number": lambda whole: b'{"format": ' + b"9" * 5000 + b"}",
    "no text": lambda whole: b"\xff\xfe\x00\x80" * 40,
    "zeros": lambda whole: bytes(len(whole)),
    "folder": None,
}
# What the reader of all files of a kind finds before anybody looks into them: shown with one file of each kind.
OF_THE_READER = {"cut", "list", "text", "not a number", "deep", "long number", "zeros"}


def damages(file, shown):
    """Names of the damages that a file is tried with."""
    return [name for name in DAMAGES if file in shown or name not in OF_THE_READER]


def _keys(whole):
    try:
        return list(json.loads(whole))
    except (ValueError, UnicodeDecodeError):
        return ["step"]


def files(folder):
    """The content of every file."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def damage(path, name):
    change = DAMAGES[name]
    whole = path.read_bytes()
    path.unlink()
    if change is None:
        path.mkdir()
    else:
        path.write_bytes(change(whole))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "photos"
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        (folder / name).mkdir(parents=True)
        for number in range(4):
            Image.fromarray(rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)).save(folder / name / f"{number}.png")
    return folder


TRAIN = ("--network", "test_resnet", "--mechanism", "se", "--size", "32", "--steps", "3", "--batch", "2")
TRAIN = (*TRAIN, "--workers", "0", "--checkpoint-seconds", "0", "--device", "cpu", "--evaluate-every", "1")


def said(capsys, *words):
    """Exit status and what was said on stderr."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in (*words, "--quiet")])
    return ended.value.code, capsys.readouterr().err


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    """The folder of a finished run with checkpoints."""
    out = tmp_path_factory.mktemp("runs") / "run"
    with pytest.raises(SystemExit) as ended:
        main(["train", str(data), *TRAIN, "--out", str(out), "--quiet"])
    assert ended.value.code == 0
    return out


RUN_FILES = {
    "run.json": {"resume", "finished"},
    "result.json": {"finished"},
    "split.json": {"evaluate"},
    "data.json": {"resume", "finished", "evaluate"},
    "log.csv": {"resume"},
    "best.safetensors": {"evaluate", "predict", "look"},
}


SHOWN = ("run.json", "log.csv", "best.safetensors")


@pytest.mark.parametrize(
    ("file", "name"),
    everyday(
        [("run.json", "null"), ("result.json", "other types"), ("split.json", "no keys"), ("log.csv", "no text"),
         ("data.json", "wrong numbers"), ("best.safetensors", "empty"), ("run.json", "folder")],
        [(file, name) for file in RUN_FILES for name in damages(file, SHOWN)],
    ),
)  # fmt: skip
def test_a_damaged_file_of_a_run_is_named(file, name, data, trained, tmp_path, capsys):
    commands = {
        "finished": ("train", data, *TRAIN, "--out"),
        "resume": ("train", data, *TRAIN, "--out"),
        "evaluate": ("evaluate", data, "--workers", "0", "--device", "cpu", "--model"),
        "predict": ("predict", data / "a" / "0.png", "--device", "cpu", "--model"),
        "look": ("look", data / "a" / "0.png", "--out", tmp_path / "look", "--model"),
    }
    for what, words in commands.items():
        if what not in RUN_FILES[file]:
            continue
        out = tmp_path / what
        shutil.copytree(trained, out)
        if what == "resume":
            (out / "result.json").unlink()
            (out / "model.safetensors").unlink()
        damage(out / file, name)
        before = files(out)
        if what == "resume" and file == "log.csv":
            del before[out / "run.json"]  # begun anew with the state of the code, before the log is opened
        code, err = said(capsys, *words, out)
        assert "not foreseen" not in err
        assert "delete" not in err
        harmless = (file, name) == ("log.csv", "zeros")
        assert (code, str(out / file) in err) == (2, True) or harmless, (what, code, err)
        after = files(out)
        assert {path: after.get(path) for path in before} == before
        assert {path.name for path in after.keys() - before.keys()} <= {".lock", "run.json"}


COMPARE = ("--backbone", "test_resnet", "--mechanisms", "none,se", "--seeds", "1", "--steps", "1", "--size", "32")
COMPARE = (*COMPARE, "--batch", "2", "--jobs", "1", "--device", "cpu")


@pytest.fixture(scope="module")
def compared(data, tmp_path_factory):
    """The folder of a finished comparison."""
    out = tmp_path_factory.mktemp("compared") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("saccade.comparison.compare.Pool", InlinePool)
        with pytest.raises(SystemExit) as ended:
            main(["compare", str(data), *COMPARE, "--out", str(out), "--quiet"])
    assert ended.value.code == 0
    return out


COMPARED_FILES = {
    "results.json": {"finished", "report"},
    "settings.json": {"finished", "resume"},
    "experiment.json": {"finished", "resume", "evaluate"},
    "data.json": {"finished", "resume", "evaluate"},
    "split.json": {"evaluate"},
    "runs/se/0/config.json": {"evaluate"},
    "runs/se/0/model.safetensors": {"evaluate"},
    "runs/se/0/result.json": {"resume"},
    "runs/se/0/log.csv": {"report"},
    "pictures/index.json": {"report"},
}


@pytest.mark.full
@pytest.mark.parametrize("file", COMPARED_FILES)
def test_a_damaged_file_of_a_comparison_is_named(file, data, compared, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("saccade.comparison.compare.Pool", InlinePool)
    commands = {
        "finished": lambda out: ("compare", data, *COMPARE, "--out", out),
        "resume": lambda out: ("compare", data, *COMPARE, "--out", out),
        "report": lambda out: ("report", out),
        "evaluate": lambda out: ("evaluate", data, "--workers", "0", "--device", "cpu", "--model", out / "runs" / "se"),
    }
    for name in damages(file, ("settings.json", "runs/se/0/log.csv", "runs/se/0/model.safetensors")):
        for what in COMPARED_FILES[file]:
            out = tmp_path / f"{what} {name}"
            shutil.copytree(compared, out)
            if what == "resume":
                (out / "results.json").unlink()
            damage(out / file, name)
            before = files(out)
            code, err = said(capsys, *commands[what](out))
            assert "not foreseen" not in err
            assert "delete" not in err
            if what == "report" and file == "pictures/index.json" and name == "folder":
                assert code == 0  # no pictures
                continue
            harmless = file.endswith("log.csv") and name == "zeros"
            assert (code, str(out / file) in err) == (2, True) or harmless, (what, name, code, err)
            after = files(out)
            assert {path: after.get(path) for path in before} == before
            shutil.rmtree(out)


def test_what_killed_runs_left_is_cleared_and_nothing_else(tmp_path):
    ours = [".run.json.999999999.tmp", "checkpoints/.000000007.safetensors.999999999.tmp", ".log.csv.999999999.tmp"]
    others = ["a.tmp", ".hidden.tmp", ".notes.txt.12.tmp", ".run.json.tmp", "run.json.1.tmp", ".run.json.1.tmp"]
    (tmp_path / "checkpoints").mkdir()
    for name in (*ours, *others):
        (tmp_path / name).touch()
    clear_temporary(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == sorted(others)  # process 1 runs
    assert not list((tmp_path / "checkpoints").iterdir())


def test_a_run_begins_where_a_killed_one_left_a_temporary_file(data, trained, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".run.json.999999999.tmp").touch()
    assert said(capsys, "train", data, *TRAIN, "--out", tmp_path / "out")[0] == 0
    assert not list((tmp_path / "out").rglob("*.tmp"))
    assert saccade.load(tmp_path / "out").saccade_report.places
