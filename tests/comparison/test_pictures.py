"""Images for the page are chosen by rule, and called what they are."""

import numpy as np
import pytest

from saccade.comparison.pictures import choose, query_of


@pytest.mark.parametrize(
    ("gain", "expected"),
    [
        ([0.1, -0.2, 0.0, 0.5, 0.3], [(3, "success"), (4, "success"), (0, "typical"), (1, "failure")]),
        ([0.0, 0.0, 0.0], [(0, "typical"), (1, "typical"), (2, "typical")]),
        ([0.1, 0.2, 0.3, 0.4, 0.5], [(4, "success"), (3, "success"), (2, "typical"), (0, "success")]),
        ([0.2], [(0, "typical")]),
    ],
    ids=["mixed", "all equal", "no failure", "one image"],
)
def test_what_gained_nothing_is_no_success(gain, expected):
    assert choose(np.array(gain)) == expected


def test_the_question_is_asked_where_the_arms_disagree():
    target = np.zeros((8, 8), dtype=np.uint8)
    target[1:4, 1:4], target[6, 6] = 3, 2
    control, best = np.zeros_like(target), target.copy()
    assert query_of(target, control, best) == (2, 2)
    assert query_of(target, best, best) == (4, 4)
