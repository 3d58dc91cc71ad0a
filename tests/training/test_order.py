"""Every sample once an epoch, in an order that only the seed decides."""

import numpy as np

from saccade.training.order import batch_at


def test_epochs_follow_each_other_without_a_gap():
    parts = [batch_at(step, count=7, batch=3, seed=5) for step in range(7)]
    indices, epochs = (np.concatenate([part[i] for part in parts]) for i in range(2))
    for epoch in range(3):
        assert sorted(indices[epochs == epoch]) == list(range(7))
    assert (np.diff(epochs) >= 0).all()


def test_the_seed_decides():
    same = [batch_at(2, count=50, batch=8, seed=1)[0] for _ in range(2)]
    np.testing.assert_array_equal(*same)
    assert (batch_at(2, count=50, batch=8, seed=2)[0] != same[0]).any()
