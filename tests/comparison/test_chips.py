"""The demo "chips" through a comparison: own network, own data, controls of one size, and turned objects counted."""

import json

import pytest
import torch

import saccade
from saccade.catalog import PRESETS, parse
from saccade.comparison.arms import resolve_arms
from saccade.comparison.demos import CHIPS, DEMOS, find_demo
from saccade.comparison.options import CompareOptions
from saccade.comparison.settings import Settings
from saccade.data import chips
from saccade.errors import InputError
from saccade.networks.make import places_in
from tests.comparison.inline import InlinePool


def test_arms_of_the_demo_are_of_one_size():
    sizes = {}
    for arm in resolve_arms(None, None, None, CHIPS.arms):
        net = CHIPS.network(4)
        if arm.spec is not None:
            saccade.insert(net, arm.spec, at=places_in(arm.at))
        sizes[arm.name] = sum(parameter.numel() for parameter in net.parameters())
    plain, wide = sizes["conv3x3[width=7]"], sizes["conv3x3[width=7,dilation=4]"]
    assert sizes["none"] == 42_388
    assert plain == wide
    assert abs(plain - sizes["psa"]) < 0.02 * (sizes["psa"] - sizes["none"])
    assert sizes["none"] < sizes["non_local"] < plain


def test_a_dilated_control_sees_farther():
    for dilation, reach in ((1, 2), (4, 8)):
        block = saccade.create("conv3x3", 4, width=3, dilation=dilation).eval()
        torch.nn.init.ones_(block.norm.weight)
        x = torch.randn(1, 4, 21, 21, requires_grad=True)
        block(x)[0, 0, 10, 10].backward()
        _, _, rows, columns = x.grad.nonzero().unbind(1)
        assert (rows - 10).abs().max() <= reach
        assert (columns - 10).abs().max() <= reach
    with pytest.raises(InputError, match="dilation"):
        saccade.create("conv3x3", 4, dilation=0)


def test_a_demo_and_a_folder_are_one_too_many():
    with pytest.raises(InputError, match="--demo chips and a folder"):
        Settings.decide(CompareOptions(data="photos", demo="chips"), ("none",), "cpu")
    with pytest.raises(InputError, match="the demo has its own network"):
        Settings.decide(CompareOptions(demo="chips", size=96), ("none",), "cpu")
    decided = Settings.decide(CompareOptions(demo="chips"), ("none",), "cpu")
    assert (decided.backbone, decided.size, decided.data) == ("chips", 64, None)
    assert "--demo chips" in decided.command_line("out")
    assert find_demo(None) is DEMOS["notes"]


def test_the_ablation_of_psa_is_a_preset():
    assert len(PRESETS["pose-psa"]) == 8
    for arm in PRESETS["pose-psa"]:
        saccade.insert(CHIPS.network(4), parse(arm))


@pytest.mark.full  # a start and two arms
def test_chips_are_compared(tmp_path, monkeypatch):
    monkeypatch.setattr("saccade.comparison.compare.Pool", InlinePool)
    monkeypatch.setattr(chips, "_COUNTS", {"task": (8, 4), "start": (4, 2)})
    monkeypatch.setattr(chips, "photographs", lambda: ([torch.full((70, 70, 3), 90).byte().numpy()],) * 2)
    out = tmp_path / "out"
    saccade.compare(None, "none,psa", demo="chips", seeds=1, steps=1, batch=4, jobs=1, out=out, progress=False)
    results = json.loads((out / "results.json").read_text())
    assert (results["task"], results["start"], results["data"]["name"]) == ("pose", "shared", "chips")
    assert {"turned by half", "sides exchanged"} <= set(results["arms"][0]["others"])
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "A chip with two rows of equal pins" in page
    assert "Sticky notes" not in page
