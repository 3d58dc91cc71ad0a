"""A task in one file and one registration goes through every command, and nothing else knows of it."""

import json
import re

import numpy as np
import pytest
import torch
from PIL import Image

import saccade
from saccade import tasks
from saccade.data.check import check_data
from saccade.data.sheet import draw_sheet
from saccade.errors import InputError
from saccade.report.build import build_report

from .brightness import Brightness


@pytest.fixture(scope="module")
def registered():
    tasks.register(Brightness)
    yield
    tasks._REGISTERED.clear()


@pytest.fixture(scope="module")
def lamps(tmp_path_factory, registered):
    """Grey squares with their brightness in a table."""
    folder = tmp_path_factory.mktemp("data") / "lamps"
    (folder / "images").mkdir(parents=True)
    random, rows = np.random.default_rng(0), []
    for number in range(30):
        value = random.uniform(0.1, 0.9)
        pixels = np.clip(random.normal(255 * value, 20, (32, 32, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"{number:02}.png")
        rows.append(f"{number:02}.png,{value:.4f}")
    (folder / "values.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture(scope="module")
def run(lamps, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "lamps"
    return saccade.train(
        lamps, "test_resnet", mechanism="se", steps=40, batch=8, size=32, augment="none", learning_rate=3e-3,
        device="cpu", workers=0, out=out, progress=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def compared(lamps, tmp_path_factory):
    """In this process: a worker would have to import the task by a path."""
    return tmp_path_factory.mktemp("compared")


def test_its_folder_is_checked(lamps, tmp_path):
    found = check_data(lamps)
    assert (found.task, found.images, found.bad) == ("brightness", 30, {})
    assert "brightness, from values.csv" in str(found)
    assert draw_sheet(lamps, tmp_path / "sheet.png").exists()


def test_it_trains_and_learns(run):
    assert run.results["metric"] == "R2"
    assert set(run.results["scores"]) == {"R2", "mean square"}
    assert run.results["scores"]["R2"] > 0.5


def test_it_is_evaluated(run, lamps):
    found = saccade.evaluate(lamps, run.folder, device="cpu", workers=0)
    assert found.results["images"] == 6
    assert found.results["scores"]["R2"] == pytest.approx(run.results["best"], abs=1e-6)
    assert "R2" in str(found)


def test_it_predicts(run, lamps, tmp_path):
    found = saccade.predict([lamps / "images"], run.folder, out=tmp_path, device="cpu")
    assert len(found.rows) == 30
    assert (tmp_path / "predictions.csv").read_text().startswith("image,value,problem\n")
    assert all(abs(row["value"] - 0.5) < 1 for row in found.rows)


@pytest.mark.full
def test_it_is_compared_and_reported(lamps, tmp_path):
    out = tmp_path / "compared"
    found = saccade.compare(
        lamps, "none,se", backbone="test_resnet", seeds=3, steps=12, size=32, batch=8, device="cpu", jobs=1, out=out,
        progress=False,
    )  # fmt: skip
    results = json.loads((out / "results.json").read_text())
    assert (results["task"], results["metric"]) == ("brightness", "R2")
    assert all(len(arm["scores"]) == 3 for arm in results["arms"])
    assert "R2" in str(found)
    page = build_report(out).read_text()
    assert "brightness" in page or "R2" in page
    assert re.search(r"value -?\d+\.\d", page)  # the predictions, in words
    arm = out / "runs" / results["arms"][1]["folder"]
    assert saccade.evaluate(lamps, arm, device="cpu", workers=0).results["scores"]["R2"] == pytest.approx(
        results["arms"][1]["scores"][0], abs=0.02
    )


def test_a_score_that_is_no_ratio_of_sums_is_bootstrapped(registered):
    """Against the formula, draw by draw."""
    from saccade.comparison.statistics import bootstrap_se

    task, random = Brightness(("value",), size=8), np.random.default_rng(1)
    true = random.random(40)
    runs = [
        [{"pairs": np.stack([true + random.normal(0, sd, 40), true], axis=1)} for _ in range(2)] for sd in (0.2, 0.1)
    ]
    found, draws = [], np.random.default_rng(5)
    for _ in range(30):
        drawn = draws.integers(40, size=40)
        scores = [[task.score({"pairs": one["pairs"][drawn]}) for one in arm] for arm in runs]
        found.append(np.mean(scores[1]) - np.mean(scores[0]))
    expected = np.std(found, ddof=1)
    assert bootstrap_se(*runs, resampled=task.resampled, draws=30, seed=5) == pytest.approx(expected, rel=1e-9)


def test_a_taken_name_is_refused(registered):
    class Other(Brightness):
        name = "segmentation"

    with pytest.raises(InputError, match="there is a task called 'segmentation' already"):
        tasks.register(Other)


def test_a_network_of_another_task_is_refused(lamps, tmp_path):
    with pytest.raises(InputError, match="is for brightness, and the network danet for segmentation"):
        saccade.train(lamps, "danet", out=tmp_path / "run", device="cpu")


def test_targets_move_as_a_tree():
    from saccade.tasks.trees import gathered, moved, named

    tree = {"a": torch.zeros(2), "b": {"c": torch.ones(2, 3)}}
    assert moved(tree, "cpu")["b"]["c"].shape == (2, 3)
    assert list(named("targets", tree)) == ["targets-a", "targets-b-c"]
    assert gathered("targets", named("targets", tree))["b"]["c"] is tree["b"]["c"]
