"""Cityscapes, VOC with SBD, PASCAL Context, ADE20K and plain folders: classes by value, and what is wrong by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from saccade import InputError
from saccade.tasks.segmentation.ade20k import load_ade20k
from saccade.tasks.segmentation.cityscapes import load_cityscapes
from saccade.tasks.segmentation.labelled import Labelled, palette
from saccade.tasks.segmentation.mask_folder import load_labelled, load_mask_folder
from saccade.tasks.segmentation.voc import load_context, load_voc
from tests.tasks.segmentation import trees

TREES: dict[str, Callable[[Path], Path]] = {
    "cityscapes": trees.cityscapes,
    "voc": trees.voc,
    "pascal_context": lambda root: trees.voc(root, "SegmentationClassContext", "SegmentationContext"),
    "ade20k": trees.ade20k,
}


@pytest.mark.parametrize(
    ("name", "classes", "train", "val"),
    [("cityscapes", 19, 4, 2), ("voc", 21, 2, 1), ("pascal_context", 60, 2, 1), ("ade20k", 150, 3, 1)],
)
def test_the_layout_is_recognised(tmp_path: Path, name: str, classes: int, train: int, val: int) -> None:
    data = load_labelled(TREES[name](tmp_path))
    assert (data.name, len(data.classes), len(data.train), len(data.val)) == (name, classes, train, val)
    assert len(set(data.classes)) == len(data.palette) == classes
    assert f"{classes} classes, {train} training and {val} validation images" in data.note
    for pair in (*data.train, *data.val):
        image, mask = data.load(pair)
        assert image.shape == (*mask.shape, 3)
        assert image.dtype == mask.dtype == np.uint8


def values(data: Labelled) -> set[int]:
    return set(np.unique(data.load(data.train[0])[1]).tolist())


def test_values_become_classes(tmp_path: Path) -> None:
    assert values(load_cityscapes(trees.cityscapes(tmp_path / "a"))) == {0, 255}
    assert values(load_cityscapes(trees.cityscapes(tmp_path / "b", "labelTrainIds"))) == {0, 255}
    assert values(load_voc(trees.voc(tmp_path / "c"))) == {0, 15, 20}
    assert values(load_ade20k(trees.ade20k(tmp_path / "d"))) == {149, 0, 255}
    context = TREES["pascal_context"](tmp_path / "e")
    assert values(load_context(context)) == {0, 15, 20}
    assert values(load_context(context, background=False)) == {255, 14, 19}
    assert load_context(context, background=False).classes[14] == load_context(context).classes[15] == "cat"


def test_train_ids_of_cityscapes(tmp_path: Path) -> None:
    """Of the makers' table: 19 numbers from 7 to 33, all others ignored."""
    root = trees.cityscapes(tmp_path)
    numbers = [7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33]
    every = np.array([*range(34), 255], dtype=np.uint8)
    mask = next((root / "gtFine" / "train").rglob("*.png"))
    image = next((root / "leftImg8bit" / "train").rglob(mask.name.replace("gtFine_labelIds", "leftImg8bit")))
    trees.write(mask, every[None])
    trees.picture(image, (1, 35))
    data = load_cityscapes(root)
    found = data.load(next(pair for pair in data.train if pair.mask == mask))[1][0]
    expected = [numbers.index(value) if value in numbers else 255 for value in every.tolist()]
    assert found.tolist() == expected
    assert data.classes[13] == "car"
    assert data.palette[13] == (0, 0, 142)


def test_sbd_adds_what_voc_does_not_have(tmp_path: Path) -> None:
    data = load_voc(trees.voc(tmp_path / "voc"), sbd=trees.sbd(tmp_path / "sbd"))
    assert [pair.image.stem for pair in data.train] == ["a1", "a2", "c1", "c2"]
    assert [pair.image.stem for pair in data.val] == ["b1"]
    assert set(np.unique(data.load(data.train[2])[1])) == {7}
    assert "VOC" in str(data.train[0].mask)
    (tmp_path / "sbd" / "dataset" / "cls" / "c1.mat").write_bytes(b"not a mask")
    with pytest.raises(InputError, match=r"c1\.mat: it is not a mask of SBD"):
        data.load(data.train[2])


def test_names_of_ade20k(tmp_path: Path) -> None:
    root = trees.ade20k(tmp_path)
    assert load_ade20k(root).classes[:2] == ("1", "2")
    table = root / "ADEChallengeData2016" / "objectInfo150.txt"
    rows = [f"{i}\t0.1\t{i}\t{i}\tname{i}, other" for i in range(1, 151)]
    trees.listing(table, "Idx\tRatio\tTrain\tVal\tStuff", *rows)
    assert load_ade20k(root).classes[149] == "name150"
    trees.listing(table, *rows[:-1])
    with pytest.raises(InputError, match=r"objectInfo150.txt: expected one line per class.* received 149 lines"):
        load_ade20k(root)


def test_the_palette_is_voc_s() -> None:
    assert palette(22)[1:5] == ((128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128))
    assert palette(22)[20:] == ((0, 64, 128), (128, 64, 128))


