"""Every mechanism in ONNX Runtime and OpenVINO, networks in the place of their files, and attention without a table."""

import re
import shutil
import warnings

import onnx
import pytest
import torch

import saccade
from saccade.exporting.export import export_network
from saccade.exporting.targets import of_file
from saccade.exporting.verifying import measured_peak
from saccade.testing.subject import Subject
from tests.comparison import folders
from tests.ops.test_traced import MECHANISMS
from tests.suites import everyday

HOW = {"steps": 8, "batch": 4, "device": "cpu", "workers": 0, "progress": False, "size": 32}


def kinds(chosen):
    pairs = [(name, to) for name in map(str, MECHANISMS) for to in ("onnx", "openvino")]
    return everyday(chosen, pairs)


@pytest.mark.parametrize(("name", "to"), kinds([("pam", "onnx")]))
def test_every_mechanism_is_the_same_at_free_sizes(name, to, tmp_path):
    subject = Subject.of(name)
    module = subject.awake(torch.float32)
    found = export_network(module, to=to, out=tmp_path / "one", example_input=subject.map(2, torch.float32, (12, 15)))
    assert found.verified
    assert max(case.error for case in found.cases) < 2e-5


@pytest.mark.full
@pytest.mark.parametrize("name", ["pam", "sagan", "non_local", "dual", "cs"])
def test_attention_over_positions_has_no_table(name, tmp_path):
    """On a map of 96 x 96 the runtime needs less than the smaller table, that of positions and pooled ones."""
    subject = Subject.of(name)
    found = export_network(
        subject.awake(torch.float32), out=tmp_path / "one.onnx", example_input=subject.map(1, torch.float32, (12, 15)),
        verify=False,
    )  # fmt: skip
    model = onnx.load(found.file)
    assert any(node.op_type == "Scan" for node in model.graph.node)
    assert {one.domain for one in model.opset_import} <= {"", "ai.onnx"}
    x = subject.map(1, torch.float32, (96, 96)).detach().numpy()
    session = of_file(found.file).open(found.file)
    peak, _ = measured_peak(lambda: session.run(x))
    assert peak < 96**2 * 48**2 * 4 / 2**20


@pytest.mark.full
def test_half_precision_keeps_the_energies_of_channels(tmp_path):
    """Sums of a map of mean square 100 overflow in half precision."""
    cam = saccade.create("cam", 16)
    with torch.no_grad():
        cam.gamma.fill_(0.7)
    x = 10 * torch.randn(2, 16, 40, 40)
    found = export_network(cam, half=True, out=tmp_path / "cam.onnx", example_input=x, verify=False)
    from saccade.exporting.targets import target

    made = torch.from_numpy(target("onnx").open(found.file).run(x.numpy()))
    assert made.isfinite().all()
    assert (made - cam(x)).abs().max() < 0.02 * cam(x).abs().max()


@pytest.fixture(scope="module")
def textures(tmp_path_factory):
    root = tmp_path_factory.mktemp("textures")
    data = folders.classification(root / "data", count=3, side=32)
    return data, saccade.train(data, "test_resnet", out=root / "run", mechanism="se", at="stage", **HOW).folder


@pytest.mark.full
def test_a_file_predicts_and_is_scored_as_its_network(textures, tmp_path):
    data, run = textures
    shutil.rmtree(tmp_path / "out", ignore_errors=True)
    found = export_network(run, with_pre=True, size=32, out=tmp_path / "net.onnx")
    assert found.about["classes"] == ["brick", "grass", "gravel"]
    assert [case.images for case in found.cases].count("real") == 1
    for ours, theirs in zip(
        saccade.predict(data, found.file, device="cpu").rows, saccade.predict(data, run, device="cpu").rows, strict=True
    ):
        assert ours["image"] == theirs["image"]
        assert ours["classes"][0][0] == theirs["classes"][0][0]
    scored = [
        saccade.evaluate(data, model, device="cpu", workers=0, progress=False).results["scores"]
        for model in (found.file, run)
    ]
    assert scored[0] == pytest.approx(scored[1])
    from saccade.exporting.timing import as_text, side_by_side

    timed = side_by_side([found.file, found.file], rounds=1)
    assert timed["shape"] == [1, 3, 32, 32]
    assert timed["files"][str(found.file)]["error"] == 0
    assert str(found.file) in as_text(timed)
    with pytest.raises(saccade.InputError, match="is an exported file already"):
        export_network(found.file, out=tmp_path / "again.onnx")


def gated(costly):
    """A convolution, a gate of channels, and a classifier of positions.

    Args:
        costly: If True, one hidden unit of the gate is thousands of times as large as the one that decides.
    """
    torch.manual_seed(0)
    gate = saccade.create("se", 8, reduction=2)
    with torch.no_grad():
        if costly:
            gate.reduce.weight[0] = 1000.0
            gate.expand.weight.zero_()
            gate.expand.weight[:, 1] = torch.tensor([40.0, -40.0] * 4)[:, None, None]
            gate.reduce.weight[1] = 0.2
    return torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), gate, torch.nn.Conv2d(8, 3, 1)).eval()


def layers_in_8_bits(file, name):
    """The weighted nodes of a module in an ONNX file: how many read weights of 8 bits, and how many there are."""
    graph = onnx.load(file).graph
    restored = {node.output[0] for node in graph.node if node.op_type == "DequantizeLinear"}
    read = [node.input[1] for node in graph.node if node.op_type == "Conv" and node.input[1].startswith(name)]
    return sum(weight in restored for weight in read), len(read)


@pytest.mark.full
@pytest.mark.parametrize("costly", [True, False])
def test_attention_that_8_bits_harm_stays_in_float(costly, tmp_path):
    data = folders.classification(tmp_path / "data", count=2, side=24)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the quantiser
        found = export_network(gated(costly), int8=data, size=24, out=tmp_path / "net")
    assert found.verified
    (cost,) = found.about["int8"]
    assert cost["kept"] is costly
    assert (cost["error"] > 5 * cost["error_in_float"]) is costly
    (said,) = (note for note in found.notes if note.startswith("8 bits in the layers of SE x 1: "))
    assert said.endswith("it stays in float" if costly else "it is in 8 bits")
    assert max(case.error for case in found.cases) < 0.1
    assert layers_in_8_bits(found.file, "2.") == (0 if costly else 2, 2)
    assert layers_in_8_bits(found.file, "0.") == (1, 1)


@pytest.mark.full
def test_a_trained_network_in_8_bits_is_verified_and_says_what_its_attention_costs(textures, tmp_path):
    data, run = textures
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the quantiser
        found = export_network(run, int8=data, size=32, out=tmp_path / "net.onnx")
    assert found.verified
    assert found.about["precision"] == "int8"
    (said,) = (note for note in found.notes if note.startswith("8 bits in the layers of SE x "))
    assert re.search(r"relative error .*; in float relative error .*; it (stays in float|is in 8 bits)$", said)
    assert any(node.op_type == "QuantizeLinear" for node in onnx.load(found.file).graph.node)
    (tmp_path / "one").mkdir()
    shutil.copy(next(data.rglob("*.jpg")), tmp_path / "one")
    with pytest.raises(saccade.InputError, match="has 1 image; ranges need at least 2"):
        export_network(run, int8=tmp_path / "one", out=tmp_path / "other.onnx")
