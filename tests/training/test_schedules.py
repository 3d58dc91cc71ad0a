"""Rates of a step agree with torch's own schedulers and with formulas written out."""

import numpy as np
import pytest
import torch

from saccade.training.schedules import one_cycle, rate
from tests.ids import shown

from .tiny import recipe


def rates(**changes):
    how = recipe(steps=100, **changes)
    return np.array([rate(step, how) for step in range(100)])


def of_torch(make):
    """The rates that a scheduler of torch gives to 100 steps."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler, found = make(optimizer), []
    for _ in range(100):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return np.array(found)


def test_one_cycle_rises_for_a_fifth_and_ends_near_zero():
    found = np.array([one_cycle(step, 100, 0.2) for step in range(100)])
    assert found[0] == pytest.approx(1 / 25)
    assert found.argmax() == 19
    assert found.max() == 1
    assert found[-1] == pytest.approx(1e-5)
    assert (np.diff(found[20:]) < 0).all()


SCHEDULERS = torch.optim.lr_scheduler


@pytest.mark.parametrize(
    ("changes", "make"),
    [
        ({"schedule": "cosine"}, lambda o: SCHEDULERS.CosineAnnealingLR(o, 100)),
        ({"schedule": "poly"}, lambda o: SCHEDULERS.PolynomialLR(o, 100, power=0.9)),
        ({"schedule": "step", "decay_every": 0.3}, lambda o: SCHEDULERS.StepLR(o, 30)),
        ({"schedule": "step", "decay_every": 0.01, "decay": 0.98}, lambda o: SCHEDULERS.StepLR(o, 1, 0.98)),
        ({"schedule": "constant"}, lambda o: SCHEDULERS.ConstantLR(o, factor=1.0)),
    ],
    ids=shown,
)
def test_others_are_those_of_torch(changes, make):
    np.testing.assert_allclose(rates(warmup=0.0, **changes), of_torch(make), rtol=1e-9)


def test_they_begin_with_a_line():
    plain, risen = rates(schedule="cosine", warmup=0.0), rates(schedule="cosine", warmup=0.1)
    np.testing.assert_allclose(risen[:10], plain[:10] * np.arange(1, 11) / 10)
    np.testing.assert_array_equal(risen[10:], plain[10:])


def test_an_unknown_one_is_refused():
    with pytest.raises(ValueError, match=r"schedule must be one of .*cosine.*received 'cosin'"):
        recipe(schedule="cosin")
