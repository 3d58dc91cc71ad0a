"""Softmax attention as one node of an exported graph, whose body the exporter writes for the runtime it exports to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

NODE = "saccade::SoftmaxAttention"
"""Domain and name of the node: inputs query, key and value, attribute ``scale``."""

_open = 0  # number of open `as_nodes()` blocks in the whole process


@contextmanager
def as_nodes() -> Iterator[None]:
    """Export softmax attention as a node without a body while the block is open, in the whole process."""
    global _open
    _open += 1
    try:
        yield
    finally:
        _open -= 1


def wanted() -> bool:
    """Return whether the block is open and a program is exported."""
    return _open > 0 and torch.compiler.is_exporting()


def softmax_attention(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
    """Return the node in the place of :func:`saccade.ops.pairwise.softmax_attention`."""
    made: Tensor = torch.onnx.ops.symbolic(
        NODE,
        (query, key, value),
        {"scale": float(scale)},
        dtype=value.dtype,
        shape=(query.shape[0], query.shape[1], value.shape[2]),
        version=1,
    )
    return made
