"""Losses and counts agree with formulas written out and with scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.metrics import jaccard_score

from saccade.data import IGNORE
from saccade.tasks.base import mean_loss
from saccade.tasks.classification.task import Classification
from saccade.tasks.ratios import score
from saccade.tasks.segmentation.task import Segmentation


def maps(seed=0, n=3, k=4, size=(9, 7)):
    rng = np.random.default_rng(seed)
    targets = torch.from_numpy(rng.integers(0, k, (n, *size)).astype(np.uint8))
    targets[:, 2:4] = IGNORE
    return torch.from_numpy(rng.integers(0, k, (n, *size)).astype(np.uint8)), targets


def test_mean_iou_agrees_with_scikit_learn():
    predictions, targets = maps()
    counts = Segmentation("abcd").evidence(predictions, targets)["counts"]
    valid = targets != IGNORE
    expected = jaccard_score(targets[valid].numpy(), predictions[valid].numpy(), average="macro")
    assert score(counts) == pytest.approx(expected, abs=1e-12)


def test_counts_of_images_add_up():
    predictions, targets = maps()
    task = Segmentation("abcd")
    alone = np.concatenate([task.evidence(predictions[i : i + 1], targets[i : i + 1])["counts"] for i in range(3)])
    np.testing.assert_array_equal(task.evidence(predictions, targets)["counts"], alone)


def test_segmentation_loss_reads_the_middle_of_each_cell_and_leaves_ignored_pixels_out():
    logits = torch.randn(2, 3, 2, 2, dtype=torch.float64)
    targets = torch.full((2, 8, 8), IGNORE, dtype=torch.uint8)
    targets[0, 2, 6], targets[1, 6, 2] = 1, 2
    total = -logits.log_softmax(1)[0, 1, 0, 1] - logits.log_softmax(1)[1, 2, 1, 0]
    found, count = Segmentation("abc").loss(logits, targets)
    torch.testing.assert_close(found, total)
    assert count == 2


def test_a_batch_without_a_valid_pixel_has_no_loss():
    logits = torch.randn(1, 3, 4, 4, requires_grad=True)
    loss = mean_loss(Segmentation("abc"), logits, torch.full((1, 4, 4), IGNORE, dtype=torch.uint8))
    loss.backward()
    assert loss.item() == 0
    assert not logits.grad.any()


def test_accuracy_counts_the_right_ones():
    task = Classification("abc")
    probabilities = task.predict(torch.tensor([[0.0, 2, 1], [3, 0, 0], [0, 0, 5]]), (8, 8))
    counts = task.evidence(probabilities, torch.tensor([1, 2, 2]))["counts"]
    assert counts.tolist() == [[[1, 1]], [[0, 1]], [[1, 1]]]
    torch.testing.assert_close(probabilities.sum(1), torch.ones(3))
