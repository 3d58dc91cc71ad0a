"""Pictures of every format become the same 8-bit RGB; what cannot is named."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from torchvision.transforms import v2

from saccade.data import IGNORE, PADDING
from saccade.data.images import UnreadableError, centre, padded, read_image, read_mask, square
from saccade.errors import MissingExtraError

from .conftest import crops, mask_of

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


def test_16_bit_grey_uses_its_whole_range(tmp_path):
    values = np.array([[0, 128, 129, 257 * 100, 65535]], np.uint16)
    for suffix in ("png", "tif"):
        pixels = stored(tmp_path / f"a.{suffix}", Image.fromarray(values))
        assert pixels.tolist() == [[[v, v, v] for v in (0, 0, 1, 100, 255)]]


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


@pytest.mark.parametrize("mode", ["L", "P", "I;16", "LA"])
def test_masks_give_their_stored_values(tmp_path, mode):
    values = np.array([[0, 3, 255]], np.uint8)
    image = Image.fromarray(values)
    if mode == "P":
        image.putpalette([9] * 768)
    if mode == "I;16":
        image = Image.fromarray(values.astype(np.uint16) * 10)
    if mode == "LA":
        image.putalpha(7)
    image.save(tmp_path / "a.png")
    assert read_mask(tmp_path / "a.png").tolist() == (values.astype(int) * (10 if mode == "I;16" else 1)).tolist()


def test_bilevel_masks_hold_0_and_1(tmp_path):
    Image.fromarray(np.array([[False, True]])).save(tmp_path / "a.png")
    assert read_mask(tmp_path / "a.png").tolist() == [[0, 1]]


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


def test_floats_are_refused(tmp_path):
    Image.fromarray(np.full((2, 2), 0.5, np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(UnreadableError, match=r"mode F\) run from 0.5 to 0.5; 8 or 16 bits can be read"):
        read_image(tmp_path / "a.tif")
    with pytest.raises(UnreadableError, match="32-bit floats"):
        read_mask(tmp_path / "a.tif")


def test_damaged_exif_is_said(tmp_path):
    """A tag of another type than its standard: Pillow fails where it writes the tags again, turning the picture."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a description"
    damaged = exif.tobytes().replace(b"\x01\x0e\x00\x02", b"\x01\x00\x00\x02")  # the width, as a text
    assert damaged != exif.tobytes()
    Image.fromarray(PHOTO).save(tmp_path / "a.jpg", exif=damaged)
    with pytest.raises(UnreadableError, match="cannot be decoded"):
        read_image(tmp_path / "a.jpg")


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


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.jpg", {"quality": 100}),
        ("a.png", {"format": "JPEG"}),
        ("a.tif", {"compression": "jpeg"}),
        ("a.webp", {"quality": 90}),
        ("a.webp", {"quality": 90, "icc_profile": b"profile"}),
    ],
    ids=str,
)
def test_lossy_masks_are_refused(tmp_path, name, options):
    image = Image.fromarray(mask_of(PHOTO))
    image.save(tmp_path / name, **options)
    with pytest.raises(UnreadableError, match="save masks as PNG"):
        read_mask(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "options"), [("a.tif", {"compression": "tiff_lzw"}), ("a.webp", {"lossless": True}), ("a.bmp", {})]
)
def test_lossless_masks_are_taken(tmp_path, name, options):
    values = mask_of(PHOTO)
    Image.fromarray(values).save(tmp_path / name, **options)
    read = read_mask(tmp_path / name)
    np.testing.assert_array_equal(read if read.ndim == 2 else read[..., 0], values)
