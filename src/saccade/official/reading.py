"""Read tensors by name, from a file or a dict, without the wrappings that training scripts add.

Formats are told by the first bytes of a file, never by its name. Nothing is unpickled: torch reads with
``weights_only=True``, and the NumPy values that lie next to weights in checkpoints are replaced by a stand-in, so that
no code of NumPy runs on what a file says either.
"""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from saccade.errors import InputError, SaccadeWarning
from saccade.finite import check_finite
from saccade.networks.order import in_order, say_how_far

Fits = Callable[[dict[str, Tensor]], object]
"""Raises an `InputError` if tensors do not fit what they are read for."""

_DEPTH = 5  # of dicts in dicts
_LARGE = 0.25  # fraction of all tensors that a network inside another has at least
_LISTED = 8

_ZIP, _PICKLE = b"PK\x03\x04", b"\x80"
_FOREIGN = {
    b"\x89HDF": "an HDF5 file, of Keras or h5py",
    b"\x93NUMPY": "an array of NumPy",
    b"\x1f\x8b": "a gzip archive",
    b"version https://git-lfs": "a Git LFS pointer, not the file itself; git lfs pull fetches that",
    b"<!DOCTYPE": "a web page",
    b"<html": "a web page",
}


def read_tensors(source: Mapping[str, Any] | str | PathLike[str], fits: Fits | None = None) -> dict[str, Tensor]:
    """Read the tensors of a state dict or file, never unpickled.

    The state dict may be wrapped under any keys (``{"epoch": 3, "net": {...}}``), as long as one of them fits. A path
    may end in ``:KEY``, which chooses among several.

    Args:
        source: State dict, or path of a file in the format of safetensors or ``torch.save``, whatever its suffix.
        fits: Raises an `InputError` for tensors that do not fit; decides among several state dicts in one file, and
            whether prefixes of names are removed.

    Raises:
        InputError: The file is missing, of another kind, or cannot be read without running code of its author; it
            contains no tensors by name, several state dicts that fit, or values that are not finite.
        TypeError: The source is neither a mapping nor a path.
    """
    if isinstance(source, (str, PathLike)):
        path, key = _split(source)
        found, who = _read_file(path), str(path)
    else:
        found, who, key = source, "state dict", None
    if not isinstance(found, Mapping) and not isinstance(source, (str, PathLike)):
        raise TypeError(f"a state dict is a mapping of names to tensors; received {type(found).__name__}")
    parts = list(_parts(found))
    if key is not None:
        parts = _named(parts, key, who)
    if not parts and found != {}:
        raise InputError(
            f"{who}: contains no tensors by name; {_contents(found)}", "give a state dict, or a file that holds one"
        )
    part = _chosen(parts or [_Part("", {})], fits, who)
    empty = next((name for name, tensor in part.tensors.items() if tensor.is_meta), None)
    if empty is not None and isinstance(source, (str, PathLike)):
        raise InputError(f"{who}: {empty} is a tensor without values (meta)", "save the network after it has weights")
    check_finite(part.tensors, f"{who}:{part.name}" if part.name else who)
    return part.tensors


def read_in_order(
    source: Mapping[str, Any] | str | PathLike[str], own: Mapping[str, Tensor], *, outputs: Collection[str] = ()
) -> dict[str, Tensor]:
    """Read tensors under a network's own names, paired by order and shapes; a warning says how far the names agree.

    Args:
        source: See :func:`read_tensors`.
        own: Tensors of the network, in its order.
        outputs: Own names of the output layer, see :func:`saccade.networks.order.in_order`.

    Raises:
        InputError: The source does not fit, is in a format that keeps no order, or see :func:`read_tensors`.
    """
    who = str(source) if isinstance(source, (str, PathLike)) else "state dict"
    if isinstance(source, (str, PathLike)) and _is_safetensors(_split(source)[0]):
        raise InputError(
            f"{who}: safetensors keeps names and no order",
            "give the file of torch.save that it was made from, or rename its tensors and leave match='order' out",
        )
    given = read_tensors(source, lambda tensors: in_order(tensors, own, who, outputs=outputs))
    pairs = in_order(given, own, who, outputs=outputs)
    say_how_far(pairs, who)
    return {mine: given[theirs] for mine, theirs in pairs.items()}


