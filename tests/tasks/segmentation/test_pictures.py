"""Masks come back as they were written, in the colours of their classes; overlays are the mean they say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from saccade import InputError
from saccade.tasks.segmentation.labelled import palette
from saccade.tasks.segmentation.pictures import overlay, save_mask
from saccade.tasks.segmentation.stored import read_mask

CLASSES = np.array([[0, 1, 2], [2, 2, 5]])


def test_masks_hold_classes_and_show_colours(tmp_path: Path) -> None:
    save_mask(tmp_path / "mask.png", CLASSES, palette(6))
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png"), CLASSES)
    with Image.open(tmp_path / "mask.png") as picture:
        assert picture.mode == "P"
        assert picture.convert("RGB").getpixel((1, 0)) == (128, 0, 0)
    with pytest.raises(InputError, match=r"classes \(H, W\) from 0 to 4; received shape \(2, 3\), 0 to 5"):
        save_mask(tmp_path / "other.png", CLASSES, palette(5))
    assert [path.name for path in tmp_path.iterdir()] == ["mask.png"]


def test_overlays_mix_colours() -> None:
    image = np.full((2, 3, 3), 100, dtype=np.uint8)
    mixed = overlay(image, CLASSES, palette(6), opacity=0.25)
    assert mixed[0, 1].tolist() == [107, 75, 75]
    np.testing.assert_array_equal(overlay(image, CLASSES, palette(6), opacity=0.0), image)
    with pytest.raises(InputError, match=r"expected an image \(2, 3, 3\) and an opacity of 0 to 1; received \(2, 2, 3"):
        overlay(image[:, :2], CLASSES, palette(6))
