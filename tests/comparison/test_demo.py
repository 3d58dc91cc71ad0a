"""The demo shows what docs/demo.md says it shows: the numbers were written down before, not taken from this run."""

import json

import pytest

from saccade.comparison.compare import compare


@pytest.mark.processes
def test_context_helps_and_parameters_alone_do_not(tmp_path):
    found = compare(None, "none,non_local,conv3x3", quick=True, out=tmp_path / "out", progress=False)
    none, non_local, conv = found.results.arms
    assert 0.62 <= none.mean <= 0.70
    assert non_local.difference.mean >= 0.06
    assert non_local.difference.verdict == "better"
    assert abs(conv.difference.mean) <= 0.02
    assert conv.difference.verdict == "can't tell"
    # Its small and thin objects are what context helps most with: most of a torn note is gone.
    assert non_local.details["size"]["small"] - none.details["size"]["small"] > non_local.difference.mean
    shown = json.loads((found.folder / "pictures" / "index.json").read_text())["images"]
    assert {image["role"] for image in shown} == {"success", "typical", "failure"}
