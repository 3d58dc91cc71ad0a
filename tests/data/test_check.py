"""What is wrong with a folder is found by reading it, and named."""

import shutil

import numpy as np
import pytest
from PIL import Image

from saccade.cli import main
from saccade.data.check import check_data
from saccade.data.sheet import draw_sheet
from saccade.tasks.segmentation.mask_folder import load_labelled
from tests.comparison import folders
from tests.tasks.segmentation import trees


@pytest.fixture
def pictures(tmp_path):
    return folders.classification(tmp_path / "textures", count=12)


@pytest.fixture
def masks(tmp_path):
    return folders.segmentation(tmp_path / "discs", count=6)


def test_a_good_folder_is_good(pictures):
    found = check_data(pictures)
    assert found.good
    assert found.images == 36
    assert found.counts == {name: {"train": 10, "val": 2} for name in folders.TEXTURES}
    assert found.bad == {}
    assert "0 of 36 files cannot be used" in str(found)
    assert "sizes from 48 x 48 to 48 x 48 px, 1 different" in str(found)


def break_files(pictures):
    """One file of each kind that cannot be used: name to what is said of it."""
    whole = (pictures / "brick" / "0.jpg").read_bytes()
    (pictures / "brick" / "text.jpg").write_text("<html>not found</html>")
    (pictures / "brick" / "empty.png").write_bytes(b"")
    (pictures / "grass" / "short.jpg").write_bytes(whole[: len(whole) // 2])
    Image.fromarray(np.full((9, 9), -1.5, np.float32)).save(pictures / "grass" / "float.tiff")
    return {
        "brick/text.jpg": "it is a web page",
        "brick/empty.png": "the file is empty",
        "grass/short.jpg": "it cannot be decoded",
        "grass/float.tiff": "its values run from -1.5",
    }


def test_every_bad_file_is_named_with_its_reason(pictures):
    expected = break_files(pictures)
    found = check_data(pictures)
    assert not found.good
    assert found.bad.keys() == expected.keys()
    for name, reason in expected.items():
        assert found.bad[name].startswith(reason)
        assert f"{name}: {reason}" in str(found)
    assert sum(sum(n.values()) for n in found.counts.values()) == 36


def test_an_image_on_both_sides_is_a_leak(tmp_path, pictures):
    data = tmp_path / "data"
    for side in ("train", "val"):
        shutil.copytree(pictures, data / side)
    for path in data.glob("val/*/*.jpg"):
        if path.name != "3.jpg":
            path.unlink()
    Image.open(data / "train" / "brick" / "5.jpg").resize((48, 48)).save(data / "train" / "brick" / "other.png")
    shutil.copy(data / "train" / "grass" / "1.jpg", data / "train" / "grass" / "again.jpg")
    found = check_data(data)
    assert sorted(found.leaked) == [[f"train/{name}/3.jpg", f"val/{name}/3.jpg"] for name in folders.TEXTURES]
    assert ["train/grass/1.jpg", "train/grass/again.jpg"] in found.repeated
    assert "3 images are in both training and validation" in str(found)
    assert "1 image is there more than once within one side" in str(found)
    assert not found.good


def test_classes_that_are_rare_or_never_held_out_are_remarked(tmp_path):
    data = tmp_path / "data"
    for side, name, count in (("train", "many", 60), ("train", "few", 4), ("val", "many", 5)):
        (data / side / name).mkdir(parents=True)
        for i in range(count):
            noise = np.random.default_rng(hash((side, name)) % 999 + i).integers(0, 256, (8, 8, 3)).astype(np.uint8)
            Image.fromarray(noise).save(data / side / name / f"{i}.png")
    found = check_data(data)
    assert "without validation images, so never scored: few" in found.remarks
    assert "fewer than 10 training images: few" in found.remarks
    assert any("15 times the images of the smallest" in remark for remark in found.remarks)


def test_masks_are_counted_in_pixels_and_checked(masks):
    mask = np.asarray(Image.open(masks / "masks" / "0.png"))
    ignored = mask.copy()
    ignored[:3] = 255
    Image.fromarray(ignored).save(masks / "masks" / "0.png")
    Image.fromarray(mask[:-1]).save(masks / "masks" / "1.png")
    found = check_data(masks)
    assert list(found.bad) == ["masks/1.png"]
    assert found.bad["masks/1.png"] == "the mask is 64 x 63 px, its image 64 x 64 px"
    rest = [np.asarray(Image.open(masks / "masks" / f"{i}.png")) for i in (0, 2, 3, 4, 5)]
    for index, name in ((0, "0"), (1, "1"), (255, "ignored (255)")):
        assert sum(found.counts[name].values()) == sum(int((m == index).sum()) for m in rest)


def test_a_class_that_classes_txt_does_not_list(masks):
    (masks / "classes.txt").write_text("ground\ndisc\n")
    wrong = np.asarray(Image.open(masks / "masks" / "2.png")).copy()
    wrong[4, 7] = 9
    Image.fromarray(wrong).save(masks / "masks" / "2.png")
    found = check_data(masks)
    assert found.bad == {
        "masks/2.png": "class 9 at pixel y=4, x=7, but classes.txt lists 2 classes, 0, 1, and 255 is ignored"
    }
    assert set(found.counts) == {"ground", "disc", "ignored (255)"}


def test_the_sheet_shows_each_class_in_its_row(pictures, tmp_path):
    break_files(pictures)
    for index, path in enumerate(sorted((pictures / "gravel").glob("*.jpg"))):
        Image.new("RGB", (48, 24), (200, 10 + index, 10)).save(path)
    sheet = np.asarray(Image.open(draw_sheet(pictures, tmp_path / "sheet.png")).convert("RGB")).astype(int)
    height = sheet.shape[0] // 3
    rows = [sheet[row * height : (row + 1) * height] for row in range(3)]
    red = [((row[..., 0] > 190) & (row[..., 1] < 40)).mean() for row in rows]
    assert red[2] > 0.3  # wide pictures fill half of their squares
    assert max(red[:2]) == 0


def test_the_sheet_lays_masks_over_images(masks, tmp_path):
    plain = np.asarray(Image.open(masks / "images" / "0.jpg").resize((96, 96))).astype(int)
    Image.fromarray(np.full((64, 64), 255, np.uint8)).save(masks / "masks" / "0.png")
    Image.fromarray(np.zeros((64, 64), np.uint8)).save(masks / "masks" / "1.png")
    sheet = np.asarray(Image.open(draw_sheet(masks, tmp_path / "sheet.png")).convert("RGB")).astype(int)
    assert sheet.shape[1] > 10 * 96
    assert plain.mean() > sheet[20:116, 4:100].mean() > 0


@pytest.mark.parametrize("broken", [False, True])
def test_the_command_line(pictures, tmp_path, capsys, monkeypatch, broken):
    monkeypatch.chdir(tmp_path)
    if broken:
        break_files(pictures)
    with pytest.raises(SystemExit) as left:
        main(["data", "check", str(pictures)])
    printed = capsys.readouterr()
    assert left.value.code == int(broken)
    assert ("brick/text.jpg: it is a web page" in printed.out) == broken
    assert (tmp_path / "saccade-check" / "textures.png").is_file()
    assert f"reading images: {40 if broken else 36}/{40 if broken else 36}" in printed.err


@pytest.mark.parametrize("tree", [trees.cityscapes, trees.voc, trees.ade20k])
def test_published_data_sets_are_read_as_training_reads_them(tmp_path, tree):
    data = tree(tmp_path / "data")
    known = load_labelled(data)
    found = check_data(data)
    assert found.bad == {}
    assert found.images == len(known.train) + len(known.val)
    assert tuple(found.counts) == (*known.classes, "ignored (255)")
    pixels = sum((known.load(pair)[1] == 0).sum() for pair in known.train)
    assert found.counts[known.classes[0]]["train"] == pixels
    trees.mask(known.train[0].mask, 1, {(4, 3): 200})
    broken = check_data(data)
    assert broken.bad == {
        known.train[0].mask.relative_to(data).as_posix(): next(iter(broken.bad.values())),
    }
    assert next(iter(broken.bad.values())).startswith("value 200 at pixel y=4, x=3 is not a class")
    assert draw_sheet(data, tmp_path / "sheet.png").stat().st_size > 0
