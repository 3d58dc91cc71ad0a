"""Files for other runtimes: verified, or not left; what is given wrongly; what of the user's is never replaced."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch

import saccade
from saccade.errors import InputError, MissingExtraError
from saccade.exporting.export import WrongExportError, export_network
from saccade.exporting.running import open_exported
from saccade.exporting.targets import Session, Target, as_arrays, described, target
from saccade.exporting.verifying import agreement, relative_error
from saccade.runs.open import open_run
from tests.suites import everyday

EXAMPLE = torch.randn(2, 8, 9, 10)


@pytest.fixture
def gate():
    torch.manual_seed(0)
    return saccade.create("cbam", 8, reduction=2)


def test_a_verified_file_says_what_it_is(gate, tmp_path):
    found = export_network(gate, to="torchscript", out=tmp_path / "gate.pt", example_input=EXAMPLE)
    assert found.verified
    assert [case.shape[0] for case in found.cases] == [1, 3, 1, 3, 1]
    assert max(case.error for case in found.cases) < 1e-6
    about = target("torchscript").open(found.file).about
    assert about == json.loads(json.dumps(found.about))
    assert about["mechanisms"] == ["CBAM x 1"]
    assert about["free"] == ["batch", "height", "width"]
    assert {path.name for path in tmp_path.iterdir()} == {"gate.pt", ".saccade-written"}
    assert "verified" in str(found)


def test_an_earlier_export_is_replaced_if_asked_and_files_of_others_never(gate, tmp_path, monkeypatch):
    monkeypatch.setattr("saccade.exporting.export.target", lambda name: Plain())
    how = {
        "to": "torch-export",
        "out": tmp_path / "gate.pt2",
        "example_input": EXAMPLE,
        "size": "9,10",
        "verify": False,
    }
    first = export_network(gate, **how)
    assert first.file == tmp_path / "gate.unverified.pt2"
    with pytest.raises(InputError, match=r"gate.unverified.pt2 exists") as refused:
        export_network(gate, **how)
    assert "--overwrite" in refused.value.hint
    assert export_network(gate, **how, overwrite=True).file == first.file
    (tmp_path / "gate.pt2").write_text("mine")
    with pytest.raises(InputError, match="exists, and saccade did not write it"):
        export_network(gate, **how, overwrite=True)
    assert (tmp_path / "gate.pt2").read_text() == "mine"


class Plain(Target):
    """A kind of file whose runtime is the network itself."""

    name, runtime, suffixes, extra = "torch-export", "torch", (".pt2",), ""
    factor = 1.0

    def write(self, subject, plan, path, about):
        path.write_bytes(b"net")
        type(self).subject, type(self).said = subject, about

    def open(self, path):
        return Run(self.subject.net, self.factor, self.said)


class Run(Session):
    def __init__(self, net, factor, about):
        self.net, self.factor, self.about = net, factor, about

    @torch.no_grad()
    def outputs(self, x):
        return as_arrays(self.factor * self.net(torch.from_numpy(x)))


class Off(Plain):
    """A converter that is wrong."""

    factor = 1.01


class Refusing(Plain):
    def open(self, path):
        raise RuntimeError("no such operator")


class Missing(Plain):
    def open(self, path):
        raise MissingExtraError("onnxruntime", "onnx", ModuleNotFoundError("none"))


class Full(Plain):
    def write(self, subject, plan, path, about):
        path.write_bytes(b"half of i")
        raise OSError(28, "No space left on device")


class Stopped(Plain):
    def write(self, subject, plan, path, about):
        path.write_bytes(b"half of i")
        signal.raise_signal(signal.SIGTERM)


@pytest.mark.parametrize(
    ("kind", "error", "message"),
    [
        (Off, WrongExportError, r"at 1 of 1 inputs|at 2 of 2 inputs"),
        (Refusing, WrongExportError, "torch refuses the file: RuntimeError: no such operator"),
        (Full, InputError, "No space left on device"),
        (Stopped, KeyboardInterrupt, "^$"),
    ],
)
def test_nothing_is_left_of_a_file_that_is_wrong(gate, tmp_path, monkeypatch, kind, error, message):
    monkeypatch.setattr("saccade.exporting.export.target", lambda name: kind())
    with pytest.raises(error, match=message):
        export_network(gate, to="torch-export", out=tmp_path / "gate.pt2", example_input=EXAMPLE, size=(9, 10))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("to", everyday(["torchscript"], ["torchscript", "torch-export"]))
def test_a_full_disk_is_an_error_of_the_writing(gate, tmp_path, monkeypatch, to):
    """PyTorch's own writing of a file ends the process there, so all bytes are written by Python."""

    def full(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(InputError, match=r"could not write .*: No space left on device"):
        export_network(gate, to=to, out=tmp_path / "gate", example_input=EXAMPLE, size=(9, 10), verify=False)
    assert list(tmp_path.iterdir()) == []


def test_what_killed_exports_left_is_deleted_and_nothing_else(gate, tmp_path, monkeypatch):
    monkeypatch.setattr("saccade.exporting.export.target", lambda name: Plain())
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    left = tmp_path / f".other.{int(ended.stdout)}.abc.saccade-working"
    running, mine = tmp_path / f".other.{os.getppid()}.abc.saccade-working", tmp_path / ".notes.saccade-working"
    for folder in (left, running, mine):
        folder.mkdir()
        (folder / "part").write_bytes(b"half of i")
    export_network(gate, to="torch-export", out=tmp_path / "gate.pt2", example_input=EXAMPLE, size=(9, 10))
    assert {path.name for path in tmp_path.iterdir()} == {"gate.pt2", ".saccade-written", running.name, mine.name}


def test_without_its_runtime_a_file_is_called_unverified(gate, tmp_path, monkeypatch):
    monkeypatch.setattr("saccade.exporting.export.target", lambda name: Missing())
    found = export_network(gate, to="torch-export", out=tmp_path / "gate.pt2", example_input=EXAMPLE, size=(9, 10))
    assert found.file.name == "gate.unverified.pt2"
    assert not found.verified
    assert "UNVERIFIED" in str(found)
    assert "onnxruntime" in str(found)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": "9,10", "dynamic": True}, "--size fixes what --dynamic leaves free"),
        ({"to": "litert", "dynamic": True}, "litert cannot leave sizes free"),
        ({"to": "executorch", "half": True}, "executorch is written in float32 only"),
        ({"to": "torchscript", "int8": "."}, "torchscript is not written in 8 bits"),
        ({"to": "torchscript", "opset": 20}, "--opset is for ONNX"),
        ({"half": True, "int8": "."}, "exclude each other"),
        ({"opset": 11}, "opset must be a whole number from 18 to 24"),
        ({"size": "0,4"}, "--size must be height and width"),
        ({"size": "big"}, "--size must be height and width"),
        ({"size": "1,2,3"}, "--size must be height and width"),
        ({"to": "onnx", "out": "net.xml"}, "net.xml is a name for openvino"),
        ({"with_post": True}, "needs the task of the network"),
        ({"with_pre": True}, "is for images of 3 channels"),
        ({"example_input": EXAMPLE[0]}, "must be a tensor"),
        ({"example_input": EXAMPLE[:, :4], "to": "torch-export"}, r"does not take images of 9 x 10: CBAM: expected"),
        ({"to": "tensorrt"}, "to must be"),
    ],
)
def test_what_contradicts_itself_is_refused_before_anything_is_written(gate, tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message):
        export_network(gate, **{"example_input": EXAMPLE, **options})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["onnx", "xml", "tflite", "pte"])
