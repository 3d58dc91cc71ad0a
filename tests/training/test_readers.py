"""A reader that ends by itself ends the whole, with one sentence that names the sample and the remedy."""

import os
import re
import signal
import subprocess
import sys
import time
from collections import namedtuple

import pytest
import torch
from torch.utils.data import Dataset

from saccade import InputError, SaccadeWarning
from saccade.training import readers
from saccade.training.readers import Readers, fitting, refuse_unguarded
from saccade.training.sources import LoaderSource


class Photos(Dataset):
    """Grey images; one is not like the others."""

    def __init__(self, odd=None, count=8):
        self.odd, self.count = odd, count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        image, target = torch.zeros(3, 4, 4, dtype=torch.uint8), index
        return (image, target) if index != 5 or self.odd is None else self.odd(image, target)


def larger(image, target):
    """Return an image of another size."""
    return torch.zeros(3, 4, 6, dtype=torch.uint8), target


def floating(image, target):
    """Return a target of another kind."""
    return image, torch.zeros(2)


def named(image, target):
    """Return a target that no batch can be made of."""
    return image, object()


def three(image, target):
    """Return more than an image and a target."""
    return image, target, target


def read(odd, workers=0, batch=4):
    return list(LoaderSource(Photos(odd), workers=workers, name="photo {}".format).once(batch))


@pytest.mark.parametrize(
    ("odd", "said"),
    [
        (larger, r"it has \(3, 4, 6\) uint8, int, and others of its batch have \(3, 4, 4\) uint8, int"),
        (floating, r"it has \(3, 4, 4\) uint8, \(2,\) float32, and others"),
        (named, r"it has \(3, 4, 4\) uint8, object, and others"),
        (three, r"it has \(3, 4, 4\) uint8, int, int, and others"),
    ],
)
def test_a_sample_unlike_its_batch_is_named(odd, said):
    with pytest.raises(InputError, match=rf"photo 5 cannot be used: {said}"):
        read(odd)


def test_what_torch_says_of_a_reader_is_explained():
    for text, said, hint in (
        ("DataLoader worker (pid 7) is killed by signal: Bus error. It is possible that dataloader's workers are out "
         "of shared memory.", r"ended by a signal \(Bus error\) at photo 3", "--shm-size=2g, or .*--workers 0"),
        ("DataLoader worker (pid 7) is killed by signal: Killed. ", r"\(Killed\) at photo 3", "memory may have"),
        ("DataLoader worker (pid 7) is killed by signal: Segmentation fault. ", "at photo 3", "saccade data check"),
        ("DataLoader worker (pid(s) 6, 7) exited unexpectedly", "unexpectedly at photo 2 or photo 3", "workers 0"),
        ("DataLoader timed out after 1800 seconds", "sent nothing for too long at photo 2 or photo 3", "--workers 1"),
        ("Too many open files. Communication", "Too many open files", "ulimit"),
    ):  # fmt: skip
        two = Readers(2, "photo {}".format)
        two._pids[:], two._samples[:] = [6, 7], [2, 3]
        told = two.explain(RuntimeError(text))
        assert told is not None
        for pattern, words in ((said, told.message), (hint, told.hint)):
            assert re.search(pattern, words), (pattern, words)
    assert two.explain(RuntimeError("CUDA error: out of memory")) is None


def test_the_last_words_of_a_reader_are_passed_on():
    one = Readers(1, "photo {}".format)
    one._pids[0] = 7
    one.says(0, "a batch could not be sent (RuntimeError: No space left on device)")
    told = one.explain(RuntimeError("DataLoader worker (pid(s) 7) exited unexpectedly"))
    assert "could not be sent (RuntimeError: No space" in told.message
    assert "--shm-size" in told.hint


def test_readers_that_never_began_under_spawn_are_told_of_the_guard(monkeypatch):
    monkeypatch.setattr(readers.multiprocessing, "get_start_method", lambda: "spawn")
    told = Readers(1, str).explain(RuntimeError("DataLoader worker (pid(s) 7) exited unexpectedly"))
    assert '__name__ == "__main__"' in told.hint


