"""Read tensors by name, from a file or a dict, without the wrappings that training scripts add."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from saccade.errors import InputError

_WRAPPINGS = ("state_dict", "model", "model_state_dict")


def read_tensors(source: Mapping[str, Any] | str | PathLike[str]) -> dict[str, Tensor]:
    """Read the tensors of a state dict or file (``.safetensors``, ``.pth``, ``.pt``, ``.bin``), never unpickled.

    A dict that holds the state dict under ``state_dict``, ``model`` or ``model_state_dict``, as checkpoints with an
    epoch and an optimizer do, is unwrapped.

    Raises:
        InputError: The file is missing, of another kind, or cannot be read without running code of its author; or a
            value is not a tensor.
        TypeError: The source is neither a mapping nor a path.
    """
    found: Any = _read_file(Path(source)) if isinstance(source, (str, PathLike)) else source
    while isinstance(found, Mapping):
        inner = next((found[key] for key in _WRAPPINGS if isinstance(found.get(key), Mapping)), None)
        if inner is None:
            break
        found = inner
    if not isinstance(found, Mapping):
        raise TypeError(f"a state dict is a mapping of names to tensors; received {type(found).__name__}")
    for key, value in found.items():
        if not isinstance(value, Tensor):
            raise InputError(
                f"state dict: expected a tensor at {key!r}; received {type(value).__name__}",
                "give the part of the checkpoint that holds the weights",
            )
    return dict(found)


def _read_file(path: Path) -> Any:
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        suffix = path.suffix.lower()
        if suffix == ".safetensors":
            return load_file(path)
        if suffix in (".pth", ".pt", ".bin"):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as cause:
        raise InputError(
            f"{path}: holds more than tensors; reading it could run code of its author",
            "if you trust the file, open it yourself and save its state dict alone as .safetensors",
        ) from cause
    except MemoryError:
        raise
    except Exception as cause:  # damaged files surface from torch as anything, UnicodeDecodeError among them
        raise InputError(
            f"{path}: cannot be read: {str(cause) or type(cause).__name__}",
            "the file may be truncated; fetch it again",
        ) from cause
    raise InputError(f"{path}: expected a .safetensors, .pth, .pt or .bin file; received {path.suffix or 'no suffix'}")
