"""Sources of batches: for each step the images and targets of this process, in parts, whatever they come from.

The order is a function of (seed, epoch), augmentation of (seed, epoch, index). So the number of worker processes
changes nothing, resuming loads nothing that was seen before, and any number of processes sees the same batches.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from saccade.data import Arrays
from saccade.errors import InputError
from saccade.tasks.trees import leaves, tensors
from saccade.training.order import Groups, Shards, batch_at
from saccade.training.readers import Readers, begin_reading, fitting, note, reading
from saccade.training.recipe import Recipe

Key = tuple[int, int]
"""Epoch and index of a sample; in an order by groups, position in the training and index."""

_NO_EPOCH = 2**31  # of validation samples: an epoch, or a position, that training does not reach
_MAY_LOAD_SECONDS = 1800


class Batch(NamedTuple):
    """Images (B, 3, H, W), uint8 or as the network reads them, and their targets: any tree of tensors."""

    images: Tensor
    targets: Any


Augment = Callable[..., tuple[Tensor, Any]]
"""Changes images and targets as a pure function of ``keys``, to images of side ``size``."""


@dataclass(frozen=True)
class Share:
    """Part of every batch that a process computes, and the number of pieces it is computed in.

    Args:
        index: Rank of this process.
        processes: Number of processes.
        parts: Number of parts, computed one after another.
    """

    index: int = 0
    processes: int = 1
    parts: int = 1

    def of(self, batch: list[Key]) -> list[list[Key]]:
        """The parts of this process."""
        mine = batch[self.index :: self.processes]
        size = len(mine) // self.parts
        return [mine[start : start + size] for start in range(0, len(mine), size)]

    def check(self, batch: int) -> None:
        """Refuse a batch that cannot be shared evenly.

        Raises:
            InputError: It is not a multiple of processes times parts.
        """
        if batch % (self.processes * self.parts):
            raise InputError(
                f"batch={batch} cannot be divided among {self.processes} processes x {self.parts} parts (accumulate)",
                "choose a multiple; the batch is that of all processes together",
            )


class Source(Protocol):
    """Source of batches for the loop."""

    def steps(self, recipe: Recipe, first: int, share: Share) -> Generator[list[Batch]]:
        """The parts of one process, step by step, from step `first` to the last; closed when it is no longer needed."""

    def names(self, recipe: Recipe, step: int) -> list[str]:
        """Return the names of the samples of a step, all processes together."""


class ArraySource:
    """Images in memory, or in memory maps.

    Args:
        data: uint8 images and targets.
        augment: Changes training batches; None: they stay as they are.
        groups: Groups of samples that are drawn equally often; None: each sample comes once an epoch.
    """

    def __init__(self, data: Arrays, *, augment: Augment | None = None, groups: Groups | None = None) -> None:
        self.data = data
        self.augment = augment
        self.groups = groups

    def steps(self, recipe: Recipe, first: int, share: Share) -> Generator[list[Batch]]:
        for step in range(first, recipe.steps):
            yield [self.batch(part, recipe.seed) for part in share.of(self._keys(recipe, step))]

    def names(self, recipe: Recipe, step: int) -> list[str]:
        return [self.data.train.names[index] for _, index in self._keys(recipe, step)]

    def batch(self, keys: Sequence[Key], seed: int) -> Batch:
        """Some samples as the network is to see them."""
        split = self.data.train
        indices = [index for _, index in keys]
        images = torch.from_numpy(split.images[indices]).permute(0, 3, 1, 2)
        targets = tensors(split.targets, indices)
        if self.augment is not None:
            side = self.data.val.images.shape[1]  # training images may be kept larger, to crop from
            images, targets = self.augment(images, targets, size=side, keys=[(seed, *key) for key in keys])
        return Batch(images, targets)

    def _keys(self, recipe: Recipe, step: int) -> list[Key]:
        return keys_at(recipe, step, len(self.data.train.images), self.groups)


class LoaderSource:
    """Any torch Dataset that is indexed by numbers and gives (image, target), read by worker processes.

    Args:
        dataset: Its random augmentation may draw from torch, numpy or random: all three are seeded for each sample.
        workers: Processes that read; 0: none but this one.
        name: Gives the name of a sample, for messages.
        device: Device of the batches; for a GPU they are put into page-locked memory.
        groups: Groups of samples that are drawn equally often, or an order by shards; None: each sample comes once an
            epoch, in any order.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        *,
        workers: int = 0,
        name: Callable[[int], str] = "sample {}".format,
        device: torch.device | None = None,
        groups: Groups | Shards | None = None,
    ) -> None:
        self.dataset = dataset
        self.groups = groups
        self.workers = workers
        self.name = name
        self.pin = device is not None and device.type == "cuda"

    def __len__(self) -> int:
        return _length(self.dataset)

    def steps(self, recipe: Recipe, first: int, share: Share) -> Generator[list[Batch]]:
        every = (part for step in range(first, recipe.steps) for part in share.of(self._keys(recipe, step)))
        with closing(self._batches(every, recipe.seed)) as batches:  # which ends the workers
            for _ in range(first, recipe.steps):
                yield [next(batches) for _ in range(share.parts)]

    def names(self, recipe: Recipe, step: int) -> list[str]:
        return [self.name(index) for _, index in self._keys(recipe, step)]

    def once(self, batch: int, share: Share | None = None, *, seed: int = 0) -> Generator[Batch]:
        """Every sample of this process once, in order; the last batch may be smaller."""
        share = share or Share()
        mine = range(share.index, _length(self.dataset), share.processes)
        parts = ([(_NO_EPOCH, i) for i in mine[start : start + batch]] for start in range(0, len(mine), batch))
        return self._batches(parts, seed)

    def _keys(self, recipe: Recipe, step: int) -> list[Key]:
        return keys_at(recipe, step, _length(self.dataset), self.groups)

    def _batches(self, keys: Iterator[list[Key]], seed: int) -> Generator[Batch]:
        first = next(keys, None)
        if first is None:
            return
        samples, keys = _Seeded(self.dataset, seed), chain([first], keys)
        workers = self._room(samples, first) if self.workers else 0
        readers = Readers(workers, self.name) if workers else None
        begin = partial(begin_reading, os.getpid(), readers) if readers else None
        loader = DataLoader(
            samples, batch_sampler=keys, num_workers=workers, collate_fn=_collated, pin_memory=self.pin,
            worker_init_fn=begin, generator=torch.Generator(), timeout=_MAY_LOAD_SECONDS if workers else 0,
        )  # fmt: skip
        with reading(loader, readers) as found:
            for one in found:
                yield Batch(*self._usable(one))

    def _room(self, samples: _Seeded, keys: Sequence[Key]) -> int:
        """Number of reading processes that shared memory has room for, judged by the first sample."""
        one = self._usable(samples[keys[0]])
        return fitting(self.workers, len(keys) * sum(int(getattr(leaf, "nbytes", 8)) for leaf in leaves(one.content)))

    def _usable(self, found: Any) -> Any:
        if isinstance(found, _Failure):
            raise InputError(
                f"{self.name(found.index)} cannot be used: {found.text}",
                "saccade data check DATA names every file of that kind",
            )
        return found


