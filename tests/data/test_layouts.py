"""A folder is read rightly, or not at all: layouts by what names mean, and every file accounted for."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from saccade.data import tree
from saccade.data.check import check_data
from saccade.data.folder import load_folder
from saccade.data.names import role_of, shown
from saccade.data.reading import Reading
from saccade.data.sheet import draw_sheet
from saccade.errors import InputError
from saccade.outputs import Outputs
from saccade.runs.predict import _paths
from saccade.tasks import recognise
from saccade.tasks.segmentation.layout import masks_in
from tests.tasks.segmentation import trees

MASKS = ("mask", "label", "gt", "truth", "annotation", "segmentation")
COUNTER = iter(range(10**9))


def plant(root: Path, *paths: str) -> Path:
    """Write files; ``a/#3.png`` stands for three of them, and names that speak of masks get masks."""
    for path in paths:
        before, number, after = path.partition("#")
        for index in range(int(after[0]) if number else 1):
            name = f"{before}{index}{after[1:]}" if number else path
            write(root / name)
    return root


def write(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(next(COUNTER))
    if path.suffix not in (".png", ".jpg", ".jfif"):
        path.write_text("no image")
    elif any(word in path.as_posix().lower() for word in MASKS):
        Image.fromarray(np.pad(rng.integers(0, 2, (6, 6), dtype=np.uint8), 1, constant_values=1)).save(path)
    else:
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(path, format="PNG")


def files_of(folder: Path, **how):
    task, reading = recognise(folder, Reading(**how))
    return task.files(folder, reading)


def adds_up(folder: Path, files) -> bool:
    """True if used files and those left out are all files that are not hidden."""
    every = {
        path for path in folder.rglob("*") if path.is_file() and not any(p.startswith(".") for p in path.parts[1:])
    }
    items = (*files.train, *files.val)
    used = {file for item in items for file in (item.image, item.target) if isinstance(file, Path)} | set(files.others)
    return len(every) == len(used & every) + sum(row.count for row in files.left_out if not row.folders)


def sides(*names: str) -> list[str]:
    return [f"{name}/{kind}/{name[:3]}#2.png" for name in names for kind in ("cat", "dog")]


SIDES = [
    "Training Testing",
    "train2017 val2017",
    "train_set test_set",
    "training validation",
    "TRAIN VALID",
    "trainset devset",
    "Train-Images Val-Images",
    "train_data eval_data",
    "训练集 验证集",
    "Train-Set Hold-Out",
    "seg_train seg_test",
]


@pytest.mark.parametrize("names", SIDES)
def test_sides_are_no_classes(tmp_path, names):
    files = files_of(plant(tmp_path, *sides(*names.split())))
    assert (files.layout, files.classes) == ("train-val/classes", ("cat", "dog"))
    assert (len(files.train), len(files.val), files.drawn) == (4, 4, False)
    assert adds_up(tmp_path, files)


def test_a_side_inside_a_side_of_the_same_name_is_looked_through(tmp_path):
    plant(tmp_path, *sides("seg_train/seg_train", "seg_test/seg_test"), "seg_pred/seg_pred/#3.png")
    files = files_of(tmp_path)
    assert (files.layout, files.classes, files.drawn) == ("train-val/classes", ("cat", "dog"), False)
    assert [row.count for row in files.left_out] == [3]
    assert adds_up(tmp_path, files)


def test_a_side_inside_another_side_is_not(tmp_path):
    with pytest.raises(InputError, match=r"not recognised|missing from"):
        files_of(plant(tmp_path, *sides("train/val", "test/train")))


def test_pictures_in_a_folder_of_any_name_are_asked_about(tmp_path):
    plant(tmp_path, "CXR_png/#5.png", "masks/#5.png")
    with pytest.raises(InputError, match=r"3 ways(.|\n)*--layout images-masks: images and masks in CXR_png/, masks/"):
        files_of(tmp_path)
    files = files_of(tmp_path, layout="images-masks")
    assert (len(files.train), len(files.val)) == (4, 1)
    assert all(item.target.parent.name == "masks" for item in files.train)
    assert adds_up(tmp_path, files)
    assert not masks_in(tmp_path)  # what is not sure to be a mask is predicted


def test_pictures_in_a_folder_of_any_name_below_sides(tmp_path):
    plant(tmp_path, *(f"{kind}/{side}/{side}#3.png" for kind in ("leftImg", "label") for side in ("train", "val")))
    with pytest.raises(InputError, match=r"--layout train-val/images-masks: images and masks in label/train/"):
        files_of(tmp_path)
    files = files_of(tmp_path, layout="train-val/images-masks")
    assert {item.image.parent.relative_to(tmp_path).as_posix() for item in files.train} == {"leftImg/train"}
    assert len(files.val) == 3


def test_short_names_of_sides_below_images_are_asked_about(tmp_path):
    plant(tmp_path, *(f"{kind}/{side}/{side}#3.png" for kind in ("frames", "masks") for side in ("va", "tr")))
    with pytest.raises(InputError, match=r"tr/, va/ may be the sides(.|\n)*--split tr:va"):
        files_of(tmp_path)
    files = files_of(tmp_path, split="tr:va")
    assert {item.image.parent.name for item in files.train} == {"tr"}
    assert files_of(tmp_path, split=0.5).drawn


PAIRS = {
    "images/{} masks/{}": True,
    "img/{} labels/{}": True,
    "{}/JPEGImages {}/SegmentationClass": True,
    "{}_images {}_masks": True,
    "{} {}_masks": True,
    "data/{}/imgs data/{}/ground_truth": True,
    "images labels": False,
    "IMG GT": False,
    "photos annotations": False,
    "wrapped/img wrapped/mask": False,
}


@pytest.mark.parametrize("places", PAIRS)
def test_images_and_masks_in_any_place(tmp_path, places):
    for side in ("train", "val") if PAIRS[places] else ("",):
        images, masks = places.format(side, side).split()
        plant(tmp_path, f"{images}/{side}a#5.png", f"{masks}/{side}a#5.png")
    files = files_of(tmp_path)
    assert files.drawn is not PAIRS[places]
    assert (len(files.train), len(files.val)) == ((5, 5) if PAIRS[places] else (4, 1))
    assert all(item.image.stem == item.target.stem for item in (*files.train, *files.val))
    if PAIRS[places]:
        assert all("train" in str(item.image.relative_to(tmp_path)) for item in files.train)
    assert adds_up(tmp_path, files)


def test_masks_next_to_their_images(tmp_path):
    plant(tmp_path, "train/a#3.jpg", "train/a#3_mask.png", "valid/b#2.jpg", "valid/b#2_mask.png", "test/c#1.jpg")
    files = files_of(tmp_path)
    assert (files.layout, len(files.train), len(files.val)) == ("side-by-side", 3, 2)
    assert [row.reason for row in files.left_out] == ["the side test/ has no masks"]
    assert adds_up(tmp_path, files)


@pytest.mark.parametrize("wrapped", ["", "data/"])
def test_images_with_an_end_of_their_own(tmp_path, wrapped):
    plant(tmp_path, f"{wrapped}train/a#4_sat.jpg", f"{wrapped}train/a#4_mask.png", f"{wrapped}valid/b#2_sat.jpg")
    plant(tmp_path, f"{wrapped}test/c#2_sat.jpg")
    with pytest.raises(InputError, match=r"valid: no masks lie next to the images(.|\n)*add --split 0.2"):
        files_of(tmp_path)
    files = files_of(tmp_path, split=0.25)
    assert (files.layout, len(files.train), len(files.val)) == ("side-by-side", 3, 1)
    assert all(item.target.name == item.image.name.replace("_sat.jpg", "_mask.png") for item in files.train)
    assert "NAME_sat and NAME_mask" in files.note
    assert adds_up(tmp_path, files)
    (tmp_path / wrapped / "train" / "a1_mask.png").unlink()
    with pytest.raises(InputError, match=r"no mask: a1_sat.jpg(.|\n)*would be called a1_mask.png"):
        files_of(tmp_path, split=0.25)


def test_left_and_right_are_no_images_and_masks(tmp_path):
    files = files_of(plant(tmp_path, *(f"{name}/hand#3_{side}.png" for name in "ab" for side in "LR")))
    assert (files.layout, files.classes) == ("classes", ("a", "b"))


def test_pictures_and_drawings_of_one_name_are_named_where_no_layout_fits(tmp_path):
    folder = tmp_path / "folder"
    plant(folder, "#3.jpg")
    for number in range(3):
        Image.fromarray(np.eye(8, dtype=np.uint8)).save(folder / f"{number}.png")
    with pytest.raises(
        InputError, match=r"0.png looks like the mask of 0.jpg: put the masks into a folder of their own"
    ):
        files_of(folder)


def test_sides_inside_the_classes(tmp_path):
    plant(
        tmp_path, *(f"{name}/{side}/{name}{side}#2.png" for name in ("cat", "cow") for side in ("Train", "Val", "test"))
    )
    files = files_of(tmp_path)
    assert (files.layout, files.classes, files.drawn) == ("train-val/classes", ("cat", "cow"), False)
    assert files.note == "classification, from CLASS/Train and CLASS/Val"
    assert {item.image.parent.name for item in files.train} == {"Train"}
    assert {item.image.parent.name for item in files.val} == {"Val"}
    assert [row.count for row in files.left_out] == [4]
    assert adds_up(tmp_path, files)
    assert files_of(tmp_path, layout="classes").drawn


def test_folders_inside_those_of_classes_are_said(tmp_path):
    files = files_of(plant(tmp_path, "cats/persian/#2.png", "cats/siamese/a#2.png", "dogs/pug/#2.png", "dogs/b#2.png"))
    assert files.classes == ("cats", "dogs")
    assert files.note.endswith("; folders inside those of classes are read with them, such as cats/persian/")
    assert "inside" not in files_of(plant(tmp_path / "x", "cats/all/#2.png", "dogs/#2.png")).note


def test_tables_of_values_that_differ_are_refused(tmp_path):
    plant(tmp_path, "train/a#3.jpg", "train/a#3_mask.png", "valid/b#2.jpg", "valid/b#2_mask.png")
    for side, name in (("train", "cat"), ("valid", "dog")):
        (tmp_path / side / "_classes.csv").write_text(f"Pixel Value, Class\n0, ground\n1, {name}\n")
    with pytest.raises(InputError, match=r"_classes.csv do not say the same"):
        files_of(tmp_path)


AMBIGUOUS = {
    "a class called like a side": ("train/#3.png bus/#3.png car/#3.png", ["classes", "train-val/classes"]),
    "a class called like masks": ("mask/#3.png no_mask/#3.png", ["classes", "train-val/classes"]),
    "a training side and one of another name": (
        "my_val/a/#2.png my_val/b/#2.png my_train/a/#2.png my_train/b/#2.png",
        ["classes a, b in each", "--split my_train:my_val"],
    ),
    "one side and one of another name": (
        "rest/a/#2.png rest/b/#2.png train/a/#2.png train/b/#2.png",
        ["--split train:rest"],
    ),
    "parts with the same folders": ("one/a/#2.png one/b/#2.png two/a/#2.png two/b/#2.png", ["--split one:two"]),
    "class folders with masks": ("a/x#2.png a/x#2_mask.png b/y#2.png b/y#2_mask.png", ["classes", "side-by-side"]),
}


@pytest.mark.parametrize("case", AMBIGUOUS)
def test_two_readings_are_refused_with_both(tmp_path, case):
    paths, expected = AMBIGUOUS[case]
    with pytest.raises(InputError, match="can be read in 2 ways; seen: ") as error:
        files_of(plant(tmp_path, *paths.split()))
    assert all(words in str(error.value) for words in (*expected, "--layout"))
    assert files_of(tmp_path, layout="classes").layout == "classes"


REFUSED = {
    "two sides of one name": ("train/a/#2.png train/b/#2.png val/a/#2.png valid/b/#2.png", "both say the side val"),
    "one side": ("train/a/#2.png train/b/#2.png", "no val/: to have train/ split, add --split"),
    "sides without classes": ("train/#3.png val/#3.png", "is not recognised"),
    "an unusable class": ("a/#2.png b/#2.png c/#2.psd", r"1 of 3 .* hold nothing .*c/ \(2 files.*\.psd are not read"),
    "text for masks": ("images/#3.png labels/#3.txt", "read by saccade data import"),
    "images without masks": ("images/#5.png masks/#3.png", "2 of 5 images have no mask: 3.png, 4.png"),
    "images on no side": ("images/train/#2.png images/val/#2.png masks/train/#2.png", "no mask|missing or empty"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_by_the_check_and_by_training_alike(tmp_path, case):
    paths, message = REFUSED[case]
    plant(tmp_path, *paths.split())
    for use in (check_data, lambda path: recognise(path)[0].files(path)):
        with pytest.raises(InputError, match=message):
            use(tmp_path)


def test_everything_left_out_has_a_reason(tmp_path):
    plant(tmp_path, *sides("train", "val", "test"), "loose.png", "readme.txt", "train/cat/old.psd", "extra/#3.png")
    plant(tmp_path, "train/notes.json", "__MACOSX/train/cat/#1.png", "train/.hidden.png")
    files = files_of(tmp_path)
    assert adds_up(tmp_path, files)
    assert {row.reason: (row.count, row.example) for row in files.left_out} == {
        "the side test/ is not used: validation on val/": (4, "test/cat/tes0.png"),
        "neither on the training nor on the validation side": (3, "extra/0.png"),
        "in no folder of a class": (1, "loose.png"),
        "not an image": (2, "readme.txt"),
        "images of the format .psd are not read": (1, "train/cat/old.psd"),
        "in a folder of a system": (1, "__MACOSX/train/cat/0.png"),
    }
    said = files.statement().lines()
    assert "classes (training + validation): cat 2 + 2, dog 2 + 2" in said[1]
    assert len(said) < 12
    found = check_data(tmp_path)
    assert found.to_json()["statement"]["counts"] == {"cat": [2, 2], "dog": [2, 2]}
    assert json.dumps(found.to_json())


def test_a_folder_that_cannot_be_listed_is_no_missing_class(tmp_path, monkeypatch):
    plant(tmp_path, "a/#3.png", "b/#3.png", "c/#3.png")
    scandir = os.scandir

    def locked(path):
        if Path(path).name == "c":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(tree.os, "scandir", locked)
    with pytest.raises(InputError, match=r"c/ \(it cannot be listed \(Permission denied\)\)"):
        files_of(tmp_path)
    files = files_of(tmp_path, classes="a,b")
    assert [str(row) for row in files.left_out] == ["1 folder left out: it cannot be listed (Permission denied) (c)"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no names that are not UTF-8")
def test_names_that_are_not_utf_8_are_shown_safely(tmp_path):
    plant(tmp_path, "a/#3.png", "b/#3.png")
    bad = os.fsencode(tmp_path / "a") + b"/\xe9t\xe9.png"
    os.rename(os.fsencode(tmp_path / "a" / "0.png"), bad)
    os.rename(os.fsencode(tmp_path / "b"), os.fsencode(tmp_path) + b"/\xff")
    found = check_data(tmp_path)
    assert found.good
    assert set(found.counts) == {"a", r"\xff"}
    arrays = load_folder(tmp_path, tmp_path.parent / "cache", size=8)
    assert r"a/\xe9t\xe9.png" in {*arrays.train.names, *arrays.val.names}
    arrays.identity.write(tmp_path.parent / "data.json")
    assert shown("plain/é") == "plain/é"


def test_one_image_under_two_classes_or_on_both_sides(tmp_path):
    plant(tmp_path, *sides("train", "val"))
    same = (tmp_path / "train" / "cat" / "tra0.png").read_bytes()
    (tmp_path / "train" / "dog" / "copy.png").write_bytes(same)
    found = check_data(tmp_path)
    assert not found.good
    assert found.labelled == ["train/cat/tra0.png (cat) = train/dog/copy.png (dog)"]
    with pytest.raises(InputError, match=r"one image is there under two classes: train/cat/tra0.png \(cat\) = "):
        load_folder(tmp_path, tmp_path.parent / "cache", size=8)
    (tmp_path / "train" / "dog" / "copy.png").rename(tmp_path / "val" / "cat" / "copy.png")
    assert check_data(tmp_path).leaked == [["train/cat/tra0.png", "val/cat/copy.png"]]
    with pytest.raises(InputError, match=r"one image is on both sides: .*copy.png"):
        load_folder(tmp_path, tmp_path.parent / "cache", size=8)
    allowed = Reading(allow_copies=True)
    assert check_data(tmp_path, reading=allowed).good
    assert len(load_folder(tmp_path, tmp_path.parent / "cache", size=8, reading=allowed).val.names) == 5


class TestSplit:
    """What validation is done on, said by the user."""

    def test_a_fraction(self, tmp_path):
        files = files_of(plant(tmp_path, "a/#9.png", "b/#9.png"), split=0.34)
        assert (len(files.train), len(files.val), files.drawn) == (12, 6, True)

    def test_a_fraction_of_the_training_side(self, tmp_path):
        files = files_of(plant(tmp_path, *sides("train", "test"), "train/cat/more#2.png"), split="0.5")
        assert (len(files.train), len(files.val)) == (3, 3)
        assert files.left_out[0].reason.startswith("the side test/ is not used")
        assert adds_up(tmp_path, files)

    def test_two_folders(self, tmp_path):
        files = files_of(plant(tmp_path, *sides("2021", "2022")), split="2022:2021")
        assert {item.image.parts[-3] for item in files.train} == {"2022"}
        assert files.classes == ("cat", "dog")

    def test_a_list_and_a_table(self, tmp_path):
        data = plant(tmp_path / "data", "a/x#3.png", "b/y#3.png")
        listing, table = tmp_path / "held.txt", tmp_path / "sides.csv"
        listing.write_text("a/x0.png\ny2\n")
        files = files_of(data, split=listing)
        assert [item.image.name for item in files.val] == ["x0.png", "y2.png"]
        table.write_text("file,side\nx0.png,train\nx1.png,valid\ny0.png,Training\ny1.png,val\nx2.png,test\n")
        files = files_of(data, split=table)
        assert ([i.image.stem for i in files.train], [i.image.stem for i in files.val]) == (["x0", "y0"], ["x1", "y1"])
        assert sorted(row.reason for row in files.left_out) == [
            "sides.csv has it on no side",
            "sides.csv has it on test",
        ]
        assert adds_up(data, files)
        listing.write_text("a/none.png\n")
        with pytest.raises(InputError, match=r"held.txt: no image is called a/none.png"):
            files_of(data, split=listing)

    def test_groups_stay_together(self, tmp_path):
        paths = [f"{kind}/p{patient}_#3.png" for kind in "ab" for patient in range(6)]
        for seed in range(5):
            files = files_of(plant(tmp_path / str(seed), *paths), group=r"(p\d)_", split_seed=seed)
            groups = [{item.image.name[:2] for item in side} for side in (files.train, files.val)]
            assert not groups[0] & groups[1]
            assert all({item.target for item in side} == {0, 1} for side in (files.train, files.val))
            assert 3 <= len(files.val) <= 12

    def test_groups_on_both_sides_are_named(self, tmp_path):
        plant(tmp_path, "train/a/p1_#2.png", "train/b/p2_#2.png", "val/a/p1_x#2.png", "val/b/p3_#2.png")
        found = check_data(tmp_path, reading=Reading(group=r"(p\d)_"))
        assert not found.good
        assert "on both sides, 1 in number: p1" in str(found)
        with pytest.raises(InputError, match="1 in number: p1"):
            load_folder(tmp_path, tmp_path.parent / "cache", size=8, reading=Reading(group=r"(p\d)_"))


def test_classes_in_the_order_of_the_user(tmp_path):
    files = files_of(plant(tmp_path, "a/#3.png", "b/#3.png", "c/#3.png"), classes="c,a")
    assert files.classes == ("c", "a")
    assert {(item.image.parent.name, item.target) for item in files.train} == {("c", 0), ("a", 1)}
    assert [(row.reason, row.count) for row in files.left_out] == [("of a class that is not in --classes", 3)]
    with pytest.raises(InputError, match="no images of d, which --classes lists"):
        files_of(tmp_path, classes=["a", "d"])


@pytest.mark.parametrize(
    "name", ["train station", "testament", "imagination", "masquerade", "set", "2017", "cat", "valve"]
)
def test_other_words_say_nothing(name):
    assert role_of(name) is None


def test_the_sheet_of_masks_has_a_legend(tmp_path):
    data = plant(tmp_path / "data", "images/#4.png", "masks/#4.png")
    (data / "classes.txt").write_text("ground 0 0 0\nroof 250 10 20\n")
    for path in (data / "masks").iterdir():
        Image.fromarray(np.asarray(Image.open(path))[..., None] * np.array([250, 10, 20], np.uint8)).save(path)
    sheet = np.asarray(Image.open(draw_sheet(data, tmp_path / "sheet.png")).convert("RGB"))
    assert (sheet[-20:] == (250, 10, 20)).all(axis=2).sum() > 50


def test_own_class_lists_go_before_built_in_ones(tmp_path):
    root = trees.voc(tmp_path / "voc")
    for path in root.rglob("SegmentationClass/*.png"):
        trees.mask(path, 1, {(0, 0): 0})
    (tmp_path / "names.txt").write_text("ground\nroof\n")
    assert files_of(root).classes[0] == "background"
    files = files_of(root, classes=tmp_path / "names.txt")
    assert (files.layout, files.classes, len(files.train), len(files.val)) == ("voc", ("ground", "roof"), 2, 1)
    assert check_data(root, reading=Reading(classes="ground,roof")).counts["roof"]["train"] > 0
    (root / "classes.txt").write_text("soil\nhouse\n")
    assert files_of(root).classes == ("soil", "house")
    shutil.rmtree(root / "VOCdevkit" / "VOC2012" / "ImageSets")
    (root / "VOCdevkit" / "VOC2012" / "JPEGImages" / "of_another_task.jpg").unlink()
    assert files_of(root).layout == "images-masks"  # an export that calls its folders as VOC does


def test_roboflows_table_names_the_classes(tmp_path):
    plant(tmp_path, "train/a#3.jpg", "train/a#3_mask.png", "valid/b#2.jpg", "valid/b#2_mask.png")
    for side in ("train", "valid"):
        (tmp_path / side / "_classes.csv").write_text("Pixel Value, Class\n0, background\n1, crack\n")
    files = files_of(tmp_path)
    assert files.classes == ("background", "crack")
    assert adds_up(tmp_path, files)


def test_masks_are_no_inputs_of_a_prediction(tmp_path):
    plant(tmp_path / "two", "train/images/#3.png", "train/masks/#3.png", "test/images/x#2.png")
    names = sorted(path.name for path, _ in _paths(tmp_path / "two", None))
    assert names == ["0.png", "1.png", "2.png", "x0.png", "x1.png"]
    plant(tmp_path / "one", "a#3.jpg", "a#3_mask.png")
    assert [path.name for path, _ in _paths(tmp_path / "one", None)] == ["a0.jpg", "a1.jpg", "a2.jpg"]
    plant(tmp_path / "classes", "cat/#2.png", "mask/#2.png")
    assert len(list(_paths(tmp_path / "classes", None))) == 4


@pytest.mark.parametrize("layout", ["classes", "sides", "masks"])
def test_what_saccade_wrote_into_a_data_folder_is_no_part_of_the_data(tmp_path, layout):
    """Contact sheets, predictions and trainings, of commands that run inside the folder or have it as --out."""
    paths = {
        "classes": ["cat/#3.png", "dog/#3.png"],
        "sides": sides("train", "val"),
        "masks": ["images/#4.png", "masks/#4.png"],
    }
    plant(tmp_path, *paths[layout])
    before = files_of(tmp_path)
    for place in (tmp_path, tmp_path / "saccade-check", *(one for one in tmp_path.iterdir() if one.is_dir())):
        outputs = Outputs(place)
        for name in ("sheet.png", "masks/new.png", "predictions.csv"):
            with outputs.replacing(place / name) as temporary:
                write(temporary.with_suffix(".png"))
                temporary.with_suffix(".png").rename(temporary)
    plant(tmp_path, "saccade-train/mine/run.json", "saccade-train/mine/.lock", "saccade-train/mine/checkpoints/a.png")
    files = files_of(tmp_path)
    assert (files.train, files.val, files.classes) == (before.train, before.val, before.classes)
    assert adds_up(tmp_path, files)
    written = {row.reason: row.count for row in files.left_out}[tree.WRITTEN]
    assert written == 2 + 3 * (2 + len({path.split("/")[0] for path in paths[layout]}))


def test_a_folder_of_nothing_but_predictions_says_so(tmp_path):
    with Outputs(tmp_path).replacing(tmp_path / "masks" / "a.png") as temporary:
        temporary.write_bytes(b"mask")
    with pytest.raises(InputError, match="contains no images; 1 files left out: saccade wrote it"):
        files_of(tmp_path)
    (tmp_path / "masks" / "a.png").write_bytes(b"corrected")  # then it is the user's
    assert [path.name for path in tree.scan(tmp_path).every_image()] == ["a.png"]


def photo(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(next(COUNTER))
    Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(path, format="PNG")


def drawing(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((16, 16), np.uint8)
    pixels[:, next(COUNTER) % 15 :] = 255
    Image.fromarray(pixels).save(path, format="PNG")


def many(make, *patterns: str) -> list:
    return [(make, pattern.format(number)) for pattern in patterns for number in range(4)]


DOUBTS = {
    "words that are unknown": (
        [*many(photo, "Task1_Input/ISIC_{}.jpg"), *many(drawing, "Task1_GroundTruth/ISIC_{}_segmentation.png")],
        "Task1_Input/ and Task1_GroundTruth/ hold files of the same names",
    ),
    "ends that differ": (
        [*many(photo, "view/img_00{}_rgb.png"), *many(drawing, "lbl/img_00{}_lbl.png")],
        "view/ and lbl/ hold files of the same names",
    ),
    "below the classes": (
        [*many(photo, "train/town/shot/{}.png", "val/town/shot/v{}.png", "train/land/a{}.png", "val/land/b{}.png"),
         *many(drawing, "train/town/what/{}.png", "val/town/what/v{}.png")],
        "train/town/shot/ and train/town/what/ hold files of the same names",
    ),
    "side by side": (
        [*many(photo, "traincrop/{}.jpg", "valcrop/v{}.jpg"), *many(drawing, "traincrop/{}.png", "valcrop/v{}.png")],
        "traincrop/0.jpg and traincrop/0.png have the same name",
    ),
    "sides in the names": (many(photo, "OK/{}.png", "NG/{}.png", "OK_test/{}.png"), "and a side: OK_test"),
    "a table": (
        [*many(photo, "part_1/ISIC_{}.jpg", "part_2/ISIC_9{}.jpg"),
         (lambda path: path.write_text(
             "lesion_id,image_id,dx\n" + "".join(f"L{n},ISIC_{n},{'mel' if n % 2 else 'nv'}\n" for n in range(4))
         ), "meta.csv")],
        "meta.csv names the images in its column 'image_id'",
    ),
    "two kinds of masks": (
        [
            *many(photo, "training/images/{}_t.png", "test/images/{}_v.png"),
            *many(drawing, *(f"{side}/mask/{{}}_{end}_mask.png" for side, end in (("training", "t"), ("test", "v")))),
            *many(drawing, "training/1st_manual/{}_manual1.png", "test/1st_manual/{}_manual1.png"),
        ],
        "test/1st_manual/ has a file for each image too",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", DOUBTS)
def test_what_speaks_against_the_only_reading_is_asked_about(tmp_path, case):
    files, message = DOUBTS[case]
    for make, name in files:
        make(tmp_path / name)
    with pytest.raises(InputError, match=re.escape(message)) as refused:
        check_data(tmp_path)
    layout = re.search(r"all the same, say so: --layout (\S+)$", refused.value.hint)[1]
    assert check_data(tmp_path, reading=Reading(layout=layout)).images > 0


def test_what_looks_alike_but_is_right_is_not_doubted(tmp_path):
    """Numbered files in every class, drawings as classes, and a table that says what the folders say."""
    for name in many(photo, "numbered/cat/{}.png", "numbered/dog/{}.png", "tabled/cat/c{}.png", "tabled/dog/d{}.png"):
        name[0](tmp_path / name[1])
    for make, name in many(drawing, "drawn/round/{}.png", "drawn/square/{}.png"):
        make(tmp_path / name)
    rows = [f"{kind}/{kind[0]}{number}.png,{kind}" for kind in ("cat", "dog") for number in range(4)]
    (tmp_path / "tabled" / "animals.csv").write_text("\n".join(["filepath,label", *rows]))
    for name in ("numbered", "tabled", "drawn"):
        assert len(files_of(tmp_path / name).classes) == 2
