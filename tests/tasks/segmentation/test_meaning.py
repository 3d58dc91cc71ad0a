"""What masks mean is recognised from all of them, or asked with the option or the file that says it."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from saccade.data.check import check_data
from saccade.data.decoding import UnreadableError
from saccade.data.folder import load_folder
from saccade.data.reading import Reading
from saccade.errors import InputError
from saccade.tasks.segmentation.mask_folder import load_mask_folder
from saccade.tasks.segmentation.stored import turned_array
from saccade.tasks.segmentation.task import Segmentation

SIDE = 16


def regions(*values, kind=np.uint8):
    """A square in equal stripes of values."""
    return np.repeat(np.resize(np.array(values, kind), SIDE)[np.argsort(np.arange(SIDE) % len(values))][None], SIDE, 0)


def folder(path, masks, listing=None, names="masks/{}.png", **options):
    """Images with masks, given as arrays or Pillow images."""
    for number, mask in enumerate(masks):
        image, target = path / "images" / f"{number}.png", path / names.format(number)
        for file in (image, target):
            file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (SIDE, SIDE), (number * 20, 90, 90)).save(image)
        (mask if isinstance(mask, Image.Image) else Image.fromarray(mask)).save(target, **options)
    if listing is not None:
        (path / "classes.txt").write_text(listing)
    return path


def learned(path, reading=None):
    """Classes by name, and the values that training, a comparison and the check all see."""
    reading = reading or Reading()
    data = load_mask_folder(path, reading=reading)
    loaded = np.stack([data.load(pair)[1] for pair in (*data.train, *data.val)])
    arrays = load_folder(path, path / ".cache", size=SIDE, reading=reading)
    assert arrays.classes == data.classes
    assert (
        np.bincount(loaded.ravel(), minlength=256).tolist()
        == sum(np.bincount(side.targets.ravel(), minlength=256) for side in (arrays.train, arrays.val)).tolist()
    )
    found = check_data(path, reading=reading)
    counts = {name: sum(n.values()) for name, n in found.counts.items()}
    assert found.good
    assert [counts[name] for name in data.classes] == [int((loaded == k).sum()) for k in range(len(data.classes))]
    return data.classes, sorted(set(loaded.ravel().tolist())), found


def refused(path, message, hint, reading=None):
    """Training, a comparison and the check refuse alike."""
    reading = reading or Reading()
    for read in (
        lambda: load_mask_folder(path, reading=reading),
        lambda: load_folder(path, path / ".cache", size=SIDE, reading=reading),
        lambda: check_data(path, reading=reading),
    ):
        with pytest.raises(InputError, match=message) as caught:
            read()
        assert hint in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("values", "classes", "indices"),
    [
        ((0, 1), ("0", "1"), [0, 1]),
        ((0, 255), ("0", "255"), [0, 1]),
        ((0, 128), ("0", "128"), [0, 1]),
        ((0, 127, 255), ("0", "127", "255"), [0, 1, 2]),
        ((0, 85, 170, 255), ("0", "85", "170", "255"), [0, 1, 2, 3]),
        ((0, 1, 255), ("0", "1"), [0, 1, 255]),
        ((0, 1, 2, 4), ("0", "1", "2", "3", "4"), [0, 1, 2, 4]),
    ],
    ids=str,
)
def test_values_alone(tmp_path, values, classes, indices):
    path = folder(tmp_path, [regions(*values), regions(*values), regions(*values[:2])])
    assert learned(path)[:2] == (classes, indices)


@pytest.mark.parametrize(
    ("values", "message", "hint"),
    [
        ((1, 1), "only one class: the masks hold class 1, everywhere", "0 and 255 for two classes"),
        ((255, 255), "no class at all", "0 and 255"),
        ((7, 255), "hold only 7 and 255", "--ignore none makes it a class"),
        ((0, 5, 17, 120), "values that do not follow each other: 0, 5, 17, 120", "'NAME V V V'"),
        ((0, 1001, 1002), r"values up to 1,002 \(3 different\)", "instances"),
    ],
    ids=str,
)
def test_values_that_do_not_say_what_they_mean(tmp_path, values, message, hint):
    kind = np.uint16 if max(values) > 255 else np.uint8
    refused(folder(tmp_path, [regions(*values, kind=kind)] * 2), message, hint)


def test_a_network_that_ignored_255_is_not_scored_on_masks_of_0_and_255(tmp_path):
    white = folder(tmp_path, [regions(0, 255), regions(0, 0), regions(0, 255)])
    network = Segmentation(("0", "1"), size=SIDE)
    with pytest.raises(InputError, match=r"only 0 and 255(.|\n)*--ignore 255"):
        network.held_out(white, None)
    assert len(network.held_out(white, None, Reading(ignore=255))[0]) == 3
    of_two = Segmentation(("0", "255"), size=SIDE, masks={"values": [[0, 0], [255, 1]], "colours": [], "alpha": False})
    assert len(of_two.held_out(white, None)[0]) == 3


@pytest.mark.parametrize("listing", [None, "ground\nthing\n"])
def test_masks_of_two_scales_are_asked_about(tmp_path, listing):
    mixed = folder(tmp_path / "mixed", [regions(0, 1), regions(0, 1), regions(0, 255)], listing)
    refused(mixed, r"1 mask of 3 hold only 0 and 255 \(2.png\)", "--ignore 255")
    assert learned(mixed, Reading(ignore=255))[1] == [0, 1, 255]
    both = folder(tmp_path / "both", [regions(0, 1, 255), regions(0, 1), regions(0, 255)], listing)
    assert learned(both)[1] == [0, 1, 255]


@pytest.mark.parametrize(
    ("values", "listing", "indices"),
    [
        ((0, 255), "sky\nroad\n", [0, 1]),
        ((0, 127, 255), "sky\nroad\ncar\n", [0, 1, 2]),
        ((0, 1, 255), "sky\nroad\n", [0, 1, 255]),
        ((0, 5, 17, 120), "a 0 0 0\nb 5 5 5\nc 17 17 17\nd 120 120 120\n", [0, 1, 2, 3]),
        ((0, 255), "a 0 0 0\nb 255 255 255\n", [0, 1]),
    ],
    ids=str,
)
def test_values_with_a_list(tmp_path, values, listing, indices):
    names = tuple(line.split()[0] for line in listing.splitlines())
    assert learned(folder(tmp_path, [regions(*values)] * 2, listing))[:2] == (names, indices)


@pytest.mark.parametrize(
    ("values", "listing", "message", "hint"),
    [
        ((0, 255), "sky\nroad\ncar\n", "hold only 0 and 255, and the list has 3", "list the two"),
        ((1, 2), "sky\nroad\ntree\n", "", ""),
        ((0, 1, 2, 3), "sky\nroad\ntree\n", "the list has 3 classes, 0 to 2, and masks hold 0 to 3", "--ignore 0"),
        ((0, 1, 30), "sky\nroad\ntree\n", r"masks hold 0, 1, 30 \(30 in \d.png\)", "all classes"),
    ],
    ids=str,
)
def test_values_out_of_the_range_of_a_list(tmp_path, values, listing, message, hint):
    path = folder(tmp_path, [regions(*values)] * 2, listing)
    if message:
        refused(path, message, hint)
    else:
        assert learned(path)[1] == list(values)


@pytest.mark.parametrize(
    ("values", "listing", "ignore", "classes", "indices"),
    [
        ((0, 1, 255), None, "none", ("0", "1", "255"), [0, 1, 2]),
        ((0, 1, 2), None, 0, ("1", "2"), [0, 1, 255]),
        ((0, 1, 2), "cat\ndog\n", 0, ("cat", "dog"), [0, 1, 255]),
        ((0, 1, 99), None, 99, ("0", "1"), [0, 1, 255]),
        ((7, 255), None, "none", ("7", "255"), [0, 1]),
        ((0, 1, 2, 255), None, "0,255", ("1", "2"), [0, 1, 255]),
        ((0, 127, 255), None, 0, ("127", "255"), [0, 1, 255]),
    ],
    ids=str,
)
def test_the_ignored_value_is_said(tmp_path, values, listing, ignore, classes, indices):
    path = folder(tmp_path, [regions(*values)] * 2, listing)
    assert learned(path, Reading(ignore=ignore))[:2] == (classes, indices)


def test_an_ignored_value_that_is_nowhere_is_said_and_one_that_leaves_one_class_refused(tmp_path):
    path = folder(tmp_path, [regions(0, 255)] * 2)
    said = learned(path, Reading(ignore=7))[2].statement.values
    assert "values are 0 and 255, one class each (no mask holds 7)" in said[-1]
    refused(path, "only one class", "0 for the first class", Reading(ignore=255))
    with pytest.raises(InputError, match="0 to 65535, or none"):
        Reading(ignore="white")


def test_the_statement_says_kinds_and_values(tmp_path):
    found = learned(folder(tmp_path, [regions(0, 255)] * 3))[2]
    assert "masks: 3 grey; values are 0 and 255, one class each" in found.statement.values


def test_colours_need_a_list_and_the_message_gives_them(tmp_path):
    red = np.zeros((SIDE, SIDE, 3), np.uint8)
    red[4:9] = 255, 0, 0
    path = folder(tmp_path, [red] * 2)
    refused(path, r"masks hold 2 colours, .*: \(0, 0, 0\), \(255, 0, 0\)", "'NAME R G B'")
    (path / "classes.txt").write_text("ground 0 0 0\ncar 255 0 0\n")
    assert learned(path)[:2] == (("ground", "car"), [0, 1])
    (path / "classes.txt").write_text("ground 0 0 0\ncar 0 255 0\n")
    refused(path, r"1 colour that classes.txt does not list: \(255, 0, 0\) in \d.png", "NAME R G B")


def palette_mask(values, colours):
    mask = Image.fromarray(regions(*values))
    mask.putpalette([part for colour in colours for part in colour])
    return mask


RED, GREEN, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 0)


def test_of_a_palette_the_numbers_are_meant_unless_a_list_has_its_colours(tmp_path):
    one, other = palette_mask((0, 1), (BLACK, RED)), palette_mask((0, 1), (RED, BLACK))
    assert learned(folder(tmp_path / "same", [one, one]))[:2] == (("0", "1"), [0, 1])
    path = folder(tmp_path / "two", [one, other])
    refused(
        path, r"palettes of masks differ: number 0 is \((0|255), 0, 0\) in .* and \((0|255), 0, 0\)", "'NAME R G B'"
    )
    (path / "classes.txt").write_text("ground 0 0 0\ncar 255 0 0\n")
    data = load_mask_folder(path)
    pixels = {pair.mask.name: data.load(pair)[1] for pair in (*data.train, *data.val)}
    assert (pixels["0.png"] == 1 - pixels["1.png"]).all()


@pytest.mark.parametrize("how", ["blurred", "resized", "jpeg"])
def test_smoothed_edges_are_named(tmp_path, how):
    drawn = Image.new("L", (64, 64))
    ImageDraw.Draw(drawn).ellipse([9, 12, 40, 47], fill=255)
    if how == "blurred":
        mask = drawn.filter(ImageFilter.GaussianBlur(1)).resize((SIDE, SIDE), Image.Resampling.NEAREST)
    elif how == "resized":
        mask = drawn.resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    else:
        drawn.resize((SIDE, SIDE), Image.Resampling.NEAREST).save(tmp_path / "a.jpg", quality=70)
        mask = Image.open(tmp_path / "a.jpg")
    for listing in (None, "ground\nobject\n"):
        path = folder(tmp_path / str(listing), [mask, mask, mask], listing)
        refused(path, "smoothed at the edges .* between (0, 255|255, 0|0, )", "nearest neighbour")


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_opacity_may_be_the_mask(tmp_path, mode):
    mask = Image.new(mode, (SIDE, SIDE))
    mask.putalpha(Image.fromarray(regions(0, 255)))
    classes, indices, found = learned(folder(tmp_path, [mask, mask]))
    assert (classes, indices) == (("0", "255"), [0, 1])
    assert any("opacity of pixels is the mask" in said for said in found.statement.values)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_narrow_grey_means_its_stored_values(tmp_path, bits):
    from ...data.test_depth import narrow_png

    top = 2**bits - 1
    path = folder(tmp_path, [regions(0, 1)] * 2)
    for mask in (path / "masks").iterdir():
        narrow_png(mask, np.resize(np.arange(min(4, top + 1)), (SIDE, SIDE)), bits)
    classes = tuple(map(str, range(min(4, top + 1))))
    assert learned(path)[0] == classes


def test_one_colour_mask_among_grey_ones_is_named_with_them_all(tmp_path):
    red = np.zeros((SIDE, SIDE, 3), np.uint8)
    red[4:9] = 255, 0, 0
    path = folder(tmp_path, [regions(0, 1)] * 4 + [red])
    with pytest.raises(InputError, match=r"1 of 5 masks cannot be used:\n  masks/4.png: it is a colour mask"):
        load_mask_folder(path)
    assert list(check_data(path).bad) == ["masks/4.png"]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("drawn_on", ["turned", "stored"])
@pytest.mark.parametrize("size", [(8, 12), (8, 8)], ids=str)
def test_a_turned_image_and_its_mask(tmp_path, orientation, drawn_on, size):
    """Where sizes show how the mask lies it is right; where they do not, the file is named."""
    height, width = size
    stored = np.zeros((height, width), np.uint8)
    stored[:3, :5], stored[0, 0] = 1, 2
    turned = turned_array(stored, orientation)
    exif = Image.Exif()
    exif[0x0112] = orientation
    for number in range(2):
        for kind in ("images", "masks"):
            (tmp_path / kind).mkdir(exist_ok=True)
        pixels = np.dstack([stored * 100 + number] * 3)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{number}.png", exif=exif)
        Image.fromarray(turned if drawn_on == "turned" else stored).save(tmp_path / "masks" / f"{number}.png")
    decided = orientation == 1 or (orientation >= 5 and height != width)
    data = load_mask_folder(tmp_path)
    found = check_data(tmp_path)
    assert found.good == decided
    if decided:
        image, classes = data.load(data.train[0])
        assert (classes == image[..., 0] // 100).all()
        files = Segmentation.examined(Segmentation.files(tmp_path))
        shown = Segmentation.illustrated(files, files.train[0], Image.fromarray(image))
        drawn = Segmentation.illustrated(files, files.train[0], Image.new("RGB", shown.size))
        assert ((np.asarray(drawn).sum(axis=2) > 0) == (classes > 0)).all()  # only the first class is black
        return
    with pytest.raises(InputError, match=rf"EXIF data of its image ask to turn it \(orientation {orientation}\)"):
        data.load(data.train[0])
    assert sorted(found.bad) == ["masks/0.png", "masks/1.png"]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_arrays_are_turned_as_pillow_turns_pictures(orientation):
    from PIL import ImageOps

    pixels = np.arange(6, dtype=np.uint8).reshape(2, 3)
    image = Image.fromarray(pixels)
    image.getexif()[0x0112] = orientation
    np.testing.assert_array_equal(turned_array(pixels, orientation), np.asarray(ImageOps.exif_transpose(image)))


def test_floats_that_are_whole_numbers_are_classes(tmp_path):
    path = folder(tmp_path, [regions(0, 1, 2, kind=np.float32)] * 2, names="masks/{}.tif")
    assert learned(path)[0] == ("0", "1", "2")
    from saccade.tasks.segmentation.stored import read_stored

    Image.fromarray(np.full((4, 4), 0.5, np.float32)).save(tmp_path / "half.tif")
    with pytest.raises(UnreadableError, match="32-bit floats"):
        read_stored(tmp_path / "half.tif")
