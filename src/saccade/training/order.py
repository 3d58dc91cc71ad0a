"""Order of the samples: a function of seed and step alone, so that resuming skips nothing and loads nothing."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Indices = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Groups:
    r"""Groups of samples that are drawn equally often: class-aware sampling.

    An epoch is a row of groups, each of them once in a shuffled order, then each once again, until as many samples are
    drawn as there are. A group gives its samples in a shuffled order and begins again where they end. So a sample of a
    group of :math:`n_c` of K groups is drawn with an expectation of :math:`n / (K n_c)` per epoch, summed over the
    groups that it is in.

    L. Shen, Z. Lin, Q. Huang, "Relay Backpropagation for Effective Learning of Deep Convolutional Neural Networks",
    ECCV 2016, arXiv:1512.05830; with images of several classes as in T. Wu et al., "Distribution-Balanced Loss for
    Multi-Label Classification in Long-Tailed Datasets", ECCV 2020, arXiv:2007.09654.

    Args:
        members: Indices of the samples of each group, none of them empty; a sample may be in several.
    """

    members: tuple[Indices, ...]

    @classmethod
    def of(cls, members: Iterable[ArrayLike]) -> Groups:
        """Make groups of all those that have samples."""
        found = (np.asarray(one, dtype=np.int64) for one in members)
        return cls(tuple(one for one in found if len(one)))

    def epoch(self, count: int, seed: int, epoch: int) -> Indices:
        """Draw the samples of one epoch.

        Args:
            count: Number of samples to draw.
            seed: Seed of the order.
            epoch: Number of the epoch, from 0.
        """
        random = np.random.default_rng([seed, epoch, 1])
        rounds = -(-count // len(self.members))
        order = np.concatenate([random.permutation(len(self.members)) for _ in range(rounds)])[:count]
        drawn = np.empty(count, dtype=np.int64)
        for number, group in enumerate(self.members):
            places = np.flatnonzero(order == number)
            times = -(-len(places) // len(group))
            drawn[places] = np.concatenate([random.permutation(group) for _ in range(max(1, times))])[: len(places)]
        return drawn


_TOGETHER = 16_384  # samples of neighbouring shards that are shuffled together


@dataclass(frozen=True, eq=False)
class Shards:
    """An order in which neighbouring samples come from few shards, so that disks read long stretches.

    An epoch is a row of shards, each of them once, in a shuffled order. Of as many as hold 16,384 samples all samples
    are shuffled together; smaller data are shuffled as a whole.

    Args:
        starts: Index of the first sample of each shard.
        counts: Number of samples of each shard.
    """

    starts: tuple[int, ...]
    counts: tuple[int, ...]

    def epoch(self, count: int, seed: int, epoch: int) -> Indices:
        """Return the samples of one epoch, each of them once.

        Args:
            count: Number of samples, which is that of all shards.
            seed: Seed of the order.
            epoch: Number of the epoch, from 0.
        """
        random = np.random.default_rng([seed, epoch, 2])
        order: list[Indices] = []
        waiting: list[Indices] = []
        for shard in random.permutation(len(self.counts)).tolist():
            waiting.append(np.arange(self.starts[shard], self.starts[shard] + self.counts[shard]))
            if sum(map(len, waiting)) >= _TOGETHER:
                order.append(random.permutation(np.concatenate(waiting)))
                waiting = []
        if waiting:
            order.append(random.permutation(np.concatenate(waiting)))
        return np.concatenate(order)


def shard_order(counts: Sequence[int]) -> Shards | None:
    """Return the order of samples in shards; None without shards.

    Args:
        counts: Number of samples of each shard, in their order.
    """
    if not counts:
        return None
    starts = np.cumsum([0, *counts[:-1]]).tolist()
    return Shards(tuple(starts), tuple(counts))


@functools.lru_cache(maxsize=2)
def _order(count: int, seed: int, epoch: int, groups: Groups | Shards | None = None) -> Indices:
    if groups is not None:
        return groups.epoch(count, seed, epoch)
    return np.random.default_rng([seed, epoch]).permutation(count)


def batch_at(
    step: int, *, count: int, batch: int, seed: int, groups: Groups | Shards | None = None
) -> tuple[Indices, Indices]:
    """Indices of the samples of a step, and the number that tells each from its other times in the training.

    Epochs follow each other without a gap. Where each sample comes once an epoch, that number is the epoch; in an
    order by groups, where it may come several times, it is the position in the whole training.

    Args:
        step: Number of the step, from 0.
        count: Number of samples, which is that of an epoch.
        batch: Samples a step.
        seed: Another seed, another order.
        groups: Groups that are drawn equally often, or an order by shards; None: each sample comes once an epoch.
    """
    positions = np.arange(step * batch, (step + 1) * batch)
    epochs, places = positions // count, positions % count
    rows: Sequence[np.int64] = [_order(count, seed, int(e), groups)[p] for e, p in zip(epochs, places, strict=True)]
    return np.array(rows), positions if isinstance(groups, Groups) else epochs
