"""Every recorded case of the authors' pose code: each recorded result is one of ours."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.golden import pose
from tests.golden.pose import PoseCase


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
