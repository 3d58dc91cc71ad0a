"""Images with any number of classes go through every command."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

import saccade
from saccade.data.check import check_data
from saccade.data.sheet import draw_sheet
from saccade.errors import InputError
from saccade.runs.options import RunSpec
from saccade.tasks import task_for
from tests.comparison.inline import InlinePool

TINY = {"size": 32, "device": "cpu", "workers": 0, "progress": False}


@pytest.fixture(scope="module")
def lamps(tmp_path_factory):
    """Pictures with red light, blue light, both or none, and a table of them."""
    folder = tmp_path_factory.mktemp("data") / "lamps"
    (folder / "pictures").mkdir(parents=True)
    rows = ["file,split,class,class"]
    for number in range(14):
        pixels = np.random.default_rng(number).integers(0, 90, (24, 24, 3)).astype(np.uint8)
        names = [name for bit, name in enumerate(("red", "blue")) if number >> bit & 1]
        for name in names:
            pixels[..., {"red": 0, "blue": 2}[name]] += 150
        Image.fromarray(pixels).save(folder / "pictures" / f"{number:02}.png")
        rows.append(",".join([f"pictures/{number:02}.png", "val" if number >= 8 else "train", *names]))
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    return folder


def test_its_folder_is_checked(lamps, tmp_path):
    found = check_data(lamps)
    assert (found.task, found.images, found.bad) == ("multi-label", 14, {})
    assert found.counts == {"blue": {"train": 4, "val": 2}, "red": {"train": 4, "val": 3}}
    assert "4 of 14 images have no class, 3 have several" in str(found)
    assert "multi-label classification, from labels.csv, the column 'split'" in str(found)
    assert draw_sheet(lamps, tmp_path / "sheet.png").exists()


def test_it_is_trained_evaluated_and_predicted(lamps, tmp_path):
    run = tmp_path / "run"
    done = saccade.train(
        lamps, "test_resnet", steps=2, batch=4, out=run, class_weights="balanced", sampling="balanced", **TINY
    )
    assert done.results["metric"] == "mAP"
    assert set(done.results["scores"]) == {"mAP", "macro_f1"}
    found = saccade.evaluate(lamps, run, device="cpu", workers=0).results
    assert found["images"] == 6
    assert found["scores"]["mAP"] == pytest.approx(done.results["best"])
    assert found["scores"]["mAP"] == pytest.approx(np.mean(list(found["by_class"].values())))
    said = saccade.predict([lamps / "pictures"], run, out=tmp_path / "said", device="cpu")
    assert len(said.rows) == 14
    assert set(said.rows[0]["probabilities"]) == {"blue", "red"}
    with (tmp_path / "said" / "predictions.csv").open(newline="") as opened:
        row = next(csv.DictReader(opened))
    assert row["probability of red"] == f"{said.rows[0]['probabilities']['red']:.6f}"
    with pytest.raises(InputError, match="holds a training"):
        saccade.train(lamps, "test_resnet", steps=2, batch=4, out=run, layout="multi-label", split=0.5, **TINY)


@pytest.mark.full
def test_it_learns(lamps, tmp_path):
    done = saccade.train(
        lamps, "test_resnet", steps=60, batch=8, augment="none", learning_rate=3e-3, out=tmp_path / "run", **TINY
    )
    assert done.results["best"] > 0.95


@pytest.mark.full
def test_it_is_compared_and_reported(lamps, tmp_path, monkeypatch):
    monkeypatch.setattr("saccade.comparison.compare.Pool", InlinePool)
    out = tmp_path / "compared"
    saccade.compare(
        lamps, "none,se", backbone="test_resnet", seeds=1, steps=1, size=32, batch=4, device="cpu", jobs=1, out=out,
        progress=False,
    )  # fmt: skip
    results = json.loads((out / "results.json").read_text())
    assert (results["task"], results["metric"]) == ("multi-label", "mAP")
    assert set(results["arms"][0]["others"]) == {"macro_f1"}
    page = (out / "report.html").read_text()
    assert "mean average precision" in page
    assert "red, blue" in page or "blue, red" in page or "no class" in page


def test_a_named_classifier_serves_it_too_and_other_networks_do_not(lamps):
    spec = {"data": str(lamps), "size": 32}
    assert task_for(RunSpec(network="se_resnet18", **spec)).name == "multi-label"
    with pytest.raises(InputError, match="is for multi-label, and the network danet for segmentation"):
        task_for(RunSpec(network="danet", **spec))
