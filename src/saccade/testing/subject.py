"""Subjects of the contract: a mechanism, feature maps that show faults, and modules away from their start values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from saccade.catalog import Spec, check_options, parse
from saccade.errors import InputError

SIZES: Mapping[int, tuple[tuple[int, ...], tuple[int, ...]]] = {
    1: ((7,), (11,)),
    2: ((6, 7), (11, 4)),
    3: ((2, 6, 7), (3, 11, 4)),
}
"""Odd and unequal sides, by the number of map axes; with the second size nothing is equal by chance."""


@dataclass(frozen=True)
class Subject:
    """A mechanism with its options, and how it is checked.

    Args:
        spec: The mechanism.
        channels: C of its maps.
        size: Sides of its maps.
        other_size: Other sides, which it takes as well.
        idle: Ends of the names of parameters that provably do nothing, such as a bias before a softmax.
        backend: Backend of `torch.compile`.
    """

    spec: Spec
    channels: int = 32
    size: tuple[int, ...] = SIZES[2][0]
    other_size: tuple[int, ...] = SIZES[2][1]
    idle: tuple[str, ...] = ()
    backend: str = "aot_eager"
    _label: str = field(default="", repr=False)

    @classmethod
    def of(
        cls,
        mechanism: Any,
        *,
        options: Mapping[str, Any] | None = None,
        channels: int = 32,
        dims: int | None = None,
        size: tuple[int, ...] | None = None,
        other_size: tuple[int, ...] | None = None,
        idle: tuple[str, ...] = (),
        backend: str = "aot_eager",
    ) -> Subject:
        """Return the subject for what a user gives, see :func:`saccade.testing.check_mechanism`."""
        if isinstance(mechanism, nn.Module):
            raise InputError(
                f"check_mechanism makes its modules itself; received a {type(mechanism).__name__}",
                "give the class, or a function from the number of channels to a module",
            )
        spec = parse(mechanism)
        if options:
            check_options(spec.entry, options)
            spec = Spec(spec.name, {**spec.options, **options}, spec.entry)
        dims = int(spec.options.get("dims", 2)) if dims is None else dims
        if dims not in SIZES:
            raise InputError(f"dims must be 1, 2 or 3, the axes of a map; received {dims!r}")
        sizes = (size or SIZES[dims][0], other_size or SIZES[dims][1])
        if any(len(sides) != dims for sides in sizes):
            raise InputError(f"a size has {dims} sides; received {sizes[0]} and {sizes[1]}", "give dims= as well")
        return cls(spec, channels, *sizes, tuple(idle), backend, _short(mechanism, spec))

    def __str__(self) -> str:
        return self._label or str(self.spec)

    @property
    def dims(self) -> int:
        """The number of map axes."""
        return len(self.size)

    def fresh(self, seed: int = 0) -> nn.Module:
        """Return a module as a user makes it, with the same numbers for the same seed."""
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(seed)
            return self.spec.entry.make(self.channels, **self.spec.options)

    def awake(self, dtype: torch.dtype = torch.float64, seed: int = 0) -> nn.Module:
        """Return a module in evaluation with nothing at its start: a zero or a one there would hide a fault.

        Norms and their statistics are drawn again, and parameters that start constant are moved away from there.
        """
        module = self.fresh(seed).double().eval()
        draw = torch.Generator().manual_seed(seed + 1)
        norms = {id(tensor) for tensor in _of_norms(module)}
        with torch.no_grad():
            for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
                values = torch.rand(tensor.shape, generator=draw, dtype=torch.float64)
                if id(tensor) in norms:
                    spread = name.endswith(("weight", "running_var"))  # with all negative, a relu after it is dead
                    tensor.copy_(values + 0.5 if spread else 0.6 * values - 0.2)
                elif isinstance(tensor, nn.Parameter) and tensor.is_floating_point() and _is_constant(tensor):
                    tensor.add_(0.3 if tensor.numel() == 1 else 0.6 * values - 0.2)
        return module.to(dtype)

    def map(self, batch: int = 3, dtype: torch.dtype = torch.float64, size: tuple[int, ...] | None = None) -> Tensor:
        """Return a feature map whose numbers are not centred on 0."""
        draw = torch.Generator().manual_seed(2)
        sides = self.size if size is None else size
        values = torch.randn(batch, self.channels, *sides, generator=draw, dtype=torch.float64)
        return (values + 0.5).to(dtype)


def _short(mechanism: Any, spec: Spec) -> str:
    """The name in messages: of a class or function without its module."""
    called: Callable[..., Any] | None = mechanism if callable(mechanism) else None
    name = getattr(called, "__name__", "")
    return str(Spec(name, spec.options, spec.entry)) if name else str(spec)


def _of_norms(module: nn.Module) -> list[Tensor]:
    """Weights, biases and running statistics of the norms."""
    return [
        tensor
        for part in module.modules()
        if isinstance(part, (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm))
        for tensor in (*part.parameters(recurse=False), *part.buffers(recurse=False))
        if tensor.is_floating_point()
    ]


def _is_constant(tensor: Tensor) -> bool:
    return tensor.numel() > 0 and bool((tensor == tensor.flatten()[0]).all())
