"""Functions that see the maps that mechanisms read, while a recording is open."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

WATCHERS: list[Callable[[Any, Any, bool], None]] = []
"""Called with the layer, the map it reads, and whether it is in training."""


def watch(layer: Any, x: Any, training: bool) -> None:
    """Show a map to all open recordings."""
    for watcher in WATCHERS:
        watcher(layer, x, training)
