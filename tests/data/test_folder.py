"""Folders of pictures become datasets, and what is wrong with a folder is said with its files' names."""

from __future__ import annotations

import errno
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from saccade.data import cache as cache_module
from saccade.data.folder import load_folder
from saccade.data.images import read_image, square
from saccade.data.reading import Reading
from saccade.errors import InputError

from .conftest import SIZE, crops, save

PHOTO = crops("chelsea", 1)[0]
TRAIN_SIDE = 37  # round(32 * 8 / 7)


@pytest.fixture
def load(tmp_path):
    return lambda path, **options: load_folder(path, tmp_path / "cache", **({"size": SIZE} | options))


def test_one_folder_per_class(class_folders, load):
    data = load(class_folders)
    assert (data.name, data.task, data.classes) == ("data", "classification", ("chelsea", "coffee"))
    assert data.train.images.shape == (12, TRAIN_SIDE, TRAIN_SIDE, 3)
    assert data.val.images.shape == (3, SIZE, SIZE, 3)
    assert data.val.targets.dtype == np.int64
    assert sorted(data.train.targets.tolist()) == [0] * 8 + [1] * 4  # 80/20 within each class
    assert sorted(data.val.targets.tolist()) == [0, 0, 1]
    assert not set(data.train.names) & set(data.val.names)
    assert len({*data.train.names, *data.val.names}) == 15
    assert data.note == (
        "classification, one folder per class, split by seed 0: 2 classes, 12 training and 3 validation images"
    )


def test_images_are_those_of_their_names(class_folders, load):
    data = load(class_folders)
    for split in (data.train, data.val):
        for pixels, target, name in zip(split.images, split.targets, split.names, strict=True):
            assert name.startswith(data.classes[target])
            whole = square(read_image(class_folders / name, near=TRAIN_SIDE), TRAIN_SIDE)
            np.testing.assert_array_equal(pixels, whole if split is data.train else whole[2:34, 2:34])


def test_another_seed_is_another_split(class_folders, load):
    first, same, other = (set(load(class_folders, reading=Reading(split_seed=seed)).val.names) for seed in (0, 0, 1))
    assert first == same != other


def test_two_images_a_class_are_split_one_and_one(tmp_path, load):
    for name in "ab":
        for index in range(2):
            save(tmp_path / "data" / name / f"{index}.png", PHOTO[(name == "b") :, index:])
    data = load(tmp_path / "data")
    assert sorted(data.train.targets.tolist()) == sorted(data.val.targets.tolist()) == [0, 1]


@pytest.mark.parametrize("name", ["val", "valid", "validation", "test", "Val"])
def test_two_sides(two_sides, load, name):
    (two_sides / "valid").rename(two_sides / name)
    data = load(two_sides)
    assert data.note.startswith(f"classification, from train/CLASS and {name}/CLASS")
    assert data.train.names[:1] == ("train/chelsea/0.jpg",)
    assert data.val.names == tuple(f"{name}/{kind}/{i}.jpg" for kind in ("chelsea", "coffee") for i in range(2))
    assert data.val.targets.tolist() == [0, 0, 1, 1]


def test_hidden_and_other_files_are_left_out(class_folders, load):
    for name in ("notes.txt", ".DS_Store", "._00.jpg"):
        (class_folders / "coffee" / name).write_text("no picture")
    save(class_folders / ".thumbnails" / "a.jpg", PHOTO)
    assert len(load(class_folders).classes) == 2


def moved(folder):
    """`folder` elsewhere, with a symbolic link in its place."""
    away = folder.parents[1] / f"elsewhere {folder.name}"
    folder.rename(away)
    folder.symlink_to(away, target_is_directory=True)


def same(first, second):
    for side in ("train", "val"):
        ours, theirs = getattr(first, side), getattr(second, side)
        assert ours.names == theirs.names
        np.testing.assert_array_equal(ours.images, theirs.images)
        np.testing.assert_array_equal(ours.targets, theirs.targets)


def test_linked_class_folders(class_folders, load):
    before = load(class_folders)
    for folder in list(class_folders.iterdir()):
        moved(folder)
    same(load(class_folders), before)


def test_linked_sides_and_files(two_sides, load):
    before = load(two_sides)
    moved(two_sides / "valid")
    moved(two_sides / "train")
    moved(two_sides / "train" / "coffee" / "0.jpg")
    same(load(two_sides), before)


