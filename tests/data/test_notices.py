"""What is read otherwise than its owner may think is said, with a count and an example."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageCms

from saccade.data.notices import notices


def plain(path):
    Image.new("RGB", (8, 8)).save(path)


def animated(path):
    first, second = Image.new("L", (8, 8), 0), Image.new("L", (8, 8), 255)
    first.save(path, save_all=True, append_images=[second])


def four_bands(path):
    bands = np.full((8, 8, 4), 9, np.uint8)
    Image.fromarray(bands).save(path)
    alpha = b"\x52\x01\x03\x00\x01\x00\x00\x00"
    path.write_bytes(path.read_bytes().replace(alpha + b"\x02", alpha + b"\x00"))


def profiled(path):
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    Image.new("LAB", (8, 8)).save(path, icc_profile=lab)


def turned(path):
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.new("RGB", (8, 8)).save(path, exif=exif)


@pytest.mark.parametrize(
    ("make", "name", "said"),
    [
        (animated, "a.gif", "have several frames or pages: the first is read"),
        (animated, "a.tif", "have several frames or pages: the first is read"),
        (animated, "a.png", "have several frames or pages: the first is read"),
        (four_bands, "a.tif", "have more bands than red, green and blue, which are not opacity: they are left out"),
        (profiled, "a.tif", "have the colour profile 'Lab identity built-in': they are brought to sRGB"),
        (turned, "a.jpg", "are turned as their EXIF data ask"),
    ],
)
def test_what_is_read_otherwise_is_said(tmp_path, make, name, said):
    plain(tmp_path / "plain.png")
    make(tmp_path / name)
    assert notices([tmp_path / "plain.png", tmp_path / name]) == (f"1 of 2 images {said} ({name})",)


def test_plain_images_and_what_cannot_be_read_say_nothing(tmp_path):
    plain(tmp_path / "plain.tif")
    (tmp_path / "a.jpg").write_text("no picture")
    assert notices([tmp_path / "plain.tif", tmp_path / "a.jpg"]) == ()
    assert notices([]) == ()
