"""Skeletons on pictures: two sides, two colours, faint where unsure, nothing of a joint that was not found."""

import numpy as np
import pytest
from PIL import Image

from saccade.tasks.pose.described import described
from saccade.tasks.pose.drawing import drawn, legend, skeletons
from saccade.tasks.pose.sketch import LEFT, MIDDLE, RIGHT

JOINTS = described(("left_end", "right_end", "middle"), skeleton=[(0, 2), (1, 2)])
POINTS = np.array([(20.0, 30.0), (80.0, 30.0), (50.0, 70.0)])


def pixel(picture, place):
    x, y = np.rint(place).astype(int)
    return np.asarray(picture)[y, x].astype(int)


def test_colours_tell_sides_and_opacity_tells_confidence():
    sure, unsure = (skeletons((100, 100), [(POINTS, np.full(3, c))], JOINTS) for c in (1.0, 0.3))
    for place, shade in zip(POINTS, (LEFT, RIGHT, MIDDLE), strict=True):
        assert np.abs(pixel(sure, place)[:3] - shade).max() <= 2
        assert pixel(sure, place)[3] == 255
        assert 40 < pixel(unsure, place)[3] < 200
    assert pixel(sure, (POINTS[0] + POINTS[2]) / 2)[3] > 200  # a line
    assert pixel(sure, (50, 10))[3] == 0


@pytest.mark.parametrize("lost", [0.0, -1.0, np.nan])
def test_a_joint_that_was_not_found_is_not_drawn(lost):
    picture = skeletons((100, 100), [(POINTS, np.array([1.0, lost, 1.0]))], JOINTS)
    assert pixel(picture, POINTS[1])[3] == 0
    assert pixel(picture, (POINTS[1] + POINTS[2]) / 2)[3] == 0
    assert pixel(picture, POINTS[0])[3] == 255


@pytest.mark.parametrize("points", [POINTS + 1e9, POINTS * np.nan, POINTS - 500, np.full((3, 2), np.inf)])
def test_points_outside_and_odd_numbers_leave_the_picture(points):
    picture = skeletons((40, 30), [(points, np.ones(3))], JOINTS)
    assert picture.size == (40, 30)
    assert not np.asarray(picture)[..., 3].any()


@pytest.mark.parametrize("size", [(16, 16), (1, 1), (400, 300), (3000, 20)])
def test_a_picture_is_the_image_with_a_legend(size):
    image = Image.new("RGB", size, (10, 120, 30))
    found = drawn(image, [(np.array(size) / 2 * np.ones((3, 2)), np.ones(3))], JOINTS)
    assert found.mode == "RGB"
    assert 320 <= max(found.size) <= 1304
    assert np.abs(np.asarray(found)[-20:].astype(int) - 255).max() > 200  # words
    assert np.asarray(drawn(image, [], JOINTS))[0, 0].tolist() == [10, 120, 30]


def test_the_legend_names_sides_or_the_first_pair():
    other = described(("a", "b"), pairs=[(0, 1)])
    assert (np.asarray(legend(300, JOINTS)) != np.asarray(legend(300, other))).any()
    assert (np.asarray(legend(300, described(("nose",)))) != np.asarray(legend(300, other))).any()
