"""Checkpoints: one safetensors file with every tensor of a run, its JSON header holding everything else.

One file, because one rename is atomic: a kill at any moment leaves the checkpoint before or the new one. Nothing is
pickled, so nothing in a checkpoint can run. No state of a random generator is kept: every step begins with a seed of
its own, see :mod:`saccade.training.loop`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from saccade.errors import InputError, SaccadeWarning
from saccade.files import replacing
from saccade.insertion.attach import as_now
from saccade.saving.store import as_stored
from saccade.saving.tensors import Damaged, metadata, read

FOLDER = "checkpoints"
_SUFFIX = ".safetensors"
_MODEL, _AVERAGE, _OPTIMIZER = "model/", "average/", "optimizer/"
_RESTORE = "restore it from a copy; the checkpoint before it is still good"
_FIRST = "there is none before it: the training begins again at step 1"

Check = Callable[[Mapping[str, Any]], object]
"""Raises an `InputError` for a state that a run cannot have."""


@dataclass
class TrainState:
    """Everything that changes while a network is trained.

    Args:
        model: The network, without wrappers.
        optimizer: Optimizer of its parameters.
        scaler: Loss scaler for fp16; otherwise one that does nothing.
        average: The network with the moving average of the weights, if there is one.
        header: Recipe of the network, see :func:`saccade.save`.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    average: nn.Module | None = None
    header: Mapping[str, Any] | None = None

    @property
    def shown(self) -> nn.Module:
        """The network that is scored and kept at the end."""
        return self.model if self.average is None else self.average


def save_weights(model: nn.Module, path: Path, header: Mapping[str, Any] | None = None) -> None:
    """Write the state dict of `model` alone; with a header `saccade.load` builds the network again."""
    _write(path, model.state_dict(), header)


