"""Pictures of every format become the same 8-bit RGB; what cannot is named."""

from __future__ import annotations

import struct
import sys
import zlib

import numpy as np
import pillow_heif
import pytest
from PIL import Image
from torchvision.transforms import v2

from saccade.data import IGNORE, PADDING
from saccade.data.images import UnreadableError, centre, padded, read_image, square
from saccade.data.layouts import Item
from saccade.errors import InputError, MissingExtraError
from saccade.tasks.classification.samples import ImageSamples
from saccade.training.sources import LoaderSource, Share

from .conftest import crops

PHOTO = crops("astronaut", 1)[0]


def stored(path, image: Image.Image, **options) -> np.ndarray:
    image.save(path, **options)
    return np.asarray(read_image(path))


def test_colour_and_grey(tmp_path):
    np.testing.assert_array_equal(stored(tmp_path / "a.png", Image.fromarray(PHOTO)), PHOTO)
    grey = PHOTO[..., 0]
    np.testing.assert_array_equal(stored(tmp_path / "b.png", Image.fromarray(grey)), np.stack([grey] * 3, 2))


def test_palette(tmp_path):
    image = Image.fromarray(PHOTO).quantize(16)
    np.testing.assert_array_equal(stored(tmp_path / "a.png", image), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_is_laid_over_white(tmp_path, mode):
    image = Image.fromarray(np.full((1, 3), 50, np.uint8)).convert(mode)
    image.putalpha(Image.fromarray(np.array([[0, 128, 255]], np.uint8)))
    blended = round((128 * 50 + 127 * 255) / 255)
    assert stored(tmp_path / "a.png", image)[0, :, 0].tolist() == [255, blended, 50]


def test_transparent_palette_colours_are_white(tmp_path):
    image = Image.fromarray(np.array([[0, 1]], np.uint8)).convert("P")
    image.putpalette([10, 20, 30, 40, 50, 60])
    for transparency in (1, b"\xff\x00"):
        assert stored(tmp_path / "a.png", image, transparency=transparency).tolist() == [[[10, 20, 30], [255] * 3]]


def test_cmyk(tmp_path):
    cyan = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    np.testing.assert_allclose(stored(tmp_path / "a.jpg", cyan)[8, 8], [0, 255, 255], atol=3)


@pytest.mark.parametrize(
    ("orientation", "undo"),
    [
        (1, lambda pixels: pixels),
        (2, lambda pixels: pixels[:, ::-1]),
        (3, lambda pixels: pixels[::-1, ::-1]),
        (6, lambda pixels: np.rot90(pixels, -1)),  # the camera was turned: the top is at the stored right
        (8, lambda pixels: np.rot90(pixels, 1)),
    ],
)
def test_exif_rotation(tmp_path, orientation, undo):
    exif = Image.Exif()
    exif[0x0112] = orientation
    np.testing.assert_array_equal(stored(tmp_path / "a.png", Image.fromarray(PHOTO), exif=exif), undo(PHOTO))
    in_jpeg = stored(tmp_path / "a.jpg", Image.fromarray(PHOTO), exif=exif, quality=100, subsampling=0)
    assert np.abs(in_jpeg.astype(int) - undo(PHOTO)).mean() < 2


def test_a_large_jpeg_is_decoded_at_a_fraction_but_not_below_twice_what_is_needed(tmp_path):
    Image.fromarray(np.kron(PHOTO, np.ones((20, 20, 1), np.uint8))).save(tmp_path / "a.jpg")
    whole, quick = read_image(tmp_path / "a.jpg"), read_image(tmp_path / "a.jpg", near=50)
    assert whole.size == (1120, 800)
    assert 100 <= min(quick.size) < 800
    assert np.abs(square(whole, 50).astype(int) - square(quick, 50)).mean() < 3


@pytest.mark.parametrize(("side", "shape"), [(20, (40, 80)), (20, (80, 40)), (37, (37, 61)), (64, (32, 40))], ids=str)
def test_square_is_resize_and_centre_crop(side, shape):
    image = Image.fromarray(crops("coffee", 1, *shape)[0])
    reference = v2.functional.resize(image, [side], interpolation=v2.InterpolationMode.BICUBIC)
    np.testing.assert_array_equal(square(image, side), np.asarray(v2.functional.center_crop(reference, [side])))


def test_centre():
    pixels = np.arange(36).reshape(6, 6)
    np.testing.assert_array_equal(centre(pixels, 4), pixels[1:5, 1:5])


@pytest.mark.parametrize(("height", "width", "inner"), [(40, 80, (16, 32)), (80, 40, (32, 16)), (3, 96, (1, 32))])
def test_padded_fills_the_rest_with_what_is_ignored(height, width, inner):
    photo = crops("coffee", 1, height, width)[0]
    classes = np.tile(np.arange(width, dtype=np.uint8), (height, 1))
    pixels, target = padded(Image.fromarray(photo), classes, 32)
    rows, columns = inner
    reference = Image.fromarray(photo).resize((columns, rows), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(pixels[:rows, :columns], np.asarray(reference))
    centres = (np.arange(columns) + 0.5) * width / columns  # the nearest pixel is the one that holds the centre
    np.testing.assert_array_equal(target[:rows, :columns], np.tile(np.floor(centres), (rows, 1)))
    outside = np.ones((32, 32), bool)
    outside[:rows, :columns] = False
    assert (target[outside] == IGNORE).all()
    assert (pixels[outside] == PADDING).all()


def test_what_is_no_picture_is_said(tmp_path):
    (tmp_path / "text.jpg").write_text("hello")
    with pytest.raises(UnreadableError, match="not a picture"):
        read_image(tmp_path / "text.jpg")
    for name, options in (("a.jpg", {}), ("a.png", {}), ("a.tif", {}), ("a.webp", {}), ("a.gif", {}), ("a.bmp", {})):
        file = tmp_path / name
        Image.fromarray(PHOTO).save(file, **options)
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
        with pytest.raises(UnreadableError):
            read_image(file)


def test_exif_data_that_pillow_cannot_write_again_do_not_matter(tmp_path):
    """A tag of another type than its standard, next to the orientation."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a description"
    damaged = exif.tobytes().replace(b"\x01\x0e\x00\x02", b"\x01\x00\x00\x02")  # the width, as a text
    assert damaged != exif.tobytes()
    Image.fromarray(PHOTO).save(tmp_path / "a.jpg", exif=damaged)
    assert read_image(tmp_path / "a.jpg").size == PHOTO.shape[:2]


@pytest.mark.parametrize(
    ("name", "content", "message", "hint"),
    [
        ("a.jpg", b"\0" * 128 + b"DICM" + b"\0" * 200, "DICOM", "16-bit PNG"),
        ("a.png", b"version https://git-lfs.github.com/spec/v1\noid", "Git LFS", "git lfs pull"),
        ("a.jpg", b"<!doctype html><html>", "a web page", "fetch it again"),
        ("a.jpg", b"", "the file is empty", None),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else None,
)
def test_other_files_are_named_by_their_first_bytes(tmp_path, name, content, message, hint):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UnreadableError, match=message) as caught:
        read_image(tmp_path / name)
    assert caught.value.hint == hint or hint in caught.value.hint


@pytest.mark.parametrize("stored_as", ["PNG", "GIF", "TIFF", "WEBP", "JPEG2000", "AVIF"])
def test_the_first_bytes_say_the_format_not_the_name(tmp_path, stored_as):
    image = Image.fromarray(PHOTO)
    image.save(tmp_path / "a.jfif", format=stored_as)
    assert np.abs(np.asarray(read_image(tmp_path / "a.jfif")).astype(int) - PHOTO).mean() < 20


def test_heic_with_the_plug_in(tmp_path):
    pillow_heif.from_pillow(Image.fromarray(PHOTO)).save(tmp_path / "a.jpg", quality=-1)
    assert np.abs(np.asarray(read_image(tmp_path / "a.jpg")).astype(int) - PHOTO).mean() < 5


def test_heic_without_the_plug_in_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    with pytest.raises(UnreadableError, match="HEIC") as caught:
        read_image(tmp_path / "a.heic")
    assert "[formats]" in caught.value.hint


def test_a_limit_of_pillow_is_said_to_be_its(tmp_path, monkeypatch):
    Image.new("L", (40, 30)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(UnreadableError, match=r"1,200 pixels; Pillow, .* more than 200") as caught:
        read_image(tmp_path / "a.png")
    assert "SACCADE_MAX_PIXELS=1200" in caught.value.hint
    assert "tiles" in caught.value.hint
    samples = ImageSamples([Item(tmp_path / "a.png", 0)], lambda image: image)
    with pytest.raises(
        InputError, match=r"a.png cannot be used: it has .* SACCADE_MAX_PIXELS=1200, or cut the picture"
    ):
        list(LoaderSource(samples, name=samples.name).once(1, Share()))
    monkeypatch.setenv("SACCADE_MAX_PIXELS", "1200")
    assert read_image(tmp_path / "a.png").size == (40, 30)
    monkeypatch.setenv("SACCADE_MAX_PIXELS", "many")
    with pytest.raises(InputError, match="must be a number of pixels; received 'many'"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize(
    "said",
    [b"\x52\x01\x03\x00\x01\x00\x00\x00\x00", b"\x00\xf0\x03\x00\x01\x00\x00\x00\x02"],
    ids=["unspecified", "unsaid"],
)
def test_a_fourth_band_is_not_transparency_unless_the_file_says_so(tmp_path, said):
    """Pillow writes tag 338, ExtraSamples, with 2, unassociated alpha; the other is a private tag."""
    bands = np.dstack([np.full((2, 2), value, np.uint8) for value in (10, 20, 30, 0)])
    Image.fromarray(bands).save(tmp_path / "a.tif")
    assert np.asarray(read_image(tmp_path / "a.tif"))[0, 0].tolist() == [255, 255, 255]
    data = (tmp_path / "a.tif").read_bytes()
    alpha = b"\x52\x01\x03\x00\x01\x00\x00\x00\x02"
    assert data.count(alpha) == 1
    (tmp_path / "a.tif").write_bytes(data.replace(alpha, said))
    assert np.asarray(read_image(tmp_path / "a.tif"))[0, 0].tolist() == [10, 20, 30]


def test_a_tiff_of_other_bands_says_how_many(tmp_path):
    tags = {256: 2, 257: 2, 258: 8, 259: 1, 262: 1, 273: 200, 277: 5, 278: 2, 279: 20}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    head = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + struct.pack("<I", 0)
    (tmp_path / "a.tif").write_bytes(head.ljust(200, b"\0") + bytes(20))
    with pytest.raises(UnreadableError, match="5 bands of 8 bits") as caught:
        read_image(tmp_path / "a.tif")
    assert "red, green and blue" in caught.value.hint


def test_colour_profiles_are_brought_to_srgb(tmp_path):
    from PIL import ImageCms

    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image = Image.new("LAB", (4, 4), (128, 188, 128))
    expected = image.convert("RGB").getpixel((0, 0))
    image.save(tmp_path / "a.tif", icc_profile=lab)
    np.testing.assert_allclose(read_image(tmp_path / "a.tif").getpixel((0, 0)), expected, atol=1)
    grey = Image.new("L", (4, 4), 90)
    for profile in (srgb, b"damaged"):  # of other channels, and none at all: pixels stay as they are
        grey.save(tmp_path / "b.png", icc_profile=profile)
        assert read_image(tmp_path / "b.png").getpixel((0, 0)) == (90, 90, 90)


def test_bilevel_pictures_and_portable_maps(tmp_path):
    Image.new("1", (2, 2), 1).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").getpixel((0, 0)) == (255, 255, 255)
    (tmp_path / "a.pgm").write_bytes(b"P5\n3 1\n4095\n\x00\x00\x08\x00\x0f\xff")
    assert np.asarray(read_image(tmp_path / "a.pgm"))[0, :, 0].tolist() == [0, 128, 255]


@pytest.mark.parametrize("raised", [zlib.error("bad data"), struct.error("short"), AttributeError("encode"), OSError()])
def test_whatever_the_decoder_raises_is_said(tmp_path, monkeypatch, raised):
    Image.fromarray(PHOTO).save(tmp_path / "a.png")
    monkeypatch.setattr(Image.Image, "convert", lambda *_: (_ for _ in ()).throw(raised))
    with pytest.raises(UnreadableError, match=str(raised) or "OSError"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize(
    "raised", [KeyboardInterrupt(), MemoryError(), MissingExtraError("PIL", "train", ImportError())]
)
def test_what_is_not_the_files_fault_passes(tmp_path, monkeypatch, raised):
    Image.fromarray(PHOTO).save(tmp_path / "a.png")
    monkeypatch.setattr(Image.Image, "convert", lambda *_: (_ for _ in ()).throw(raised))
    with pytest.raises(type(raised)):
        read_image(tmp_path / "a.png")
