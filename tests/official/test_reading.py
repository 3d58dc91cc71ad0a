"""Files of tensors: every suffix and wrapping that training scripts use, and damage that is named, not shown raw."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from saccade import InputError
from saccade.official.reading import read_tensors

STATE = {"conv.weight": torch.arange(6.0).reshape(2, 3), "norm.bias": torch.ones(2)}


@pytest.mark.parametrize("name", ["a.pth", "a.pt", "a.bin", "a.PTH", "a.Bin", "a.safetensors", "a.SafeTensors"])
def test_every_suffix_in_any_case(tmp_path: Path, name: str) -> None:
    (save_file if "safe" in name.lower() else torch.save)(STATE, tmp_path / name)
    torch.testing.assert_close(read_tensors(tmp_path / name), STATE, rtol=0, atol=0)


@pytest.mark.parametrize(
    "wrapped",
    [
        {"state_dict": STATE, "epoch": 3},
        {"model": STATE, "epoch": 3},
        {"model_state_dict": STATE, "optimizer_state_dict": {"state": {}, "param_groups": []}},
        {"model": {"state_dict": STATE}},
    ],
    ids=lambda wrapped: "-".join(wrapped),
)
def test_takes_off_what_training_scripts_put_round(tmp_path: Path, wrapped: dict[str, Any]) -> None:
    torch.save(wrapped, tmp_path / "a.bin")
    for source in (wrapped, tmp_path / "a.bin"):
        torch.testing.assert_close(read_tensors(source), STATE, rtol=0, atol=0)


def test_a_module_may_be_called_model() -> None:
    state = {"model": torch.ones(1), "model.weight": torch.ones(2)}
    assert read_tensors(state) == state


class Opened:
    """Something a plain unpickling would run."""

    def __reduce__(self) -> Any:
        return AssertionError, ("the file was unpickled",)


@pytest.mark.parametrize("wrapped", [{"model": STATE, "args": Opened()}, {"model": Opened()}, Opened()])
def test_code_is_refused(tmp_path: Path, wrapped: Any) -> None:
    torch.save(wrapped, tmp_path / "a.bin")
    with pytest.raises(InputError, match=r"a.bin: holds more than tensors.*run code"):
        read_tensors(tmp_path / "a.bin")


def test_a_damaged_file_of_the_old_format_is_named(tmp_path: Path) -> None:
    file = tmp_path / "a.pth"
    torch.save(STATE, file, _use_new_zipfile_serialization=False)
    whole = file.read_bytes()
    for new in (b"conv.w\xc0ight", b""):
        file.write_bytes(whole.replace(b"conv.weight", new) if new else b"")
        with pytest.raises(InputError, match=r"a.pth: cannot be read: \S"):
            read_tensors(file)