def keys_at(recipe: Recipe, step: int, count: int, groups: Groups | Shards | None = None) -> list[Key]:
    """Epoch (in an order by groups: position) and index of every sample of a step, all processes together."""
    indices, epochs = batch_at(step, count=count, batch=recipe.batch, seed=recipe.seed, groups=groups)
    return list(zip(epochs.tolist(), indices.tolist(), strict=True))


def seed_of(*parts: int) -> int:
    """One seed of 64 bits for a tuple of whole numbers from 0; other tuples, other seeds."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0])


def check_batch(batch: int, images: int) -> None:
    """Refuse a batch with some images twice.

    Raises:
        InputError: It is larger than the training side.
    """
    if batch > images:
        raise InputError(
            f"batch={batch} is more than there are training images: {images}",
            f"choose {images} at most, or leave --batch out",
        )


def check_memory(batch: int, shape: tuple[int, int]) -> None:
    """Refuse a batch that does not fit into the memory of this machine even before a network has seen it.

    Args:
        batch: Images that are in memory at a time.
        shape: Their height and width.

    Raises:
        InputError: As numbers of 32 bits its images need more bytes than there are.
    """
    names = getattr(os, "sysconf_names", {})  # Windows has none
    if "SC_PHYS_PAGES" not in names or "SC_PAGE_SIZE" not in names:
        return
    needed, there = batch * 3 * shape[0] * shape[1] * 4, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if needed > there > 0:
        raise InputError(
            f"{batch} images of {shape[0]} x {shape[1]} at a time take {needed / 2**30:,.0f} GiB, and this machine has "
            f"{there / 2**30:,.0f}",
            "choose a smaller --batch or --size, or divide each step with --accumulate",
        )


def cores() -> int:
    """Processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class _Failure:
    """A sample that could not be read: said in the main process, without the traceback of a worker."""

    index: int
    text: str


