"""The classes of training samples, counted: from them follow weights of the loss and the order of the samples."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from saccade.data.layouts import listed
from saccade.errors import InputError, near
from saccade.training.balance import BALANCED, BalanceOptions
from saccade.training.order import Groups

if TYPE_CHECKING:
    from saccade.data import OnProgress
    from saccade.tasks.base import Task

_AT_ONCE = 256


@dataclass(frozen=True)
class Composition:
    """The classes of training samples.

    Args:
        counts: (K,) samples, or pixels, of each class.
        groups: Samples of each class, and those of none.
        samples: Number of samples.
    """

    counts: NDArray[np.int64]
    groups: Groups
    samples: int


def composition(
    task: Task,
    target: Callable[[int], Any],
    samples: int,
    *,
    in_threads: bool = False,
    on_progress: OnProgress | None = None,
) -> Composition:
    """Read the targets of all training samples once.

    Args:
        task: Task that counts what a target holds.
        target: Reads the target of a sample by its index.
        samples: Number of samples.
        in_threads: If True, several targets are read at once.
        on_progress: Called with (done, total, what).

    Raises:
        InputError: A target cannot be read, or the task has no classes.
    """
    counts = np.zeros(len(task.classes), dtype=np.int64)
    members: list[list[int]] = [[] for _ in range(len(task.classes) + 1)]

    def one(index: int) -> tuple[Any, Any]:
        return task.amounts(target(index))

    with ThreadPoolExecutor() as pool:
        waiting, done = iter(range(samples)), 0
        while chunk := list(islice(waiting, _AT_ONCE)):
            found = pool.map(one, chunk) if in_threads else map(one, chunk)
            for index, (classes, amounts) in zip(chunk, found, strict=True):
                counts[classes] += amounts
                for number in classes if len(classes) else [-1]:
                    members[number].append(index)
            done += len(chunk)
            if on_progress is not None:
                on_progress(done, samples, "counting classes")
    return Composition(counts, Groups.of(members), samples)


def balanced_weights(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    r"""Weights that give every class the same part of the loss: :math:`w_c = n / (K n_c)`.

    n is the number of all samples, or pixels, and K the number of classes among them. A class that does not occur gets
    1, which multiplies nothing. G. King, L. Zeng, "Logistic Regression in Rare Events Data", Political Analysis 9,
    2001; the rule of the same name in scikit-learn.

    Args:
        counts: (K,) samples, or pixels, of each class.
    """
    there = counts > 0
    return np.where(there, counts.sum() / (max(1, there.sum()) * np.maximum(1, counts)), 1.0)


def weights_of(
    given: str | os.PathLike[str] | Mapping[str, float] | None, task: Task, found: Callable[[], Composition]
) -> tuple[float, ...] | None:
    """Return the weight of each class in the order of a task's classes; None where there are none.

    Args:
        given: Weights as :func:`given_weights` returned them.
        task: Task with the classes.
        found: Gives the composition of the training samples, asked for only if it is needed.

    Raises:
        InputError: A class without a weight, a weight of no class, or a task that has no classes.
    """
    if given is None:
        return None
    if not isinstance(given, Mapping):
        return tuple(map(float, task.balanced(found())))
    missing = [name for name in task.classes if name not in given]
    unknown = [name for name in given if name not in task.classes]
    if missing or unknown:
        said = [f"{listed(missing)} without a weight"] if missing else []
        said += [f"{listed(unknown)} not among the classes"] if unknown else []
        close = near(unknown[0], missing or task.classes) if unknown else None
        raise InputError(f"--class-weights: {'; '.join(said)}", close or "every class needs one weight")
    return tuple(float(given[name]) for name in task.classes)


@dataclass(frozen=True)
class Balance:
    """What a training does about rare classes, decided.

    Args:
        weights: Weight of each class in the loss; None weighs all alike.
        groups: Groups of samples that are drawn equally often; None: each sample comes once an epoch.
    """

    weights: tuple[float, ...] | None = None
    groups: Groups | None = None

    @classmethod
    def decide(
        cls,
        options: BalanceOptions,
        task: Task,
        found: Callable[[], Composition],
        known: Mapping[str, float] | None = None,
    ) -> Balance:
        """Decide what the options ask for.

        Args:
            options: Weights and sampling as asked.
            task: Task with the classes.
            found: Gives the composition of the training samples, asked for only if it is needed.
            known: Weights that a run to be resumed has recorded, by class.

        Raises:
            InputError: See :func:`weights_of` and :func:`composition`.
        """
        seen = cache(found)
        given = known if known is not None and options.class_weights == BALANCED else options.class_weights
        weights = weights_of(given, task, seen)
        return cls(weights, seen().groups if options.sampling == BALANCED else None)

    def recorded(self, classes: Sequence[str]) -> dict[str, Any]:
        """Return what a record says of it: the weights by class."""
        return {} if self.weights is None else {"class_weights": dict(zip(classes, self.weights, strict=True))}

    def said(self, classes: Sequence[str]) -> list[str]:
        """Return it as lines of text."""
        found = [f"{name} {weight:.3g}" for name, weight in zip(classes, self.weights or (), strict=False)]
        lines = [f"weights of classes in the loss: {listed(found)}"] if found else []
        return lines + (["every class is drawn equally often"] if self.groups is not None else [])
