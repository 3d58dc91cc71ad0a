"""Every recorded whole network: ours, with the authors' weights loaded, gives their logits and input gradients.

The recordings hold no weights. They are drawn by a rule from the authors' key names, so `load_official` is part of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import saccade
from tests.golden import segmenters
from tests.golden.networks import NetworkCase, authors_names, cases, drawn_map, filled, made

WHOLE = pytest.mark.full  # networks: the everyday suite has the recorded modules and blocks
CLASSIFIERS = [pytest.param(case, id=case.name) for case in cases() if not case.segments]
SEGMENTERS = [pytest.param(case, id=case.name) for case in cases() if case.segments]


@WHOLE
@pytest.mark.parametrize("case", CLASSIFIERS)
def test_equals_the_authors(case: NetworkCase) -> None:
    recorded, ours = case.recorded(), made(case)
    num_classes = recorded["output"].shape[1] if ours.num_classes is None else ours.num_classes
    net = saccade.classifier(ours.name, num_classes, **ours.options).double().train(case.entry["mode"] == "train")
    assert sum(parameter.numel() for parameter in net.parameters()) == case.entry["params"]

    names, own = authors_names(net, ours.names), net.state_dict()
    report = saccade.load_official(net, filled({theirs: tuple(own[key].shape) for theirs, key in names.items()}))
    assert dict(report.loaded) == names

    x = drawn_map(1234, tuple(case.entry["input_size"])).requires_grad_()
    output = net(x)
    torch.testing.assert_close(output, recorded["output"], **case.tolerance(recorded["output"]))
    output.backward(drawn_map(4321, tuple(output.shape)))
    assert x.grad is not None
    sampled = recorded["grad_input_sub"]
    torch.testing.assert_close(x.grad[:, :, 3::16, 3::16], sampled, **case.tolerance(sampled))


@WHOLE
@pytest.mark.parametrize("case", SEGMENTERS)
def test_segments_as_the_authors_do(case: NetworkCase) -> None:
    recorded, ours = case.recorded(), segmenters.made(case)
    net = saccade.segmenter(ours.name, ours.num_classes, **ours.options).double().eval()
    assert sum(parameter.numel() for parameter in net.parameters()) == case.entry["params"]

    names, own = segmenters.authors_names(net, ours.names), net.state_dict()
    shapes = {theirs: segmenters.authors_shape(theirs, own[key]) for theirs, key in names.items()}
    report = saccade.load_official(net, filled(shapes, case.entry["fill_scale"]))
    assert dict(report.loaded) == names

    x = drawn_map(1234, tuple(case.entry["input_size"])).requires_grad_()
    outputs = segmenters.outputs(case, net, x)
    for output, entry in zip(outputs, case.entry["outputs"], strict=True):
        index, sampled = entry["index"], entry["stored"] != "full"
        expected = recorded[f"output_sub.{index}" if sampled else f"output.{index}"]
        found = output[:, :, 1::4, 1::4] if sampled else output
        torch.testing.assert_close(found, expected, **case.tolerance(expected))
        assert list(output.shape) == entry["shape"]
        assert abs(output.sum().item() - entry["sum"]) <= 1e-9 * entry["abs_max"] * output.numel()
    torch.testing.assert_close(net(x), outputs[0], rtol=0, atol=0)
    cotangents = [drawn_map(4321 + i, tuple(output.shape)) for i, output in enumerate(outputs)]
    torch.autograd.backward(outputs, cotangents)
    assert x.grad is not None
    sampled_gradient = recorded["grad_input_sub"]
    torch.testing.assert_close(x.grad[:, :, 1::3, 1::3], sampled_gradient, **case.tolerance(sampled_gradient))


def test_an_empty_directory_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no golden networks in"):
        cases(tmp_path)


def test_what_the_mapping_does_not_know_is_an_error() -> None:
    entry = {"file": "net__any.safetensors", "network": "eca_resnet18", "repo": "BangguWu/ECANet"}
    known = entry | {"path": "models/eca_resnet.py", "constructor": {"k_size": "3333", "gamma": 2}}
    with pytest.raises(LookupError, match=r"unknown constructor arguments \['gamma'\]"):
        made(NetworkCase(known, Path()))
    with pytest.raises(LookupError, match="no mapping for"):
        made(NetworkCase(entry | {"path": "models/other.py", "constructor": {}}, Path()))


@pytest.mark.parametrize(
    ("scales", "expected"),
    [
        ({"scales": "two-scale path, 0.5 and 1"}, (0.5, 1)),
        ({"scales": "n-scale path 0.5, 1.0, 2.0."}, (0.5, 1, 2)),
        ({"scales": [0.25, 1]}, (0.25, 1)),
        ({}, (0.5, 1)),
    ],
)
def test_scales_are_those_of_the_case(scales: dict[str, Any], expected: tuple[float, ...]) -> None:
    source = {"repo": "DeLightCMU/PSA", "path": "semantic-segmentation/network/ocrnet.py:HRNet_Mscale"}
    entry = {"file": "net__any.safetensors", "constructor": {"num_classes": 19, "psa": "PSA_p"} | scales}
    assert segmenters.made(NetworkCase(source | entry, Path())).options == {"variant": "parallel", "scales": expected}
