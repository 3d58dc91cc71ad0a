"""Whether operations run as they are defined or in their lean form."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

_definitions = 0  # how many `definitions()` blocks are open, in the whole process


@contextmanager
def definitions() -> Iterator[None]:
    """Run every mechanism by the plain definition of its equation while the block is open, in the whole process.

    For tests, for counting multiply-adds, and for derivatives of derivatives of what has a fused kernel. The numbers
    are the same but for rounding; maps over pairs of positions are stored.

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


def by_definition() -> bool:
    """Whether to run the definition: asked for, or a program is exported.

    An exported program has to take any height and width, and a loop over blocks is written out for one.
    """
    return _definitions > 0 or torch.compiler.is_exporting()


def as_formula() -> bool:
    """Whether to leave passes over a map to autograd: by definition, or where a compiler fuses them better."""
    return by_definition() or torch.compiler.is_compiling()
