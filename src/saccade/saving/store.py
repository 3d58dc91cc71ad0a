"""Write and read a network with its mechanisms: tensors as safetensors, everything else as JSON in its header."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from saccade import schema
from saccade.catalog import Entry, NaturalPlace, Spec, entries, mentioned_in, name_code, parse
from saccade.catalog.imports import Trust, is_installed
from saccade.errors import InputError
from saccade.files import at_home, replacing
from saccade.insertion.attach import as_now, attachments
from saccade.insertion.inserting import attach_steps, remove
from saccade.insertion.places import Place
from saccade.insertion.report import Plan, Report, Step
from saccade.insertion.verifying import reports, verify
from saccade.insertion.wrappers import unwrapped
from saccade.networks.order import Match, check_match
from saccade.saving.recipes import build, class_of, find_recipe, fingerprint
from saccade.saving.tensors import HEADER, metadata, read
from saccade.version import __version__

BEST, LAST = "best.safetensors", "model.safetensors"
"""File names of networks in the folder of a training run."""

_FORMAT = 1
_DAMAGED = "the file was changed or is damaged: restore it from a copy, or take another file of the run"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Description of a network that can be built again, see :mod:`saccade.saving.recipes`."""

    library: str
    name: str
    options: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class WrittenStep:
    """A :class:`saccade.insertion.report.Step` in a file."""

    place: Place
    mechanism: Mapping[str, Any]
    wrapped: bool
    added: bool
    params: int
    macs: int
    copied: bool = False


@dataclass(frozen=True, kw_only=True)
class WrittenPlan:
    """A :class:`saccade.insertion.report.Plan` in a file."""

    network: str
    mechanism: str
    at: str | None
    start: str
    input_shape: tuple[int, ...]
    steps: tuple[WrittenStep, ...]
    unused: tuple[str, ...]
    present: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    example: tuple[Any, ...] = ()
    training: bool = False


@dataclass(frozen=True, kw_only=True)
class Inserted:
    """Plans that were carried out inside a module."""

    inside: str
    plans: tuple[WrittenPlan, ...]


@dataclass(frozen=True, kw_only=True)
class Header:
    """The header of a file.

    Args:
        format: Number of its form.
        saccade: Version that wrote it.
        network: Recipe of the network; None if it is not known.
        inserted: Insertions, in order.
        code: Import paths of mechanisms that are not part of saccade, by name.
        reading: Task of the network, as :meth:`saccade.tasks.base.Task.to_json` returns it.
        folder: Options that the folder of images was read with, if any were given.
        run: Further state of a checkpoint.
        class_name: Class of the network.
    """

    format: int
    saccade: str
    network: Recipe | None
    inserted: tuple[Inserted, ...]
    code: Mapping[str, str] = field(default_factory=dict)
    reading: Mapping[str, Any] | None = None
    folder: Mapping[str, Any] | None = None
    run: Any = None
    class_name: str | None = None


def save(model: nn.Module, path: str | PathLike[str], *, network: Mapping[str, Any] | None = None) -> Path:
    """Write a network with its insertions, so that :func:`saccade.load` restores it.

    One safetensors file holds all tensors by their names and, in its header as JSON, a recipe for the network and the
    insertions. Networks of timm, torchvision and saccade are recognised: rebuilt, they have the same modules, settings
    and shapes. For others, weights and insertions are kept, and loading requires the network.

    The mechanisms are verified first, see :func:`saccade.verify`.

    Args:
        model: Network with or without mechanisms; for a wrapper for parallel training, the network inside.
        path: Usually ending in ``.safetensors``. An existing file is replaced whole or not at all.
        network: Recipe, if the network is not recognised: ``{"library": "timm", "name": "resnet50", "options":
            {"drop_path_rate": 0.1}}``. The library is timm, torchvision, saccade, or code: the name is then the import
            path of a function of your own, ``"my_package.nets:make"``, that is called with the options.

    Returns:
        The path.

    Raises:
        InputError: A mechanism is lost, `network` builds another network, options are not plain values, or the file
            cannot be written.

    Example:
        >>> import saccade, torchvision, tempfile
        >>> model = saccade.insert(torchvision.models.resnet18(), "se")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     again = saccade.load(saccade.save(model, f"{folder}/resnet18.safetensors"))
        >>> len(again.saccade_report.places)
        8
    """
    model, path = unwrapped(model, compiled=True), at_home(path)
    if path.is_file() and path.stat().st_size and not is_saved(path):
        raise InputError(f"{path} exists, and saccade did not write it", "choose another name, or move the file")
    if network is not None:
        name_code(network.get("name"))
    header = header_of(model, network)
    tensors = as_stored(model.state_dict())
    try:
        kept = metadata(tensors, header, strict=True)
    except (TypeError, ValueError) as cause:
        raise InputError(f"{path}: options must be plain values ({cause})", "give numbers, words and tuples") from cause
    with replacing(path) as temporary:
        save_file(tensors, temporary, kept)
    return path


