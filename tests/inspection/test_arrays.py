"""Arrays from records: attention followed through several blocks, receptive fields, gates over depth."""

import pytest
import torch
from torch import nn

import saccade
from saccade.errors import InputError
from saccade.inspection import channel_gates, effective_receptive_field, rollout


def recorded(*blocks, size=(3, 4), channels=8):
    torch.manual_seed(0)
    model = nn.Sequential(*blocks).eval()
    for name, parameter in model.named_parameters():
        if "query" in name or "key" in name:
            nn.init.normal_(parameter, std=0.4)
    with torch.no_grad(), saccade.record(model) as maps:
        model(torch.randn(2, channels, *size))
    return list(maps.values())


def whole(seen, image):
    """The table of all pairs, which the lean way never builds."""
    height, width = seen.input.shape[-2:]
    rows = seen.weights([(y, x) for y in range(height) for x in range(width)])[image]
    return rows.flatten(1)


@pytest.mark.parametrize("residual", [0.0, 0.3, 1.0])
def test_rollout_is_the_product_of_the_tables(residual):
    first, second = recorded(saccade.create("pam", channels=8), saccade.create("pam", channels=8))
    queries = [(0, 0), (2, 3)]
    found = rollout([first, second], queries, image=1, residual=residual)
    tables = [residual * torch.eye(12) + (1 - residual) * whole(seen, 1) for seen in (first, second)]
    expected = (tables[1] @ tables[0])[[0, 11]].view(2, 3, 4)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(found.sum((1, 2)), torch.ones(2))


def test_rollout_keeps_weight_where_it_is_between_maps_of_two_sizes():
    pool = nn.AvgPool2d(2)
    first, second = recorded(saccade.create("pam", channels=8), pool, saccade.create("pam", channels=8), size=(4, 6))
    found = rollout([first, second], [(0, 0)], residual=1.0)  # nothing is attended to: the position itself
    expected = torch.zeros(1, 4, 6)
    expected[0, :2, :2] = 0.25
    torch.testing.assert_close(found, expected)
    mixed = rollout([first, second], [(1, 2)])
    torch.testing.assert_close(mixed.sum(), torch.tensor(1.0))


def test_rollout_refuses_products_and_nothing():
    (seen,) = recorded(saccade.create("non_local", channels=8, pairwise="dot_product", sub_sample=False))
    with pytest.raises(InputError, match="do not sum to 1"):
        rollout([seen], [(0, 0)])
    with pytest.raises(InputError, match="received 0 records"):
        rollout([], [(0, 0)])
    with pytest.raises(InputError, match="residual=2"):
        rollout([seen], [(0, 0)], residual=2)


def test_the_receptive_field_of_convolutions_is_their_kernel():
    convolution = nn.Conv2d(3, 5, 3, padding=1)
    nn.init.ones_(convolution.weight)
    field = effective_receptive_field(convolution, torch.randn(2, 3, 7, 9), at=(2, 4))
    expected = torch.zeros(7, 9)
    expected[1:4, 3:6] = 1 / 9
    torch.testing.assert_close(field, expected)
    assert convolution.weight.grad is None


def test_the_receptive_field_of_a_place_and_of_the_middle():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.AdaptiveAvgPool2d(1))
    field = effective_receptive_field(model, torch.randn(1, 3, 5, 7), place="0")
    assert float(field[2, 3]) == pytest.approx(1)
    assert float(effective_receptive_field(model, torch.randn(1, 3, 5, 7)).std()) < 1e-6
    with pytest.raises(InputError, match="has no module 'x'"):
        effective_receptive_field(model, torch.randn(1, 3, 5, 7), place="x")
    with pytest.raises(InputError, match=r"at=\(5, 0\) is outside the map of 5 x 7"):
        effective_receptive_field(model, torch.randn(1, 3, 5, 7), place="0", at=(5, 0))
    flat = nn.Sequential(nn.Flatten(), nn.Linear(3, 2))
    with pytest.raises(InputError, match=r"the output is not a feature map \(B, C, H, W\)"):
        effective_receptive_field(flat, torch.randn(1, 3, 1, 1))


def test_attention_widens_the_receptive_field_to_the_whole_map():
    block = saccade.create("pam", channels=3)
    images = torch.randn(1, 3, 6, 6)
    alone = effective_receptive_field(block, images, at=(3, 3))  # gamma is 0: the position itself
    assert float(alone[3, 3]) == pytest.approx(1)
    nn.init.ones_(block.gamma)
    assert (effective_receptive_field(block, images, at=(3, 3)) > 0).all()


def test_gates_come_in_the_order_in_which_they_ran():
    model = nn.ModuleDict({"b": saccade.create("se", channels=8), "a": saccade.create("eca", channels=8)})
    model.forward = lambda x: model["a"](model["b"](x))
    with torch.no_grad(), saccade.record(model) as maps:
        model(torch.randn(2, 8, 4, 4))
    gates = channel_gates(maps, image=1)
    assert list(gates) == ["b", "a"]
    torch.testing.assert_close(gates["b"], maps["b"].gate[1])
