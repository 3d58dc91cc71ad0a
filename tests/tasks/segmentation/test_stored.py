"""Masks give the values that their files store, whatever the format does with them."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from saccade.data.decoding import UnreadableError
from saccade.tasks.segmentation.stored import read_mask

from ...data.conftest import crops, mask_of

PHOTO = crops("astronaut", 1)[0]


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
