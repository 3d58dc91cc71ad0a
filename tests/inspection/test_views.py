"""The views of single mechanisms: rows of their whole maps, and what else the papers draw."""

import pytest
import torch

import saccade
from saccade.comparison.costs import height_of
from saccade.errors import InputError
from saccade.inspection.grids import attention_grid


def recorded(name, x, **options):
    block = saccade.create(name, channels=x.shape[1], **options).eval()
    generator = torch.Generator().manual_seed(1)
    for parameter in block.parameters():
        parameter.data.normal_(std=0.3, generator=generator)
    with torch.no_grad(), saccade.record(block) as maps:
        y = block(x)
    return maps[""], y


def test_chosen_channels_are_rows_of_the_whole():
    x = torch.randn(2, 12, 4, 5)
    seen, _ = recorded("cam", x)
    torch.testing.assert_close(seen.channel_weights([3, 0, 11]), seen.mechanism.attention(x)[:, [3, 0, 11]])
    with pytest.raises(InputError, match=r"query \(12,\) is not a position"):
        seen.channel_weights([12])


@pytest.mark.parametrize("pairing", ["sample", "released"])
def test_columns_and_rows_of_fla(pairing):
    x = torch.randn(2, 6, 4, 5)
    seen, _ = recorded("fla", x, pairing=pairing)
    whole = seen.mechanism.attention(x).detach()
    torch.testing.assert_close(seen.channel_weights(), whole)
    torch.testing.assert_close(seen.column_weights([4, 1], [2, 5]), whole[:, [4, 1]][:, :, [2, 5]])
    torch.testing.assert_close(seen.row_weights([3], [0]), whole[:, [5 + 3]][:, :, [0]])


def test_what_a2_gathers_and_hands_out():
    x = torch.randn(2, 8, 4, 5)
    seen, y = recorded("a2", x)
    gather, give, descriptors = seen.gathered_from, seen.distribution, seen.descriptors
    torch.testing.assert_close(gather.sum((2, 3)), torch.ones(2, 4))
    torch.testing.assert_close(give.sum(1), torch.ones(2, 4, 5))
    branch = seen.mechanism.project(torch.einsum("bmn,bnhw->bmhw", descriptors, give))
    torch.testing.assert_close(x + branch, y, rtol=1e-4, atol=1e-5)
    pairs = torch.einsum("bnq,bnhw->bqhw", give.flatten(2)[:, :, [7]], gather)
    torch.testing.assert_close(seen.weights([(1, 2)]), pairs)


@pytest.mark.parametrize("name", ["gc", "simplified_nl"])
def test_the_one_map_of_global_context(name):
    x = torch.randn(2, 32, 4, 5)
    seen, _ = recorded(name, x)
    logits = torch.einsum("c,bchw->bhw", seen.mechanism.mask.weight.flatten(), x)
    expected = logits.flatten(1).softmax(1).view(2, 4, 5)
    torch.testing.assert_close(seen.context_map, expected.detach())
    torch.testing.assert_close(seen.weights([(0, 0), (3, 4)]), seen.context_map[:, None].expand(-1, 2, -1, -1))


def test_the_branches_of_sk_sum_to_one():
    seen, _ = recorded("sk", torch.randn(2, 64, 6, 6))
    assert seen.branch_weights.shape == (2, 2, 64)
    torch.testing.assert_close(seen.branch_weights.sum(1), torch.ones(2, 64))
    torch.testing.assert_close(seen.gate, seen.branch_weights[:, 1])


def test_the_covariances_of_gsop():
    x = torch.randn(2, 16, 6, 5)
    seen, _ = recorded("gsop", x, variant="sum", dim=7, grid=3)
    gate = seen.mechanism.channel
    reduced = gate.reduce_norm(gate.reduce(x.relu())).relu().flatten(2).detach()
    expected = torch.stack([torch.cov(one, correction=0) for one in reduced])
    torch.testing.assert_close(seen.covariances["channel"], expected, rtol=1e-4, atol=1e-5)
    assert seen.covariances["spatial"].shape == (2, 9, 9)


@pytest.mark.parametrize(
    ("view", "message"),
    [
        (lambda seen: seen.context_map, "has no map that all positions share"),
        (lambda seen: seen.descriptors, "gathers no descriptors"),
        (lambda seen: seen.branch_weights, "has no branches to select from"),
        (lambda seen: seen.covariances, "computes no covariance"),
        (lambda seen: seen.row_weights(), "has no weights of columns and rows"),
    ],
)
def test_what_a_mechanism_does_not_have_is_refused(view, message):
    seen, _ = recorded("pam", torch.randn(1, 8, 3, 3))
    with pytest.raises(InputError, match=rf"PAM {message}\nhint: it has .weights\(queries="):
        view(seen)


@pytest.mark.parametrize("name", ["pam", "non_local", "sagan"])
def test_no_table_of_all_pairs_is_built(name):
    """Of 4,096 positions it would have 64 MiB, or 16 with pooled keys; asking takes what a few hundred rows take."""
    block, x = saccade.create(name, channels=8).eval(), torch.randn(1, 8, 64, 64)

    def ask():
        with torch.no_grad(), saccade.record(block) as maps:
            block(x)
            maps[""].weights([(0, 0), (63, 63)])
            maps[""].query_dependence()
            attention_grid(maps[""], side=8)

    ask()
    assert height_of(ask, torch.device("cpu")) < 14
