"""Images for the page are chosen by rule, and called what they are."""

import numpy as np
import pytest
import torch
from torch import nn

import saccade
from saccade.catalog import CATALOG
from saccade.comparison.pictures import attention, choose


@pytest.mark.parametrize(
    ("gain", "expected"),
    [
        ([0.1, -0.2, 0.0, 0.5, 0.3], [(3, "success"), (4, "success"), (0, "typical"), (1, "failure")]),
        ([0.0, 0.0, 0.0], [(0, "typical"), (1, "typical"), (2, "typical")]),
        ([0.1, 0.2, 0.3, 0.4, 0.5], [(4, "success"), (3, "success"), (2, "typical"), (0, "success")]),
        ([0.2], [(0, "typical")]),
        ([0.0004, 0.2, -0.0004], [(1, "success"), (0, "typical"), (2, "typical")]),
    ],
    ids=["mixed", "all equal", "no failure", "one image", "0.0%"],
)
def test_what_gained_nothing_is_no_success(gain, expected):
    assert choose(np.array(gain)) == expected


@pytest.mark.parametrize("name", [name for name, entry in CATALOG.items() if entry.family != "control"])
def test_every_mechanism_has_something_to_show(name):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 32, 3, stride=2, padding=1), saccade.create(name, 32))
    arrays = attention(net, torch.rand(2, 3, 16, 20), [(0, 0), (15, 19)])
    shapes = {
        "gate|channel": (2, 32), "gate|spatial": (2, 8, 10), "weights": (2, 8, 10),
        "channel_weights": (2, 32, 32), "strip_weights": (2, 32, 32),
        "grid": (2, 8, 10, 8, 10), "grid_scales": (2, 8, 10), "grid_of": (2, 2),
    }  # fmt: skip
    if name in ("non_local", "sagan"):  # of the pooled keys
        shapes |= {"weights": (2, 4, 5), "grid": (2, 8, 10, 4, 5)}
    if name in ("gc", "simplified_nl"):  # all points share one row
        shapes |= {"grid": (2, 1, 1, 8, 10), "grid_scales": (2, 1, 1)}
    assert arrays
    for key, array in arrays.items():
        place, _, kind = key.partition("|")
        assert place.startswith("1")
        assert array.shape == shapes[kind]