@dataclass(frozen=True)
class _Sample:
    """A sample that was read."""

    index: int
    content: Any


class _Seeded(Dataset[Any]):
    """A data set whose random numbers depend on seed, epoch and index alone."""

    def __init__(self, dataset: Dataset[Any], seed: int) -> None:
        self.dataset = dataset
        self.seed = seed

    def __getitem__(self, key: Key) -> Any:
        note(key[1])
        before = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002 (the global generator)
        seed = seed_of(self.seed, *key)
        torch.default_generator.manual_seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        random.seed(seed)
        try:
            return _Sample(key[1], tuple(self.dataset[key[1]]))
        except Exception as cause:  # whatever reading raises belongs to this sample
            return _Failure(key[1], getattr(cause, "whole", "") or str(cause) or type(cause).__name__)
        finally:
            torch.set_rng_state(before[0])
            np.random.set_state(before[1])  # noqa: NPY002
            random.setstate(before[2])


def _collated(samples: list[_Sample | _Failure]) -> Any:
    good = [sample for sample in samples if isinstance(sample, _Sample)]
    if len(good) < len(samples):
        return next(sample for sample in samples if isinstance(sample, _Failure))
    try:
        return default_collate([sample.content for sample in good])
    except Exception as cause:  # whatever keeps samples from becoming a batch
        return _misfit(good, cause)


def _misfit(samples: Sequence[_Sample], cause: Exception) -> _Failure:
    """Find the sample that has another form than most of its batch."""
    forms = [_form(sample.content) for sample in samples]
    usual = max(forms, key=forms.count)
    for sample, form in zip(samples, forms, strict=True):
        if form != usual:
            return _Failure(sample.index, f"it has {form}, and others of its batch have {usual}")
    text = str(cause).strip().splitlines() or [type(cause).__name__]
    return _Failure(samples[0].index, f"a batch cannot be made of it and others like it: {text[0]}")


def _form(content: Any) -> str:
    """Shapes and dtypes of a sample, in words."""
    said = [
        f"{tuple(leaf.shape)} {str(leaf.dtype).removeprefix('torch.')}"
        if hasattr(leaf, "shape")
        else type(leaf).__name__
        for leaf in leaves(content)
    ]
    return ", ".join(said)


def _length(dataset: Dataset[Any]) -> int:
    try:
        return len(dataset)  # type: ignore[arg-type]
    except TypeError as cause:
        raise InputError(
            f"{type(dataset).__name__} has no length: expected a dataset that is indexed by numbers",
            "an iterable one gives no order that could be repeated after a stop",
        ) from cause
