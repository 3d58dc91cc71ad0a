"""Images are standardised as the weights that a run begins with expect, from training to the exported file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image

import saccade
from saccade.comparison.arms import resolve_arms
from saccade.comparison.experiment import Experiment, decide, load_data
from saccade.comparison.options import CompareOptions
from saccade.comparison.settings import Settings
from saccade.errors import InputError
from saccade.exporting.options import ExportOptions
from saccade.exporting.subject import subject_of
from saccade.look.networks import open_model
from saccade.networks.make import classification_network, segmentation_network
from saccade.networks.statistics import IMAGENET, Statistics, expected_by, statistics_for
from saccade.runs.open import open_run
from saccade.tasks import from_json

HALVES = Statistics((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
NET = "test_resnet"  # timm's weights of it expect halves
HOW: dict[str, Any] = {"size": 32, "batch": 2, "steps": 1, "device": "cpu", "workers": 0, "progress": False}


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of black and white squares."""
    folder = tmp_path_factory.mktemp("data") / "squares"
    for side in ("train", "val"):
        for number, name in enumerate(("left", "right")):
            (folder / side / name).mkdir(parents=True)
            for count in range(2):
                pixels = np.zeros((32, 32, 3), np.uint8)
                pixels[count:, 16 * number : 16 + 16 * number] = 255
                pixels[0, 0] = (number, count, side == "val")
                Image.fromarray(pixels).save(folder / side / name / f"{count}.png")
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("weights") / "test_resnet.pth"
    torch.save(timm.create_model(NET).state_dict(), path)
    return str(path)


@pytest.fixture(scope="module")
def trained(photographs: Path, weights: str, tmp_path_factory: pytest.TempPathFactory) -> Any:
    out = tmp_path_factory.mktemp("out") / "run"
    return saccade.train(photographs, NET, mechanism="se", pretrained=weights, out=out, augment="none", **HOW)


@pytest.fixture
def seen() -> Iterator[list[float]]:
    """Largest absolute value of each batch that a network of timm sees: 1 for halves, more for ImageNet's numbers."""
    found: list[float] = []

    def note(module: Any, given: Any) -> None:
        x = given[0]
        if type(module).__name__ == "ResNet" and x.device.type != "meta" and x.any():  # a trial sees zeros
            found.append(round(float(x.abs().max()), 3))

    handle = torch.nn.modules.module.register_module_forward_pre_hook(note)
    yield found
    handle.remove()


def test_a_network_of_timm_says_what_its_weights_expect_and_so_does_one_around_it() -> None:
    assert expected_by(timm.create_model(NET)) == HALVES
    assert expected_by(segmentation_network("fcn", 3, backbone=NET)) == HALVES
    assert expected_by(timm.create_model("resnet10t")) == IMAGENET
    assert expected_by(saccade.classifier("se_resnet20", 3)) == IMAGENET
    assert expected_by(torch.nn.Conv2d(3, 3, 1)) == IMAGENET


@pytest.mark.parametrize(
    "wrong",
    [
        {"mean": [0.5] * 3, "std": [0.5, 0.0, 0.5]},
        {"mean": [0.5, float("nan"), 0.5], "std": [0.5] * 3},
        {"mean": [0.5], "std": [0.5] * 3},
        {"mean": [0.5] * 3},
        {"mean": "0.5", "std": [0.5] * 3},
        [0.5],
    ],
)
def test_other_numbers_in_a_file_are_refused(wrong: Any) -> None:
    with pytest.raises(InputError, match="statistics of images"):
        from_json({"task": "classification", "classes": ["a", "b"], "size": 32, "statistics": wrong})


def test_a_task_is_written_with_them_only_where_they_are_not_those_of_earlier_files() -> None:
    plain = from_json({"task": "classification", "classes": ["a", "b"], "size": 32})
    assert plain.statistics == IMAGENET
    assert "statistics" not in plain.to_json()
    changed = plain.standardising(HALVES)
    assert plain.statistics == IMAGENET
    assert from_json(json.loads(json.dumps(changed.to_json()))).statistics == HALVES


def test_training_standardises_as_the_weights_expect_and_records_it(trained: Any, photographs: Path) -> None:
    record = json.loads((trained.folder / "run.json").read_text())
    assert record["statistics"] == HALVES.to_json()
    assert record["statement"]["values"][-1] == (
        "images are standardised as the pretrained weights expect: mean 0.5, 0.5, 0.5 and standard deviation "
        "0.5, 0.5, 0.5"
    )
    assert open_run(trained.folder).task.statistics == HALVES
    assert open_model(trained.folder).statistics == HALVES