def header_of(model: nn.Module, network: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the header of a file: the recipe of the network, and the insertions.

    Args:
        model: Network with or without mechanisms, without wrappers; the mechanisms are verified.
        network: Recipe, if the network is not recognised.

    Raises:
        InputError: A mechanism is lost or has no report, or `network` builds another network.
    """
    verify(model)
    inserted = [{"inside": prefix.rstrip("."), "plans": _plans(report)} for prefix, _, report in reports(model)]
    if not inserted and attachments(model):
        raise InputError(
            f"{type(model).__name__}: it has mechanisms but no report of them, so they could not be put back",
            "insert with saccade.insert, and keep the network it returns",
        )
    if network is not None:
        network = {"options": {}, **network}
        if fingerprint(build(network, hollow=True)) != fingerprint(model):
            raise InputError(f"{network} builds another network than the one to be saved", "leave network= out")
    return {
        "format": _FORMAT, "saccade": __version__, "class": class_of(model).__name__,
        "network": network or find_recipe(model), "inserted": inserted, "code": _code(model),
    }  # fmt: skip


def load(
    path: str | PathLike[str], *, model: nn.Module | None = None, trust: Trust = (), match: Match = "names"
) -> nn.Module:
    """Load a network that :func:`saccade.save` or a training run wrote, with mechanisms, weights and report.

    Nothing is unpickled or downloaded, and no code is imported that is not part of saccade, unless `trust` names it.
    torch's random generator is left as it was. The network is on the CPU, in training mode as any new one, and each
    tensor has the dtype it was saved with.

    Args:
        path: The file; the folder of a training run, for its best network; or a checkpoint in it. With `model`, also
            weights that another program saved, in the format of safetensors or ``torch.save``.
        model: Network to load mechanisms and weights into, in place, as it was before the insertion. Required if
            the file has no recipe; it is left as it was if the file does not fit.
        trust: Import paths of mechanisms and backbones of your own that may be imported for this file,
            ``["my_package.blocks:MyBlock"]``, or the classes and functions themselves.
        match: ``"order"`` if the tensors of another program's file are those of `model` in order and shape, under other
            names; a warning says how far the names agree.

    Raises:
        InputError: The file is missing, damaged or not written by saccade, the network cannot be rebuilt, the file
            does not fit it, or code is needed that is not trusted.
    """
    check_match(match)
    path = network_file(at_home(path))
    if model is not None and path.exists() and not is_saved(path):
        return _load_plain(path, unwrapped(model), match)
    if match != "names":
        raise InputError(
            f"{path}: match={match!r} is for weights that another program saved, loaded into a network",
            "give model=, the network; saccade's own files carry its names",
        )
    header, tensors = _read(path)
    with mentioned_in(path, trust):
        return _built(path, header, tensors, model)


def _load_plain(path: Path, network: nn.Module, match: Match) -> nn.Module:
    """Load weights that another program saved, under the names of the network as it is, or in its order."""
    from saccade.official.reading import read_in_order, read_tensors

    own = network.state_dict()
    if match == "order":
        network.load_state_dict({**own, **read_in_order(path, own)})
        return network

    def fits(tensors: Mapping[str, Tensor]) -> None:
        _check(
            own,
            as_now(tensors, own),
            f"{path} does not fit this {type(network).__name__}",
            "give weights of the same network",
        )

    network.load_state_dict(read_tensors(path, fits))
    return network


def _built(path: Path, header: Header, tensors: Mapping[str, Tensor], model: nn.Module | None) -> nn.Module:
    if model is not None:
        network = unwrapped(model)
    elif header.network is None:
        raise InputError(
            f"{path}: a {header.class_name} that none of timm, torchvision and saccade builds",
            "make the network and give it: saccade.load(path, model=network)",
        )
    else:
        network = remove(_rebuilt(header.network, path))  # a named network comes with mechanisms; the file says which
    if attachments(network):
        raise InputError(
            f"{path}: the given {type(network).__name__} has mechanisms", "call saccade.remove(model) first"
        )
    try:
        with torch.random.fork_rng(devices=[]):
            for part in header.inserted:
                _insert(network, part, path, header.code)
        _fill(network, tensors, path)
    except BaseException:
        remove(network)
        raise
    return network if model is None else model


def _rebuilt(recipe: Recipe, path: Path) -> nn.Module:
    try:
        return build({"library": recipe.library, "name": recipe.name, "options": recipe.options})
    except (InputError, ImportError):
        raise
    except Exception as cause:  # a library may refuse options in any way
        raise InputError(
            f"{path}: {recipe.library} cannot build {recipe.name} with {dict(recipe.options)} "
            f"({type(cause).__name__}: {cause})",
            "make the network and give it: saccade.load(path, model=network)",
        ) from cause


def _insert(network: nn.Module, part: Inserted, path: Path, code: Mapping[str, str]) -> None:
    plans = [_plan(written, code) for written in part.plans]
    try:
        inside = network.get_submodule(part.inside)
        for plan in plans:
            for place in plan.places:
                inside.get_submodule(place.name)
    except AttributeError as cause:
        raise _other(path, network, str(cause)) from cause
    for plan in plans:
        attach_steps(inside, plan)


def _fill(network: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    own = network.state_dict(keep_vars=True)
    other = _other(path, network, "")
    tensors = as_now(tensors, own)
    _check(own, tensors, other.message.rstrip(": "), other.hint)
    for key, tensor in tensors.items():
        if own[key].dtype != tensor.dtype:
            own[key].data = own[key].data.to(tensor.dtype)
    network.load_state_dict(dict(tensors))


def _check(own: Mapping[str, Tensor], given: Mapping[str, Tensor], message: str, hint: str | None) -> None:
    wrong = sorted(own.keys() ^ given.keys())
    wrong += [key for key, tensor in given.items() if key in own and own[key].shape != tensor.shape]
    if wrong:
        raise InputError(f"{message}: {len(wrong)} tensors do not fit, the first are {', '.join(wrong[:3])}", hint)


def _other(path: Path, network: nn.Module, what: str) -> InputError:
    return InputError(
        f"{path} was saved from another network than this {type(network).__name__}: {what}",
        "give the network it was saved from, as it was before the insertion",
    )


def is_saved(path: Path) -> bool:
    """Return whether `saccade.save` or a training run wrote the file."""
    if path.is_dir():
        return True
    try:
        with safe_open(path, framework="pt") as opened:
            return HEADER in (opened.metadata() or {})
    except (SafetensorError, OSError):
        return False


def read_header(path: Path) -> Header:
    """Return the header of one of saccade's files.

    Raises:
        InputError: The file is missing, damaged, or of another kind.
    """
    return _read(path, tensors=False)[0]


def foreign_code(path: Path) -> tuple[str, ...]:
    """Return the import paths that a file needs trusted, see :func:`load`.

    Raises:
        InputError: The file is missing, damaged, or of another kind.
    """
    header = read_header(network_file(path))
    backbone = header.network is not None and header.network.library == "code"
    names = [header.network.name] if backbone and header.network is not None else []
    return tuple(dict.fromkeys([*names, *header.code.values()]))


def _read(path: Path, *, tensors: bool = True) -> tuple[Header, dict[str, Tensor]]:
    if path.is_dir():
        raise InputError(f"{path}: expected a file; it is a folder", _DAMAGED)
    if not path.is_file():
        raise InputError(
            f"{path}: {'not a regular file' if path.exists() else 'no such file'}",
            "give a file that saccade.save wrote",
        )
    written, found = read(path, tensors=tensors)
    if written is None or (isinstance(written, dict) and "inserted" not in written and "run" not in written):
        raise InputError(
            f"{path}: not written by saccade.save",
            "make the network and give it, to load plain weights: saccade.load(path, model=network)",
        )
    number = written.get("format") if isinstance(written, dict) else None
    if number is not None and number != _FORMAT:
        raise InputError(
            f"{path}: written by saccade {written.get('saccade')} in format {number!r}; this is {_FORMAT}",
            "install that version",
        )
    if isinstance(written, dict) and "inserted" not in written:
        raise InputError(f"{path}: a checkpoint without a recipe of its network", "resume the training that wrote it")
    if isinstance(written, dict):
        known = Header.__dataclass_fields__
        written = {"class_name": written.get("class"), **{k: v for k, v in written.items() if k in known}}
    header = schema.from_json(Header, written, source=f"{path}, its header", hint=_DAMAGED)
    if header.run is not None:  # a checkpoint, only its network is wanted
        found = _network_in(found)
    return header, found


def _network_in(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint's network: the averaged ones if there are any, as these were scored."""
    kind = "average/" if any(name.startswith("average/") for name in tensors) else "model/"
    return {name.removeprefix(kind): tensor for name, tensor in tensors.items() if name.startswith(kind)}


def network_file(path: Path) -> Path:
    """Return the file of a network: `path` itself, or in a run's folder the best, else the last, else a checkpoint.

    Raises:
        InputError: The folder contains none of them.
    """
    if not path.is_dir():
        return path
    checkpoints = sorted(path.glob("checkpoints/[0-9]*.safetensors"), reverse=True)
    for found in (path / BEST, path / LAST, *checkpoints):
        if found.exists():
            return found
    raise InputError(
        f"{path}: no network in this folder", "give the folder that saccade train wrote, or a checkpoint in it"
    )


def as_stored(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Prepare tensors for safetensors: on the CPU, contiguous, each with its own memory (weights may be tied).

    Tensors that several processes hold parts of, as FSDP's, are gathered: every process must call this.
    """
    seen: set[int] = set()
    found = {}
    for name, given in tensors.items():
        whole = getattr(given, "full_tensor", None)  # of a DTensor
        tensor = (given if whole is None else whole()).detach().cpu().contiguous()
        pointer = tensor.data_ptr()
        found[name] = tensor.clone() if pointer in seen and tensor.numel() else tensor
        seen.add(pointer)
    return found


def _plans(report: Report) -> list[dict[str, Any]]:
    found = []
    for plan in report.plans:
        written = {key: getattr(plan, key) for key in Plan.__dataclass_fields__ if key not in ("steps", "example")}
        steps = [
            {
                "place": asdict(step.place), "wrapped": step.wrapped, "added": step.added, "params": step.params,
                "macs": step.macs, "mechanism": {"name": step.mechanism.name, **step.mechanism.options},
            }
            for step in plan.steps
        ]  # fmt: skip
        found.append({**written, "steps": steps, "example": [_described(part) for part in plan.example]})
    return found


def _code(model: nn.Module) -> dict[str, str]:
    """Return import paths of the inserted mechanisms that are not part of saccade, by their names."""
    specs = [step.mechanism for _, _, report in reports(model) for step in report.steps]
    return {spec.name: spec.entry.path for spec in specs if not is_installed(spec.entry.path)}


def _plan(written: WrittenPlan, code: Mapping[str, str]) -> Plan:
    steps = [Step(**{**vars(step), "mechanism": _spec(step.mechanism, code)}) for step in written.steps]
    example = tuple(_made(part) for part in written.example)
    return Plan(**{**vars(written), "steps": tuple(steps), "example": example})


def _spec(written: Mapping[str, Any], code: Mapping[str, str]) -> Spec:
    given = {key: tuple(value) if isinstance(value, list) else value for key, value in written.items()}
    name = str(given.get("name"))
    if name in code and name not in entries():  # imported by its path, if that is trusted
        options = {key: value for key, value in given.items() if key != "name"}
        return Spec(name, options, Entry(name, code[name], "own", "", NaturalPlace("residual"), name))
    return parse(given)


def _described(tree: Any) -> Any:
    """Describe an example input as JSON: tensors by shape and dtype."""
    if isinstance(tree, Tensor):
        return {"shape": list(tree.shape), "dtype": str(tree.dtype).removeprefix("torch.")}
    if isinstance(tree, (list, tuple)):
        return [_described(part) for part in tree]
    return (
        {"named": {key: _described(part) for key, part in tree.items()}} if isinstance(tree, dict) else {"plain": tree}
    )


def _made(written: Any) -> Any:
    if isinstance(written, list):
        return [_made(part) for part in written]
    if isinstance(written, dict):
        if "plain" in written:
            return written["plain"]
        if isinstance(written.get("named"), dict):
            return {key: _made(part) for key, part in written["named"].items()}
    found = schema.from_json(_Example, written, source="example input", hint=_DAMAGED)
    dtype = getattr(torch, found.dtype, None)
    if not isinstance(dtype, torch.dtype):
        raise InputError(f"example input: there is no dtype {found.dtype!r}", _DAMAGED)
    return torch.empty(found.shape, dtype=dtype, device="meta")


@dataclass(frozen=True)
class _Example:
    """A tensor of an example input in a file."""

    shape: tuple[int, ...]
    dtype: str
