"""Writing and reading a network with its mechanisms: tensors as safetensors, everything else as JSON in its header."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from saccade.catalog import Entry, NaturalPlace, Spec, entries, mentioned_in, name_code, parse
from saccade.catalog.imports import Trust, is_installed
from saccade.errors import InputError
from saccade.files import replacing
from saccade.insertion.attach import attachments
from saccade.insertion.inserting import attach_steps, remove
from saccade.insertion.places import Place
from saccade.insertion.report import Plan, Report, Step
from saccade.insertion.verifying import reports, verify
from saccade.insertion.wrappers import unwrapped
from saccade.saving.recipes import build, find_recipe, fingerprint
from saccade.version import __version__

HEADER = "saccade"
"""The entry of a file's metadata that holds all of ours."""

BEST, LAST = "best.safetensors", "model.safetensors"
"""Networks in the folder of a training run."""

_FORMAT = 1


def save(model: nn.Module, path: str | PathLike[str], *, network: Mapping[str, Any] | None = None) -> Path:
    """Write a network with what was inserted into it, so that :func:`saccade.load` gives it back.

    One safetensors file: all tensors by their names, and in its header, as JSON, how to build the network and what is
    where. Networks of timm, torchvision and saccade are recognised: built again, they have the same modules, settings
    and shapes. Of others the weights and the insertion are kept, and loading needs the network.

    The mechanisms are verified first, see :func:`saccade.verify`.

    Args:
        model: With or without mechanisms; of a wrapper for parallel training, the network inside.
        path: Usually ending in ``.safetensors``. A file there is replaced whole or not at all.
        network: How to build it, where it is not recognised: ``{"library": "timm", "name": "resnet50", "options":
            {"drop_path_rate": 0.1}}``. The library is timm, torchvision, saccade, or code: the name is then the import
            path of a function of your own, ``"my_package.nets:make"``, that is called with the options.

    Returns:
        The path.

    Raises:
        InputError: A mechanism is gone, `network` builds another one, options that are no plain values, or a file that
            cannot be written.

    Example:
        >>> import saccade, torchvision, tempfile
        >>> model = saccade.insert(torchvision.models.resnet18(), "se")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     again = saccade.load(saccade.save(model, f"{folder}/resnet18.safetensors"))
        >>> len(again.saccade_report.places)
        8
    """
    model, path = unwrapped(model), Path(path)
    if network is not None:
        name_code(network.get("name"))
    header = header_of(model, network)
    try:
        text = json.dumps(header, allow_nan=False)
    except (TypeError, ValueError) as cause:
        raise InputError(f"{path}: an option is no plain value ({cause})", "give numbers, words and tuples") from cause
    with replacing(path) as temporary:
        save_file(as_stored(model.state_dict()), temporary, {HEADER: text})
    return path


def header_of(model: nn.Module, network: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What a file says beside the tensors: how to build the network, and what was inserted where.

    Args:
        model: With or without mechanisms, without wrappers; the mechanisms are verified.
        network: How to build it, where it is not recognised.

    Raises:
        InputError: A mechanism is gone or has no report, or `network` builds another one.
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
        "format": _FORMAT, "saccade": __version__, "class": type(model).__name__,
        "network": network or find_recipe(model), "inserted": inserted, "code": _code(model),
    }  # fmt: skip


def load(path: str | PathLike[str], *, model: nn.Module | None = None, trust: Trust = ()) -> nn.Module:
    """Give back a network that :func:`saccade.save` or a training run wrote, with mechanisms, weights and report.

    Nothing is unpickled or downloaded, and no code is imported that is not part of saccade, unless `trust` names it;
    torch's random generator is as it was. The network is on the CPU, in training
    mode as any new one, each tensor of the dtype it was saved with.

    Args:
        path: Of the file; or the folder of a training run, which gives its best network; or a checkpoint in it.
        model: The network to put mechanisms and weights into, as it was before the insertion, in place. Needed where
            the file does not say how to build it; it is left as it was if the file does not fit.
        trust: Import paths of mechanisms and backbones of your own that may be imported for this file,
            ``["my_package.blocks:MyBlock"]``, or the classes and functions themselves.

    Raises:
        InputError: No such file, one that saccade did not write or that is damaged, a network that cannot be built
            again, one that the file does not fit, or code that is needed and not trusted.
    """
    path = network_file(Path(path))
    header, tensors = _read(path)
    with mentioned_in(path, trust):
        return _built(path, header, tensors, model)


def _built(path: Path, header: Mapping[str, Any], tensors: Mapping[str, Tensor], model: nn.Module | None) -> nn.Module:
    if model is not None:
        network = unwrapped(model)
    elif header["network"] is None:
        raise InputError(
            f"{path}: a {header['class']} that neither timm nor torchvision nor saccade builds",
            "make the network and give it: saccade.load(path, model=network)",
        )
    else:
        network = remove(build(header["network"]))  # a named network comes with mechanisms; the file says which
    if attachments(network):
        raise InputError(
            f"{path}: the given {type(network).__name__} has mechanisms", "call saccade.remove(model) first"
        )
    try:
        with torch.random.fork_rng(devices=[]):
            for part in header["inserted"]:
                _insert(network, part, path, header.get("code", {}))
        _fill(network, tensors, path)
    except BaseException:
        remove(network)
        raise
    return network if model is None else model


