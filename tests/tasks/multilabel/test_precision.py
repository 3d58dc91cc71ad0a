"""Average precision agrees with scikit-learn, weighted and with ties; scores are resampled by it."""

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, f1_score
from torch import nn

from saccade.comparison.statistics import bootstrap_se
from saccade.tasks.base import mean_loss
from saccade.tasks.multilabel.precision import average_precisions
from saccade.tasks.multilabel.task import MultiLabel
from saccade.training.composition import composition, weights_of


def drawn(seed=0, n=40, k=4):
    """Probabilities with many ties; class 2 does not occur."""
    rng = np.random.default_rng(seed)
    there = (rng.random((n, k)) < [0.5, 0.1, 0.0, 0.9]).astype(np.uint8)
    given = np.round(np.clip(0.4 * there + 0.7 * rng.random((n, k)), 0, 1), 1).astype(np.float32)
    return given, there


@pytest.mark.parametrize("seed", range(4))
def test_it_is_that_of_scikit_learn(seed):
    given, there = drawn(seed)
    weights = np.random.default_rng(seed).integers(0, 4, (3, 40)).astype(float)
    weights[0] = 1
    found = average_precisions(given, there, weights)
    for row, times in zip(found, weights, strict=True):
        for k in range(4):
            if not (times @ there[:, k]):
                assert np.isnan(row[k])
            else:
                expected = average_precision_score(there[:, k], given[:, k], sample_weight=times)
                assert row[k] == pytest.approx(expected, abs=1e-12)


def test_scores_and_those_of_classes():
    given, there = drawn()
    task = MultiLabel("abcd")
    evidence = task.evidence(torch.from_numpy(given), torch.from_numpy(there))
    found, each = task.scores(evidence), task.by_class(evidence)
    occurs = [0, 1, 3]
    assert found["mAP"] == pytest.approx(average_precision_score(there[:, occurs], given[:, occurs]))
    assert each["c"] is None
    assert each["b"] == pytest.approx(average_precision_score(there[:, 1], given[:, 1]))
    guessed = given >= 0.5
    f1 = f1_score(there, guessed, average=None, zero_division=0)[(there | guessed).any(axis=0)]
    assert found["macro_f1"] == pytest.approx(f1.mean())


@pytest.mark.parametrize("metric", MultiLabel.metrics)
def test_they_are_resampled_as_if_images_were_drawn(metric):
    task, draws = MultiLabel("abcd").scored_by(metric), np.random.default_rng(3)
    true = torch.from_numpy(drawn(1)[1])
    runs = [[task.evidence(torch.from_numpy(drawn(seed)[0]), true)] for seed in (2, 3)]
    found = []
    for _ in range(20):
        chosen = draws.integers(40, size=40)
        scores = [task.score({name: array[chosen] for name, array in run[0].items()}) for run in runs]
        found.append(scores[1] - scores[0])
    assert bootstrap_se(*runs, resampled=task.resampled, draws=20, seed=3) == pytest.approx(np.std(found, ddof=1))


def test_the_loss_is_torch_s_with_weights_of_positives():
    logits, targets = torch.randn(6, 4), torch.from_numpy(drawn(5, 6)[1])
    task = MultiLabel("abcd")
    plain = nn.BCEWithLogitsLoss()(logits, targets.float())
    torch.testing.assert_close(mean_loss(task, logits, targets), plain)
    for weights in ([2.0, 0.5, 3.0, 1.0], [4.0] * 4):
        expected = nn.BCEWithLogitsLoss(pos_weight=torch.tensor(weights))(logits, targets.float())
        weighed = task.fitted(nn.Identity(), class_weights=weights)
        torch.testing.assert_close(mean_loss(weighed, logits, targets), expected)
    assert mean_loss(task.fitted(nn.Identity(), class_weights=[1.0] * 4), logits, targets) == plain


def test_balanced_weights_and_groups():
    there = np.array([[1, 0, 1], [0, 0, 1], [1, 1, 1], [0, 0, 1]], dtype=np.uint8)
    task = MultiLabel("abc")
    found = composition(task, there.__getitem__, 4)
    assert weights_of("balanced", task, lambda: found) == (1.0, 3.0, 1.0)
    assert [group.tolist() for group in found.groups.members] == [[0, 2], [2], [0, 1, 2, 3]]
    unlabelled = composition(task, np.zeros((2, 3), dtype=np.uint8).__getitem__, 2)
    assert [group.tolist() for group in unlabelled.groups.members] == [[0, 1]]


def test_rows_say_classes_and_probabilities():
    task = MultiLabel("abc")
    row = task.row(torch.tensor([0.25, 0.75, 0.5]))
    assert row == {"classes": ["b", "c"], "probabilities": {"a": 0.25, "b": 0.75, "c": 0.5}}
    assert task.cells(row)["classes"] == "b;c"
    assert task.cells(row)["probability of a"] == 0.25
    assert task.said(row) == "b 0.750, c 0.500"
    assert "none" in task.said(task.row(torch.tensor([0.25, 0.1, 0.1])))
