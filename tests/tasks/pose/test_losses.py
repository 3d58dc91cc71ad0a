"""Losses of heat maps, and the accuracy that training reports: the cases that no recording has."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from saccade import InputError
from saccade.tasks.pose.losses import hardest_joints_loss, heatmap_loss, map_accuracy, offset_loss


def test_a_weight_counts_as_its_square() -> None:
    output, target = torch.rand(2, 3, 4, 5), torch.rand(2, 3, 4, 5)
    weights = torch.full((2, 3), 1.2)
    torch.testing.assert_close(heatmap_loss(output, target, weights), 1.44 * heatmap_loss(output, target))
    torch.testing.assert_close(heatmap_loss(output, target), 0.5 * ((output - target) ** 2).mean())


def test_the_hardest_of_all_joints_are_all() -> None:
    output, target = torch.rand(2, 3, 4, 5), torch.rand(2, 3, 4, 5)
    torch.testing.assert_close(hardest_joints_loss(output, target, hardest=3), heatmap_loss(output, target))
    assert hardest_joints_loss(output, target, hardest=1) > heatmap_loss(output, target)


@pytest.mark.parametrize("kind", ["mse", "smooth_l1"])
def test_offsets_count_inside_the_discs_only(kind: str) -> None:
    target = torch.zeros(1, 6, 4, 5)
    target[0, 0, 1, 2] = 1  # the disc of the first joint is a pixel, the second has none
    output = torch.ones(1, 6, 4, 5, requires_grad=True)
    discs, offsets = offset_loss(output, target, torch.ones(1, 2), kind=kind)
    offsets.backward()
    assert discs > 0
    assert output.grad is not None
    assert torch.count_nonzero(output.grad) == 2
    halved = offset_loss(output.detach(), target, torch.full((1, 2), 0.5), kind="mse", weighted_offsets=True)[1]
    assert halved == pytest.approx(0.25 * offset_loss(output.detach(), target, kind="mse")[1].item())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: heatmap_loss(x, x[:, :2]), "expected an output and a target"),
        (lambda x: heatmap_loss(x, x, torch.ones(1, 2)), r"weights \(N, K\); received shapes \(1, 3, 4, 5\)"),
        (lambda x: heatmap_loss(x, x, kind="l1"), "unknown kind='l1'"),
        (lambda x: hardest_joints_loss(x, x), "hardest= of at most the 3 joints; received 8"),
        (lambda x: hardest_joints_loss(x, x, hardest=0), "`hardest` must be a whole number"),
        (lambda x: offset_loss(x[:, :2], x[:, :2]), r"expected maps \(N, 3 K, H, W\)"),
    ],
)
def test_names_what_is_wrong(call: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call(torch.zeros(1, 3, 4, 5))


def test_a_joint_that_no_image_has_is_no_part_of_the_accuracy() -> None:
    target = torch.zeros(2, 3, 20, 20)
    target[:, 0, 10, 10] = target[:, 1, 8, 8] = 1  # none of the third
    output = torch.zeros(2, 3, 20, 20)
    output[:, 0, 10, 10] = output[0, 1, 8, 8] = output[1, 1, 15, 8] = 1
    fractions, mean, count = map_accuracy(output, target)
    assert fractions.tolist() == [1, 0.5, -1]
    assert (mean.item(), count) == (0.75, 2)
    nothing = map_accuracy(output, torch.zeros_like(target))
    assert (nothing[0].tolist(), nothing[1].item(), nothing[2]) == ([-1, -1, -1], 0, 0)


def test_axes_of_a_map_that_is_not_square() -> None:
    target, output = torch.zeros(1, 1, 40, 10), torch.zeros(1, 1, 40, 10)
    target[0, 0, 10, 4] = output[0, 0, 11, 4] = 1  # a row of 4 to a tenth of the height, of 1 to one of the width
    assert map_accuracy(output, target)[1] == 1
    assert map_accuracy(output, target, axes="released")[1] == 0
