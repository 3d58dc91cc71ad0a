"""Segmentation networks in the loop: trained, interrupted, gone on with, scored and used, on every kind of folder."""

from __future__ import annotations

import csv
import itertools
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from sklearn.metrics import jaccard_score

import saccade
from saccade import InputError
from saccade.data.demo_folder import write_demo
from saccade.data.images import read_image
from saccade.data.reading import Reading
from saccade.runs import train as run
from saccade.tasks.segmentation import masks
from saccade.tasks.segmentation.crops import LabelledSamples, RandomView
from saccade.tasks.segmentation.mask_folder import load_labelled
from saccade.tasks.segmentation.protocols import Protocol
from saccade.tasks.segmentation.stored import read_mask
from saccade.training.recipes import RECIPES
from tests.comparison import folders
from tests.suites import everyday
from tests.tasks.segmentation import trees

HOW: dict[str, Any] = {
    "backbone": "test_resnet", "size": 48, "batch": 4, "steps": 4, "device": "cpu", "workers": 0, "progress": False,
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Equal to the last bit are runs on as many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_demo(tmp_path_factory.mktemp("data") / "notes", train=8, held_out=3)


@pytest.fixture(scope="module")
def trained(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out") / "run"
    return saccade.train(scenes, "danet", out=out, **HOW | {"learning_rate": 0.01}).folder


def interrupted(data: Path, network: str, out: Path, monkeypatch: pytest.MonkeyPatch, **how: Any) -> Path:
    """A run that is told to stop in its third step, and gone on with by the same call."""

    @contextmanager
    def stop(**_: Any) -> Iterator[Any]:
        asked = itertools.count(1)
        yield lambda: next(asked) == 3

    with monkeypatch.context() as patch:
        patch.setattr(run, "stop_on_signals", stop)
        with pytest.raises(KeyboardInterrupt):
            saccade.train(data, network, out=out, **how)
    assert not (out / "model.safetensors").exists()
    return saccade.train(data, network, out=out, **how).folder


def same(one: Path, other: Path) -> bool:
    a, b = (load_file(folder / "model.safetensors") for folder in (one, other))
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


TREES: dict[str, Any] = {
    "notes": lambda folder: write_demo(folder, train=6, held_out=2),
    "cityscapes": trees.cityscapes,
    "voc": trees.voc,
    "ade20k": trees.ade20k,
}


@pytest.mark.parametrize("name", everyday(["notes"], TREES))
def test_from_a_folder_to_masks(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Interrupted and gone on with it is bit for bit what a run is that nobody disturbed; then scored, and used."""
    data = TREES[name](tmp_path / name)
    how = HOW | {"size": 32, "batch": 2, "evaluate_every": 2}
    broken = interrupted(data, "danet", tmp_path / "run", monkeypatch, **how)
    whole = saccade.train(data, "danet", out=tmp_path / "whole", **how)
    assert same(broken, whole.folder)
    assert saccade.train(data, "danet", out=broken, **how).results["scores"] == whole.results["scores"]

    known = load_labelled(data)
    for protocol in ("whole", "sliding", "multi-scale"):
        found = saccade.evaluate(data, broken, protocol=protocol, device="cpu", workers=0).results
        assert found["images"] == len(known.val)
        assert tuple(found["by_class"]) == known.classes
        occurring = [value for value in found["by_class"].values() if value is not None]
        assert found["scores"]["mIoU"] == pytest.approx(np.mean(occurring))
        if protocol == "whole":
            assert found["scores"]["mIoU"] == pytest.approx(whole.results["best"])
    assert found["protocol"] == "windows of 32 x 32, step 2/3; scales 0.5 0.75 1 1.25 1.5 1.75; mirrored"
    said = saccade.predict([pair.image for pair in known.val], broken, out=tmp_path / "said", device="cpu")
    assert said.failed == []
    for pair in known.val:
        with Image.open(tmp_path / "said" / "masks" / f"{pair.image.stem}.png") as mask:
            assert mask.size == known.load(pair)[1].shape[::-1]
            assert np.asarray(mask).max() < len(known.classes)
            assert tuple(mask.getpalette()[3:6]) == known.palette[1]


def test_scores_are_those_of_the_masks_that_are_written(trained: Path, scenes: Path, tmp_path: Path) -> None:
    model = trained / "model.safetensors"
    found = saccade.evaluate(scenes, model, protocol="sliding", device="cpu", workers=0)
    saccade.predict([scenes / "val" / "images"], model, out=tmp_path, device="cpu")
    pairs = [
        (read_mask(scenes / "val" / "masks" / path.name).ravel(), read_mask(path).ravel())
        for path in sorted((tmp_path / "masks").iterdir())
    ]
    true, given = (np.concatenate(part) for part in zip(*pairs, strict=True))
    assert len(pairs) == found.results["images"] == 3
    assert found.results["protocol"] == "windows of 48 x 48, step 2/3"
    labels = np.union1d(true, given)
    each = jaccard_score(true, given, labels=labels, average=None, zero_division=0)
    assert found.results["scores"] == pytest.approx(
        {
            "mIoU": each.mean(),
            "mIoU_present": each[np.isin(labels, true)].mean(),
            "pixel accuracy": (true == given).mean(),
        }
    )
    values = list(found.results["by_class"].values())
    assert [values[label] for label in labels] == pytest.approx(each.tolist())
    assert all(value is None for label, value in enumerate(values) if label not in labels)
    assert set(found.results["by_size"]) == {"small", "medium", "large"}
    assert set(found.results["by_thinness"]) == {"compact", "medium", "thin"}
    assert found.results["limits"]["size"][0] <= found.results["limits"]["size"][1]
    text = str(found)
    assert "3 images: the validation side of notes; windows of 48 x 48, step 2/3" in text
    assert "mIoU by thinness compact " in text
    assert text.count("\n  ") == 11
    with (tmp_path / "predictions.csv").open(newline="") as opened:
        shares = [float(row["photograph"]) for row in csv.DictReader(opened)]
    assert shares == pytest.approx([(one[1] == 0).mean() for one in pairs], abs=1e-6)


def test_images_are_written_one_by_one_wherever_they_are(
    trained: Path, scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When an image is read, nothing of the one before is kept but its files."""
    folder = tmp_path / "photos"
    for number, name in enumerate(("a.jpg", "inside/a.jpg", "inside/b.png")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        with Image.open(scenes / "val" / "images" / f"{number:04}.png") as scene:
            scene.resize((70, 50)).save(folder / name)
    (folder / "broken.png").write_bytes(b"no picture")
    out, read, written = tmp_path / "said", masks.read_image, []

    def watched(path: Path, **how: Any) -> Any:
        written.append(sum(1 for _ in out.rglob("*.png")))
        return read(path, **how)

    monkeypatch.setattr(masks, "read_image", watched)
    steps: list[tuple[int, int]] = []
    found = saccade.predict([folder], trained, out=out, device="cpu", on_progress=lambda *done: steps.append(done))
    assert written == [0, 1, 1, 2]
    assert steps == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert found.failed == [f"{folder / 'broken.png'}: it is not a picture, or its format is unknown"]
    for kind, suffix in (("masks", "png"), ("overlays", "jpg")):
        names = {path.relative_to(out / kind).as_posix() for path in (out / kind).rglob("*.*")}
        assert names == {f"a.{suffix}", f"inside/a.{suffix}", f"inside/b.{suffix}"}
    assert "3 masks in" in str(found)
    assert "protocol: windows of 48 x 48, step 2/3" in str(found)
    image = np.array(read_image(folder / "inside" / "b.png"), dtype=np.float64)
    palette = np.array(load_labelled(scenes).palette)
    mixed = (image + palette[read_mask(out / "masks" / "inside" / "b.png")]) / 2
    shown = np.array(read_image(out / "overlays" / "inside" / "b.jpg"), dtype=np.float64)
    assert np.abs(shown - mixed).mean() < 6  # of 255: JPEG

    one = saccade.predict([str(folder / "inside" / "*.*")], trained, out=tmp_path / "some", device="cpu")
    assert one.images == 2
    assert json.dumps(one.to_json())
    with pytest.raises(InputError, match=r"a\.jpg and .*a\.jpg would both have the mask a\.png"):
        saccade.predict([folder / "a.jpg", folder / "inside" / "a.jpg"], trained, out=tmp_path / "two", device="cpu")
    assert not (tmp_path / "two").exists()


def test_a_folder_that_was_split_is_scored_by_what_was_held_out(tmp_path: Path) -> None:
    data = folders.segmentation(tmp_path / "discs", count=10)
    folder = saccade.train(data, "fcn", out=tmp_path / "run", split_seed=3, **HOW).folder
    held = json.loads((folder / "split.json").read_text())["held_out"]
    assert held == [
        pair.image.relative_to(data).as_posix() for pair in load_labelled(data, reading=Reading(split_seed=3)).val
    ]
    found = saccade.evaluate(data, folder, device="cpu", workers=0).results
    assert (found["images"], found["what"]) == (2, "those held out from training by seed 3")
    other = folders.segmentation(tmp_path / "other", count=3, seed=2)
    for path in (*other.glob("images/*"), *other.glob("masks/*")):
        path.rename(path.with_name(f"other{path.name}"))
    found = saccade.evaluate(other, folder, device="cpu", workers=0).results
    assert (found["images"], found["what"]) == (3, "all of them, none was seen in training")
    (data / held[0]).unlink()
    (data / "masks" / Path(held[0]).with_suffix(".png").name).unlink()
    with pytest.raises(InputError, match=rf"1 of the 2 images held out from training are gone: {held[0]}"):
        saccade.evaluate(data, folder, device="cpu", workers=0)


def test_any_protocol_in_python(trained: Path, scenes: Path) -> None:
    protocol = Protocol(scales=(1.0, 1.5), flip=True)
    found = saccade.evaluate(scenes, trained, protocol=protocol, device="cpu", workers=0).results
    assert found["protocol"] == "whole image; scales 1 1.5; mirrored"


def test_two_torch_datasets(scenes: Path, tmp_path: Path) -> None:
    data = load_labelled(scenes)
    pair = (LabelledSamples(data, data.train, RandomView((32, 32))), LabelledSamples(data, data.val))
    done = saccade.train(pair, "gcnet[ratio=1/4]", out=tmp_path / "run", **HOW)
    assert saccade.load(done.folder).saccade_network["name"] == "gcnet"
    assert 0 <= done.results["best"] < 1
    labelled = [(torch.zeros(3, 8, 8), 1)]
    with pytest.raises(InputError, match=r"expected classes \(8, 8\) as the target of each image; received int"):
        saccade.train((labelled, labelled), "fcn", classes=["a", "b"], out=tmp_path / "no", **HOW)


def test_it_starts_from_an_earlier_run_of_other_classes(trained: Path, tmp_path: Path) -> None:
    data = folders.segmentation(tmp_path / "discs", count=5)
    how = HOW | {"steps": 1, "learning_rate": 1e-12, "optimizer": "momentum", "schedule": "constant"}
    again = saccade.train(data, "danet", pretrained=trained, out=tmp_path / "run", **how).folder
    own, given = saccade.load(again), saccade.load(trained)
    assert torch.allclose(own.backbone.conv1[0].weight, given.backbone.conv1[0].weight, atol=1e-6)
    assert own.head.classify.out_channels == 2
    with pytest.raises(InputError, match="was saved from another network"):
        saccade.train(data, "fcn", pretrained=trained, out=tmp_path / "no", **how)


@pytest.mark.full
def test_a_mechanism_goes_into_the_plain_network_and_stays_in_it(tmp_path: Path) -> None:
    data = folders.segmentation(tmp_path / "discs", count=5)
    how = HOW | {"steps": 4, "mechanism": "se[reduction=4]", "out": tmp_path / "run", "at": "backbone.layer3.*.bn2"}
    run = saccade.train(data, "fcn", **how)
    net = saccade.load(run.folder / "model.safetensors")
    assert [place.name for place in net.saccade_report.places] == ["backbone.layer3.0.bn2"]
    assert any(parameter.detach().any() for name, parameter in net.named_parameters() if name.endswith("saccade.g"))
    again = saccade.evaluate(data, run.folder / "model.safetensors", device="cpu", workers=0, protocol="whole").results
    assert again["scores"]["mIoU"] == pytest.approx(run.results["scores"]["mIoU"])
    more = HOW | {"steps": 1, "learning_rate": 1e-12, "optimiser": "momentum", "schedule": "constant"}
    bare = saccade.train(data, "fcn", out=tmp_path / "bare", **more).folder
    with_one = saccade.train(data, "fcn", pretrained=bare, mechanism="eca", out=tmp_path / "more", **more).folder
    given, own = saccade.load(bare).state_dict(), saccade.load(with_one).state_dict()
    assert torch.allclose(own["head.classify.weight"], given["head.classify.weight"], atol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mechanism": "se"}, "--mechanism se: the network danet contains its own"),
        ({"network": "head", "mechanism": "see"}, "unknown mechanism 'see'"),
        ({"at": "stage"}, "--at stage: danet has its mechanism in its head"),
        ({"label_smoothing": 0.1}, "--label-smoothing: the loss of segmentation has no such option"),
        ({"recipe": "eca"}, "recipe 'eca' is for classification, the data for segmentation"),
        (
            {"network": "test_resnet", "backbone": None, "recipe": "danet-cityscapes"},
            "test_resnet is not a segmentation network",
        ),
        ({"augment": "imagenet"}, "unknown augmentation 'imagenet'"),
        ({"network": "danet[gamma=1]"}, "danet: unknown option 'gamma'"),
        ({"backbone": "resnot18"}, r"unknown backbone 'resnot18'[\s\S]*resnet18"),
        ({"pretrained": "nowhere.safetensors"}, "no such file"),
    ],
    ids=str,
)
def test_mistakes_are_named(scenes: Path, tmp_path: Path, change: dict[str, Any], message: str) -> None:
    given = {"network": "danet", **HOW, **change}
    with pytest.raises(InputError, match=message):
        saccade.train(scenes, out=tmp_path / "out", **given)
    assert not (tmp_path / "out").exists()


def test_a_mask_that_cannot_be_used_stops_with_its_name(scenes: Path, tmp_path: Path) -> None:
    data = shutil.copytree(scenes, tmp_path / "data")
    Image.fromarray(np.full((96, 96), 40, dtype=np.uint8)).save(data / "train" / "masks" / "0003.png")
    with pytest.raises(InputError, match=r"0003\.png: class 40 at pixel y=0, x=0"):
        saccade.train(data, "fcn", out=tmp_path / "out", **HOW)


def test_what_does_not_belong_together_is_refused(trained: Path, scenes: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="masks are files, and no folder for them was given"):
        saccade.predict([scenes], trained)
    with pytest.raises(InputError, match="unknown protocol 'windows'"):
        saccade.evaluate(scenes, trained, protocol="windows", device="cpu")
    discs = folders.segmentation(tmp_path / "discs", count=3)
    (discs / "classes.txt").write_text("grass\ndisc\n")
    with pytest.raises(InputError, match="has 2 classes, the network 11; it does not know grass, disc"):
        saccade.evaluate(discs, trained, device="cpu")
    textures = folders.classification(tmp_path / "textures", count=3)
    with pytest.raises(InputError, match="laid out for classification"):
        saccade.evaluate(textures, trained, device="cpu")
    how = HOW | {"steps": 1, "backbone": None}
    classifier = saccade.train(textures, "test_resnet", out=tmp_path / "run", **how).folder
    for use in (saccade.evaluate, saccade.predict):
        with pytest.raises(InputError, match="protocol 'multi-scale' is for segmentation"):
            use(textures if use is saccade.evaluate else [textures], classifier, protocol="multi-scale", device="cpu")


@pytest.mark.parametrize("name", [name for name, recipe in RECIPES.items() if recipe.task == "segmentation"])
def test_recipes_of_papers_train_and_say_where_each_value_is_from(name: str, scenes: Path, tmp_path: Path) -> None:
    published = RECIPES[name]
    network = "danet" if name.startswith("danet") else "fcn"
    folder = saccade.train(scenes, network, recipe=name, out=tmp_path / "run", **HOW | {"steps": 1}).folder
    used = json.loads((folder / "run.json").read_text())["recipe"]
    for value, given in published.values.items():
        assert used[value] == (given if value != "lr_factors" else [list(pair) for pair in given])
    lines = published.lines()
    assert len(lines) == 4 + len(published.values)
    assert all(line.endswith(")") and "(" in line for line in lines)
    assert set(published.sources) - {""} <= {"epochs", "batch", "size", "augment", *published.values}
