"""Every recorded case of the authors' pose code: each recorded result is one of ours."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import saccade
from tests.golden import pose, pose_networks
from tests.golden.networks import drawn_map, filled
from tests.golden.pose import PoseCase
from tests.golden.pose_networks import NetworkCase
from tests.golden.segmenters import authors_shape


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in pose.cases()])
def test_equals_the_authors(case: PoseCase) -> None:
    if case.kind == "coco_ap":
        pytest.importorskip("faster_coco_eval")
    wanted = {name: tensor for name, tensor in case.recorded.items() if name not in pose.INPUTS[case.kind]}
    found = pose.results(case)
    assert set(wanted) <= set(found)
    for name, expected in wanted.items():
        torch.testing.assert_close(
            found[name].detach().double(),
            expected.double(),
            rtol=case.entry["rtol"],
            atol=case.entry["atol"],
            equal_nan=True,
            msg=lambda said, name=name: f"{name}: {said}",
        )


def test_what_the_mapping_does_not_know_is_an_error(tmp_path: Path) -> None:
    entry = {"file": "decode__any.safetensors", "case": "decode", "repo": "ilovepose/DarkPose", "notes": ""}
    with pytest.raises(LookupError, match=r"unknown settings \['limit'\]; known: \['blur_kernel'\]"):
        pose._decoder(PoseCase(entry | {"settings": {"blur_kernel": 3, "limit": 1}}, tmp_path))
    with pytest.raises(LookupError, match="no mapping for"):
        _ = PoseCase(entry | {"repo": "other/pose"}, tmp_path).convention
    with pytest.raises(FileNotFoundError, match="no golden cases of pose in"):
        pose.cases(tmp_path)


@pytest.mark.full  # whole networks
@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in pose_networks.cases()])
def test_a_network_equals_the_authors(case: NetworkCase) -> None:
    """The recordings hold no weights: `load_official` reads the drawn ones under the authors' names."""
    recorded, (name, options) = case.recorded(), pose_networks.made(case)
    net = saccade.pose_estimator(name, **options).double().train(case.entry["mode"] == "train")
    assert sum(parameter.numel() for parameter in net.parameters()) == case.entry["params"]

    names, own = pose_networks.authors_names(net), net.state_dict()
    shapes = {theirs: authors_shape(theirs, own[ours]) for theirs, ours in names.items()}
    report = saccade.load_official(net, filled(shapes))
    assert dict(report.loaded) == names

    x = drawn_map(1234, tuple(case.entry["input_size"])).requires_grad_()
    output = net(x)
    assert list(output.shape) == case.entry["output_size"]
    torch.testing.assert_close(output, recorded["output"], **case.tolerance(recorded["output"]))
    output.backward(drawn_map(4321, tuple(output.shape)))
    assert x.grad is not None
    sampled = recorded["grad_input_sub"]
    torch.testing.assert_close(x.grad[:, :, 3::16, 3::16], sampled, **case.tolerance(sampled, gradient=True))
