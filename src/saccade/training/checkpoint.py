"""Checkpoints: one safetensors file with weights and optimiser state, its JSON header holding everything else.

One file, because one rename is atomic: a kill at any moment leaves the checkpoint before or the new one. Nothing is
pickled, so nothing in a checkpoint can run.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from saccade.errors import InputError
from saccade.files import replacing


def save_weights(model: nn.Module, path: Path) -> None:
    """Write the state dict of `model` alone."""
    _write(path, model.state_dict())


def load_weights(model: nn.Module, path: Path) -> None:
    """Read what `save_weights` wrote; keys must match exactly."""
    model.load_state_dict(load_file(path))


def save_checkpoint(path: Path, model: nn.Module, optimiser: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Write weights, optimiser, random generators and `state` (JSON values: step, seconds, ...)."""
    tensors = {f"model/{name}": tensor for name, tensor in model.state_dict().items()}
    inner = optimiser.state_dict()
    for index, values in inner["state"].items():
        tensors |= {f"optimiser/{index}/{name}": value for name, value in values.items() if isinstance(value, Tensor)}
    tensors["random/cpu"] = torch.get_rng_state()
    device = next(model.parameters()).device
    if device.type == "cuda":
        tensors["random/cuda"] = torch.cuda.get_rng_state(device)
    header = {"saccade": json.dumps({"state": state, "groups": inner["param_groups"]})}
    _write(path, tensors, header)


def load_checkpoint(path: Path, model: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, Any]:
    """Put weights, optimiser and random generators back; returns `state`.

    Raises:
        InputError: The file is damaged, or belongs to another network.
    """
    try:
        with safe_open(path, framework="pt") as opened:
            header = json.loads((opened.metadata() or {})["saccade"])
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 (no mapping)
    except (SafetensorError, KeyError, OSError, json.JSONDecodeError) as cause:
        raise InputError(
            f"{path} is no whole checkpoint of saccade ({cause})", "delete it: the run then starts again"
        ) from cause
    weights = {k.removeprefix("model/"): v for k, v in tensors.items() if k.startswith("model/")}
    try:
        model.load_state_dict(weights)
    except RuntimeError as cause:
        raise InputError(f"{path} belongs to another network: {cause}") from cause
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optimiser/"):
            _, index, name = key.split("/", 2)
            state.setdefault(int(index), {})[name] = value
    optimiser.load_state_dict({"state": state, "param_groups": header["groups"]})
    _match_layouts(optimiser)
    torch.set_rng_state(tensors["random/cpu"])
    device = next(model.parameters()).device
    if "random/cuda" in tensors and device.type == "cuda":
        torch.cuda.set_rng_state(tensors["random/cuda"], device)
    found: dict[str, Any] = header["state"]
    return found


def _match_layouts(optimiser: torch.optim.Optimizer) -> None:
    """Give each state tensor its parameter's strides: fused optimisers walk both memories in step, unchecked."""
    for parameter, values in optimiser.state.items():
        for name, value in values.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                values[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def _write(path: Path, tensors: dict[str, Tensor], header: dict[str, str] | None = None) -> None:
    whole = save(_unshared({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}), header)
    with replacing(path) as temporary:
        temporary.write_bytes(whole)


def _unshared(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Safetensors refuses two names for one memory (tied weights): give each its own."""
    seen: set[int] = set()
    result = {}
    for name, tensor in tensors.items():
        pointer = tensor.data_ptr()
        result[name] = tensor.clone() if pointer in seen and tensor.numel() else tensor
        seen.add(pointer)
    return result
