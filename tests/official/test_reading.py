"""Files of tensors: every name and wrapping that training scripts use, and damage that is named, not shown raw."""

from __future__ import annotations

import argparse
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from saccade import InputError
from saccade.errors import SaccadeWarning
from saccade.official.reading import read_tensors

STATE = {"conv.weight": torch.arange(6.0).reshape(2, 3), "norm.bias": torch.ones(2)}
OTHER = {name: tensor + 1 for name, tensor in STATE.items()}


def fits(tensors: dict[str, Tensor]) -> None:
    """Take what has the names and shapes of `STATE`."""
    if {name: t.shape for name, t in tensors.items()} != {name: t.shape for name, t in STATE.items()}:
        raise InputError(f"does not fit: {', '.join(tensors)}")


@pytest.mark.parametrize("name", ["a.pth", "a.PTH", "a.pth.tar", "a.ckpt", "a.pkl", "a", "a.safetensors", "a.tar"])
def test_formats_are_told_by_content(tmp_path: Path, name: str) -> None:
    for write in (torch.save, save_file, lambda s, p: torch.save(s, p, _use_new_zipfile_serialization=False)):
        write(STATE, tmp_path / name)
        torch.testing.assert_close(read_tensors(tmp_path / name), STATE, rtol=0, atol=0)


WRAPPED = {
    "state_dict": {"state_dict": STATE, "epoch": 3, "best_acc1": torch.tensor(76.0)},
    "model": {"model": STATE, "epoch": 3},
    "any key": {"epoch": 3, "net": STATE},
    "flat": {"epoch": 3, **STATE},
    "an optimizer beside": {"m": STATE, "opt": {"state": {0: {"step": torch.ones(1)}}, "param_groups": []}},
    "an optimizer by name beside": {"m": STATE, "opt": {"state": STATE, "param_groups": []}},
    "nested": {"model": {"state_dict": STATE}},
    "shadow": {"ema": {"shadow": STATE, "decay": 0.99}},
    "numpy beside": {
        "net": STATE, "best": np.float64(0.5), "rng": ("MT19937", np.arange(4), 3), "kind": np.dtype("f4"),
    },
    "the same twice": {"model": STATE, "model_ema": {name: t.clone() for name, t in STATE.items()}},
    "module": {"net": {f"module.{name}": tensor for name, tensor in STATE.items()}},
    "prefixes": {f"module._orig_mod.{name}": tensor for name, tensor in STATE.items()},
    "a part of another network": {"net": {f"encoder.{n}": t for n, t in STATE.items()} | {"queue": torch.ones(1)}},
}  # fmt: skip


@pytest.mark.parametrize("name", WRAPPED)
def test_what_training_scripts_put_round_is_taken_off(tmp_path: Path, name: str) -> None:
    wrapped = WRAPPED[name]
    for legacy in (True, False):
        torch.save(wrapped, tmp_path / "a.ckpt", _use_new_zipfile_serialization=legacy)
        torch.testing.assert_close(read_tensors(tmp_path / "a.ckpt", fits), STATE, rtol=0, atol=0)
    torch.testing.assert_close(read_tensors(wrapped, fits), STATE, rtol=0, atol=0)


def test_several_that_fit_are_named_and_one_is_chosen(tmp_path: Path) -> None:
    file = tmp_path / "a.pth"
    torch.save({"student": {"w": torch.ones(3)}, "model": STATE, "ema": {"module": OTHER}}, file)
    with pytest.raises(InputError, match=r"several state dicts fit: model, ema.module\nhint: choose .*a.pth:ema.mod"):
        read_tensors(file, fits)
    torch.testing.assert_close(read_tensors(f"{file}:ema.module", fits), OTHER, rtol=0, atol=0)
    torch.testing.assert_close(read_tensors(f"{file}:model", fits), STATE, rtol=0, atol=0)
    with pytest.raises(InputError, match=r"no state dict at 'teacher'\nhint: there is student, model, ema.module"):
        read_tensors(f"{file}:teacher", fits)
    two = {f"{encoder}.{n}": t for encoder, s in (("q", STATE), ("k", OTHER)) for n, t in s.items()}
    with pytest.raises(InputError, match=r"several state dicts fit: state_dict\.q, state_dict\.k"):
        read_tensors({"state_dict": two}, fits)
    torch.save({"state_dict": two}, file)
    torch.testing.assert_close(read_tensors(f"{file}:state_dict.k", fits), OTHER, rtol=0, atol=0)


