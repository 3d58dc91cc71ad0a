"""What is given to predict, and what of the user's it never replaces."""

import shutil

import pytest

import saccade
from saccade.errors import InputError
from tests.comparison import folders

HOW = {"steps": 1, "batch": 2, "device": "cpu", "workers": 0, "progress": False}


@pytest.fixture(scope="module")
def discs(tmp_path_factory):
    """A folder with masks, and a network trained on it."""
    root = tmp_path_factory.mktemp("discs")
    data = folders.segmentation(root / "data", count=3, side=32)
    how = HOW | {"size": 32, "backbone": "test_resnet", "out": root / "run"}
    return data, saccade.train(data, "fcn", **how).folder


@pytest.fixture(scope="module")
def textures(tmp_path_factory):
    root = tmp_path_factory.mktemp("textures")
    data = folders.classification(root / "data", count=3, side=32)
    return data, saccade.train(data, "test_resnet", size=32, out=root / "run", **HOW).folder


def bytes_of(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_masks_of_the_user_are_never_replaced(discs, tmp_path):
    data = shutil.copytree(discs[0], tmp_path / "data")
    before = bytes_of(data)
    with pytest.raises(InputError, match=r"nothing was written: .*masks/0.png exists, and saccade did not write it"):
        saccade.predict(data / "images", discs[1], out=data, device="cpu")
    assert bytes_of(data) == before


def test_its_own_masks_are_replaced_until_somebody_corrects_one(discs, tmp_path):
    out = tmp_path / "said"
    for _ in range(2):
        assert saccade.predict(discs[0] / "images", discs[1], out=out, device="cpu").images == 3
    (out / "masks" / "1.png").write_bytes((discs[0] / "masks" / "1.png").read_bytes())
    before = bytes_of(out)
    with pytest.raises(InputError, match=r"masks/1.png was changed since saccade wrote it"):
        saccade.predict(discs[0] / "images", discs[1], out=out, device="cpu")
    assert bytes_of(out) == before


def test_what_it_wrote_into_the_folder_of_the_images_is_no_image(discs, tmp_path):
    folder = shutil.copytree(discs[0] / "images", tmp_path / "photos")
    for out in (folder, folder / "said"):
        for _ in range(2):
            assert saccade.predict(folder, discs[1], out=out, device="cpu").images == 3
        for name in ("masks", "overlays", "predictions.csv", ".saccade-written"):
            shutil.rmtree(out / name, ignore_errors=True) or (out / name).unlink(missing_ok=True)


def test_two_names_that_differ_after_a_dot_have_two_masks(discs, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("a.1.jpg", "a.2.jpg"):
        shutil.copy(discs[0] / "images" / "0.jpg", folder / name)
    saccade.predict(folder, discs[1], out=tmp_path / "said", device="cpu")
    assert sorted(path.name for path in (tmp_path / "said" / "masks").iterdir()) == ["a.1.png", "a.2.png"]


def test_a_table_of_the_user_is_never_replaced(textures, tmp_path):
    (tmp_path / "predictions.csv").write_text("mine")
    with pytest.raises(InputError, match=r"predictions.csv exists, and saccade did not write it"):
        saccade.predict(textures[0], textures[1], out=tmp_path, device="cpu")
    assert bytes_of(tmp_path).keys() == {(tmp_path / "predictions.csv").relative_to(tmp_path)}


@pytest.mark.parametrize("kind", [str, lambda path: path, lambda path: [str(path)], lambda path: f"~/{path.name}"])
def test_one_path_is_one_file(textures, monkeypatch, kind):
    """A string is not a list of letters, of which one is the root of the disk."""
    image = textures[0] / "grass" / "1.jpg"
    monkeypatch.setenv("HOME", str(image.parent))
    assert [row["image"] for row in saccade.predict(kind(image), textures[1], device="cpu").rows] == [str(image)]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "no images were given"),
        ([""], "images must not hold an empty path"),
        ([3], "images must be paths; received 3"),
        (3, "images must be a path or a list of paths; received 3"),
        ("nowhere.jpg", "nowhere.jpg: no such file or folder"),
    ],
)
def test_what_names_no_image(textures, given, message):
    with pytest.raises(InputError, match=message):
        saccade.predict(given, textures[1], device="cpu")


def test_a_place_that_cannot_be_written_is_refused_before_any_work(textures, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"said cannot be written: .*file is not a folder"):
        saccade.predict(textures[0], tmp_path / "no model", out=tmp_path / "file" / "said", device="cpu")
