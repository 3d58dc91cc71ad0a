"""What one process does alone, the others wait for: longer than any barrier would."""

import threading

import pytest
import torch

from saccade.training import distributed
from saccade.training.distributed import SingleProcess, by_the_first


class Pair:
    """Two processes, as threads that add up what each brings."""

    def __init__(self):
        self.barrier, self.given = threading.Barrier(2), {}

    def of(self, index):
        where = SingleProcess()
        where.processes, where.index = 2, index

        def add(tensor):
            self.given[index] = tensor
            self.barrier.wait(10)
            total = sum(self.given.values())
            self.barrier.wait(10)
            return total

        where.sum = add
        return where


def test_the_others_are_met_again_and_again_until_it_is_done(monkeypatch):
    monkeypatch.setattr(distributed, "_BEAT", 0.02)
    pair, meetings, order = Pair(), [], []
    first, second = pair.of(0), pair.of(1)
    meet = second.sum
    second.sum = lambda tensor: meetings.append(1) or meet(tensor)

    def work():
        while len(meetings) < 3:
            pass
        order.append("worked")

    other = threading.Thread(target=lambda: (by_the_first(second, None), order.append("went on")))
    other.start()
    by_the_first(first, work)
    other.join(10)
    assert order == ["worked", "went on"]
    assert len(meetings) >= 3


def test_what_goes_wrong_is_raised_in_the_first(monkeypatch):
    monkeypatch.setattr(distributed, "_BEAT", 0.02)

    def fails():
        raise ValueError("refused")

    for where in (Pair().of(0), SingleProcess(torch.device("cpu"))):
        with pytest.raises(ValueError, match="refused"):
            by_the_first(where, fails)
