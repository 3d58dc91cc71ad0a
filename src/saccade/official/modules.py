"""Load authors' tensors into our mechanisms and networks: recognise the layout by its keys, check, then copy.

The names that each published code gives to a mechanism's tensors are data of the mechanism (`Published.layouts`), and
the names it gives to the rest of a network are in `networks.py`. This file is the same for all of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from typing import Any

from torch import Tensor, nn

from saccade.errors import InputError
from saccade.mechanisms.base import Layout, Published
from saccade.official.networks import LAYOUTS, OWN, Part, expanded, parts_of
from saccade.official.reading import read_tensors

COUNTER = "num_batches_tracked"  # absent from checkpoints made before PyTorch 0.4.1, and of no effect on ours
_LISTED = 20  # names in a message; a network has hundreds


@dataclass(frozen=True)
class LoadReport:
    """Recognised layout and copied tensors of one :func:`load_official` call.

    Args:
        layout: The recognised key names; its `source` names the repository.
        prefix: Common prefix of all keys, such as ``module.``.
        loaded: Their key to ours.
        kept: Our keys that the state dict lacks and need not have: counters of batches.
        left_out: Their keys that are not part of the network: necks and heads of a detector.
    """

    layout: Layout
    prefix: str
    loaded: Mapping[str, str]
    kept: tuple[str, ...]
    left_out: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = [f"layout of {self.layout.source}: {len(self.loaded)} tensors loaded"]
        lines += [f"  {theirs} -> {ours}" for theirs, ours in self.loaded.items()]
        lines += [f"  {ours} kept" for ours in self.kept]
        return "\n".join(lines + [f"  {theirs} left out" for theirs in self.left_out])


def load_official(module: nn.Module, state_dict: Mapping[str, Any] | str | PathLike[str]) -> LoadReport:
    """Load the weights of a mechanism, or of a network with mechanisms, under the key names of its authors.

    The names of other known code, and ours, are accepted as well. A prefix common to all keys (``module.``,
    ``layer1.0.cbam.``) and dicts around the state dict are removed, trailing 1x1 axes are added or dropped.
    The module's options are never changed.

    Args:
        module: Module to load into, made by :func:`saccade.create` or :func:`saccade.classifier`; or any network that
            :func:`saccade.insert` put a mechanism into.
        state_dict: Tensors by name, or the path of a file in the format of safetensors or ``torch.save``, whatever its
            suffix; nothing is unpickled. ``PATH:KEY`` chooses one of several state dicts in a file.

    Raises:
        InputError: The state dict does not fit, or several do. The message names the layout recognised, the keys that
            are missing, unexpected or of another shape, and the options that would fit. The module is left as it was.
        TypeError: `module` is not a mechanism and contains none.

    Example:
        >>> import torch, saccade
        >>> se = saccade.create("se", channels=32, bias=False)
        >>> print(load_official(se, {"fc.0.weight": torch.zeros(2, 32), "fc.2.weight": torch.zeros(32, 2)}))
        layout of moskomule/senet.pytorch: 2 tensors loaded
          fc.0.weight -> reduce.weight
          fc.2.weight -> expand.weight
    """
    parts = parts_of(module) if isinstance(module, nn.Module) else ()
    if not parts:
        raise TypeError(
            "load_official: expected a mechanism of saccade.create, or a network with some; received "
            f"{type(module).__name__}"
        )
    found: dict[int, _Fit] = {}

    def fitting(given: Mapping[str, Tensor]) -> None:
        fit = min(_fits(module, parts, given), key=lambda fit: fit.badness)
        if fit.badness:
            raise InputError(fit.complaint(), fit.advice())
        found[id(given)] = fit

    fit = found[id(read_tensors(state_dict, fitting))]
    own = fit.own
    module.load_state_dict({**own, **{name: t.reshape(own[name].shape) for name, t in fit.tensors.items()}})
    return LoadReport(fit.layout, fit.prefix, fit.renamed, fit.missing_counters, fit.left_out)


@dataclass(frozen=True)
class _Fit:
    """One layout tried on one state dict for one module."""

    module: nn.Module
    parts: tuple[Part, ...]  # its mechanisms; for a mechanism, itself
    layout: Layout
    prefix: str
    given: Mapping[str, Tensor]  # without the prefix
    left_out: tuple[str, ...] = ()

    @cached_property
    def own(self) -> dict[str, Tensor]:
        return self.module.state_dict()

    @cached_property
    def renamed(self) -> dict[str, str]:
        """Their key, with the prefix, to ours."""
        pairs = ((key, self.layout.rename(key)) for key in self.given)
        return {self.prefix + theirs: ours for theirs, ours in pairs if ours is not None}

    @cached_property
    def tensors(self) -> dict[str, Tensor]:
        """Converted tensors by our names."""
        convert = self.layout.convert or (lambda _, tensor: tensor)
        return {
            ours: convert(ours, self.given[theirs.removeprefix(self.prefix)]) for theirs, ours in self.renamed.items()
        }

    @cached_property
    def missing(self) -> list[str]:
        found = set(self.renamed.values())
        return [name for name in self.own if name not in found and not name.endswith(COUNTER)]

    @property
    def missing_counters(self) -> tuple[str, ...]:
        found = set(self.renamed.values())
        return tuple(name for name in self.own if name not in found and name.endswith(COUNTER))

    @cached_property
    def unexpected(self) -> list[str]:
        """Their keys that match no tensor of the module."""
        return [key for key in map(self.prefix.__add__, self.given) if self.renamed.get(key) not in self.own]

    @cached_property
    def misshapen(self) -> dict[str, str]:
        """Their key to ours, for pairs of different shape."""
        return {
            theirs: ours
            for theirs, ours in self.renamed.items()
            if ours in self.own and _core(self.tensors[ours]) != _core(self.own[ours])
        }

    @cached_property
    def part(self) -> Part | None:
        """The first mechanism with a fault, if any."""
        wrong = [*self.missing, *self.misshapen.values(), *(self.renamed.get(key, key) for key in self.unexpected)]
        at_fault = (part for part in self.parts if any(name.startswith(part.prefix) for name in wrong))
        return next(at_fault, self.parts[0] if self.unmet else None)

    @property
    def unmet(self) -> dict[str, Any]:
        """Options that the layout requires and the mechanism does not have."""
        mechanism = self.parts[0].mechanism
        return {name: value for name, value in self.layout.needs.items() if getattr(mechanism, name, None) != value}

    @property
    def badness(self) -> tuple[int, int, int] | tuple[()]:
        """Empty if everything fits; otherwise smaller for the layout that more of the keys belong to."""
        # In a network every key has a name in every layout: our backbone's, unless it belongs to attention.
        of_one = isinstance(self.module, Published)
        strangers = len(self.given) - len(self.renamed) if of_one else len(self.unexpected)
        faults = len(self.missing) + len(self.unexpected) + len(self.misshapen)
        return (strangers, len(self.unmet), faults) if faults or self.unmet else ()

    @property
    def label(self) -> str:
        return self.module.label if isinstance(self.module, Published) else type(self.module).__name__

    def complaint(self) -> str:
        if self.given and not self.renamed:
            return f"{self.label}: no known layout has the keys {_listed(list(self.given))}"
        misshapen = [
            f"{theirs} {tuple(self.tensors[ours].shape)} for {ours} {tuple(self.own[ours].shape)}"
            for theirs, ours in self.misshapen.items()
        ]
        faults = {"missing": self._missing_both(), "unexpected": self.unexpected, "misshapen": misshapen}
        told = [f"{what}: {_listed(which)}" for what, which in faults.items() if which]
        told += [f"the module has {name}={getattr(self.parts[0].mechanism, name, None)!r}" for name in self.unmet]
        return f"{self.label}: the state dict, in the layout of {self.layout.source}, does not fit; {'; '.join(told)}"

    def advice(self) -> str:
        if not self.renamed:
            known = [f"{layout.source} ({', '.join(layout.names)})" for layout in self.parts[0].mechanism.layouts]
            return f"known: {'; '.join(known)}" if known else "this mechanism has no published layout"
        if self.part is None:
            return "its mechanisms fit; the backbone or its number of classes (num_classes=) differs"
        mechanism, path = self.part.mechanism, self.part.prefix
        tensors = {ours.removeprefix(path): t for ours, t in self.tensors.items() if ours.startswith(path)}
        try:
            named = {**mechanism.fitting(tensors), **self.layout.needs}
        except (ValueError, IndexError):  # a tensor of another rank does not give the width
            named = dict(self.layout.needs)
        options = [f"{name}={value!r}" for name, value in named.items()]
        options += [self.layout.options] if self.layout.options else []
        where = f" at {self.part.path}" if self.part.path else ""
        return (
            f"it fits {mechanism.label}{where} made with {', '.join(options)}"
            if options
            else "see the options of the module"
        )

    def _missing_both(self) -> list[str]:
        """Our missing names, each with the authors' name if there is one."""
        theirs = {ours: key for key, ours in self.layout.names.items()}
        told = []
        for name in self.missing:
            start = next(
                (ours for ours in theirs if name == ours or (ours.endswith(".") and name.startswith(ours))), None
            )
            told.append(name if start is None else f"{self.prefix}{theirs[start]}{name.removeprefix(start)} ({name})")
        return told


