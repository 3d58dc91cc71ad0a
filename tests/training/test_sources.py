"""What feeds the loop: the same batches for any number of workers and processes, and nothing read twice."""

import multiprocessing
import random
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset, IterableDataset

from saccade.training.readers import Readers, begin_reading
from saccade.training.sources import ArraySource, LoaderSource, Share, keys_at, seed_of

from .tiny import dataset, recipe


class Noisy(Dataset):
    """Samples that draw from every generator a transform may draw from."""

    def __init__(self, count=11, broken=()):
        self.count, self.broken, self.read = count, broken, []

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        if index in self.broken:
            raise OSError("cut short")
        self.read.append(index)
        drawn = [torch.rand(1), torch.tensor([np.random.rand()]), torch.tensor([random.random()])]  # noqa: NPY002
        return torch.stack([torch.full((1,), index), *drawn]).float(), index % 3


def batches(source, how, first=0, share=None):
    share = share or Share()
    return [torch.cat([part.images for part in parts]) for parts in source.steps(how, first, share)]


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_change_nothing(workers):
    how = recipe(steps=6, batch=4)
    alone, helped = (batches(LoaderSource(Noisy(), workers=n), how) for n in (0, workers))
    assert all(torch.equal(a, b) for a, b in zip(alone, helped, strict=True))
    drawn = torch.cat(alone)[:, 1]
    assert len(drawn.unique()) == len(drawn)  # each epoch draws anew


def test_random_numbers_come_from_seed_epoch_and_index_alone():
    dataset = Noisy()
    keys = keys_at(recipe(batch=4), 5, 11)
    random.seed(1)
    before = torch.rand(1), random.random()
    torch.manual_seed(0)
    found = batches(LoaderSource(dataset), recipe(steps=6, batch=4), first=5)[0]
    after = torch.rand(1)
    torch.manual_seed(0)
    assert torch.equal(after, torch.rand(1))  # reading leaves the generators as they were
    for (epoch, index), sample in zip(keys, found, strict=True):
        torch.manual_seed(seed_of(3, epoch, index))
        assert sample[0] == index
        assert sample[1] == torch.rand(1)
    assert before[1] != random.random()


def test_resuming_reads_only_what_is_to_come():
    how, dataset = recipe(steps=6, batch=4), Noisy()
    whole = batches(LoaderSource(Noisy()), how)
    rest = batches(LoaderSource(dataset), how, first=4)
    assert len(dataset.read) == 8
    assert all(torch.equal(a, b) for a, b in zip(whole[4:], rest, strict=True))


@pytest.mark.parametrize("source", [LoaderSource(Noisy(12)), ArraySource(dataset(n=12))], ids=["loader", "arrays"])
def test_processes_and_parts_share_the_batch_of_one(source):
    how = recipe(steps=3, batch=8)
    whole = batches(source, how)
    shares = [batches(source, how, share=Share(i, 2, 2)) for i in range(2)]
    for step, batch in enumerate(whole):
        together = torch.cat([share[step] for share in shares]).flatten(1)
        assert sorted(together.tolist()) == sorted(batch.flatten(1).tolist())
        assert [len(share[step]) for share in shares] == [4, 4]


def test_a_batch_that_cannot_be_shared_is_refused():
    with pytest.raises(ValueError, match=r"batch=6 cannot be divided among 2 processes x 2 parts"):
        Share(0, 2, 2).check(6)


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_held_out_samples_come_once_each(processes):
    source, found = LoaderSource(Noisy(7)), []
    for index in range(processes):
        found += [int(image[0]) for batch in source.once(2, Share(index, processes)) for image in batch.images]
    assert sorted(found) == list(range(7))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_sample_that_cannot_be_read_is_named(workers):
    source = LoaderSource(Noisy(broken=(5,)), workers=workers, name="photo {}".format)
    with pytest.raises(ValueError, match=r"photo 5 cannot be used: cut short\nhint: saccade data check"):
        list(source.once(4))


def test_names_are_those_of_the_batch():
    how, source = recipe(steps=3, batch=4), LoaderSource(Noisy(), name="photo {}".format)
    names = [f"photo {int(image[0])}" for image in batches(source, how)[2]]
    assert source.names(how, 2) == names


def test_a_dataset_without_a_length_is_refused():
    class Stream(IterableDataset):
        def __iter__(self):
            return iter(())

    with pytest.raises(ValueError, match="Stream has no length"):
        next(LoaderSource(Stream()).steps(recipe(), 0, Share()))


def _read_for(parent):
    begin_reading(parent, Readers(1, str), 0)
    time.sleep(60)


def test_a_reader_ends_whose_process_was_killed_before_it_began():
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    reader = multiprocessing.get_context("fork").Process(target=_read_for, args=(gone.pid,))
    reader.start()
    reader.join()
    assert reader.exitcode == 1