def test_a_file_that_is_missing_or_of_others_is_refused(tmp_path, name):
    with pytest.raises(InputError, match="no such file"):
        open_run(tmp_path / f"net.{name}")
    (tmp_path / f"net.{name}").write_text("something else")
    with pytest.raises((InputError, MissingExtraError), match=r"refuses it|could not be imported|did not write it"):
        open_run(tmp_path / f"net.{name}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not JSON", "what the file says of itself is damaged"),
        ("[" * 100_000, "what the file says of itself is damaged"),
        ("[1, 2]", "what the file says of itself is damaged"),
        ("{}", "saccade did not write it"),
        ('{"name": "net"}', "what it says of itself is damaged"),
        ('{"format": 2}', "a later saccade wrote it"),
        ('{"size": [32]}', "what it says of itself is damaged"),
        ('{"size": ["high", 32]}', "what it says of itself is damaged"),
        ('{"free": null}', "what it says of itself is damaged"),
        ('{"task": 3}', "task|damaged"),
        ('{"task": {"kind": "other"}}', "task|damaged"),
        ('{"reading": 3}', "read|damaged"),
        ('{"source": 3}', "what it says of itself is damaged"),
        ('{"post": true, "outputs": null}', "damaged|predictions alone"),
    ],
)
def test_a_file_that_says_something_else_of_itself_is_refused(gate, tmp_path, monkeypatch, text, message):
    """Its words are those of anyone: the whole of them, or one part of what saccade wrote."""
    file = tmp_path / "gate.pt2"
    monkeypatch.setattr("saccade.exporting.export.target", lambda name: Plain())
    export_network(gate, to="torch-export", out=file, example_input=EXAMPLE, size=(9, 10))
    about = dict(Plain.said, free=["batch"])

    class Saying(Plain):
        def open(self, path):
            changed = text.startswith("{") and text != "{}" and "name" not in text
            given = json.dumps(about | json.loads(text)) if changed else text
            return Run(gate, 1.0, described(given))

    monkeypatch.setattr("saccade.exporting.running.of_file", lambda path: Saying())
    with pytest.raises(InputError, match=message) as refused:
        open_exported(file)
    assert str(file) in refused.value.message


def test_errors_are_relative_to_the_largest_output_and_classes_are_compared_as_they_are():
    wanted = np.array([[1.0, 2.0], [4.0, 3.0]])
    assert relative_error(wanted + 0.4, wanted) == pytest.approx(0.1)
    assert relative_error(wanted * np.nan, wanted) == np.inf
    assert agreement(wanted[:, ::-1], wanted) == 0
    assert agreement(np.array([1, 2, 3]), np.array([1, 2, 4])) == pytest.approx(2 / 3)
