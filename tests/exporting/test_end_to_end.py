"""Networks of the papers trained on the demos, exported, and used from their files as from their runs."""

import numpy as np
import pytest
from PIL import Image

import saccade
from saccade.data.demo_folder import write_demo
from saccade.exporting.running import open_exported
from tests.comparison import folders
from tests.exporting.test_uses import near, scores

STEPS = {"steps": 3, "batch": 2, "learning_rate": 0.01, "device": "cpu", "workers": 0, "progress": False}
DATA = {
    "textures": lambda folder: folders.classification(folder, count=3, side=32),
    "notes": lambda folder: write_demo(folder, train=4, held_out=2),
    "chips": lambda folder: write_demo(folder, task="pose", train=4, held_out=2),
}
NETWORKS = {
    "cbam": ("textures", "test_resnet", {"mechanism": "cbam", "at": "stage", "size": 32}, "CBAM"),
    "danet": ("notes", "danet", {"backbone": "test_resnet", "size": 32}, "PAM"),
    "flanet": ("notes", "flanet", {"backbone": "test_resnet", "size": 32}, "FLA"),
    "udp_hrnet": ("chips", "udp_hrnet", {"backbone": "hrnet_w18_small", "mechanism": "psa", "size": 64}, "PSA"),
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Make a run of a network, once; the folder of its data and its own."""
    made = {}

    def run(name):
        if name not in made:
            data, network, options, _ = NETWORKS[name]
            root = tmp_path_factory.mktemp(name)
            DATA[data](root / "data")
            trained = saccade.train(root / "data", network, out=root / "run", **options, **STEPS)
            made[name] = root / "data", trained.folder
        return made[name]

    return run


def alike(found, wanted):
    """Rows with the same scores, and nearly all key points in the same place: maps of a few steps are nearly flat."""
    if "joints" not in wanted:
        return near(found, wanted)
    scored = [{name: joint["score"] for name, joint in row["joints"].items()} for row in (found, wanted)]
    places = [np.array([[joint["x"], joint["y"]] for joint in row["joints"].values()]) for row in (found, wanted)]
    return near(*scored) and (np.abs(places[0] - places[1]).max(axis=1) < 0.5).mean() >= 0.75


@pytest.mark.full
@pytest.mark.parametrize("to", ["onnx", "openvino"])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_trained_network_is_the_same_in_its_file(name, to, runs, tmp_path):
    data, run = runs(name)
    fixed = {"size": 64} if name == "udp_hrnet" else {}  # its graph is large, and each size takes its time
    found = saccade.export(run, to=to, out=tmp_path / "net", **fixed)
    assert found.verified
    assert any(kind.startswith(NETWORKS[name][3]) for kind in found.about["mechanisms"])
    assert not [note for note in found.notes if "still 0" in note or "random" in note]  # attention was compared
    assert "real" in {case.images for case in found.cases}
    assert open_exported(found.file).known is not None
    assert near(scores(data, found.file, None), scores(data, run, None))
    drawn = {}
    for kind, model in (("file", found.file), ("run", run)):
        done = saccade.predict(data, model, device="cpu", out=tmp_path / kind)
        rows = None if NETWORKS[name][0] == "notes" else list(done.rows)
        pictures = {
            path.relative_to(tmp_path / kind): np.array(Image.open(path))
            for path in sorted((tmp_path / kind).rglob("*.png"))
        }
        drawn[kind] = rows, pictures
    rows, masks = zip(drawn["file"], drawn["run"], strict=True)
    assert all(map(alike, *rows)) if rows[0] is not None else masks[0]
    assert masks[0].keys() == masks[1].keys()
    if NETWORKS[name][0] == "notes":
        assert all((mask == masks[1][path]).mean() > 0.999 for path, mask in masks[0].items())
