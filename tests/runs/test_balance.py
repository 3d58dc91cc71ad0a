"""Rare classes through the commands: weights, sampling and the score that decides are used and recorded."""

import json

import numpy as np
import pytest
from PIL import Image

import saccade
from saccade.errors import InputError
from saccade.files import read_json

TINY = {"size": 32, "batch": 4, "device": "cpu", "workers": 0, "progress": False}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Eight pictures of one class and two of the other on the training side."""
    folder = tmp_path_factory.mktemp("data") / "photos"
    for side, name, count in (("train", "cat", 8), ("train", "dog", 2), ("val", "cat", 3), ("val", "dog", 1)):
        (folder / side / name).mkdir(parents=True)
        for number in range(count):
            pixels = (
                np.random.default_rng([len(side), ord(name[0]), number]).integers(0, 255, (16, 16, 3)).astype(np.uint8)
            )
            Image.fromarray(pixels).save(folder / side / name / f"{number}.png")
    return folder


def test_they_are_recorded_and_resumed(photos, tmp_path):
    asked = {"class_weights": "balanced", "sampling": "balanced", "score": "balanced_accuracy"}
    done = saccade.train(photos, "test_resnet", steps=2, out=tmp_path / "run", **asked, **TINY)
    run = read_json(tmp_path / "run" / "run.json")
    assert run["class_weights"] == pytest.approx({"cat": 10 / 16, "dog": 10 / 4})
    assert {name: run["asked"][name] for name in asked} == asked
    assert done.results["metric"] == "balanced_accuracy" == next(iter(done.results["scores"]))
    assert done.results["best"] == max(done.results["best"], done.results["scores"]["balanced_accuracy"])
    found = saccade.evaluate(photos, tmp_path / "run", device="cpu", workers=0).results["scores"]
    assert found["balanced_accuracy"] == pytest.approx(done.results["best"])
    with pytest.raises(InputError, match=r"other settings .*sampling: 'balanced' there, None now"):
        saccade.train(photos, "test_resnet", steps=2, out=tmp_path / "run", **asked | {"sampling": None}, **TINY)


def test_a_file_of_weights_is_recorded_by_its_numbers(photos, tmp_path):
    weights = tmp_path / "weights.csv"
    weights.write_text("class,weight\ndog,4\ncat,1\n")
    saccade.train(photos, "test_resnet", steps=1, out=tmp_path / "run", class_weights=weights, **TINY)
    assert read_json(tmp_path / "run" / "run.json")["class_weights"] == {"cat": 1, "dog": 4}
    weights.write_text("dog,5\ncat,1\n")
    with pytest.raises(InputError, match=r"class_weights: \{'dog': 4.0, 'cat': 1.0\} there, \{'dog': 5.0"):
        saccade.train(photos, "test_resnet", steps=1, out=tmp_path / "run", class_weights=weights, **TINY)
    with pytest.raises(InputError, match="bird not among the classes"):
        saccade.train(photos, "test_resnet", out=tmp_path / "new", class_weights="cat=1,dog=2,bird=3", **TINY)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("task", ["classification", pytest.param("segmentation", marks=pytest.mark.full)])
def test_a_comparison_is_decided_by_the_score(task, photos, tmp_path, monkeypatch):
    from tests.comparison import folders
    from tests.comparison.inline import InlinePool

    monkeypatch.setattr("saccade.comparison.compare.Pool", InlinePool)
    data = photos if task == "classification" else folders.segmentation(tmp_path / "discs", 5, 32)
    score = {"classification": "macro_f1", "segmentation": "mIoU_present"}[task]
    out = tmp_path / "compared"
    asked = {"class_weights": "balanced", "sampling": "balanced", "score": score}
    saccade.compare(
        data, "none,se", backbone="test_resnet", seeds=1, steps=1, size=32, batch=2, device="cpu", jobs=1, out=out,
        progress=False, split=0.5, **asked,
    )  # fmt: skip
    results = json.loads((out / "results.json").read_text())
    assert results["metric"] == score
    assert {name: results["settings"][name] for name in asked} == asked
    for arm in results["arms"]:
        own = read_json(out / "runs" / arm["folder"] / "0" / "result.json")["scores"]
        assert arm["scores"] == [own[score]]
        assert arm["others"] == {name: value for name, value in own.items() if name != score}
    weights = read_json(out / "experiment.json")["class_weights"]
    assert len(weights) == 2
    assert weights[0] < 1 < weights[1]
    words = results["command"]
    assert "--class-weights balanced --sampling balanced" in words
    page = (out / "report.html").read_text()
    assert score in page
    assert all(f'<th scope="col">{name}</th>' in page for name in results["arms"][0]["others"])
    assert (
        f"--split 0.5 --class-weights balanced --sampling balanced --score {score} --size 32" in page
    )  # the command that trains the best arm fully


def test_datasets_of_ones_own_are_counted(tmp_path):
    import torch

    class Samples(torch.utils.data.Dataset):
        classes = ("cat", "dog")

        def __init__(self, labels):
            self.labels = labels

        def __len__(self):
            return len(self.labels)

        def __getitem__(self, index):
            return torch.full((3, 32, 32), 20 * index, dtype=torch.uint8), self.labels[index]

    both = Samples([0, 0, 0, 1]), Samples([0, 1])
    asked = {"class_weights": "balanced", "sampling": "balanced", "score": "macro_f1"}
    done = saccade.train(both, "test_resnet", steps=1, out=tmp_path / "run", **asked, **TINY)
    assert read_json(tmp_path / "run" / "run.json")["class_weights"] == pytest.approx({"cat": 4 / 6, "dog": 2})
    assert done.results["metric"] == "macro_f1"