@pytest.mark.parametrize("name", TREES)
def test_a_missing_mask_is_named(tmp_path: Path, name: str) -> None:
    root = TREES[name](tmp_path)
    pair = load_labelled(root).train[0]
    pair.mask.unlink()
    with pytest.raises(InputError, match=rf"1 of \d images have no mask: {pair.image.name}") as caught:
        load_labelled(root)
    assert str(pair.mask) in str(caught.value.hint)


def test_an_empty_side_is_named(tmp_path: Path) -> None:
    root = trees.cityscapes(tmp_path / "a")
    for path in (root / "leftImg8bit" / "val").rglob("*.png"):
        path.unlink()
    with pytest.raises(InputError, match=r"leftImg8bit/val: no images found"):
        load_cityscapes(root)
    root = trees.voc(tmp_path / "b")
    lists = root / "VOCdevkit" / "VOC2012" / "ImageSets" / "Segmentation"
    (lists / "val.txt").write_text("\n")
    with pytest.raises(InputError, match=r"val.txt: no images found"):
        load_voc(root)
    trees.listing(lists / "val.txt", "b1", "", "b7")
    with pytest.raises(InputError, match=r"val.txt, line 3: .*b7.jpg does not exist"):
        load_voc(root)
    (lists / "val.txt").unlink()
    with pytest.raises(InputError, match=r"val.txt: no such file"):
        load_voc(root)


@pytest.mark.parametrize("name", TREES)
def test_a_value_that_is_no_class_is_named_with_its_pixel(tmp_path: Path, name: str) -> None:
    data = load_labelled(TREES[name](tmp_path))
    trees.mask(data.train[0].mask, 1, {(4, 3): 200})
    with pytest.raises(InputError, match=r"value 200 at pixel y=4, x=3 is not a class: .*(0|1) to \d+") as caught:
        data.load(data.train[0])
    assert str(data.train[0].mask) in str(caught.value)


def test_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    data = load_voc(trees.voc(tmp_path))
    pair = data.train[0]
    trees.write(pair.mask, np.zeros((5, 8), dtype=np.uint8))
    with pytest.raises(InputError, match=r"a1\.png: the mask is 8 x 5 px, its image 8 x 6 px"):
        data.load(pair)
    trees.write(pair.mask, np.zeros((6, 8, 3), dtype=np.uint8))
    with pytest.raises(InputError, match=r"a1\.png: it is a colour picture; expected class numbers"):
        data.load(pair)
    whole = pair.image.read_bytes()
    pair.image.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"a1\.jpg: it cannot be decoded"):
        data.load(pair)
    pair.image.write_text("text")
    with pytest.raises(InputError, match=r"a1\.jpg: it is not a picture"):
        data.load(pair)


def plain(root: Path, count: int = 5) -> Path:
    for index in range(count):
        trees.picture(root / "images" / f"{index}.jpg")
        trees.mask(root / "masks" / f"{index}.png", 0, {(0, 0): index, (1, 1): 255})
    return root


def test_a_plain_folder_without_names(tmp_path: Path) -> None:
    told: list[tuple[int, int, str]] = []
    data = load_labelled(plain(tmp_path), on_progress=lambda *given: told.append(given))
    assert data.classes == ("0", "1", "2", "3", "4")
    assert (len(data.train), len(data.val)) == (4, 1)
    assert told[-1] == (5, 5, "reading masks")
    assert {int(pair.mask.stem) for pair in (*data.train, *data.val)} == {0, 1, 2, 3, 4}
    for pair in data.train:
        assert data.load(pair)[1][0, 0] == int(pair.mask.stem)
        assert data.load(pair)[1][1, 1] == 255


def test_a_plain_folder_with_names_and_with_colours(tmp_path: Path) -> None:
    root = plain(tmp_path / "a")
    (root / "classes.txt").write_text("ground\nhouse\n")
    with pytest.raises(InputError, match="the list has 2 classes, 0 to 1, and masks hold 0 to 4, 255"):
        load_mask_folder(root)
    root = plain(tmp_path / "b")
    for path in (root / "masks").iterdir():
        colours = np.zeros((*trees.SHAPE, 3), dtype=np.uint8)
        colours[2:4] = (9, 8, 7)
        colours[5] = (255, 255, 255)
        Image.fromarray(colours).save(path)
    (root / "classes.txt").write_text("ground 0 0 0\nhouse 9 8 7\nignore 255 255 255\n")
    data = load_mask_folder(root)
    assert (data.classes, data.palette) == (("ground", "house"), ((0, 0, 0), (9, 8, 7)))
    assert data.load(data.train[0])[1][:, 0].tolist() == [0, 0, 1, 1, 0, 255]


def test_a_plain_folder_of_one_class_or_of_none(tmp_path: Path) -> None:
    root = plain(tmp_path / "a")
    for path in (root / "masks").iterdir():
        trees.mask(path, 0)
    with pytest.raises(InputError, match="only one class: the masks hold class 0"):
        load_mask_folder(root)
    for name in "ab":
        trees.picture(tmp_path / "b" / name / "1.jpg")
        trees.picture(tmp_path / "b" / name / "2.jpg")
    with pytest.raises(InputError, match="laid out for classification"):
        load_labelled(tmp_path / "b")
