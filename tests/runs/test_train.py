"""A training as a user has it: on a folder, in a folder, gone on with, refused, diverged, used."""

import csv
import json
import pickle
import shutil
import subprocess
import sys

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from torch import nn

import saccade
from saccade.files import locked
from saccade.training.loop import Diverged, Interrupted
from tests.comparison import folders

HOW = {"size": 32, "batch": 6, "steps": 8, "device": "cpu", "workers": 0, "progress": False}


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """Equal to the last bit are runs on as many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return folders.classification(tmp_path_factory.mktemp("data") / "textures")


@pytest.fixture(scope="module")
def finished(pictures, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "run"
    return saccade.train(pictures, "test_resnet", mechanism="se", out=out, evaluate_every=2, keep=1, **HOW)


def copy(run, to):
    return shutil.copytree(run.folder, to / "run")


def test_everything_lies_in_the_folder(finished):
    names = {path.name for path in finished.folder.iterdir()}
    expected = {
        "run.json",
        "result.json",
        "split.json",
        "log.csv",
        "gates.csv",
        "best.safetensors",
        "model.safetensors",
    }
    assert expected <= names
    record = json.loads((finished.folder / "run.json").read_text())
    assert torch.__version__.startswith(record["environment"]["torch"])
    assert record["asked"]["network"] == "test_resnet"
    assert record["recipe"]["schedule"] == "one-cycle"
    assert record["params"] == sum(p.numel() for p in saccade.load(finished.folder).parameters())
    with (finished.folder / "gates.csv").open(newline="") as opened:
        gates = list(csv.DictReader(opened))
    assert [row["step"] for row in gates] == ["2", "4", "6", "8"]
    assert len(gates[0]) == 1 + len(saccade.load(finished.folder).saccade_report.places)
    assert any(float(value) != 0 for name, value in gates[-1].items() if name != "step")


def test_the_best_network_is_loaded_in_one_line(finished):
    net, kept = saccade.load(finished.folder), saccade.load(finished.folder / "best.safetensors")
    assert len(net.saccade_report.places) > 0
    assert all(torch.equal(a, b) for a, b in zip(net.state_dict().values(), kept.state_dict().values(), strict=True))
    with (finished.folder / "log.csv").open(newline="") as opened:
        scores = [float(row["score"]) for row in csv.DictReader(opened) if row["score"]]
    assert finished.results["best"] == pytest.approx(max(scores), abs=1e-6)


def test_scores_are_those_of_the_held_out_images_counted_by_hand(finished, pictures):
    found = saccade.evaluate(pictures, finished.folder / "model.safetensors", device="cpu", workers=0).results
    split = json.loads((finished.folder / "split.json").read_text())
    rows = saccade.predict([pictures / name for name in split["held_out"]], finished.folder / "model.safetensors").rows
    right = [row["classes"][0][0] == row["image"].split("/")[-2] for row in rows]
    assert len(rows) == found["images"] == 6
    assert found["scores"]["accuracy"] == pytest.approx(np.mean(right))
    assert found["scores"]["accuracy"] == pytest.approx(finished.results["scores"]["accuracy"])
    assert set(found["by_class"]) == set(folders.TEXTURES)
    assert np.mean(list(found["by_class"].values())) == pytest.approx(found["scores"]["accuracy"])


def test_another_folder_is_scored_whole(finished, tmp_path):
    data = folders.classification(tmp_path / "more", count=5, seed=1)  # the names are those of training
    found = saccade.evaluate(data, finished.folder, device="cpu", workers=0).results
    assert (found["images"], found["what"]) == (15, "all of them; names of training, but not its images")
    assert found["statement"]["left_out"] == []
    (data / "brick").rename(data / "wood")
    with pytest.raises(ValueError, match="classes the network does not know: wood"):
        saccade.evaluate(data, finished.folder, device="cpu", workers=0)


def test_images_of_training_under_other_names_are_not_scored(finished, pictures, tmp_path):
    for path in sorted(pictures.glob("*/*.jpg")):
        (tmp_path / "copy" / path.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, tmp_path / "copy" / path.parent.name / f"renamed{path.name}")
    count = len(json.loads((finished.folder / "split.json").read_text())["held_out"])
    found = saccade.evaluate(tmp_path / "copy", finished.folder, device="cpu", workers=0).results
    assert found["images"] == count
    assert "that training saw" in found["what"]


def test_a_folder_is_read_as_in_training_unless_it_is_said_otherwise(tmp_path):
    data = folders.classification(tmp_path / "data", count=5)
    (data / "gravel").rename(data / "train")  # a class that is called like a side
    how = HOW | {"steps": 1, "layout": "classes", "classes": "train,brick", "out": tmp_path / "run"}
    run = saccade.train(data, "test_resnet", **how).folder
    found = saccade.evaluate(data, run, device="cpu", workers=0, progress=False).results
    assert (found["images"], list(found["by_class"])) == (2, ["train", "brick"])
    asked = json.loads((run / "run.json").read_text())
    assert (asked["asked"]["layout"], asked["asked"]["classes"]) == ("classes", ["train", "brick"])
    assert asked["statement"]["counts"] == {"train": [4, 1], "brick": [4, 1]}
    assert asked["statement"]["left_out"][0]["reason"] == "of a class that is not in --classes"
    assert saccade.train(data, "test_resnet", **how).folder == run
    with pytest.raises(ValueError, match=r"other settings.*classes"):
        saccade.train(data, "test_resnet", **how | {"classes": "brick,train"})


def test_held_out_images_that_are_gone_are_named(finished, pictures, tmp_path):
    data = shutil.copytree(pictures, tmp_path / "data")
    gone = json.loads((finished.folder / "split.json").read_text())["held_out"][0]
    (data / gone).unlink()
    with pytest.raises(ValueError, match=rf"1 of the 6 images held out from training are gone: {gone}"):
        saccade.evaluate(data, finished.folder, device="cpu", workers=0)


def test_the_same_call_gives_the_finished_run_and_another_is_refused(finished, pictures, tmp_path):
    out = copy(finished, tmp_path)
    before = (out / "model.safetensors").stat().st_mtime_ns
    how = HOW | {"mechanism": "se", "out": out, "evaluate_every": 2}
    again = saccade.train(pictures, "test_resnet", keep=2, **how)  # what changes no result may differ
    assert again.results == finished.results
    assert (out / "model.safetensors").stat().st_mtime_ns == before
    with pytest.raises(ValueError, match=r"other settings \(mechanism: 'se' there, 'eca' now; steps: 8 there, 9 now\)"):
        saccade.train(pictures, "test_resnet", **how | {"mechanism": "eca", "steps": 9})
    saccade.train(pictures, "test_resnet", overwrite=True, **how | {"mechanism": "eca", "steps": 2})
    assert json.loads((out / "result.json").read_text())["steps"] == 2


def test_two_trainings_in_one_folder(finished, pictures, tmp_path):
    with locked(tmp_path, "training"), pytest.raises(ValueError, match=f"another training is running in {tmp_path}"):
        saccade.train(pictures, "test_resnet", out=tmp_path, **HOW)


def test_data_that_changed_are_refused(finished, tmp_path):
    data = folders.classification(tmp_path / "data", count=6)
    how = HOW | {"steps": 1, "out": tmp_path / "out"}
    saccade.train(data, "test_resnet", **how)
    (data / "brick" / "0.jpg").unlink()
    with pytest.raises(ValueError, match=r"its files have changed since the run started \(removed: brick/0.jpg\)"):
        saccade.train(data, "test_resnet", **how)


def test_images_overwritten_under_their_names_are_refused(tmp_path, monkeypatch):
    """Of a run that was stopped after a checkpoint as of a finished one; a mere touch changes nothing."""
    data = folders.classification(tmp_path / "data", count=6)
    how = HOW | {"steps": 2, "out": tmp_path / "out"}
    image, brick = data / "grass" / "1.jpg", data / "brick" / "1.jpg"
    grass = image.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr("saccade.runs.train.train", raising(Interrupted()))
        with pytest.raises(KeyboardInterrupt):
            saccade.train(data, "test_resnet", **how)
    (tmp_path / "out" / "checkpoints").mkdir()
    (tmp_path / "out" / "checkpoints" / "1.part").touch()
    image.write_bytes(brick.read_bytes() + b"\0")
    with pytest.raises(ValueError, match=r"its files have changed since the run started \(changed: grass/1.jpg\)"):
        saccade.train(data, "test_resnet", **how)
    image.write_bytes(grass)  # put back, at another time
    saccade.train(data, "test_resnet", **how)
    image.write_bytes(brick.read_bytes() + b"\0")
    with pytest.raises(ValueError, match=r"its files have changed since the run started \(changed: grass/1.jpg\)"):
        saccade.train(data, "test_resnet", **how)


def test_masks_and_their_class_list_are_data_too(tmp_path):
    data = folders.segmentation(tmp_path / "discs", count=4)
    how = HOW | {"steps": 1, "batch": 2, "out": tmp_path / "out", "backbone": "test_resnet"}
    saccade.train(data, "fcn", **how)
    masks = data / "masks"
    (masks / "0.png").write_bytes((masks / "1.png").read_bytes())
    with pytest.raises(ValueError, match=r"its files have changed since the run started \(changed: masks/0.png\)"):
        saccade.train(data, "fcn", **how)


def raising(cause):
    def refuse(*_, **__):
        raise cause

    return refuse


def test_a_folder_with_other_things_is_left_alone(pictures, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="is not empty and does not hold a training"):
        saccade.train(pictures, "test_resnet", out=tmp_path, **HOW)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"network": "test_resnot"}, r"unknown network 'test_resnot'[\s\S]*test_resnet"),
        ({"network": "se_resnet20", "mechanism": "eca"}, "--mechanism eca: the network se_resnet20 contains its own"),
        ({"network": "se_resnet20", "pretrained": True}, "timm offers no weights of se_resnet20"),
        ({"network": "se_resnet20[stem=cifar]"}, "unknown option 'stem'"),
        ({"network": "test_resnet[stem=cifar]"}, "networks of timm take no options here"),
        ({"at": "stage"}, "--at gives the places of a mechanism, but none was given"),
        ({"mechanism": "see"}, "unknown mechanism 'see'"),
        ({"backbone": "resnet18"}, "--backbone resnet18: classification networks have no head"),
        ({"epochs": 2}, "give steps or epochs, not both"),
        ({"recipe": "ecas"}, r"unknown recipe 'ecas'[\s\S]*eca"),
        ({"augment": "imagnet"}, r"unknown augmentation 'imagnet'[\s\S]*imagenet"),
        ({"optimizer": "adamv"}, r"unknown optimizer 'adamv'[\s\S]*adam"),
        ({"schedule": "step", "decay_every": 0.0}, "schedule 'step' needs decay_every"),
        ({"batch": 7, "accumulate": 2}, r"batch=7 cannot be divided among 1 processes x 2 parts"),
        ({"lr_factors": (("head.*", 10.0),)}, r"no parameter is called 'head.\*'"),
        ({"learning_rat": 1.0}, r"unknown option 'learning_rat'[\s\S]*learning_rate"),
        ({"evaluate_every": 0, "patience": 3}, "evaluate_every must be a whole number from 1"),
        ({"network": "test_resnet.in1k"}, r"timm cannot make test_resnet.in1k \(Invalid pretrained tag"),
        ({"optimizer": "adahessian"}, "needs second derivatives"),
        ({"batch": 1}, "test_resnet cannot be trained on images of 32 x 32, 1 at a time"),
        ({"size": 4}, "size must be a whole number from 8"),
        ({"batch": 25}, r"batch=25 is more than there are training images: 24\s+hint: choose 24 at most"),
        ({"device": "mps"}, "device 'mps': torch finds no GPU of Apple here"),
        ({"out": "/dev/null/x"}, "/dev/null/x cannot be written: /dev/null is not a folder"),
        ({"network": "vit_tiny_patch16_224"}, "cannot work on images of 32 x 32"),
        ({"pretrained": "nowhere.safetensors"}, "no such file"),
        ({"data": "nowhere"}, "does not exist"),
    ],
    ids=str,
)
def test_mistakes_are_named(pictures, tmp_path, change, message):
    given = HOW | {"data": pictures, "network": "test_resnet", "out": tmp_path / "out"} | change
    with pytest.raises(ValueError, match=message):
        saccade.train(given.pop("data"), given.pop("network"), **given)
    assert list(tmp_path.iterdir()) == []  # the corrected call would find other settings there


def test_a_run_that_kept_nothing_does_not_hold_its_folder(tmp_path):
    """Neither a corrupt image nor a loss that is no number refuses the corrected command."""
    data = folders.classification(tmp_path / "data", count=6)
    image, how = data / "grass" / "2.jpg", HOW | {"out": tmp_path / "out", "steps": 2}
    good = image.read_bytes()
    image.write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"grass/2.jpg"):
        saccade.train(data, "test_resnet", **how)
    image.write_bytes(good)
    with pytest.raises(ValueError, match="the loss is nan"):
        saccade.train(
            data, "test_resnet", **how | {"optimizer": "momentum", "learning_rate": 1e9, "steps": 20, "warmup": 0.0}
        )
    assert saccade.train(data, "test_resnet", **how).results["steps"] == 2


def test_more_steps_than_a_finished_run_had_are_trained_from_it(pictures, tmp_path):
    how = HOW | {"out": tmp_path / "a run"}
    saccade.train(pictures, "test_resnet", **how | {"steps": 1})
    with pytest.raises(ValueError, match=r"(?s)steps: 1 there, 2 now.*--pretrained '.*a run' --out NEW$"):
        saccade.train(pictures, "test_resnet", **how | {"steps": 2})
    more = how | {"steps": 2, "pretrained": tmp_path / "a run", "out": tmp_path / "more"}
    assert saccade.train(pictures, "test_resnet", **more).results["steps"] == 2


def test_overwriting_deletes_nothing_where_others_files_are_too(pictures, tmp_path):
    saccade.train(pictures, "test_resnet", out=tmp_path, **HOW | {"steps": 1})
    (tmp_path / "notes.txt").write_text("mine")
    saccade.train(pictures, "test_resnet", out=tmp_path, overwrite=True, **HOW | {"steps": 2})
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_masks_are_not_for_a_classifier(tmp_path):
    data = folders.segmentation(tmp_path / "discs", count=4)
    with pytest.raises(ValueError, match="it is for segmentation, and test_resnet is not a segmentation network"):
        saccade.train(data, "test_resnet", out=tmp_path / "out", **HOW)


def test_an_unreadable_image_stops_with_its_name(tmp_path):
    data = folders.classification(tmp_path / "data", count=6)
    (data / "grass" / "2.jpg").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"grass/2.jpg cannot be used: it is not a picture[\s\S]*saccade data check"):
        saccade.train(data, "test_resnet", out=tmp_path / "out", **HOW)


def test_a_loss_that_is_no_number_names_files_and_checkpoint(pictures, tmp_path):
    with pytest.raises(
        Diverged, match=r"(?s)at step \d, learning rate .*/(brick|grass|gravel)/\d.jpg.*last good check"
    ):
        saccade.train(
            pictures, "test_resnet", optimizer="momentum", learning_rate=1e9, schedule="constant", warmup=0.0,
            checkpoint_seconds=0.0, out=tmp_path / "out", **HOW,
        )  # fmt: skip
    assert not (tmp_path / "out" / "model.safetensors").exists()


def test_it_ends_early_without_progress(pictures, tmp_path):
    how = HOW | {"steps": 50, "out": tmp_path, "learning_rate": 0.0, "evaluate_every": 2, "patience": 3}
    found = saccade.train(pictures, "test_resnet", **how).results
    assert (found["best_step"], found["steps"]) == (2, 8)  # norms follow their batches, no weight changes


class TestStartingFromTrainedWeights:
    def test_an_earlier_run_with_other_classes(self, finished, tmp_path):
        data = folders.classification(tmp_path / "data", count=4)
        shutil.copytree(data / "brick", data / "wall")
        how = HOW | {"steps": 1, "learning_rate": 0.0, "out": tmp_path / "out"}
        how["allow_copies"] = True
        saccade.train(data, "test_resnet", mechanism="se", pretrained=finished.folder, **how)
        before, after = (dict(saccade.load(f).named_parameters()) for f in (finished.folder, tmp_path / "out"))
        assert after["fc.weight"].shape[0] == before["fc.weight"].shape[0] + 1
        assert all(torch.equal(after[name], before[name]) for name in before if not name.startswith("fc."))

    @pytest.mark.full
    def test_an_authors_file_of_a_named_classifier(self, pictures, tmp_path):
        torch.manual_seed(3)
        given = saccade.classifier("se_resnet20", 10)
        torch.save(given.state_dict(), tmp_path / "given.pth")
        how = HOW | {"steps": 1, "learning_rate": 0.0, "out": tmp_path / "out"}
        saccade.train(pictures, "se_resnet20", pretrained=tmp_path / "given.pth", **how)
        after = dict(saccade.load(tmp_path / "out").named_parameters())
        assert all(torch.equal(after[name], p) for name, p in given.named_parameters() if not name.startswith("fc."))

    def test_another_network(self, finished, pictures, tmp_path):
        with pytest.raises(ValueError, match=r"another network: \d+ tensors do not fit, the first are"):
            saccade.train(pictures, "resnet10t", pretrained=finished.folder, out=tmp_path / "out", **HOW)

    @pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
    def test_a_pickle_with_code_is_not_run(self, pictures, tmp_path, suffix):
        path = tmp_path / f"weights{suffix}"
        path.write_bytes(pickle.dumps(Canary(tmp_path / "sang")))
        for call in (
            lambda: saccade.train(pictures, "test_resnet", pretrained=path, out=tmp_path / "out", **HOW),
            lambda: saccade.train(pictures, "se_resnet20", pretrained=path, out=tmp_path / "out", **HOW),
            lambda: saccade.evaluate(pictures, path),
            lambda: saccade.predict([pictures], path),
        ):
            with pytest.raises(ValueError, match=r"cannot be read|more than tensors"):
                call()
        assert not (tmp_path / "sang").exists()


class Canary:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (self.path.write_text, ("sang",))


def test_a_pickle_in_the_place_of_a_checkpoint_is_not_run(finished, pictures, tmp_path):
    how = HOW | {"mechanism": "se", "out": tmp_path / "out", "evaluate_every": 2}
    (tmp_path / "out" / "checkpoints").mkdir(parents=True)
    shutil.copy(finished.folder / "run.json", tmp_path / "out")
    checkpoint = tmp_path / "out" / "checkpoints" / "000000004.safetensors"
    checkpoint.write_bytes(pickle.dumps(Canary(tmp_path / "sang")))
    with pytest.warns(saccade.SaccadeWarning, match="000000004.safetensors: cannot be read as safetensors"):
        saccade.train(pictures, "test_resnet", **how)
    assert not (tmp_path / "sang").exists()


@pytest.mark.parametrize("ema", [None, 0.5])
def test_a_checkpoint_is_a_network_too(pictures, tmp_path, ema):
    how = HOW | {"steps": 3, "ema": ema, "out": tmp_path / "out", "checkpoint_seconds": 0.0}
    saccade.train(pictures, "test_resnet", **how)
    checkpoint = tmp_path / "out" / "checkpoints" / "000000002.safetensors"
    found = saccade.evaluate(pictures, checkpoint, device="cpu", workers=0).results
    assert found["what"] == "those held out from training by seed 0"
    whole = checkpoint.read_bytes()
    checkpoint.write_bytes(whole[:-100])
    with pytest.raises(ValueError, match="cannot be read as safetensors"):
        saccade.evaluate(pictures, checkpoint)


def test_predictions_are_those_of_the_network(finished, pictures, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    images = [pictures / "brick" / "1.jpg", tmp_path / "broken.jpg", pictures / "grass"]
    found = saccade.predict(images, finished.folder, out=tmp_path / "out", batch=4)
    assert len(found.rows) == 12
    assert found.failed == [f"{tmp_path / 'broken.jpg'}: it is not a picture, or its format is unknown"]
    net = saccade.load(finished.folder).eval()
    image = Image.open(images[0]).resize((37, 37), Image.Resampling.BILINEAR).crop((2, 2, 34, 34))
    x = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)[None] / 255
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    with torch.no_grad():
        expected = net((x - mean.view(3, 1, 1)) / std.view(3, 1, 1)).softmax(1)[0]
    said = dict(found.rows[0]["classes"])
    for name, probability in zip(folders.TEXTURES, expected.tolist(), strict=True):
        assert said[name] == pytest.approx(probability, abs=0.02)  # two libraries round pixels differently
    with (tmp_path / "out" / "predictions.csv").open(newline="") as opened:
        rows = list(csv.DictReader(opened))
    assert [row["image"] for row in rows] == [row["image"] for row in found.rows]
    assert rows[1]["problem"] == "it is not a picture, or its format is unknown"
    assert rows[0]["class_1"] == found.rows[0]["classes"][0][0]


def test_a_network_without_classes_cannot_be_used(pictures, tmp_path):
    saccade.save(timm.create_model("test_resnet", num_classes=3), tmp_path / "net.safetensors")
    with pytest.raises(ValueError, match="holds a network, but not its classes"):
        saccade.predict([pictures], tmp_path / "net.safetensors")
    with pytest.raises(ValueError, match="no network in this folder"):
        saccade.predict([pictures], tmp_path)


@pytest.mark.parametrize(("images", "message"), [([], "no images were given"), (["nowhere.jpg"], "no such file")])
def test_predicting_nothing(finished, images, message):
    with pytest.raises(ValueError, match=message):
        saccade.predict(images, finished.folder)


def test_tensorboard_files_hold_loss_scores_and_gates(pictures, tmp_path):
    how = HOW | {"steps": 2, "out": tmp_path, "mechanism": "se", "tensorboard": True, "evaluate_every": 1}
    saccade.train(pictures, "test_resnet", **how)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    names = set(events.Tags()["scalars"])
    assert {"loss", "learning rate", "accuracy"} <= names
    assert any(name.startswith("gates/") for name in names)
    assert [event.step for event in events.Scalars("loss")] == [1, 2]


@pytest.mark.full
def test_a_log_for_tensorboard_loads_no_tensorflow(tmp_path):
    script = (
        "import sys; from pathlib import Path; from saccade.training.log import Log\n"
        "Log(Path(sys.argv[1]), 0, tensorboard=True); assert 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script, tmp_path], check=True)
    assert list((tmp_path / "tensorboard").iterdir())


def test_the_recipe_of_a_paper_decays_norms_too(pictures, tmp_path):
    from saccade.training.optimizers import optimizer_for
    from saccade.training.recipe import Recipe
    from saccade.training.recipes import RECIPES

    for published in RECIPES.values():
        how = Recipe(steps=published.epochs, batch=published.batch, **published.values)
        net = nn.ModuleDict({"backbone": nn.Conv2d(3, 4, 1), "head": nn.BatchNorm2d(4)})
        groups = optimizer_for(net, how).param_groups
        decays = {group["weight_decay"] for group in groups}
        assert decays == ({how.weight_decay} if how.decay_norms else {how.weight_decay, 0.0})
        assert all("(" in line for line in published.lines())


class Colours(torch.utils.data.Dataset):
    """A data set of one's own: float images whose class is their sign."""

    def __init__(self, count, classes=None):
        self.count = count
        if classes:
            self.classes = classes

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        return torch.randn(3, 32, 48) * 0.1 + (index % 2), index % 2


def test_any_two_datasets_are_trained_on(tmp_path):
    how = {"batch": 8, "steps": 30, "device": "cpu", "workers": 0, "progress": False, "evaluate_every": 10}
    with pytest.raises(ValueError, match=r"Colours does not say its classes\nhint: name them"):
        saccade.train((Colours(16), Colours(8)), "test_resnet", out=tmp_path / "out", **how)
    pair = (Colours(16, ["low", "high"]), Colours(8))
    found = saccade.train(pair, "test_resnet", out=tmp_path / "out", **how)
    assert found.results["best"] == 1
    assert saccade.load(tmp_path / "out").fc.out_features == 2
    with pytest.raises(ValueError, match="holds a network, but not its classes"):
        saccade.evaluate(tmp_path, tmp_path / "out")
