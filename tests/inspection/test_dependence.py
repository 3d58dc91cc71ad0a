"""Query dependence: 0 where every query sees the same, 1 where no two share a source."""

import pytest
import torch

import saccade
from saccade.errors import InputError
from saccade.inspection.dependence import grid, mean_distance, spread


def written_out(rows, measure):
    """The mean over pairs, one pair at a time."""
    found = []
    for i, a in enumerate(rows):
        for j, b in enumerate(rows):
            if i == j:
                continue
            if measure == "cosine":
                found.append((1 - a @ b / (a.norm() * b.norm())) / 2)
            else:
                found.append((a - b).abs().sum() / (a.abs().sum() + b.abs().sum()))
    return torch.stack(found).mean()


@pytest.mark.parametrize("measure", ["moved", "cosine"])
def test_is_the_mean_over_pairs(measure):
    rows = torch.randn(7, 5, dtype=torch.float64)
    torch.testing.assert_close(mean_distance(rows, measure), written_out(rows, measure))
    batch = torch.randn(3, 4, 5, dtype=torch.float64).softmax(-1)
    expected = torch.stack([written_out(one, measure) for one in batch])
    torch.testing.assert_close(mean_distance(batch, measure), expected)


def test_the_ends_of_the_scale():
    same = torch.rand(1, 6).softmax(-1).expand(5, 6)
    assert float(mean_distance(same)) == 0
    assert float(mean_distance(same, "cosine")) == pytest.approx(0, abs=1e-12)
    assert float(mean_distance(torch.eye(6))) == 1
    assert float(mean_distance(torch.eye(6), "cosine")) == 0.5
    assert float(mean_distance(torch.rand(1, 6))) == 0


def test_samples_are_spread_and_stay_inside():
    assert spread(5, 9) == [0, 1, 2, 3, 4]
    assert spread(9, 3) == [0, 4, 8]
    assert len(grid((5,), 9)) == 5
    assert len(grid((4, 6, 6), 18)) == 18
    positions = grid((7, 30), 64)
    assert 58 <= len(set(positions)) == len(positions) <= 70
    assert all(0 <= y < 7 and 0 <= x < 30 for y, x in positions)
    assert {(0, 0), (6, 29)} <= set(positions)


@pytest.mark.parametrize(("name", "least", "most"), [("gc", 0, 0), ("simplified_nl", 0, 0), ("pam", 0.3, 1)])
def test_a_shared_map_depends_on_nobody(name, least, most):
    block = saccade.create(name, channels=32)
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    with saccade.record(block) as maps:
        block(torch.randn(2, 32, 6, 7))
    assert least <= maps[""].query_dependence() <= most
    assert least <= maps[""].query_dependence(measure="cosine") <= most + 1e-12


@pytest.mark.parametrize("name", ["cam", "fla"])
def test_channels_ask_where_channels_are_weighed(name):
    block = saccade.create(name, channels=8)
    with saccade.record(block) as maps:
        block(torch.randn(1, 8, 5, 6))
    seen = maps[""]
    if name == "cam":
        expected = written_out(seen.channel_weights()[0], "moved")
    else:
        strips = (seen.column_weights()[0], seen.row_weights()[0])
        halves = [torch.stack([written_out(part[:, c], "moved") for c in range(8)]).mean() for part in strips]
        expected = sum(halves) / 2
    assert seen.query_dependence() == pytest.approx(float(expected), rel=1e-5)


def test_a_gate_has_no_queries():
    block = saccade.create("se", channels=8)
    with saccade.record(block) as maps:
        block(torch.randn(1, 8, 5, 6))
    with pytest.raises(InputError, match=r"SE has no queries that could differ\nhint: it has .gates"):
        maps[""].query_dependence()
    with pytest.raises(InputError, match="unknown measure='angle'"):
        mean_distance(torch.rand(3, 4), "angle")