def test_a_script_that_trains_when_it_is_imported_is_told(monkeypatch):
    refuse_unguarded()
    monkeypatch.setattr(readers.multiprocessing.process.current_process(), "_inheriting", True, raising=False)
    with pytest.raises(InputError, match=r'trains when it is imported.*\nhint: .*__name__ == "__main__"'):
        refuse_unguarded()


def shared(monkeypatch, tmp_path, free):
    monkeypatch.setattr(readers, "SHARED", tmp_path)
    monkeypatch.setattr(readers.shutil, "disk_usage", lambda path: namedtuple("Usage", "free")(free))


@pytest.mark.parametrize(("free", "room"), [(2**30, 4), (9 * 2**20, 4), (7 * 2**20, 3), (3 * 2**20, 1), (2**20, 0)])
def test_no_more_readers_than_shared_memory_has_room_for(monkeypatch, tmp_path, free, room):
    shared(monkeypatch, tmp_path, free)
    if room == 4:
        assert fitting(4, 2**20) == 4
    else:
        with pytest.warns(SaccadeWarning, match=r"4 reading processes .* need 9.0 MiB: .* started; .*--shm-size"):
            assert fitting(4, 2**20) == room


def test_without_room_for_one_reader_the_process_reads_itself(monkeypatch, tmp_path):
    shared(monkeypatch, tmp_path, 100)
    with pytest.warns(SaccadeWarning, match="none started"):
        assert len(read(None, workers=2)) == 2


def killed(image, target):
    """End the reader as the system does."""
    os.kill(os.getpid(), signal.SIGKILL)


def crashed(image, target):
    """End the reader as a full /dev/shm does."""
    signal.signal(signal.SIGBUS, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGBUS)


def left(image, target):
    """End the reader without a word."""
    os._exit(3)


class Unsendable:
    """Something that a batch can hold and a process cannot send."""

    def __reduce__(self):
        raise TypeError("not for sending")


def unsendable(image, target):
    """Return a batch of one that cannot be sent."""
    return image, {"a": Unsendable()}


@pytest.mark.processes
@pytest.mark.parametrize(
    ("odd", "said"),
    [
        (killed, r"ended by a signal \(Killed\) at photo 5.*\nhint: memory"),
        (crashed, r"ended by a signal \(Bus error\) at photo 5.*\nhint: .*--shm-size"),
        (left, r"ended unexpectedly at photo 5"),
        (larger, "photo 5 cannot be used"),
    ],
)
def test_a_reader_that_ends_is_named_with_its_sample(odd, said):
    began = time.monotonic()
    with pytest.raises(InputError, match=said):
        read(odd, workers=2)
    assert not readers._STARTED
    assert time.monotonic() - began < 600


@pytest.mark.processes
def test_a_batch_that_cannot_be_sent_ends_the_whole(monkeypatch):
    monkeypatch.setattr("saccade.training.sources.default_collate", lambda samples: samples)
    with pytest.raises(InputError, match=r"a batch could not be sent \(TypeError: not for sending\)"):
        read(unsendable, workers=1, batch=8)  # in the first batch, before any of these lists is unpacked


SCRIPT = """
import sys, torch, multiprocessing
from torch.utils.data import Dataset
sys.path.insert(0, {root!r})
from saccade.training.sources import LoaderSource
from tests.training.test_readers import Photos
{before}
batches = LoaderSource(Photos(), workers=2).once(1)
next(batches)
{after}
"""


def script(folder, before="", after=""):
    file = folder / "script.py"
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    file.write_text(SCRIPT.format(root=root, before=before, after=after))
    return subprocess.run([sys.executable, file], capture_output=True, text=True, timeout=600, check=False)


@pytest.mark.processes
def test_an_error_of_the_script_ends_it_though_readers_still_read(tmp_path):
    ended = script(tmp_path, after="raise KeyError('of the script')")
    assert ended.returncode == 1
    assert "of the script" in ended.stderr


@pytest.mark.processes
def test_a_script_without_a_guard_under_spawn_is_told(tmp_path):
    ended = script(tmp_path, before="multiprocessing.set_start_method('spawn', force=True)")
    assert ended.returncode == 1
    assert "trains when it is imported" in ended.stderr  # by a reader
    assert 'put the call under `if __name__ == "__main__":`' in ended.stderr.splitlines()[-1]  # by the script