def test_the_one_that_fits_of_several_is_said() -> None:
    with pytest.warns(SaccadeWarning, match="state dict: teacher is taken; student do not fit"):
        found = read_tensors({"student": {"w": torch.ones(3), "v": torch.ones(1)}, "teacher": STATE}, fits)
    torch.testing.assert_close(found, STATE, rtol=0, atol=0)


def test_the_complaint_is_that_of_the_largest() -> None:
    with pytest.raises(InputError, match="does not fit: a, b"):
        read_tensors({"small": {"w": torch.ones(1)}, "large": {"a": torch.ones(1), "b": torch.ones(1)}}, fits)


def test_a_module_may_be_called_model() -> None:
    state = {"model": torch.ones(1), "model.weight": torch.ones(2)}
    assert read_tensors(state) == state


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_weights_that_are_not_finite_are_named(value: float) -> None:
    bad = {**STATE, "norm.bias": torch.tensor([1.0, value])}
    with pytest.raises(InputError, match=r"net: 1 of 2 tensors .* NaN or infinite, the first is norm.bias \(1 of 2"):
        read_tensors({"net": bad}, fits)


def test_a_mask_may_be_infinite() -> None:
    mask = {**STATE, "norm.bias": torch.tensor([0.0, -torch.inf])}
    assert read_tensors(mask) == mask


class Opened:
    """Something a plain unpickling would run."""

    def __reduce__(self) -> Any:
        return AssertionError, ("the file was unpickled",)


class Dtype(np.ndarray):
    """Something that calls NumPy with values of the file."""

    def __reduce__(self) -> Any:
        return np.fromfile, ("/dev/null",)


CODE = [{"model": STATE, "args": Opened()}, {"model": Opened()}, Opened(), {"model": STATE, "a": argparse.Namespace()}]


@pytest.mark.parametrize("wrapped", [*CODE, {"model": STATE, "a": np.zeros(1).view(Dtype)}])
def test_code_is_refused(tmp_path: Path, wrapped: Any) -> None:
    torch.save(wrapped, tmp_path / "a.bin")
    with pytest.raises(InputError, match=r"a.bin: holds more than tensors.*run code"):
        read_tensors(tmp_path / "a.bin")


def test_a_damaged_file_of_the_old_format_is_named(tmp_path: Path) -> None:
    file = tmp_path / "a.pth"
    torch.save(STATE, file, _use_new_zipfile_serialization=False)
    file.write_bytes(file.read_bytes().replace(b"conv.weight", b"conv.w\xc0ight"))
    with pytest.raises(InputError, match=r"a.pth: cannot be read: \S"):
        read_tensors(file)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "it is a Git LFS pointer"),
        (b"<!DOCTYPE html><html>", "it is a web page"),
        (b"\x89HDF\r\n", "it is an HDF5 file"),
        (b"\x1f\x8b\x08\x00", "it is a gzip archive"),
        (b"weights?", "it begins with b'weights"),
        (pickle.dumps({"a": 1}), "holds more than tensors|cannot be read|contains no tensors"),
        (b"PK\x03\x04 and no more", "cannot be read"),
        (b"\xff\x00\x00\x00\x00\x00\x00\x00{", "cannot be read"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_files_of_another_kind_are_named(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(InputError, match=rf"a.pth: .*({said})"):
        read_tensors(tmp_path / "a.pth")


def test_a_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a file of weights; it is a folder"):
        read_tensors(tmp_path)
