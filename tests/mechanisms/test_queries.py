"""Positions become rows of the map, and those off it are refused."""

import numpy as np
import pytest
import torch

from saccade import InputError
from saccade.mechanisms.queries import rows_of


@pytest.mark.parametrize("size", [(5,), (4, 5), (2, 3, 4)], ids=str)
def test_rows_count_in_the_order_of_flatten(size):
    numbers = torch.arange(int(np.prod(size))).view(size)
    positions = [(0,) * len(size), tuple(np.array(size) - 1), tuple(np.array(size) // 2)]
    assert rows_of("X", positions, size) == [numbers[position].item() for position in positions]


@pytest.mark.parametrize("query", [(4, 0), (0, 5), (-1, 0), (1,), (0, 0, 0)], ids=str)
def test_names_the_position_and_the_map(query):
    with pytest.raises(InputError) as error:
        rows_of("PAM", [(0, 0), query], (4, 5))
    assert error.value.message == f"PAM: query {query} is not a position on the map of 4 x 5"
    assert "(3, 4)" in error.value.hint


def test_a_fraction_of_a_position_is_another_kind():
    with pytest.raises(TypeError):
        rows_of("PAM", [(0.5, 1)], (4, 5))