def load_weights(model: nn.Module, path: Path) -> None:
    """Read what `save_weights` wrote; names must match exactly.

    Raises:
        InputError: The file is missing or damaged, or belongs to another network.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file", "run the same command again: what is finished is kept")
    _, tensors = read(path)
    tensors = as_now(tensors, model.state_dict())
    _check_fit(model, tensors, path)
    model.load_state_dict(tensors)


def save_checkpoint(path: Path, trained: TrainState, state: Mapping[str, Any]) -> None:
    """Write weights, their average, optimizer, scaler and `state` (JSON values: step, seconds, ...)."""
    tensors = {f"{_MODEL}{name}": tensor for name, tensor in trained.model.state_dict().items()}
    if trained.average is not None:
        tensors |= {f"{_AVERAGE}{name}": tensor for name, tensor in trained.average.state_dict().items()}
    optimizer = _packed(trained.optimizer.state_dict(), _OPTIMIZER, tensors)
    run = {"state": state, "optimizer": optimizer, "scaler": trained.scaler.state_dict()}
    _write(path, tensors, {**(trained.header or {}), "run": run})


def load_checkpoint(path: Path, trained: TrainState, check: Check = lambda state: None) -> dict[str, Any]:
    """Put everything back; nothing is changed if the file is damaged.

    Args:
        path: The file.
        trained: State to fill.
        check: Raises an `InputError` if `state` is none that the run can have.

    Returns:
        The value `state` of :func:`save_checkpoint`.

    Raises:
        Damaged: The file is damaged.
        InputError: It belongs to another network.
    """
    header, tensors = read(path)
    try:
        run = header["run"]
        state, scaler = dict(run["state"]), dict(run["scaler"])
        optimizer = _unpacked(run["optimizer"], tensors)
        check(state)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as cause:
        said = cause.message if isinstance(cause, InputError) else f"{type(cause).__name__}: {cause}"
        raise Damaged(f"{path} is not a complete checkpoint of saccade ({said})", _RESTORE) from cause
    networks = {_MODEL: trained.model} | ({} if trained.average is None else {_AVERAGE: trained.average})
    given = {prefix: as_now(_under(prefix, tensors), net.state_dict()) for prefix, net in networks.items()}
    for prefix, network in networks.items():
        _check_fit(network, given[prefix], path)
    try:
        trained.optimizer.load_state_dict(optimizer)
        if scaler:
            trained.scaler.load_state_dict(scaler)
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as cause:
        raise InputError(
            f"{path} does not fit the optimizer of this run ({cause})", "give the options the run was begun with"
        ) from cause
    for prefix, network in networks.items():
        network.load_state_dict(given[prefix])
    _match_layouts(trained.optimizer)
    return state


class CheckpointManager:
    """The newest checkpoints of a run.

    Args:
        folder: Folder of the run.
        keep: Number of checkpoints that stay.
    """

    def __init__(self, folder: Path, keep: int = 1) -> None:
        self.folder = folder / FOLDER
        self.keep = keep

    def paths(self) -> list[Path]:
        """Existing checkpoints, newest first."""
        return sorted(self.folder.glob(f"[0-9]*{_SUFFIX}"), reverse=True)

    def save(self, trained: TrainState, state: Mapping[str, Any]) -> None:
        """Write one, and only then remove the oldest."""
        save_checkpoint(self.folder / f"{state['step']:09d}{_SUFFIX}", trained, state)
        for old in self.paths()[self.keep :]:
            old.unlink(missing_ok=True)

    def restore(
        self, trained: TrainState, *, tidy: bool = True, check: Check = lambda state: None
    ) -> dict[str, Any] | None:
        """Put the newest one that can be read back; None if there is none.

        Args:
            trained: State to fill.
            tidy: Rename damaged files, to ``.damaged``; one process of several does it.
            check: Raises an `InputError` if a state is none that the run can have.
        """
        paths = self.paths()
        for number, path in enumerate(paths, 1):
            try:
                return load_checkpoint(path, trained, partial(_check_step, path, check))
            except Damaged as cause:
                then = "resuming from the one before it" if number < len(paths) else _FIRST
                warnings.warn(f"{cause.message}; {then}", SaccadeWarning, stacklevel=2)
                if tidy:
                    path.replace(path.with_suffix(".damaged"))
        return None


def _check_step(path: Path, check: Check, state: Mapping[str, Any]) -> None:
    """Refuse a state of another step than the name of the file says."""
    check(state)
    if state["step"] != int(path.stem):
        raise InputError(f"it says step {state['step']!r}")


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _check_fit(model: nn.Module, given: Mapping[str, Tensor], path: Path) -> None:
    own = model.state_dict()
    absent = [name for name in own if name not in given]
    foreign = [name for name in given if name not in own]
    other = [name for name in own if name in given and own[name].shape != given[name].shape]
    wrong = [
        f"{len(names)} {what}, the first is {names[0]}"
        for names, what in ((absent, "are missing"), (foreign, "are not its own"), (other, "have another shape"))
        if names
    ]
    if wrong:
        raise InputError(
            f"{path} belongs to another network than this {type(model).__name__}: of its tensors {'; '.join(wrong)}",
            "give the network the run was begun with, or another folder",
        )


def _packed(tree: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """A tree of dicts, lists and tensors as JSON; the tensors go into `tensors`, by path."""
    if isinstance(tree, Tensor):
        tensors[name] = tree
        return {"tensor": name}
    if isinstance(tree, Mapping):
        pairs = [[key, _packed(value, f"{name}{key}/", tensors)] for key, value in tree.items()]
        return {"dict": pairs}
    if isinstance(tree, (list, tuple)):
        return {type(tree).__name__: [_packed(value, f"{name}{i}/", tensors) for i, value in enumerate(tree)]}
    return {"value": tree}


def _unpacked(tree: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Any:
    [(kind, content)] = tree.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {key: _unpacked(value, tensors) for key, value in content}
    if kind in ("list", "tuple"):
        values = [_unpacked(value, tensors) for value in content]
        return values if kind == "list" else tuple(values)
    return content


def _match_layouts(optimizer: torch.optim.Optimizer) -> None:
    """Give each state tensor its parameter's strides: fused optimizers walk both memories in step, unchecked."""
    for parameter, values in optimizer.state.items():
        for name, value in values.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                values[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def _write(path: Path, tensors: dict[str, Tensor], header: Mapping[str, Any] | None = None) -> None:
    stored = as_stored(tensors)
    whole = save(stored, metadata(stored, header))
    with replacing(path) as temporary:
        temporary.write_bytes(whole)