def _fits(module: nn.Module, parts: tuple[Part, ...], given: Mapping[str, Tensor]) -> Iterator[_Fit]:
    """Yield a fit of every layout to the keys as they are, and again for each prefix that all of them share."""
    prefix, stripped = "", given
    while True:
        if isinstance(module, Published):
            for layout in (*module.layouts, Layout(OWN, {name: name for name in module.state_dict()})):
                yield _Fit(module, parts, layout, prefix, stripped)
        else:
            yield from _network_fits(module, parts, prefix, stripped)
        shared = {_scope(key) for key in stripped}
        if len(shared) != 1 or not (part := shared.pop()):
            return
        prefix, stripped = prefix + part, {key.removeprefix(part): tensor for key, tensor in stripped.items()}


def _network_fits(
    network: nn.Module, parts: tuple[Part, ...], prefix: str, given: Mapping[str, Tensor]
) -> Iterator[_Fit]:
    """Yield a fit of each known network layout to the keys that it takes for the network."""
    for published in LAYOUTS:
        inside = {key: tensor for key, tensor in given.items() if key.startswith(published.inside)}
        left_out = tuple(prefix + key for key in given if key not in inside)
        keys = {key.removeprefix(published.inside): tensor for key, tensor in inside.items()}
        if keys:
            layout = expanded(published, network, parts, keys)
            yield _Fit(network, parts, layout, prefix + published.inside, keys, left_out)


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more


def _scope(key: str) -> str:
    """Return the first part with the dot, or with the slash of TensorFlow's names; empty for a single part."""
    found = re.match(r"[^./]*[./]", key)
    return found[0] if found else ""


def _core(tensor: Tensor) -> tuple[int, ...]:
    """Return the shape without trailing axes of 1, by which a linear layer and a 1x1 convolution differ."""
    shape = list(tensor.shape)
    while shape and shape[-1] == 1:
        shape.pop()
    return tuple(shape)