def test_every_command_sees_images_alike(
    trained: Any, photographs: Path, weights: str, tmp_path: Path, seen: list[float]
) -> None:
    saccade.train(photographs, NET, pretrained=weights, out=tmp_path / "run", augment="none", **HOW)
    assert set(seen) == {1.0}
    assert len(seen) >= 3  # training, and validation
    seen.clear()
    again = saccade.evaluate(photographs, trained.folder, device="cpu", workers=0, progress=False)
    assert again.results["scores"] == pytest.approx(trained.results["scores"])
    saccade.predict([photographs / "val"], trained.folder, device="cpu")
    assert set(seen) == {1.0}


def test_from_noise_nothing_is_known_so_it_stays_as_it_was(
    photographs: Path, weights: str, tmp_path: Path, seen: list[float]
) -> None:
    noise = saccade.train(photographs, NET, out=tmp_path / "noise", augment="none", **HOW).folder
    assert set(seen) == {2.64}
    record = json.loads((noise / "run.json").read_text())
    assert not any("standardised" in line for line in record["statement"]["values"])
    seen.clear()
    further = saccade.train(photographs, NET, pretrained=noise, out=tmp_path / "further", augment="none", **HOW).folder
    assert set(seen) == {2.64}  # what it was trained with, not what timm's weights expect
    assert statistics_for(classification_network(NET, 2), str(further)) == IMAGENET


def test_a_run_of_an_earlier_version_goes_on_as_it_began(
    photographs: Path, weights: str, tmp_path: Path, seen: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    how = HOW | {"steps": 2, "augment": "none", "pretrained": weights, "out": tmp_path / "run"}
    with monkeypatch.context() as patch:
        patch.setattr("saccade.runs.train.stop_on_signals", lambda **_: nullcontext(lambda: True))
        with pytest.raises(KeyboardInterrupt):
            saccade.train(photographs, NET, **how)
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record.pop("statistics") == HALVES.to_json()
    (tmp_path / "run" / "run.json").write_text(json.dumps(record))
    seen.clear()
    saccade.train(photographs, NET, **how)
    assert set(seen) == {2.64}
    assert json.loads((tmp_path / "run" / "run.json").read_text())["statistics"] == IMAGENET.to_json()
    assert open_run(tmp_path / "run").task.statistics == IMAGENET


def test_the_exported_steps_standardise_alike(trained: Any) -> None:
    asked = ExportOptions(trained.folder, to="torch-export", out="unused.pt2")
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    inside, outside = (subject_of(replace(asked, with_pre=pre)) for pre in (True, False))
    assert inside.about["statistics"] == HALVES.to_json()
    with torch.no_grad():
        found, wanted = inside.net(inside.fed(images)), outside.net(images / 127.5 - 1)
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(outside.fed(images), images / 127.5 - 1)


@pytest.fixture
def experiment(photographs: Path, weights: str, tmp_path: Path) -> tuple[Experiment, Any]:
    options = CompareOptions(
        data=str(photographs), mechanisms=("se",), backbone=NET, pretrained=weights, size=32, seeds=1, steps=1, batch=2
    )
    arms = resolve_arms(options.mechanisms, None, None, ())
    settings = Settings.decide(options, tuple(arm.label for arm in arms), "cpu")
    data = load_data(settings, tmp_path / "out")
    return decide(settings, arms, data, tmp_path / "out"), data


def test_a_comparison_standardises_as_the_weights_expect_in_every_process(experiment: tuple[Experiment, Any]) -> None:
    made, data = experiment[0].standardising(experiment[1], resumed=False)
    assert data.statement.values[-1].startswith("images are standardised as the pretrained weights expect: mean 0.5")
    made.save(data)
    loaded = Experiment.load(made.folder)
    assert loaded.task(data).statistics == loaded.fitted(loaded.base(data, 0), data).statistics == HALVES


def test_a_comparison_of_an_earlier_version_goes_on_as_it_began(experiment: tuple[Experiment, Any]) -> None:
    made, data = experiment[0].standardising(experiment[1], resumed=False)
    made.save(data)
    path = made.folder / "experiment.json"
    written = json.loads(path.read_text())
    del written["statistics"]
    path.write_text(json.dumps(written))
    resumed, data = experiment[0].standardising(experiment[1], resumed=True)
    assert resumed.statistics == Experiment.load(made.folder).statistics == IMAGENET
    assert "ImageNet's mean 0.485" in data.statement.values[-1]
