"""Authors' tensors into our mechanisms: recognise the layout by its keys, check everything, then copy.

Which published code gives which names to a mechanism's tensors is data of the mechanism (`Published.layouts`). This
file is the same for all of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from os import PathLike
from typing import Any

from torch import Tensor

from saccade.errors import InputError
from saccade.mechanisms.base import Layout, Published
from saccade.official.reading import read_tensors

OWN = "saccade"
COUNTER = "num_batches_tracked"  # absent from checkpoints made before PyTorch 0.4.1, and of no effect on ours


@dataclass(frozen=True)
class LoadReport:
    """What :func:`load_official` recognised and copied.

    Args:
        layout: The key names that were recognised; its `source` says whose.
        prefix: What stood before all of them, such as ``module.``.
        loaded: Their key to ours.
        kept: Our keys that the state dict does not have and need not: counters of batches.
    """

    layout: Layout
    prefix: str
    loaded: Mapping[str, str]
    kept: tuple[str, ...]

    def __str__(self) -> str:
        lines = [f"layout of {self.layout.source}: {len(self.loaded)} tensors loaded"]
        lines += [f"  {theirs} -> {ours}" for theirs, ours in self.loaded.items()]
        return "\n".join(lines + [f"  {ours} kept" for ours in self.kept])


def load_official(module: Published, state_dict: Mapping[str, Any] | str | PathLike[str]) -> LoadReport:
    """Load a mechanism's weights under the key names of its authors, of other known code, or of ours.

    A prefix common to all keys (``module.``, ``layer1.0.cbam.``) and a wrapping dict with ``state_dict`` are taken
    off, trailing 1x1 axes are added or dropped. The module's options are never changed.

    Args:
        module: What to fill, made by :func:`saccade.create`.
        state_dict: Tensors by name, or the path of a ``.safetensors``, ``.pth``, ``.pt`` or ``.bin`` file; nothing is
            unpickled.

    Raises:
        InputError: The state dict does not fit: the message names the layout recognised, the keys that are missing,
            unexpected or of another shape, and the options that would fit. The module is as it was.
        TypeError: `module` is not a mechanism.

    Example:
        >>> import torch, saccade
        >>> se = saccade.create("se", channels=32, bias=False)
        >>> print(load_official(se, {"fc.0.weight": torch.zeros(2, 32), "fc.2.weight": torch.zeros(32, 2)}))
        layout of moskomule/senet.pytorch: 2 tensors loaded
          fc.0.weight -> reduce.weight
          fc.2.weight -> expand.weight
    """
    if not isinstance(module, Published):
        raise TypeError(f"load_official: expected a mechanism of saccade.create; received {type(module).__name__}")
    given = read_tensors(state_dict)
    fit = min(_fits(module, given), key=lambda fit: fit.badness)
    if fit.badness:
        raise InputError(fit.complaint(), fit.advice())
    own = module.state_dict()
    module.load_state_dict({**own, **{name: t.reshape(own[name].shape) for name, t in fit.tensors.items()}})
    return LoadReport(fit.layout, fit.prefix, fit.renamed, fit.missing_counters)


@dataclass(frozen=True)
class _Fit:
    """One layout tried on one state dict for one module."""

    module: Published
    layout: Layout
    prefix: str
    given: Mapping[str, Tensor]  # without the prefix

    @property
    def renamed(self) -> dict[str, str]:
        """Their key, with the prefix, to ours."""
        pairs = ((key, self.layout.rename(key)) for key in self.given)
        return {self.prefix + theirs: ours for theirs, ours in pairs if ours is not None}

    @property
    def tensors(self) -> dict[str, Tensor]:
        """By our names, converted."""
        convert = self.layout.convert or (lambda _, tensor: tensor)
        return {
            ours: convert(ours, self.given[theirs.removeprefix(self.prefix)]) for theirs, ours in self.renamed.items()
        }

    @property
    def missing(self) -> list[str]:
        found = set(self.renamed.values())
        return [name for name in self.module.state_dict() if name not in found and not name.endswith(COUNTER)]

    @property
    def missing_counters(self) -> tuple[str, ...]:
        found = set(self.renamed.values())
        return tuple(name for name in self.module.state_dict() if name not in found and name.endswith(COUNTER))

    @property
    def unexpected(self) -> list[str]:
        """Their keys that no tensor of the module answers to."""
        own, renamed = self.module.state_dict(), self.renamed
        return [key for key in map(self.prefix.__add__, self.given) if renamed.get(key) not in own]

    @property
    def misshapen(self) -> list[str]:
        own, tensors = self.module.state_dict(), self.tensors
        return [
            f"{theirs} {tuple(tensors[ours].shape)} for {ours} {tuple(own[ours].shape)}"
            for theirs, ours in self.renamed.items()
            if ours in own and _core(tensors[ours]) != _core(own[ours])
        ]

    @property
    def unmet(self) -> dict[str, Any]:
        """What the layout needs the module to be, and it is not."""
        return {name: value for name, value in self.layout.needs.items() if getattr(self.module, name, None) != value}

    @property
    def badness(self) -> tuple[int, int, int] | tuple[()]:
        """Nothing if all is well; else smaller for the layout that more of the keys belong to."""
        strangers = len(self.given) - len(self.renamed)
        faults = len(self.missing) + len(self.unexpected) + len(self.misshapen)
        return (strangers, len(self.unmet), faults) if faults or self.unmet else ()

    def complaint(self) -> str:
        label = self.module.label
        if self.given and not self.renamed:
            return f"{label}: no known layout has the keys {', '.join(self.given)}"
        faults = {"missing": self._missing_both(), "unexpected": self.unexpected, "misshapen": self.misshapen}
        told = [f"{what}: {', '.join(which)}" for what, which in faults.items() if which]
        told += [f"the module has {name}={getattr(self.module, name, None)!r}" for name in self.unmet]
        return f"{label}: the state dict, in the layout of {self.layout.source}, does not fit; {'; '.join(told)}"

    def advice(self) -> str:
        if not self.renamed:
            known = [f"{layout.source} ({', '.join(layout.names)})" for layout in self.module.layouts]
            return f"known: {'; '.join(known)}" if known else "this mechanism has no published layout"
        try:
            named = {**self.module.fitting(self.tensors), **self.layout.needs}
        except (ValueError, IndexError):  # a tensor of another rank tells no width
            named = dict(self.layout.needs)
        options = [f"{name}={value!r}" for name, value in named.items()]
        options += [self.layout.options] if self.layout.options else []
        return (
            f"it fits {self.module.label} made with {', '.join(options)}"
            if options
            else "see the options of the module"
        )

    def _missing_both(self) -> list[str]:
        """Our missing names, each with the authors' name for it where there is one."""
        theirs = {ours: key for key, ours in self.layout.names.items()}
        told = []
        for name in self.missing:
            start = next(
                (ours for ours in theirs if name == ours or (ours.endswith(".") and name.startswith(ours))), None
            )
            told.append(name if start is None else f"{self.prefix}{theirs[start]}{name.removeprefix(start)} ({name})")
        return told


def _fits(module: Published, given: Mapping[str, Tensor]) -> Iterator[_Fit]:
    """Every layout on the keys as they are, and again for each prefix that all of them share."""
    own = Layout(OWN, {name: name for name in module.state_dict()})
    prefix, stripped = "", given
    while True:
        yield from (_Fit(module, layout, prefix, stripped) for layout in (*module.layouts, own))
        shared = {_scope(key) for key in stripped}
        if len(shared) != 1 or not (part := shared.pop()):
            return
        prefix, stripped = prefix + part, {key.removeprefix(part): tensor for key, tensor in stripped.items()}


def _scope(key: str) -> str:
    """Its first part with the dot, or with the slash of TensorFlow's names; nothing if it has one part only."""
    found = re.match(r"[^./]*[./]", key)
    return found[0] if found else ""


def _core(tensor: Tensor) -> tuple[int, ...]:
    """The shape without its trailing axes of 1, by which a linear layer and a 1x1 convolution differ."""
    shape = list(tensor.shape)
    while shape and shape[-1] == 1:
        shape.pop()
    return tuple(shape)
