"""Random views: image and mask stay on each other, what is outside is ignored, torch's generator decides."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from saccade import InputError
from saccade.data import PADDING
from saccade.tasks.segmentation.crops import LabelledSamples, RandomView
from saccade.tasks.segmentation.voc import load_voc
from tests.tasks.segmentation import trees


def marked(height: int = 40, width: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Squares of 10 px; red tells the class of a pixel, 20 times it."""
    rows, columns = np.mgrid[:height, :width] // 10
    mask = (rows * (width // 10) + columns).astype(np.uint8) % 12
    image = np.stack([20 * mask, mask, mask], axis=2)
    return image, mask


@pytest.mark.parametrize("size", [(32, 48), (90, 20), (7, 5)], ids=str)
def test_image_and_mask_stay_on_each_other(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    view, seen = RandomView(size, colour=0.0), set()
    for _ in range(30):
        image, mask = view(*marked())
        assert (image.shape, mask.shape) == ((*size, 3), size)
        inside = mask != 255
        assert (image[~inside] == PADDING).all()
        # Off the borders between squares, where interpolation mixes, red is 20 times the class.
        right = np.abs(image[..., 0].astype(int) - 20 * mask) <= 10
        assert right[inside].mean() > 0.7
        seen.update(np.unique(mask).tolist())
    assert len(seen) >= 12


def test_the_range_of_factors_is_what_pixels_say() -> None:
    """A square of 10 px is as wide as the factor says."""
    torch.manual_seed(0)
    image, mask = marked(100, 1200)
    mask = (np.arange(1200) // 10 % 12).astype(np.uint8)[None].repeat(100, axis=0)
    widths = []
    for _ in range(200):
        row = RandomView((40, 400), colour=0.0, mirror=False)(image, mask)[1][0]
        borders = np.flatnonzero(np.diff(row[row != 255].astype(int)))
        widths.append(np.diff(borders).mean() / 10)
    assert 0.48 < min(widths) < 0.56
    assert 1.9 < max(widths) < 2.05
    assert 1.15 < np.mean(widths) < 1.35


def test_small_images_are_filled_below_and_on_the_right() -> None:
    view = RandomView((50, 70), scales=(1.0, 1.0), mirror=False, colour=0.0)
    image, mask = marked()
    pixels, classes = view(image, mask)
    np.testing.assert_array_equal(classes[:40, :60], mask)
    np.testing.assert_array_equal(pixels[:40, :60], image)
    assert (classes[40:] == 255).all()
    assert (classes[:, 60:] == 255).all()


def test_half_of_the_views_are_mirrored() -> None:
    torch.manual_seed(0)
    view, (image, mask) = RandomView((40, 60), scales=(1.0, 1.0), colour=0.0), marked()
    flipped = [bool((view(image, mask)[1] == mask[:, ::-1]).all()) for _ in range(100)]
    assert 35 < sum(flipped) < 65


def test_colours_change_and_classes_do_not() -> None:
    torch.manual_seed(0)
    image, mask = marked()
    pixels, classes = RandomView((40, 60), scales=(1.0, 1.0), mirror=False)(image, mask)
    assert (pixels != image).any()
    np.testing.assert_array_equal(classes, mask)


def test_samples_depend_on_torch_s_generator_alone(tmp_path: Path) -> None:
    data = load_voc(trees.voc(tmp_path))
    samples = LabelledSamples(data, data.train, RandomView((5, 5)))
    drawn = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        np.random.default_rng(seed)
        drawn.append(samples[0])
    assert drawn[0][0].shape == (3, 5, 5)
    assert all(torch.equal(one, other) for one, other in zip(drawn[0], drawn[1], strict=True))
    assert not torch.equal(drawn[0][0], drawn[2][0])
    whole = LabelledSamples(data, data.val)
    assert (len(whole), whole[0][0].shape, whole[0][1].shape) == (1, (3, 6, 8), (6, 8))
    assert whole.name(0).endswith("b1.jpg")


def test_names_what_is_wrong() -> None:
    for wrong in ({"size": (0, 4)}, {"size": (4, 4), "scales": (2.0, 1.0)}, {"size": (4, 4), "colour": 2.0}):
        with pytest.raises(InputError, match="RandomView: expected a size"):
            RandomView(**wrong)