def test_linked_images_and_masks(masked, load):
    before = load(masked)
    moved(masked / "images")
    moved(masked / "masks")
    same(load(masked), before)


def test_links_in_a_circle_add_nothing(class_folders, load):
    before = load(class_folders)
    (class_folders / "coffee" / "again").symlink_to(class_folders / "coffee")
    (class_folders / "coffee" / "all").symlink_to(class_folders)
    (class_folders / "coffee" / "top").symlink_to(class_folders.anchor)
    (class_folders / "coffee" / "self").symlink_to("self")
    (class_folders / "coffee" / "nowhere").symlink_to(class_folders / "nowhere")
    same(load(class_folders), before)


def test_a_folder_linked_twice_in_a_class_counts_once(class_folders, load):
    away = class_folders.parent / "more coffee"
    save(away / "x.jpg", PHOTO[1:])
    for name in ("a", "b"):
        (class_folders / "coffee" / name).symlink_to(away)
    data = load(class_folders)
    assert len(data.train.names) + len(data.val.names) == 16
    assert "coffee/a/x.jpg" in {*data.train.names, *data.val.names}


def test_masks(masked, load):
    data = load(masked)
    assert (data.task, data.classes) == ("segmentation", ("0", "1", "2"))
    assert data.train.images.shape == (5, SIZE, SIZE, 3)
    assert data.val.targets.shape == (1, SIZE, SIZE)
    assert data.train.targets.dtype == np.uint8
    height = round(40 * SIZE / 56)
    for split in (data.train, data.val):
        for target, name in zip(split.targets, split.names, strict=True):
            mask = Image.open(masked / "masks" / f"{name[7]}.png").resize((SIZE, height), Image.Resampling.NEAREST)
            np.testing.assert_array_equal(target[:height], np.asarray(mask))
            assert (target[height:] == 255).all()
    assert data.note.startswith("segmentation, from images/ and masks/, split by seed 0: 3 classes")


def test_masks_on_two_sides_and_named_classes(masked, tmp_path, load):
    for side in ("train", "val"):
        shutil.copytree(masked, tmp_path / "both" / side)
    (tmp_path / "both" / "classes.txt").write_text("dark\nbright\nvery bright\nnever seen\n")
    data = load(tmp_path / "both", reading=Reading(allow_copies=True))
    assert data.classes == ("dark", "bright", "very bright", "never seen")
    assert len(data.train.names) == len(data.val.names) == 6
    np.testing.assert_array_equal(data.train.targets, data.val.targets)


def test_colour_masks_say_what_index_masks_say(masked, load):
    by_index = load(masked)
    colours = np.zeros((256, 3), np.uint8)
    colours[[0, 1, 2, 255]] = (1, 1, 1), (200, 0, 0), (0, 0, 200), (9, 9, 9)
    for file in (masked / "masks").iterdir():
        save(file, colours[np.asarray(Image.open(file))])
    (masked / "classes.txt").write_text("dark 1 1 1\nbright 200 0 0\nignore 9 9 9\nwhite 0 0 200")
    by_colour = load(masked)
    assert by_colour.classes == ("dark", "bright", "white")
    np.testing.assert_array_equal(by_colour.train.targets, by_index.train.targets)


def test_a_rotated_picture_fits_its_mask(masked, load):
    """The stored picture lies on its side; as seen it has its mask's size."""
    before = load(masked).val
    name = before.names[0]
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = np.asarray(Image.open(masked / name))
    Image.fromarray(np.rot90(stored)).save(masked / name, exif=exif, quality=100, subsampling=0)
    after = load(masked).val
    assert np.abs(after.images.astype(int) - before.images).mean() < 2


def test_the_cache_is_used_until_a_file_or_setting_changes(class_folders, load):
    calls = []

    def made(**options) -> bool:
        calls.clear()
        load(class_folders, on_progress=lambda *call: call[2] == "reading images" and calls.append(call), **options)
        return bool(calls)

    assert made()
    assert calls == [(done, 15, "reading images") for done in range(1, 16)]
    assert not made()
    assert made(size=40)
    assert made(reading=Reading(split_seed=3))
    file = class_folders / "coffee" / "00.jpg"
    os.utime(file, ns=(0, 0))
    assert not made()  # a touch changes nothing
    save(file, PHOTO[1:])
    assert made()
    file.rename(file.with_name("99.jpg"))
    assert made()
    save(class_folders / "coffee" / "100.jpg", PHOTO[2:])
    assert made()
    assert not made()


