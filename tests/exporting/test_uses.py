"""Exported files in the place of their networks: predictions, scores, times, and the examples without saccade."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import saccade
from saccade.cli import main
from saccade.exporting.running import open_exported
from saccade.exporting.targets import of_file
from saccade.exporting.targets.onnx import quiet
from saccade.tasks.pose import codec, list_codecs
from saccade.tasks.segmentation.masks import Masks
from saccade.training.inputs import standardised
from tests.comparison import folders
from tests.suites import everyday
from tests.tasks.pose import figures

HOW = {"steps": 1, "batch": 2, "device": "cpu", "workers": 0, "progress": False}
NET = "simple_baseline[deconv_channels=8]"
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def textures(tmp_path_factory):
    root = tmp_path_factory.mktemp("textures")
    data = folders.classification(root / "data", count=3, side=32)
    return data, saccade.train(data, "test_resnet", out=root / "run", mechanism="se", at="stage", size=32, **HOW).folder


@pytest.fixture(scope="module")
def discs(tmp_path_factory):
    root = tmp_path_factory.mktemp("discs")
    data = folders.segmentation(root / "data", count=4, side=48)
    run = saccade.train(data, "danet", backbone="test_resnet", out=root / "run", size=32, **HOW).folder
    return data, run


@pytest.fixture(scope="module")
def puppets(tmp_path_factory):
    root = tmp_path_factory.mktemp("figures")
    data = figures.tree(root / "data", train=4, val=2)
    return data, saccade.train(data, NET, backbone="test_resnet", out=root / "run", size=64, **HOW).folder


def scores(data, model, protocol):
    found = saccade.evaluate(data, model, device="cpu", workers=0, progress=False, protocol=protocol)
    return found.results["scores"]


def near(found, wanted):
    """Equal but for rounding of numbers, whatever they lie in."""
    if isinstance(wanted, dict):
        return found.keys() == wanted.keys() and all(near(found[key], wanted[key]) for key in wanted)
    if isinstance(wanted, (list, tuple)):
        return len(found) == len(wanted) and all(map(near, found, wanted))
    return found == (pytest.approx(wanted, rel=1e-3, abs=1e-3, nan_ok=True) if isinstance(wanted, float) else wanted)


def predictions(data, model, protocol, out):
    """Rows, which masks have none of, and what was drawn or written as a picture."""
    done = saccade.predict(data, model, device="cpu", protocol=protocol, out=out)
    rows = None if isinstance(done, Masks) else list(done.rows)
    return rows, {path.relative_to(out): np.array(Image.open(path)) for path in sorted(out.rglob("*.png"))}


@pytest.mark.full
@pytest.mark.parametrize(
    ("trained", "protocols", "outputs"),
    [
        ("textures", (None,), ["predictions", "output"]),
        ("discs", ("sliding", "multi-scale"), ["predictions", "output"]),
        ("puppets", ("flip", "plain"), ["points", "scores", "output"]),
    ],
)
def test_files_with_predictions_are_used_and_scored_as_their_networks(trained, protocols, outputs, request, tmp_path):
    data, run = request.getfixturevalue(trained)
    scored = [scores(data, run, protocol) for protocol in protocols]
    rows, pictures = predictions(data, run, protocols[0], tmp_path / "run")
    assert bool(pictures) == (trained != "textures")  # masks, or skeletons
    for to in ("onnx", "openvino"):
        found = saccade.export(run, to=to, with_pre=True, with_post=True, out=tmp_path / f"net_{to}")
        assert found.verified
        assert found.about["outputs"] == outputs
        for protocol, wanted in zip(protocols, scored, strict=True):
            assert near(scores(data, found.file, protocol), wanted)
        said, drawn = predictions(data, found.file, protocols[0], tmp_path / f"of {to}")
        assert near(said, rows)
        assert drawn.keys() == pictures.keys()
        assert all((drawn[path] == picture).mean() > 0.999 for path, picture in pictures.items())


@pytest.mark.full
def test_predictions_in_the_file_are_those_of_the_task(puppets, tmp_path):
    """Decoded at a batch other than that of the example; a size other than that of training is refused."""
    _, run = puppets
    found = saccade.export(run, with_post=True, out=tmp_path / "net.onnx", verify=False)
    assert found.about["free"] == ["batch"]
    x = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    points, joint_scores, output = of_file(found.file).open(found.file).outputs(x.numpy())
    from saccade.runs.open import open_run

    wanted = open_run(run).task.predict(torch.from_numpy(output), (64, 64))
    assert np.abs(points - wanted["points"].numpy()).max() < 1e-3
    assert np.abs(joint_scores - wanted["scores"].numpy()).max() < 1e-6
    for options in ({"size": 96}, {"dynamic": True}):
        with pytest.raises(saccade.InputError, match="key points are decoded from maps of one size"):
            saccade.export(run, with_post=True, out=tmp_path / "other.onnx", **options)


@pytest.mark.parametrize("name", everyday(["udp"], list_codecs()))
def test_every_decoder_is_recorded_without_constants(name):
    """Traced on other maps, of another batch: what was a branch or left torch would be baked in."""
    made = codec(name, (64, 96))
    draw = torch.Generator().manual_seed(0)
    first, other = (torch.randn(n, 3 * made.maps_per_joint, 24, 16, generator=draw) for n in (2, 3))
    with quiet():
        traced = torch.jit.trace(made.locate, (first,), check_trace=False)
    for maps in (other, other.abs(), torch.zeros_like(other)):
        for found, wanted in zip(traced(maps), made.locate(maps), strict=True):
            assert torch.allclose(found.double(), wanted.double(), atol=1e-4)


@pytest.mark.full
def test_the_command_says_by_its_status_that_a_file_is_wrong(tmp_path, capsys, monkeypatch):
    """A tolerance below the error of float32 fails every file, and nothing is left."""
    from tests.exporting.test_export import Off

    monkeypatch.setattr("saccade.exporting.export.target", lambda name: Off())
    words = ["export", "test_resnet", "--to", "torch-export", "--size", "32", "--classes", "2"]
    for more, status in ((["--tolerance", "0.5"], 0), ([], 1)):
        out = tmp_path / f"{status}.pt2"
        with pytest.raises(SystemExit) as left:
            main([*words, "--out", str(out), *more, "--json"])
        assert left.value.code == status
        data = json.loads(capsys.readouterr().out)
        assert data["verified"] is (status == 0)
        assert data["cases"][0]["error"] == pytest.approx(0.01, rel=1e-3)
        assert out.exists() == (status == 0)
        assert not list(tmp_path.glob(".*working"))


@pytest.mark.full
def test_the_command_measures_files_next_to_each_other(textures, tmp_path, capsys):
    _, run = textures
    files = [saccade.export(run, to=to, size=32, out=tmp_path / "net").file for to in ("onnx", "openvino")]
    given = [word for file in files for word in ("--exported", str(file))]
    for words, status in (([], 0), (["--shape", "1,4,32,32"], 2), (["--shape", "1,3,48,48"], 2), (["se"], 2)):
        with pytest.raises(SystemExit) as left:
            main(["bench", *given, "--rounds", "1", *words])
        assert left.value.code == status
        told = capsys.readouterr()
        if status == 0:
            assert all(str(file) in told.out for file in files)
            assert "1 x 3 x 32 x 32" in told.out


# Every form of a file, and both tasks in the form that does the most by itself.
EXAMPLES = (
    ("textures", {}),
    ("discs", {"with_pre": True}),
    ("textures", {"with_pre": True, "with_post": True}),
    ("discs", {"with_pre": True, "with_post": True}),
)


def lines_of(logits, classes):
    """The words that an example prints: a class, or each class of the pixels with its share."""
    numbers, counts = np.unique(logits.argmax(axis=0), return_counts=True)
    shares = [[f"{count / counts.sum():.1%}"] if logits.ndim > 1 else [] for count in counts]
    return [[classes[number], *share] for number, share in zip(numbers, shares, strict=True)]


@pytest.mark.processes
@pytest.mark.parametrize(("to", "blocked"), [("onnx", "openvino"), ("openvino", "onnx")])
def test_the_examples_run_without_saccade_and_torch(discs, textures, to, blocked, tmp_path):
    """All in one process, which prints a line for each class; that the files are right is shown elsewhere."""
    given, wanted = [], []
    for number, (name, options) in enumerate(EXAMPLES):
        data, run = {"discs": discs, "textures": textures}[name]
        file = saccade.export(run, to=to, size=32, out=tmp_path / str(number), verify=False, **options).file
        image = np.array(Image.open(next(data.rglob("*.jpg"))).convert("RGB").resize((32, 32)))
        np.save(tmp_path / f"{number}.npy", image)
        given.append([str(file), str(tmp_path / f"{number}.npy")])
        logits = open_exported(file).net(standardised(torch.from_numpy(image).permute(2, 0, 1)[None]))[0].numpy()
        wanted.append(lines_of(logits, {"discs": ("0", "1"), "textures": folders.TEXTURES}[name]))
    outside = ("saccade", "torch", "PIL", blocked)
    code = (
        f"import sys, runpy; sys.modules.update(dict.fromkeys({outside!r}))\n"
        f"for words in {given!r}:\n"
        f"    sys.argv[1:] = words; runpy.run_path({str(ROOT / 'examples' / f'run_{to}.py')!r}); print('the next')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path,
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    *printed, rest = done.stdout.split("the next\n")
    assert not rest
    assert [[line.split() for line in lines.splitlines()] for lines in printed] == wanted
