"""Images are read and cut as torchvision's own presets and the papers do it."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms._presets import ImageClassification

from saccade.data import Split
from saccade.data.layouts import Item
from saccade.tasks.classification.samples import (
    AUGMENTATIONS,
    ArraySamples,
    ImageSamples,
    scoring_transform,
    training_transform,
)


@pytest.fixture
def picture():
    rng = np.random.default_rng(0)
    return Image.fromarray(rng.integers(0, 256, (30, 40, 3)).astype(np.uint8)).resize((400, 300))


def test_the_middle_is_that_of_the_papers(picture):
    """224 of 256, against torchvision's preset for its own ImageNet weights."""
    preset = ImageClassification(crop_size=224, resize_size=256, mean=(0, 0, 0), std=(1, 1, 1))
    found = scoring_transform(224)(picture)
    assert found.dtype == torch.uint8
    torch.testing.assert_close(found / 255, preset(picture), atol=1.1 / 255, rtol=0)
    whole = ImageClassification(
        crop_size=32, resize_size=32, mean=(0, 0, 0), std=(1, 1, 1), interpolation=InterpolationMode.BILINEAR
    )
    torch.testing.assert_close(scoring_transform(32, crop=1)(picture) / 255, whole(picture), atol=1.1 / 255, rtol=0)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_augmentations_give_squares_drawn_from_torchs_generator(name, picture):
    transform = training_transform(name, 64)
    torch.manual_seed(1)
    one = transform(picture)
    torch.manual_seed(1)
    again = transform(picture)
    others = [transform(picture) for _ in range(5)]
    assert one.shape == (3, 64, 64)
    assert one.dtype == torch.uint8
    assert torch.equal(one, again)
    assert all(torch.equal(one, other) for other in others) == (name == "none")


def test_letters_are_not_mirrored(picture):
    left = Image.new("RGB", (64, 64))
    left.paste((255, 255, 255), (0, 0, 20, 64))
    for name, mirrored in (("shift", False), ("cifar", True)):
        transform = training_transform(name, 64)
        sides = {bool(image[..., :24].sum() > image[..., 40:].sum()) for image in (transform(left) for _ in range(30))}
        assert sides == ({True, False} if mirrored else {True})


def test_crops_cover_the_share_of_the_area_they_should():
    """A picture whose value tells the place: the width of a crop is the spread of its values."""
    ramp = Image.fromarray(np.repeat(np.linspace(0, 255, 256).astype(np.uint8)[None], 256, 0)).convert("RGB")
    for name, low in (("imagenet", 0.08), ("light", 0.5)):
        transform = training_transform(name, 64)
        torch.manual_seed(0)
        widths = [float(t.max() - t.min()) / 255 for t in (transform(ramp).float() for _ in range(300))]
        assert low**0.5 * 0.8 < min(widths) < low**0.5 * 1.3
        assert max(widths) > 0.9


def test_files_and_arrays_give_the_same(tmp_path, picture):
    picture.save(tmp_path / "a.png")
    files = ImageSamples([Item(tmp_path / "a.png", 3)], scoring_transform(32), near=64)
    arrays = ArraySamples(Split(np.asarray(picture)[None], np.array([3]), ("record 0",)), scoring_transform(32))
    (one, first), (two, second) = files[0], arrays[0]
    assert torch.equal(one, two)
    assert first == second == 3
    assert (len(files), len(arrays)) == (1, 1)
    assert files.name(0) == str(tmp_path / "a.png")
    assert arrays.name(0) == "record 0"


def test_large_jpegs_are_decoded_at_no_less_than_crops_need(tmp_path):
    Image.new("RGB", (2000, 1600), "red").save(tmp_path / "a.jpg")
    seen = []
    samples = ImageSamples([Item(tmp_path / "a.jpg", 0)], lambda image: seen.append(image.size), near=2 * 64)
    samples[0]
    assert min(seen[0]) >= 4 * 64
    assert max(seen[0]) < 2000
