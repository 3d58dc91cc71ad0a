"""Pictures: weights become light where they are, whatever the sizes; gates become strips and histograms."""

import numpy as np
import pytest
import torch

from saccade.errors import InputError
from saccade.inspection import (
    attention_picture,
    gate_histograms,
    gate_picture,
    gate_strips,
    matrix_picture,
    overlay,
    strongest,
)
from saccade.inspection.colours import BALANCE, HEAT, gate_limits, levels, ramp
from saccade.inspection.pictures import GAP, SLICES, drawn_range

GREY = np.full((40, 60, 3), 128, np.uint8)


def light(pixels):
    return pixels.astype(int).sum(axis=-1)


def test_the_brightest_place_is_that_of_the_largest_weight():
    weights = torch.full((4, 6), 0.01)
    weights[1, 4] = 0.77
    drawn = light(overlay(GREY, weights))
    y, x = np.unravel_index(drawn.argmax(), drawn.shape)
    assert (y // 10, x // 10) == (1, 4)
    assert drawn[35, 5] < light(GREY)[0, 0]  # elsewhere the photograph is darkened
    np.testing.assert_array_equal(overlay(GREY, weights, opacity=0), GREY)


def test_an_even_map_stays_dim():
    even = overlay(GREY, np.full((4, 6), 1 / 24))
    peaked = np.full((4, 6), 0.01)
    peaked[2, 2] = 0.77
    assert light(even).max() < 0.7 * light(overlay(GREY, peaked)).max()
    assert drawn_range(np.full((2, 2), 0.25)) == (0, 0.75)
    assert drawn_range(np.zeros((2, 2))) == (0, 1)


def test_signs_have_two_colours():
    drawn = overlay(GREY, np.array([[-1.0, 1.0]])).astype(int)
    assert drawn[20, 2, 2] > drawn[20, 2, 0] + 50  # blue
    assert drawn[20, 57, 0] > drawn[20, 57, 2] + 50  # orange
    assert drawn_range(np.array([[-0.5, 0.2]])) == (-0.5, 0.5)


@pytest.mark.parametrize("stops", [HEAT, BALANCE])
def test_colours_are_told_apart_without_colour(stops):
    """Luminance, as any eye sees it, rises from end to end; of the balanced colours, to the middle and down again."""
    linear = (ramp(stops)[:, :3] / 255.0) ** 2.2 @ np.array([0.2126, 0.7152, 0.0722])
    half = np.diff(linear if stops is HEAT else linear[:128])
    assert (half > -2e-3).all()
    assert linear.max() - linear[0] > 0.5 or stops is BALANCE


def test_levels_are_even_and_bounded():
    assert levels(np.array([-1.0, 0.0, 0.5, 1.0, 9.0, np.nan]), 0, 1, 11).tolist() == [0, 0, 5, 10, 10, 0]
    assert levels(np.array([3.0, 3.0]), 3, 3).tolist() == [0, 0]


def test_strongest_sources_are_framed_and_the_query_ringed():
    weights = np.zeros((4, 6))
    weights[0, 5], weights[3, 0], weights[2, 2] = 0.5, 0.3, 0.2
    assert [place[:2] for place in strongest(weights)] == [(0, 5), (3, 0), (2, 2)]
    assert strongest(-weights)[0][2] == -0.5
    picture = np.asarray(attention_picture(GREY, weights, (0.6, 0.75), side=240)).astype(int)
    assert picture.shape == (160, 240, 3)
    white = (picture == 255).all(axis=-1)
    for y, x, _ in strongest(weights):
        assert white[40 * y, 40 * x + 20], "the upper edge of a frame"
    assert white[96, 180 - 7], "the ring, left of its middle"
    bare = np.asarray(attention_picture(GREY, weights, side=240, sources=0))
    assert not (bare == 255).all(axis=-1).any()


def test_a_gate_is_clear_where_it_is_least():
    gate = np.linspace(0.4, 0.6, 24).reshape(4, 6)
    drawn = light(np.asarray(gate_picture(GREY, gate, side=60)))
    assert drawn[2, 2] < light(GREY)[0, 0] < drawn[38, 57]


def test_what_is_no_map_is_refused():
    with pytest.raises(InputError, match=r"overlay: expected an image .* received \(40, 60, 3\), \(3,\), 1.0"):
        overlay(GREY, np.zeros(3))
    for draw in (gate_strips, gate_histograms):
        with pytest.raises(InputError, match="found no channel gate"):
            draw({})


def test_strips_are_sorted_and_histograms_count_every_channel():
    gates = {"layer1": torch.tensor([0.2, 0.9, 0.5]), "layer2": np.array([0.1, 0.1])}
    strips = gate_strips(gates).axes
    assert [axis.get_ylabel() for axis in strips] == ["layer1\n3 channels", "layer2\n2 channels"]
    row = strips[0].images[0].get_array()
    expected = ramp(HEAT)[levels(np.array([0.9, 0.5, 0.2]), 0.1, 0.9)]
    np.testing.assert_array_equal(row[0], expected)
    histograms = gate_histograms({"layer1": gates["layer1"], "layer2": [0.1, 0.1]}).axes
    counts = [sum(bar.get_height() for bar in axis.patches) for axis in histograms]
    assert counts == [3, 2]


def test_a_matrix_has_one_square_a_value():
    matrix = np.array([[0.0, 1.0], [0.5, 0.25]])
    drawn = np.asarray(matrix_picture(matrix, side=9))
    assert drawn.shape == (8, 8, 3)
    corners = drawn[[0, 0, 7, 7], [0, 7, 0, 7]]
    np.testing.assert_array_equal(corners, ramp(HEAT)[levels(matrix.ravel(), 0, 1), :3])
    assert (drawn[:4, 4:] == drawn[0, 7]).all()


@pytest.mark.parametrize(
    ("low", "high", "drawn"),
    [(0.2, 0.9, (0.2, 0.9)), (0.5, 0.504, (0.452, 0.552)), (0.0, 0.02, (0.0, 0.1)), (-0.02, 0.02, (-0.02, 0.08))],
)
def test_a_flat_gate_is_drawn_flat(low, high, drawn):
    found = gate_limits(low, high)
    assert found == pytest.approx(drawn)
    assert np.ptp(levels(np.array([low, high]), *found, 32)) <= max(1, 32 * (high - low) / 0.1)


def test_a_volume_is_a_row_of_slices():
    """Every slice has its own frame, its own sources, and the limits of the whole volume; the query is in one."""
    volume = np.full((6, 16, 16), 90, np.uint8)
    weights = np.zeros((3, 4, 4))
    weights[0, 0, 0], weights[2, 3, 3] = 1.0, 0.5
    picture = np.asarray(attention_picture(volume, weights, (0.9, 0.2, 0.2), side=64, sources=2)).astype(int)
    assert picture.shape == (64, 3 * 64 + 2 * GAP, 3)
    slices = [picture[:, at : at + 64] for at in (0, 64 + GAP, 2 * (64 + GAP))]
    white = [(part == 255).all(axis=-1).sum() for part in slices]
    assert white[1] == 0  # nothing framed, nothing asked
    assert white[2] > white[0] > 0  # a frame and the ring; a frame
    assert strongest(weights, 2) == [(0, 0, 0, 1.0), (2, 3, 3, 0.5)]
    centre = [part[4:12, 4:12].sum() for part in slices]
    assert centre[0] > centre[1]  # brightest where the largest weight of the volume is


def test_many_slices_are_spaced_evenly_and_sequences_are_one_row():
    volume = np.zeros((40, 8, 8, 3), np.uint8)
    gate = np.random.default_rng(0).random((20, 4, 4))
    assert gate_picture(volume, gate, side=16).size == (SLICES * (16 + GAP) - GAP, 16)
    line = attention_picture(np.zeros((8, 32, 3), np.uint8), np.array([0.0, 0.0, 1.0, 0.0]), (0.1,), side=64, sources=1)
    assert line.size == (64, 16)
    light = np.asarray(line).sum(axis=(0, 2))
    assert light[32:48].mean() > light[:12].mean()


def test_a_volume_over_an_image_is_refused():
    with pytest.raises(InputError, match=r"over a volume \(D, H, W\) or a clip .*; received \(2, 3, 3\) and"):
        attention_picture(np.zeros((8, 8), np.uint8), np.ones((2, 3, 3)))
