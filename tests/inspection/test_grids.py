"""Stored attention is the attention, to an error that it states."""

import numpy as np
import pytest
import torch

import saccade
from saccade.inspection.grids import attention_grid, binned, quantised


def recorded(name, size, **options):
    torch.manual_seed(0)
    block = saccade.create(name, channels=16, **options)
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    with torch.no_grad(), saccade.record(block) as maps:
        block(torch.randn(2, 16, *size))
    return maps[""]


@pytest.mark.parametrize("name", ["pam", "non_local", "non_local[pairwise=dot_product]"])
def test_a_small_map_is_stored_whole(name):
    word, _, option = name.partition("[")
    seen = recorded(word, (6, 9), **({"pairwise": "dot_product"} if option else {}))
    grid = attention_grid(seen, image=1)
    assert (grid.queries, grid.size, grid.moved) == ((6, 9), (6, 9), 0)
    assert grid.signed == bool(option)
    worst = 0.0
    for y in range(6):
        for x in range(9):
            exact = seen.weights([(y, x)])[1, 0].numpy()
            worst = max(worst, float(np.abs(grid.row(y, x) - exact).max() / np.abs(exact).max()))
    assert worst == pytest.approx(grid.rounding, rel=1e-3)
    assert grid.rounding <= 0.5 / (127 if option else 255) + 1e-6


def test_a_large_map_is_reduced_and_says_how_far_it_is_off():
    seen = recorded("pam", (40, 50))
    grid = attention_grid(seen, side=20)
    assert (grid.queries, grid.sources, grid.keys) == ((20, 20), (32, 32), (40, 50))
    assert grid.nbytes == 400 * 1024 + 400 * 4
    y, x = int(3.5 * 40 / 20), int(7.5 * 50 / 20)
    exact = seen.weights([(y, x)])[0, 0].numpy()
    bins = np.zeros((32, 32))
    np.add.at(bins, (np.arange(40)[:, None] * 32 // 40, np.arange(50)[None] * 32 // 50), exact)
    np.testing.assert_allclose(grid.row(3, 7), bins, atol=grid.scales[3 * 20 + 7])
    assert 0.05 < grid.moved < 1  # random projections: neighbours differ


def test_a_shared_map_is_stored_once():
    seen = recorded("gc", (5, 7), ratio=0.5)
    grid = attention_grid(seen)
    assert grid.queries == (1, 1)
    np.testing.assert_allclose(grid.row(0, 0), seen.context_map[0].numpy(), atol=grid.scales[0])


def test_bins_count_every_cell_once():
    rows = torch.rand(3, 7, 11)
    small = binned(rows, (3, 4))
    torch.testing.assert_close(small.sum((1, 2)), rows.sum((1, 2)))
    assert binned(rows, (7, 11)) is rows
    whole, scales = quantised(np.zeros((2, 4), np.float32))
    assert (whole == 0).all()
    assert (scales == 1).all()