def _is_safetensors(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as opened:
        return opened.read(9)[8:] == b"{"


@dataclass(frozen=True)
class _Part:
    """A state dict in a source.

    Args:
        name: Keys that lead to it, joined by dots; empty for the source itself.
        tensors: Its tensors by name.
    """

    name: str
    tensors: dict[str, Tensor]

    def within(self, prefix: str) -> _Part:
        """The tensors whose names begin with `prefix` and a dot, without both."""
        inside = {key.removeprefix(f"{prefix}."): t for key, t in self.tensors.items() if key.startswith(f"{prefix}.")}
        return _Part(f"{self.name}.{prefix}".lstrip("."), inside)

    def scopes(self) -> dict[str, int]:
        """Count tensors by the first word of their names."""
        found: dict[str, int] = {}
        for key in self.tensors:
            word, dot, _ = key.partition(".")
            if dot:
                found[word] = found.get(word, 0) + 1
        return found


def _parts(found: Any, name: str = "", depth: int = 0) -> Iterator[_Part]:
    """Yield every state dict in dicts of dicts; states of optimizers are none."""
    if not isinstance(found, Mapping) or depth > _DEPTH or "param_groups" in found:
        return
    inside = [part for key, value in found.items() for part in _parts(value, f"{name}.{key}".lstrip("."), depth + 1)]
    own = {key: value for key, value in found.items() if isinstance(key, str) and isinstance(value, Tensor)}
    if len(own) > max((len(part.tensors) for part in inside), default=0):  # else numbers such as best_acc1
        yield _Part(name, own)
    yield from inside


def _chosen(parts: Sequence[_Part], fits: Fits | None, who: str) -> _Part:
    """Return the only state dict that fits; if none does and there is one alone, that one, for the caller to refuse."""
    if fits is None:
        fitting: list[_Part] = list(parts)
        complaints: list[InputError] = []
    else:
        fitting, complaints = _tried(parts, fits)
        smaller = parts
        while not fitting and (smaller := [inner for part in smaller for inner in _inner(part)]):
            fitting, _ = _tried(smaller, fits)
        if not fitting:
            raise complaints[max(range(len(parts)), key=lambda k: len(parts[k].tensors))]
    different = _different(fitting)
    if len(different) > 1:
        names = [part.name or "the outermost" for part in different]
        raise InputError(
            f"{who}: several state dicts fit: {', '.join(names[:_LISTED])}",
            f"choose one, such as {who}:{different[-1].name}",
        )
    taken = [part.name for part in fitting]
    others = [part.name for part in parts if not any(name.startswith(part.name) for name in taken)]
    if others and fits is not None:
        warnings.warn(
            f"{who}: {different[0].name} is taken; {', '.join(others[:_LISTED])} do not fit", SaccadeWarning,
            stacklevel=3,
        )  # fmt: skip
    return different[0]


def _tried(parts: Sequence[_Part], fits: Fits) -> tuple[list[_Part], list[InputError]]:
    fitting, complaints = [], []
    for part in parts:
        try:
            fits(part.tensors)
            fitting.append(part)
        except InputError as cause:
            complaints.append(cause)
    return fitting, complaints


def _inner(part: _Part) -> list[_Part]:
    """Networks inside a network: the tensors under a common prefix, or under one that a good part of them has."""
    scopes = part.scopes()
    return [part.within(word) for word, count in scopes.items() if count >= _LARGE * len(part.tensors)]


def _different(parts: Sequence[_Part]) -> list[_Part]:
    """Leave out state dicts that are equal to an earlier one."""
    found: list[_Part] = []
    for part in parts:
        if not any(_equal(part.tensors, other.tensors) for other in found):
            found.append(part)
    return found


def _equal(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(tensor, other[key]) for key, tensor in one.items())


def _named(parts: Sequence[_Part], key: str, who: str) -> list[_Part]:
    found = [part for part in parts if part.name == key]
    for part in parts:  # else it is a prefix of names
        above = f"{part.name}." if part.name else ""
        if not found and key.startswith(above):
            inside = part.within(key.removeprefix(above))
            found = [inside] if inside.tensors else []
    if not found:
        names = [part.name for part in parts if part.name]
        raise InputError(
            f"{who}: no state dict at {key!r}", f"there is {', '.join(names[:_LISTED])}" if names else "leave it out"
        )
    return found


def _contents(found: Any) -> str:
    if not isinstance(found, Mapping):
        return f"it holds a {type(found).__name__}"
    said = [f"{key!r}: {type(value).__name__}" for key, value in list(found.items())[:_LISTED]]
    return f"it has {', '.join(said)}" if said else "it is empty"


class _Beside:
    """Stand-in for a value of NumPy next to the weights: takes anything, keeps nothing, does nothing."""

    def __init__(self, *_: object) -> None: ...

    def __setstate__(self, state: object) -> None: ...


_BESIDE = tuple(
    (_Beside, name)
    for name in (
        "numpy.dtype", "numpy.ndarray",
        *(f"numpy.{core}.multiarray.{made}" for core in ("_core", "core") for made in ("scalar", "_reconstruct")),
        *(f"numpy.{core}.numeric._frombuffer" for core in ("_core", "core")),
    )
)  # fmt: skip


def _split(source: str | PathLike[str]) -> tuple[Path, str | None]:
    """Split ``PATH:KEY``; a file whose name has a colon goes before."""
    path = Path(source)
    before, colon, key = str(path).rpartition(":")
    if colon and key and not path.exists() and Path(before).is_file():
        return Path(before), key
    return path, None


def _read_file(path: Path) -> Any:
    if path.is_dir():
        raise InputError(f"{path}: expected a file of weights; it is a folder", "name the file in it")
    if not path.is_file():
        what = "not a regular file" if path.exists() else "no such file"
        raise InputError(f"{path}: {what}", "give the path of a file of weights")
    try:
        with path.open("rb") as opened:
            start = opened.read(64)
        # First safetensors, whose files begin with the length of their header: it may look like a pickle.
        if start[8:9] == b"{" and int.from_bytes(start[:8], "little") < path.stat().st_size:
            return load_file(path)
        if start.startswith((_ZIP, _PICKLE)):
            # Not the path: torch tells some formats by the suffix.
            with path.open("rb") as opened, torch.serialization.safe_globals(list(_BESIDE)):
                return torch.load(opened, map_location="cpu", weights_only=True)
        if start[8:9] == b"{":
            return load_file(path)  # which says what is wrong with it
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
    kind = next((kind for bytes_, kind in _FOREIGN.items() if start.startswith(bytes_)), None)
    what = "it is empty" if not start else f"it is {kind}" if kind else f"it begins with {start[:8]!r}"
    raise InputError(
        f"{path}: expected weights in the format of safetensors or torch.save; {what}",
        "the file may be cut short or of another program; fetch or convert it again",
    )
