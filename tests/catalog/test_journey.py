"""A block and a backbone of the user's own, all the way: planned, inserted, compared, seen, saved, loaded, trained."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import saccade
from saccade.cli import main
from saccade.errors import InputError
from saccade.networks.notes import NotesNet
from saccade.saving.store import HEADER
from tests.catalog.code import own_code

__all__ = ["own_code"]
MEAN, MIXER, NET = "my_package.blocks:Mean[reduction=2]", "my_package.blocks:Mixer", "my_package.nets:make[width=8]"
TRUST = ("--trust", "my_package.blocks:Mean", "--trust", "my_package.nets:make")
SIZE = {"example_input": torch.empty(1, 3, 32, 32)}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    draw = np.random.default_rng(0)
    for side, count in (("train", 4), ("val", 2)):
        for number, name in enumerate(("dark", "light")):
            folder = tmp_path / "photos" / side / name
            folder.mkdir(parents=True)
            for index in range(count):
                pixels = draw.integers(0, 60, (32, 32, 3)) + 150 * number
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{index}.png")
    return tmp_path / "photos"


def forget_code() -> None:
    """Forget what was imported of the user's code, as if this were another process."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_package"]:
        del sys.modules[name]


def command(*words: str | Path) -> int:
    with pytest.raises(SystemExit) as left:
        main([str(word) for word in words])
    return int(left.value.code or 0)


@pytest.mark.full
def test_compared_looked_at_and_loaded(own_code: Path, photos: Path, tmp_path: Path,
                                       capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    out = tmp_path / "out"
    saccade.register("own_mixer", "my_package.blocks:Mixer", place="block")
    found = saccade.compare(photos, f"none,{MEAN},own_mixer", backbone=NET, out=out, seeds=1, steps=2, size=32,
                            batch=4, jobs=1, progress=False)  # fmt: skip
    results = json.loads((out / "results.json").read_text())
    assert [arm["name"] for arm in results["arms"]] == ["none", MEAN, "own_mixer"]
    assert [arm["place"] for arm in results["arms"]][1:] == [["block.bn2"], ["block"]]
    assert found.report is not None
    assert MEAN in found.report.read_text(encoding="utf-8")
    arms = sorted(path.name for path in (out / "runs").iterdir())
    assert arms == ["my_package.blocks_Mean[reduction=2]", "none", "own_mixer"]

    forget_code()
    saccade.catalog.unregister("own_mixer")
    run = out / "runs" / "own_mixer" / "0"
    with pytest.raises(InputError, match=r"needs code .* my_package\."):
        saccade.load(run)
    net = saccade.load(run, trust=[MIXER, "my_package.nets:make"])
    assert [(step.mechanism.name, step.place.kind) for step in net.saccade_report.steps] == [("own_mixer", "block")]
    looked = ("look", photos / "val" / "dark" / "0.png", "--model", out / "runs" / arms[0], "--out", tmp_path / "look")
    assert command(*looked) == 2
    assert command(*looked, *TRUST) == 0


def test_trained_looked_at_scored_and_started_from(
    own_code: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = {"mechanism": MEAN, "steps": 2, "batch": 4, "size": 32, "augment": "none", "device": "cpu", "workers": 0,
             "progress": False}  # fmt: skip
    run, image = tmp_path / "first", photos / "val" / "dark" / "0.png"
    first = saccade.train(photos, NET, out=run, **given)
    assert saccade.train(photos, NET, out=run, **given).results == first.results
    forget_code()
    uses = (
        ("look", image, "--model", run, "--out", tmp_path / "look"),
        ("evaluate", photos, "--model", run, "--device", "cpu", "--workers", "0"),
        ("predict", image, "--model", run, "--device", "cpu"),
    )
    for words in uses:
        assert command(*words) == 2
        said = capsys.readouterr().err
        assert re.search(r"needs code that is not part of saccade, my_package\.(nets:make|blocks:Mean)", said)
        assert "--trust my_package." in said
        assert "my_package" not in sys.modules
    for words in uses:
        assert command(*words, *TRUST) == 0
    assert (tmp_path / "look" / "0.html").is_file()
    forget_code()
    saccade.train(photos, NET, pretrained=run, out=tmp_path / "second", **given)
    net = saccade.load(tmp_path / "second", trust=["my_package.blocks:Mean", "my_package.nets:make"])
    assert type(net).__module__ == "my_package.nets"


def test_saved_and_loaded_only_with_your_word(own_code: Path, tmp_path: Path) -> None:
    net = saccade.insert(NotesNet().eval(), [MEAN, MIXER], at="block", **SIZE)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    path = saccade.save(net, tmp_path / "net.safetensors")
    forget_code()
    with pytest.raises(
        InputError, match=r"needs code .* my_package.blocks:Mean[\s\S]*trust=\['my_package.blocks:Mean'"
    ):
        saccade.load(path)
    with pytest.raises(InputError, match=r"my_package.blocks:Mixer"):
        saccade.load(path, trust="my_package.blocks:Mean")
    assert not [name for name in sys.modules if name == "my_package.nets"]
    again = saccade.load(path, trust=["my_package.blocks:Mean", "my_package.blocks:Mixer"]).eval()
    x = torch.randn(1, 3, 32, 32)
    torch.testing.assert_close(again(x), net(x), rtol=0, atol=0)
    assert again.saccade_report.steps == net.saccade_report.steps


def test_a_class_that_no_module_holds_is_loaded_by_being_given(tmp_path: Path) -> None:
    class Local(torch.nn.Conv2d):
        def __init__(self, channels: int) -> None:
            super().__init__(channels, channels, 1)

    net = saccade.insert(NotesNet(), Local, at="stage:-1", **SIZE)
    path = saccade.save(net, tmp_path / "net.safetensors")
    with pytest.raises(InputError, match=r"needs code that is not part of saccade, .*Local"):
        saccade.load(path)
    again = saccade.load(path, trust=[Local])
    assert isinstance(next(iter(saccade.insertion.attachments(again).values())).mechanism, Local)
    with pytest.raises(InputError, match=r"process of its own, which cannot import .*<locals>.Local"):
        saccade.compare(None, ["none", Local], dry_run=True)


def test_nothing_that_a_file_says_is_imported(own_code: Path, tmp_path: Path) -> None:
    """Wherever a path may stand in a header: as mechanism, as network, as backbone, as part of a head."""
    from safetensors.torch import safe_open, save_file

    path = saccade.save(saccade.insert(NotesNet(), "se", **SIZE), tmp_path / "net.safetensors")
    with safe_open(path, framework="pt") as opened:
        header = json.loads(opened.metadata()[HEADER])
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    bad = "my_package.failing:Block"
    step = header["inserted"][0]["plans"][0]["steps"][0]
    networks = (
        {"library": "code", "name": bad, "options": {}},
        {"library": "saccade", "name": "fcn", "options": {"num_classes": 2, "backbone": bad}},
        {
            "library": "saccade",
            "name": "head",
            "options": {"num_classes": 2, "backbone": "test_resnet", "mechanism": bad},
        },
    )
    for network in (None, *networks):
        changed = json.loads(json.dumps(header))
        if network is None:
            changed["inserted"][0]["plans"][0]["steps"][0] = step | {"mechanism": {"name": bad}}
        else:
            changed["network"] = network
        save_file(tensors, path, {HEADER: json.dumps(changed)})
        with pytest.raises(InputError, match=r"needs code that is not part of saccade, my_package\.failing:Block"):
            saccade.load(path)
        assert "my_package" not in sys.modules
