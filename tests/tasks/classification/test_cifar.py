"""CIFAR's records are read as its author describes them, and pickles are not."""

import pickle

import numpy as np
import pytest

import saccade
from saccade.tasks.classification.cifar import find_cifar


def record(*labels, red=0, green=0, blue=0, first=0):
    """Labels, then 1,024 bytes of each colour, row by row; `first` is the red of the first row's second pixel."""
    pixels = np.repeat(np.array([red, green, blue], np.uint8), 1024)
    pixels[1] = first
    return bytes(labels) + pixels.tobytes()


@pytest.fixture
def ten(tmp_path):
    folder = tmp_path / "data" / "cifar-10-batches-bin"
    folder.mkdir(parents=True)
    (folder / "batches.meta.txt").write_text("\n".join(["airplane", "automobile", "bird"]) + "\n\n")
    for n in range(1, 6):
        (folder / f"data_batch_{n}.bin").write_bytes(record(n % 3, red=n) + record(2, green=n, first=9))
    (folder / "test_batch.bin").write_bytes(record(1, blue=7) * 4)
    return folder


@pytest.mark.parametrize("inside", [True, False])
def test_the_ten_classes(ten, inside):
    found = find_cifar(ten if inside else ten.parent)
    assert found.classes == ("airplane", "automobile", "bird")
    assert found.train.images.shape == (10, 32, 32, 3)
    assert found.train.targets.tolist() == [1, 2, 2, 2, 0, 2, 1, 2, 2, 2]
    assert found.train.images[3, 5, 6].tolist() == [0, 2, 0]
    assert found.train.images[3, 0, 1].tolist() == [9, 2, 0]
    assert found.val.images[0, 31, 31].tolist() == [0, 0, 7]
    assert found.train.names[3] == "data_batch_2.bin, record 1"


def test_the_hundred_classes_are_the_fine_ones(tmp_path):
    (tmp_path / "fine_label_names.txt").write_text("apple\nbee\n")
    (tmp_path / "train.bin").write_bytes(record(17, 1, red=3))
    (tmp_path / "test.bin").write_bytes(record(4, 0))
    found = find_cifar(tmp_path)
    assert (found.train.targets.tolist(), found.val.targets.tolist()) == ([1], [0])


def test_it_is_trained_on_and_scored(ten, tmp_path):
    how = {"size": 32, "steps": 2, "batch": 4, "augment": "cifar", "device": "cpu", "workers": 0, "progress": False}
    found = saccade.train(ten.parent, "test_resnet", out=tmp_path / "run", **how)
    scored = saccade.evaluate(ten, tmp_path / "run", device="cpu", workers=0).results
    assert scored["images"] == 4
    assert list(scored["by_class"]) == ["automobile"]
    assert scored["scores"]["accuracy"] == found.results["best"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("data_batch_3.bin", None, "data_batch_3.bin: CIFAR-10 requires this file"),
        ("data_batch_3.bin", record(0)[:-1], r"expected records of 3073 bytes; received 3072 bytes"),
        ("test_batch.bin", b"", r"expected records of 3073 bytes; received 0 bytes"),
        ("test_batch.bin", record(3), r"a record has class 3, and batches.meta.txt lists 3 classes"),
    ],
)
def test_what_is_wrong_is_named(ten, name, content, message):
    (ten / name).unlink() if content is None else (ten / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        find_cifar(ten)


def test_the_version_for_python_is_refused(tmp_path):
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    (folder / "data_batch_1").write_bytes(pickle.dumps({"data": []}))
    with pytest.raises(ValueError, match=r"holds pickles[\s\S]*cifar-10-binary.tar.gz"):
        saccade.train(tmp_path, "test_resnet", out=tmp_path / "run")


def test_other_folders_are_none(tmp_path):
    assert find_cifar(tmp_path) is None
    assert find_cifar(tmp_path / "nowhere") is None