def test_a_cut_cache_is_made_again(class_folders, load, tmp_path):
    images = load(class_folders).train.images.copy()
    (file,) = (tmp_path / "cache").glob("*/train_images.npy")
    file.write_bytes(file.read_bytes()[:-100])
    np.testing.assert_array_equal(load(class_folders).train.images, images)


def test_a_disk_that_fills_up(class_folders, load, tmp_path, monkeypatch):
    def full(file, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(cache_module, "_write", full)
    with pytest.raises(InputError, match=r"cache is full: 0\.1 MiB are needed, [\d.]+ MiB are free"):
        load(class_folders)
    assert not list((tmp_path / "cache").iterdir())


def remove(path):
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def only(folder, *keep):
    for path in folder.iterdir():
        if path.name not in keep:
            remove(path)


def as_jpeg(mask):
    Image.open(mask).save(mask.with_suffix(".jpg"))
    mask.unlink()


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flatten(data):
    for file in sorted(data.glob("*/*")):
        file.rename(data / f"{file.parent.name}{file.name}")


def under_train(data):
    shutil.move(data, data.parent / "aside")
    shutil.move(data.parent / "aside", data / "train")


CLASS_FOLDERS = {
    "missing": (remove, "data does not exist"),
    "a file": (lambda d: (remove(d), d.write_text("")), "data is a file, not a folder"),
    "empty": (lambda d: (remove(d), d.mkdir()), "data contains no images"),
    "other files only": (lambda d: (remove(d), d.mkdir(), (d / "a.txt").write_text("")), "data contains no images"),
    "one class": (lambda d: remove(d / "coffee"), r"only one class \(chelsea\)"),
    "one image": (
        lambda d: only(d / "coffee", "00.jpg"),
        "too few images; a class needs at least 2 to be split: coffee",
    ),
    "truncated": (
        lambda d: cut(d / "coffee" / "03.jpg"),
        r"1 of 15 images cannot be used:\n  coffee/03.jpg: .*[Tt]runcated",
    ),
    "no picture": (lambda d: (d / "coffee" / "03.jpg").write_text("x"), "coffee/03.jpg: it is not a picture"),
    "loose files": (
        flatten,
        r"data is not recognised; seen: chelsea/ \(0 images\), .*15 images directly inside\nhint: known",
    ),
    "train only": (under_train, r"seen: train/ \(15 images\)\nhint: it has train/ but no val/: .* add --split 0.2;"),
}
TWO_SIDES = {
    "class in val only": (
        lambda d: save(d / "valid" / "cup" / "0.png", PHOTO),
        "valid has classes missing from .*train: cup",
    ),
    "one class": (
        lambda d: [remove(d / side / "coffee") for side in ("train", "valid")],
        r"only one class \(chelsea\)",
    ),
    "empty val": (lambda d: only(d / "valid"), "valid contains no images"),
    "val without classes": (lambda d: flatten(d / "valid"), "valid has images, but none in a folder of its class"),
}
MASKED = {
    "no masks": (lambda d: remove(d / "masks"), r"not recognised; seen: images/ \(6 images\)"),
    "masks empty": (lambda d: only(d / "masks"), "masks/ is missing or empty"),
    "two masks missing": (lambda d: only(d / "masks", "0.png", "2.png", "3.png", "5.png"),
                          "2 of 6 images have no mask: 1.jpg, 4.jpg\nhint: a mask has the name of its image"),
    "two images of a name": (lambda d: save(d / "images" / "3.png", PHOTO), "3.jpg and 3.png have the same name"),
    "one image": (lambda d: only(d / "images", "3.jpg"), "at least 2 with masks are needed; received 1"),
    "another size": (lambda d: save(d / "masks" / "3.png", np.ones((9, 8), np.uint8)),
                     "masks/3.png: the mask is 8 x 9 px, its image 56 x 40 px"),
    "class out of range": (lambda d: (d / "classes.txt").write_text("dark\nbright"),
                           r"the list has 2 classes, 0 to 1, and masks hold 0 to 2, 255 \(2 in \d.png\)"),
    "unknown colour": (lambda d: (save(d / "masks" / "3.png", np.full((40, 56, 3), 7, np.uint8)),
                                  (d / "classes.txt").write_text("a 0 0 0\nb 1 1 1\nc 2 2 2")),
                       r"masks/3.png: class 7 at pixel y=0, x=0, but classes.txt lists 3 classes, 0 to 2, and 255"),
    "colours, no list": (lambda d: save(d / "masks" / "3.png", PHOTO), "3.png: it is a colour mask, and no classes"),
    "JPEG masks": (lambda d: [as_jpeg(mask) for mask in (d / "masks").iterdir()],
                   r"6 of 6 images .*\n  masks/\d.jpg: .*save masks as PNG"),
    "JPEG masks, colours": (lambda d: ([as_jpeg(mask) for mask in (d / "masks").iterdir()],
                                       (d / "classes.txt").write_text("a 0 0 0\nb 1 1 1\nc 2 2 2")),
                            r"6 of 6 images .*\n  masks/\d.jpg: .*save masks as PNG"),
    "truncated mask": (lambda d: cut(d / "masks" / "3.png"), "masks/3.png: .*"),
    "truncated image": (lambda d: cut(d / "images" / "3.jpg"), "images/3.jpg: .*[Tt]runcated"),
    "all ignored": (lambda d: [save(m, np.full((40, 56), 255, np.uint8)) for m in (d / "masks").iterdir()],
                    "the masks hold no class at all"),
    "bad list": (lambda d: (d / "classes.txt").write_text("a\na"), "line 2: the class 'a' is listed twice"),
}  # fmt: skip


def refused(load, folder, damage, message):
    damage(folder)
    with pytest.raises(InputError, match=message):
        load(folder)
    assert not list(folder.parent.glob("cache/*"))


@pytest.mark.parametrize("case", CLASS_FOLDERS)
def test_refuses_class_folders(class_folders, load, case):
    refused(load, class_folders, *CLASS_FOLDERS[case])


@pytest.mark.parametrize("case", TWO_SIDES)
def test_refuses_two_sides(two_sides, load, case):
    refused(load, two_sides, *TWO_SIDES[case])


@pytest.mark.parametrize("case", MASKED)
def test_refuses_masks(masked, load, case):
    refused(load, masked, *MASKED[case])


def test_of_many_bad_files_ten_are_named(class_folders, load):
    for file in class_folders.glob("*/*"):
        cut(file)
    with pytest.raises(InputError, match="15 of 15 images cannot be used") as error:
        load(class_folders)
    assert str(error.value).count(".jpg: ") == 10
    assert "\n  and 5 more\nhint: repair or remove them" in str(error.value)


@pytest.mark.parametrize("options", [{"size": 4}, {"size": 32.0}], ids=str)
def test_refuses_options(class_folders, load, options):
    with pytest.raises(InputError, match=f"`{next(iter(options))}` must be"):
        load(class_folders, **options)


def test_linked_folders_are_followed_and_circles_end(class_folders, tmp_path, load):
    linked = tmp_path / "linked"
    linked.mkdir()
    for folder in class_folders.iterdir():
        (linked / folder.name).symlink_to(folder, target_is_directory=True)
    (linked / next(class_folders.iterdir()).name / "up").symlink_to(class_folders, target_is_directory=True)
    plain, through = load(class_folders), load(linked)
    assert through.classes == plain.classes


def test_a_damaged_exif_block_is_named(class_folders, load, monkeypatch):
    """struct.error is what Pillow raises then; no other damage is known to end so."""
    import struct

    from PIL import Image

    def broken(image):
        raise struct.error("required argument is not an integer")

    monkeypatch.setattr(Image.Image, "getexif", broken)
    with pytest.raises(InputError, match=r"\.(jpg|png): .*required argument is not an integer"):
        load(class_folders)


def test_threads_read_the_same_in_the_same_order(class_folders, tmp_path):
    one, many = (load_folder(class_folders, tmp_path / str(n), size=32, readers=n) for n in (1, 5))
    assert one.train.names == many.train.names
    assert np.array_equal(one.train.images, many.train.images)
    assert np.array_equal(one.val.targets, many.val.targets)
