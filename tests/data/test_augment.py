"""What happens to an image depends on its key alone, keeps image and mask together, and stays within its ranges."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from saccade.data import IGNORE, PADDING
from saccade.data.augment import crops, middles, scaled, shifted, windows
from saccade.errors import InputError


def augment(images, targets, task, **how):
    """Augment a batch as its task does."""
    return (crops(images, **how), targets) if task == "classification" else scaled(images, targets, **how)


TASKS = pytest.mark.parametrize("task", ["classification", "segmentation"])
FULL, SIZE = 74, 64


def batch(task: str, count: int = 4) -> tuple[torch.Tensor, torch.Tensor, int]:
    side = FULL if task == "classification" else SIZE
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (count, 3, side, side), dtype=torch.uint8, generator=generator)
    shape = (count,) if task == "classification" else (count, side, side)
    return images, torch.randint(5, shape, generator=generator).to(torch.uint8), SIZE


def keys(count: int, seed: int = 0) -> list[tuple[int, ...]]:
    return [(seed, 3, index) for index in range(count)]


@TASKS
def test_is_a_function_of_the_keys(task):
    images, targets, size = batch(task)
    first = augment(images, targets, task, size=size, keys=keys(4))
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002 - the global generator is what must not matter
    state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    again = augment(images, targets, task, size=size, keys=keys(4))
    assert torch.equal(torch.get_rng_state(), state)
    assert (np.random.get_state()[1] == numpy_state).all()  # noqa: NPY002
    other = augment(images, targets, task, size=size, keys=keys(4, seed=1))
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert all(not torch.equal(a, b) for a, b in zip(first[0], other[0], strict=True))


@TASKS
def test_does_not_depend_on_the_rest_of_the_batch(task):
    images, targets, size = batch(task)
    together, together_targets = augment(images, targets, task, size=size, keys=keys(4))
    alone, alone_target = augment(images[2:3], targets[2:3], task, size=size, keys=keys(4)[2:3])
    assert torch.equal(alone[0], together[2])
    assert torch.equal(alone_target[0], together_targets[2])


@TASKS
def test_keeps_kinds_and_inputs(task):
    images, targets, size = batch(task)
    before = images.clone(), targets.clone()
    new_images, new_targets = augment(images, targets, task, size=size, keys=keys(4))
    assert torch.equal(images, before[0])
    assert torch.equal(targets, before[1])
    assert (new_images.dtype, new_images.shape) == (torch.uint8, (4, 3, SIZE, SIZE))
    assert new_targets.dtype == targets.dtype
    if task == "classification":
        assert torch.equal(new_targets, targets)


def test_crops_stay_in_range():
    """Pixels tell where they were: red is the column, green the row, in steps of 3."""
    ramp = (torch.arange(FULL, dtype=torch.uint8) * 3).expand(FULL, FULL)
    images = torch.stack([ramp, ramp.T, torch.zeros_like(ramp)]).repeat(300, 1, 1, 1)
    new, _ = augment(images, torch.zeros(300), "classification", size=SIZE, keys=keys(300))
    columns, rows = new[:, 0, SIZE // 2].float() / 3, new[:, 1, :, SIZE // 2].float() / 3
    width, height = ((line[:, -1] - line[:, 0]) * SIZE / (SIZE - 1) for line in (columns, rows))
    mirrored = width < 0
    assert 0.4 < mirrored.float().mean() < 0.6
    assert (height > 0).all()  # never upside down
    area, aspect = width.abs() * height / FULL**2, width.abs() / height
    assert 0.44 < area.min() < 0.56
    assert 0.94 < area.max() < 1.06
    assert 0.68 < aspect.min() < 0.8
    assert 1.25 < aspect.max() < 1.47
    left = columns.min(1).values
    assert left.min() <= 1
    assert left.max() > FULL * 0.15  # crops move


def test_masks_move_with_their_images():
    """The mask is the column of the image; where the mask is ignored the image is padding, and the other way round."""
    ramp = torch.arange(SIZE, dtype=torch.uint8).expand(SIZE, SIZE)
    images, targets = torch.stack([ramp * 3, ramp.T * 3, ramp]).repeat(200, 1, 1, 1), ramp.repeat(200, 1, 1)
    new, masks = augment(images, targets, "segmentation", size=SIZE, keys=keys(200))
    known = masks != IGNORE
    padding = (new == torch.tensor(PADDING)[:, None, None]).all(1)
    assert torch.equal(padding, ~known)
    assert (new[:, 0].float() / 3 - masks.float())[known].abs().max() <= 2
    share = known.float().mean((1, 2)) ** 0.5  # the side that is left of a reduced image
    assert 0.5 <= share.min() < 0.53
    assert (share == 1).sum() > 60
    seen = torch.tensor(
        [len(mask[mask != IGNORE].unique()) for mask in masks[share == 1]]
    )  # columns of an enlarged one
    assert 32 <= seen.min() < 34
    slopes = new[:, 0, :, 1:].float() - new[:, 0, :, :-1].float()
    mirrored = torch.stack(
        [slope[mask[:, 1:] & mask[:, :-1]].mean() < 0 for slope, mask in zip(slopes, known, strict=True)]
    )
    assert 0.4 < mirrored.float().mean() < 0.6


def test_reduced_images_lie_anywhere():
    images, targets, _ = batch("segmentation", 1)
    _, masks = augment(
        images.repeat(200, 1, 1, 1), targets.repeat(200, 1, 1), "segmentation", size=SIZE, keys=keys(200)
    )
    corners = torch.stack([masks[:, y, x] == IGNORE for y in (0, -1) for x in (0, -1)])
    assert (corners.float().mean(1) > 0.3).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": torch.zeros(2, 3, 8, 8)}, r"expected uint8 images \(B, 3, H, W\); received torch.float32"),
        ({"keys": [(1,)]}, "2 images, 2 targets and 1 keys"),
        ({"masks": torch.zeros(2, 8, 9)}, "must be the same square"),
        ({"masks": torch.zeros(2)}, "must be the same square"),
    ],
)
def test_refuses(change, message):
    good = {
        "images": torch.zeros(2, 3, 8, 8, dtype=torch.uint8),
        "masks": torch.zeros(2, 8, 8),
    }
    with pytest.raises(InputError, match=message):
        scaled(**(good | {"keys": keys(2), "size": 8} | change))


def test_what_has_a_left_and_a_right_is_moved_and_never_mirrored():
    """Every window and every shifted picture is found in the picture itself."""
    side, size = 16, 14
    image = torch.arange(3 * side * side).reshape(1, 3, side, side).to(torch.uint8)
    views = {windows(image, size=size, keys=[(seed,)])[0].numpy().tobytes() for seed in range(40)}
    own = {image[0, :, y : y + size, x : x + size].numpy().tobytes() for y in range(3) for x in range(3)}
    assert views == own
    assert middles(image, size=size, keys=[(0,)])[0].numpy().tobytes() in own


def test_a_shift_moves_image_and_mask_alike():
    rows, columns = torch.meshgrid(torch.arange(16), torch.arange(16), indexing="ij")
    image = (13 * rows + columns)[None, None].repeat(1, 3, 1, 1).to(torch.uint8)
    seen = set()
    for seed in range(60):
        new, mask = shifted(image, image[:, 0], size=16, keys=[(seed,)])
        there = mask[0] != IGNORE
        assert (new[0, 0][there] == mask[0][there]).all()
        assert (new[0][:, ~there] == torch.tensor(PADDING)[:, None]).all() or there.all()
        seen.add(
            next(
                (down, right)
                for down, right in itertools.product(range(-2, 3), repeat=2)
                if torch.equal(mask[0, 2:14, 2:14], image[0, 0, 2 - down : 14 - down, 2 - right : 14 - right])
            )
        )
    assert {abs(by) for pair in seen for by in pair} == {0, 1, 2}
    assert len(seen) > 15
