"""Suppression by similarity of key points: ties, the soft variant's limit, and scores without a certain joint."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from saccade import InputError
from saccade.tasks.pose.joints import COCO_SIGMAS
from saccade.tasks.pose.suppression import rescored, similarity, suppress, suppress_softly


@pytest.mark.parametrize("count", [5, 17, 40])
def test_of_equal_scores_the_later_is_better(count: int) -> None:
    scores = torch.full((count,), 0.5)
    assert suppress(torch.eye(count), scores).tolist() == [*range(count)][::-1]
    assert suppress(torch.ones(count, count), scores).tolist() == [count - 1]


def test_the_soft_variant_keeps_at_most_twenty_and_drops_none_before() -> None:
    for count in (3, 20, 33):
        scores = torch.full((count,), 0.5)
        kept = suppress_softly(torch.eye(count, dtype=torch.float64), scores)
        assert len(kept) == min(count, 20)
        assert len(set(kept.tolist())) == len(kept)
    similar = torch.tensor([[1.0, 0.99, 0], [0.99, 1, 0], [0, 0, 1]], dtype=torch.float64)
    assert suppress_softly(similar, torch.tensor([0.9, 0.8, 0.5])).tolist() == [0, 2, 1]
    assert suppress(similar, torch.tensor([0.9, 0.8, 0.5])).tolist() == [0, 2]


def test_a_person_without_a_certain_joint_scores_nothing() -> None:
    joints = torch.tensor([[0.2, 0.1, 0.0], [0.2, 0.6, 0.8]])
    torch.testing.assert_close(rescored(torch.tensor([0.9, 0.5]), joints), torch.tensor([0.0, 0.35]))


def test_similarity_of_any_number_of_joints() -> None:
    points = torch.rand(4, 3, 2) * 10
    similar = similarity(points, torch.full((4,), 100.0), [0.05, 0.1, 0.2])
    torch.testing.assert_close(similar.diagonal(), torch.ones(4, dtype=torch.float64))
    torch.testing.assert_close(similar, similar.mT)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: similarity(torch.zeros(2, 5, 2), torch.ones(2), COCO_SIGMAS),
            "expected 5, one per joint; received 17",
        ),
        (lambda: similarity(torch.zeros(2, 2, 2), torch.ones(2), [0.1, 0.0]), "finite numbers above 0"),
        (lambda: similarity(torch.zeros(2, 1, 2), torch.ones(2), [float("nan")]), "finite numbers above 0"),
        (lambda: suppress(torch.ones(2, 3), torch.ones(2)), r"similarities \(P, P\) and scores \(P,\)"),
        (lambda: suppress(torch.ones(1, 1), torch.tensor([float("nan")])), "a score is not a number"),
    ],
)
def test_names_what_is_wrong(call: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()


def test_no_detection_at_all() -> None:
    none = torch.zeros(0)
    assert suppress(torch.zeros(0, 0), none).tolist() == []
    assert suppress_softly(torch.zeros(0, 0), none).tolist() == []