def _insert(network: nn.Module, part: Mapping[str, Any], path: Path, code: Mapping[str, str]) -> None:
    plans = [_plan(written, code) for written in part["plans"]]
    try:
        inside = network.get_submodule(part["inside"])
        for plan in plans:
            for place in plan.places:
                inside.get_submodule(place.name)
    except AttributeError as cause:
        raise _other(path, network, str(cause)) from cause
    for plan in plans:
        attach_steps(inside, plan)


def _fill(network: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    own = network.state_dict(keep_vars=True)
    wrong = sorted(own.keys() ^ tensors.keys())
    wrong += [key for key, tensor in tensors.items() if key in own and own[key].shape != tensor.shape]
    if wrong:
        raise _other(path, network, f"{len(wrong)} tensors do not fit, the first are {', '.join(wrong[:3])}")
    for key, tensor in tensors.items():
        if own[key].dtype != tensor.dtype:
            own[key].data = own[key].data.to(tensor.dtype)
    network.load_state_dict(dict(tensors))


def _other(path: Path, network: nn.Module, what: str) -> InputError:
    return InputError(
        f"{path} was saved from another network than this {type(network).__name__}: {what}",
        "give the network it was saved from, as it was before the insertion",
    )


def is_saved(path: Path) -> bool:
    """Whether `saccade.save` or a training run wrote it."""
    if path.is_dir():
        return True
    try:
        with safe_open(path, framework="pt") as opened:
            return HEADER in (opened.metadata() or {})
    except (SafetensorError, OSError):
        return False


def read_header(path: Path) -> dict[str, Any]:
    """What a file of ours says beside the tensors.

    Raises:
        InputError: No such file, or another kind of file.
    """
    return _read(path, tensors=False)[0]


def _read(path: Path, *, tensors: bool = True) -> tuple[dict[str, Any], dict[str, Tensor]]:
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        with safe_open(path, framework="pt") as opened:
            text = (opened.metadata() or {}).get("saccade", "null")
            found = {name: opened.get_tensor(name) for name in opened.keys() if tensors}  # noqa: SIM118 (no mapping)
        header = json.loads(text)
        if isinstance(header, dict) and "run" in header:  # a checkpoint, of which only the network is wanted
            found = _network_in(found)
    except (SafetensorError, OSError, json.JSONDecodeError) as cause:
        raise InputError(
            f"{path}: cannot be read as safetensors ({cause})", "it may be truncated, or of another format"
        ) from cause
    if not isinstance(header, dict) or "inserted" not in header:
        raise InputError(
            f"{path}: not written by saccade.save", "a plain state dict is loaded with the network's load_state_dict"
        )
    if header["format"] != _FORMAT:
        raise InputError(
            f"{path}: written by saccade {header['saccade']} in format {header['format']}; this is {_FORMAT}",
            "install that version",
        )
    return header, found


def _network_in(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a checkpoint's network: averaged ones where there are, as these are what was scored."""
    kind = "average/" if any(name.startswith("average/") for name in tensors) else "model/"
    return {name.removeprefix(kind): tensor for name, tensor in tensors.items() if name.startswith(kind)}


def network_file(path: Path) -> Path:
    """The file of a network: `path` itself, or in the folder of a run the best, else the last, else a checkpoint.

    Raises:
        InputError: A folder without any of them.
    """
    if not path.is_dir():
        return path
    checkpoints = sorted(path.glob("checkpoints/[0-9]*.safetensors"), reverse=True)
    for found in (path / BEST, path / LAST, *checkpoints):
        if found.is_file():
            return found
    raise InputError(
        f"{path}: no network in this folder", "give the folder that saccade train wrote, or a checkpoint in it"
    )


def as_stored(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """As safetensors takes them: on the CPU, contiguous, and each with memory of its own (weights may be tied)."""
    seen: set[int] = set()
    found = {}
    for name, given in tensors.items():
        tensor = given.detach().cpu().contiguous()
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
    """Import paths of the inserted mechanisms that are not part of saccade, by their names."""
    specs = [step.mechanism for _, _, report in reports(model) for step in report.steps]
    return {spec.name: spec.entry.path for spec in specs if not is_installed(spec.entry.path)}


def _plan(written: Mapping[str, Any], code: Mapping[str, str]) -> Plan:
    steps = [
        Step(**{**step, "place": Place(**step["place"]), "mechanism": _spec(step["mechanism"], code)})
        for step in written["steps"]
    ]
    rest: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in written.items()}
    rest |= {"steps": tuple(steps), "example": tuple(_made(part) for part in written["example"])}
    return Plan(**rest)


def _spec(written: Mapping[str, Any], code: Mapping[str, str]) -> Spec:
    given = {key: tuple(value) if isinstance(value, list) else value for key, value in written.items()}
    name = str(given["name"])
    if name in code and name not in entries():  # imported by its path, if that is trusted
        options = {key: value for key, value in given.items() if key != "name"}
        return Spec(name, options, Entry(name, code[name], "own", "", NaturalPlace("residual"), name))
    return parse(given)


def _described(tree: Any) -> Any:
    """An example input as JSON: tensors by shape and dtype."""
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
    if "plain" in written:
        return written["plain"]
    if "named" in written:
        return {key: _made(part) for key, part in written["named"].items()}
    return torch.empty(written["shape"], dtype=getattr(torch, written["dtype"]), device="meta")
