"""Switch between the definition of each operation and its lean form."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

_definitions = 0  # number of open `definitions()` blocks in the whole process


@contextmanager
def definitions() -> Iterator[None]:
    """Run every mechanism by the plain definition of its equation while the block is open, in the whole process.

    Use it in tests, to count multiply-adds, and for second derivatives of operations with a fused kernel. Results are
    equal up to rounding; maps over pairs of positions are stored.

    Example:
        >>> import torch, saccade, saccade.ops
        >>> pam, x = saccade.create("pam", channels=16).double(), torch.randn(1, 16, 7, 9, dtype=torch.float64)
        >>> with saccade.ops.definitions():
        ...     expected = pam(x)
        >>> torch.allclose(pam(x), expected)
        True
    """
    global _definitions
    _definitions += 1
    try:
        yield
    finally:
        _definitions -= 1


def exported() -> bool:
    """Return whether a program is made that runs elsewhere: by `torch.export`, `torch.onnx` or `torch.jit.trace`.

    It must accept any height and width, a loop over blocks would be unrolled for one size, and a tracer records what is
    written to buffers as constants.
    """
    traced = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    return torch.compiler.is_exporting() or traced or torch.onnx.is_in_onnx_export()


def by_definition() -> bool:
    """Return whether to run the definition: requested, in an exported program, or under `torch.func.vmap`.

    A vectorised map, as for gradients of each sample, has rules for torch's operations and none for passes of our own.
    """
    return _definitions > 0 or exported() or (not torch.compiler.is_compiling() and _vectorised())


def _vectorised() -> bool:
    if torch._C._functorch.peek_interpreter_stack() is None:
        return False
    levels = torch._C._functorch.get_interpreter_stack() or ()
    return any(level.key() == torch._C._functorch.TransformType.Vmap for level in levels)


def as_formula() -> bool:
    """Return whether to leave passes over a map to autograd: by definition, or when a compiler fuses them better."""
    return by_definition() or torch.compiler.is_compiling()
