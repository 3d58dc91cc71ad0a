"""The pictures of "chips" are exact, functions of their seed, and a folder of COCO's key points."""

import json

import numpy as np
import pytest

from saccade import InputError
from saccade.data.chips import JOINTS, SIZE, TURNED, chips
from saccade.data.demo_folder import write_demo

PHOTOS = [np.full((80, 90, 3), 120, dtype=np.uint8)]


def test_a_picture_is_a_function_of_its_seed_and_its_number():
    few, many = list(chips(PHOTOS, (3, 0), 2)), list(chips(PHOTOS, (3, 0), 4))
    for (one, chip), (other, same) in zip(few, many, strict=False):
        np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(chip.points, same.points)
    assert any((one != other).any() for (one, _), (other, _) in zip(few, chips(PHOTOS, (4, 0), 2), strict=True))


def test_labels_are_exact_and_follow_the_dot():
    for image, chip in chips(PHOTOS, (0, 1), 30):
        left_near, left_far, right_far, right_near = chip.points
        assert image.shape == (SIZE, SIZE, 3)
        assert chip.points.min() > 0
        assert chip.points.max() < SIZE - 1
        along, across = left_far - left_near, right_near - left_near
        assert abs(along @ across) < 1e-6
        assert across[0] * along[1] - across[1] * along[0] > 0  # with the near end on top, left is left
        np.testing.assert_allclose(right_near + along, right_far)
        np.testing.assert_allclose(chip.points[list(TURNED)] + chip.points, np.tile(left_near + right_far, (4, 1)))
        middle, half = (left_near + right_near) / 2, along / 2
        light = image.astype(int).sum(axis=2)

        def brightness(place, light=light):
            x, y = np.rint(place).astype(int)
            return light[y, x]

        # Just inside its tip a pin is light, and the dot is lighter than the same place at the other end.
        for tip, inwards in zip(chip.points, (across, across, -across, -across), strict=True):
            assert brightness(tip + inwards / np.linalg.norm(across)) > 3 * 125
        dot = middle + half - (half + 2.5 * half / np.linalg.norm(half)) * (1 - chip.dot)
        assert brightness(dot) > 3 * 150
        if chip.dot < 0.7:
            assert brightness(2 * (middle + half) - dot) < 3 * 100


def test_the_folder_is_cocos(tmp_path):
    write_demo(tmp_path / "a", train=3, held_out=2, task="pose")
    for side, count in (("train", 3), ("val", 2)):
        content = json.loads((tmp_path / "a" / f"annotations_{side}.json").read_text())
        assert len(content["images"]) == len(content["annotations"]) == count
        assert content["categories"][0]["keypoints"] == list(JOINTS)
        for image, one in zip(content["images"], content["annotations"], strict=True):
            assert (tmp_path / "a" / image["file_name"]).is_file()
            points = np.array(one["keypoints"]).reshape(4, 3)
            (x, y, width, height), v = one["bbox"], points[:, 2]
            assert (v == 2).all()
            assert (points[:, :2] > (x, y)).all()
            assert (points[:, :2] < (x + width, y + height)).all()
    with pytest.raises(InputError, match="must be at least 1"):
        write_demo(tmp_path / "b", train=0, held_out=2, task="pose")
