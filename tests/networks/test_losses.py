"""The loss over pixels: sums and counts, ignored pixels, hard pixels."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from saccade import InputError
from saccade.networks.losses import HardPixels, pixel_loss
from saccade.networks.segmentation import Segmenter


def drawn(batch: int = 3) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    targets = torch.randint(0, 4, (batch, 5, 7), dtype=torch.uint8)
    targets[:, :2] = 255
    return torch.randn(batch, 4, 5, 7, dtype=torch.float64, requires_grad=True), targets


def one_by_one(logits: Tensor, targets: Tensor) -> list[float]:
    """Cross-entropies of the pixels with a class, in plain Python."""
    found = []
    for b in range(len(targets)):
        for y in range(5):
            for x in range(7):
                if targets[b, y, x] != 255:
                    row = logits[b, :, y, x].tolist()
                    found.append(math.log(sum(map(math.exp, row))) - row[int(targets[b, y, x])])
    return found


def test_sum_and_count_over_the_pixels_that_have_a_class() -> None:
    logits, targets = drawn()
    total, count = pixel_loss(logits, targets)
    expected = one_by_one(logits, targets)
    assert count == len(expected) == 3 * 3 * 7
    assert total.item() == pytest.approx(sum(expected))
    total.backward()
    assert logits.grad is not None
    assert not logits.grad[:, :, :2].any()


def test_nothing_to_learn_from_is_no_nan() -> None:
    logits, targets = drawn()
    for hard in (None, HardPixels(0.7)):
        total, count = pixel_loss(logits, torch.full_like(targets, 255), hard=hard)
        assert (total.item(), count.item()) == (0, 0)
        total.backward()
    assert logits.grad is not None
    assert not logits.grad.any()


@pytest.mark.parametrize(("probability", "pixels"), [(0.25, 1), (0.01, 4), (0.01, 1000), (1.0, 1), (0.3, 7)], ids=str)
def test_hard_pixels_are_those_below_the_probability_or_the_hardest(probability: float, pixels: int) -> None:
    logits, targets = drawn()
    ranked = sorted(one_by_one(logits, targets), reverse=True)
    hard = [loss for loss in ranked if math.exp(-loss) <= probability]
    least = ranked[: 3 * pixels]
    expected = hard if len(hard) >= len(least) else least
    total, count = pixel_loss(logits, targets, hard=HardPixels(probability, pixels))
    assert count == len(ranked)
    assert (total / count).item() == pytest.approx(sum(expected) / len(expected))


def test_half_precision_is_widened() -> None:
    logits, targets = drawn()
    total, _ = pixel_loss(100 * logits.half(), targets)
    assert total.dtype == torch.float32
    assert total.isfinite()


class _Given(nn.Module):
    def forward(self, x: Tensor) -> list[Tensor]:
        return [x]


def test_outputs_are_weighed_and_counted_once() -> None:
    logits, targets = drawn()
    net = Segmenter(_Given(), nn.Identity(), weights=(1.0, 0.4))
    total, count = net.loss((logits, 2 * logits), targets)
    first, second = (pixel_loss(y, targets)[0] for y in (logits, 2 * logits))
    assert total.item() == pytest.approx((first + 0.4 * second).item())
    assert count == 3 * 3 * 7
    assert net.loss(logits, targets)[0] == first  # of a network in evaluation
    with pytest.raises(InputError, match="expected 2 outputs of the network; received 3"):
        net.loss((logits, logits, logits), targets)
    with pytest.raises(InputError, match=r"expected targets \(3, 5, 7\) .* received shape \(3, 5, 6\)"):
        net.loss(logits, targets[:, :, 1:])


def test_sums_of_parts_give_the_mean_of_the_whole() -> None:
    """With as many pixels ignored as there may be in one part, a mean of means would be another number."""
    logits, targets = drawn(4)
    targets[0] = 255
    net = Segmenter(_Given(), nn.Identity())
    parts = [net.loss((logits[i : i + 2],), targets[i : i + 2]) for i in (0, 2)]
    whole = net.loss((logits,), targets)
    total, count = (sum(values) for values in zip(*parts, strict=True))
    assert (total / count).item() == pytest.approx((whole[0] / whole[1]).item())
