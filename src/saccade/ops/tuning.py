"""Choose between equivalent implementations of an operation: the default ones, unless they were timed on this machine.

A choice timed at every start would break bit-identical resuming. So nothing is timed unless :func:`tune` is
called, and its result can be saved and restored with :func:`use`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from saccade.errors import InputError, near

WAYS: Mapping[str, tuple[str, ...]] = {
    "products": ("matmul", "convolution"),
    "attention": ("fused", "triton", "blocks"),
    "gates": ("functions", "triton"),
}
"""Kind of operation to its implementations; the first is the default."""
_ROUNDS = 5
_CLEARLY = 0.95  # fraction of the default's time; smaller gains are noise


@dataclass(frozen=True)
class Choice:
    """One implementation for each kind of operation; all give the same numbers up to rounding.

    Args:
        products: A matrix over channels times a map, on a CPU: a matrix product, or a 1x1 convolution, which some
            CPUs' libraries compute faster.
        attention: Softmax attention over positions, on a GPU: PyTorch's memory-efficient kernel, our Triton kernel, or
            blocks of queries. Blocks are used if the first two do not support an input.
        gates: CBAM's passes, on a GPU: PyTorch's operations, or our Triton kernels.
    """

    products: str = "matmul"
    attention: str = "fused"
    gates: str = "functions"

    def __post_init__(self) -> None:
        for kind, way in asdict(self).items():
            if way not in WAYS[kind]:
                raise InputError(f"ops: `{kind}` must be one of {', '.join(WAYS[kind])}; received {way!r}")

    def to_json(self) -> dict[str, str]:
        """Return plain values for a run's configuration."""
        return asdict(self)


_choice = Choice()


def chosen() -> Choice:
    """Return the implementations used now, in the whole process."""
    return _choice


def use(choice: Choice | Mapping[str, str]) -> Choice:
    """Use these implementations from now on, in the whole process; return those used before.

    Raises:
        InputError: An unknown kind of operation, or an unknown implementation.

    Example:
        >>> import saccade.ops
        >>> before = saccade.ops.use({"products": "convolution"})
        >>> saccade.ops.chosen()
        Choice(products='convolution', attention='fused', gates='functions')
        >>> _ = saccade.ops.use(before)
    """
    global _choice
    if not isinstance(choice, Choice):
        unknown = [kind for kind in choice if kind not in WAYS]
        if unknown:
            raise InputError(f"ops: unknown kind of operation {unknown[0]!r}", near(unknown[0], list(WAYS)))
        choice = Choice(**choice)
    before, _choice = _choice, choice
    return before


@contextmanager
def using(choice: Choice | Mapping[str, str]) -> Iterator[None]:
    """Use these implementations inside the block."""
    before = use(choice)
    try:
        yield
    finally:
        use(before)


def tune(device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32) -> Choice:
    """Time the implementations here, use the fastest from now on in the whole process, and return them.

    Takes a few seconds, with forward and backward at the size of a segmentation network's last map. Write
    ``choice.to_json()`` into the configuration of a run: resuming with another choice would give other bits.

    Args:
        device: Device to time on: products on a CPU, attention and gates on a GPU.
        dtype: Type of feature maps and parameters.
    """
    device = torch.device(device)
    trials = _trials(device, dtype)
    found = {kind: _fastest(kind, trial, device) for kind, trial in trials.items()}
    use(Choice(**found))
    return _choice


def _trials(device: torch.device, dtype: torch.dtype) -> dict[str, Callable[[], None]]:
    """Return, for each kind of operation, a mechanism that does little else, to be timed."""
    from saccade.catalog import create

    cpu = device.type == "cpu"
    sizes = {"products": ("cam", (1, 512, 48, 48))} if cpu else {}
    if device.type == "cuda":
        sizes = {"attention": ("pam", (2, 512, 64, 64)), "gates": ("cbam", (8, 256, 56, 56))}
    trials = {}
    for kind, (name, shape) in sizes.items():
        module = create(name, shape[1]).to(device, dtype)
        x = torch.randn(shape, device=device, dtype=dtype, requires_grad=True)
        grad = torch.randn_like(x)
        trials[kind] = _step(module, x, grad)
    return trials


def _step(module: torch.nn.Module, x: Tensor, grad: Tensor) -> Callable[[], None]:
    def step() -> None:
        torch.autograd.grad(module(x), x, grad)

    return step


def _fastest(kind: str, trial: Callable[[], None], device: torch.device) -> str:
    """Return the fastest way, if clearly faster; ways take turns, and one that fails here is excluded."""
    best: dict[str, float] = {}
    failed: set[str] = set()
    for _ in range(_ROUNDS):
        for way in WAYS[kind]:
            if way in failed:
                continue
            try:
                with using({kind: way}):
                    best[way] = min(best.get(way, float("inf")), _seconds(trial, device))
            except Exception:
                if way == WAYS[kind][0]:
                    raise
                failed.add(way)  # no compiler, an old card, too little memory on the chip: another way is used
                best.pop(way, None)
    fastest, usual = min(best, key=lambda way: best[way]), WAYS[kind][0]
    return fastest if best[fastest] < _CLEARLY * best[usual] else usual


def _seconds(trial: Callable[[], None], device: torch.device) -> float:
    def now() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter()

    started = now()
    trial()
    return now() - started
