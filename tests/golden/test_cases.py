"""The reading of the recorded cases: nothing is passed over silently."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.golden import gates
from tests.golden.cases import Case, collected, load

HERE = Path()
SE: dict[str, Any] = {
    "file": "anything.safetensors",
    "mechanism": "se",
    "repo": "Cadene/pretrained-models.pytorch",
    "path": "pretrainedmodels/models/senet.py:SEModule",
    "constructor": {"channels": 32, "reduction": 8},
}


def write(directory: Path, *entries: dict[str, Any]) -> Path:
    (directory / "index-gates.json").write_text(json.dumps({"cases": entries}))
    return directory


def test_an_empty_directory_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no golden cases in"):
        load(tmp_path)
    with pytest.raises(FileNotFoundError, match="no golden cases in"):
        load(write(tmp_path))


def test_a_mechanism_nobody_maps_is_an_error(tmp_path: Path) -> None:
    directory = write(tmp_path, SE, SE | {"mechanism": "telepathy"})
    with pytest.raises(LookupError, match="that nobody maps: telepathy"):
        collected(gates.MECHANISMS, directory)


def test_whole_blocks_are_left_out(tmp_path: Path) -> None:
    block = SE | {"path": "senet/se_resnet.py:SEBottleneck"}
    basic = SE | {"path": "senet/se_resnet.py:SEBasicBlock"}
    directory = write(tmp_path, SE, block, basic, SE | {"mechanism": "sk_resnet"})
    assert [dict(case.entry) for case in collected(gates.MECHANISMS, directory)] == [SE]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"constructor": {"channels": 32, "groups": 2}}, r"unknown constructor argument groups=2; known: \['channels'"),
        ({"path": "another/file.py:SEModule"}, "no mapping for"),
    ],
    ids=["argument", "path"],
)
def test_what_the_mapping_does_not_know_is_an_error(change: dict[str, Any], message: str) -> None:
    with pytest.raises(LookupError, match=message):
        gates.build(Case(SE | change, HERE))


@pytest.mark.parametrize(
    ("path", "constructor", "width"),
    [
        ("squeeze_excite.py:SEModule", {"channels": 160}, 8),
        ("squeeze_excite.py:SEModule", {"channels": 64, "rd_ratio": 0.25}, 16),
        ("squeeze_excite.py:SEModule", {"channels": 64, "rd_channels": 5}, 5),
        ("squeeze_excite.py:SEModule", {"channels": 40, "rd_divisor": 1}, 3),
    ],
    ids=str,
)
def test_timm_widths(path: str, constructor: dict[str, Any], width: int) -> None:
    from timm.layers.squeeze_excite import SEModule

    entry = SE | {"repo": "huggingface/pytorch-image-models", "path": f"timm/layers/{path}", "constructor": constructor}
    ours, theirs = gates.build(Case(entry, HERE)), SEModule(**constructor)
    assert ours is not None
    assert ours.reduce.weight.shape == theirs.fc1.weight.shape == (width, constructor["channels"], 1, 1)
