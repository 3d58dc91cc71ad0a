"""Trees of tensors or arrays: targets and predictions may be one, or dicts, lists and tuples of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch


def mapped(change: Callable[[Any], Any], tree: Any) -> Any:
    """Apply a function to every leaf."""
    if isinstance(tree, Mapping):
        return {key: mapped(change, value) for key, value in tree.items()}
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*(mapped(change, value) for value in tree))
    return type(tree)(mapped(change, value) for value in tree) if isinstance(tree, (list, tuple)) else change(tree)


def leaves(tree: Any) -> list[Any]:
    """List every leaf, in order."""
    if isinstance(tree, Mapping):
        tree = list(tree.values())
    if isinstance(tree, (list, tuple)):
        return [leaf for part in tree for leaf in leaves(part)]
    return [tree]


def moved(tree: Any, device: Any) -> Any:
    """Copy every tensor to a device, without waiting for it where that is possible."""
    return mapped(lambda leaf: leaf.to(device, non_blocking=True) if hasattr(leaf, "to") else leaf, tree)


def tensors(tree: Any, indices: Any) -> Any:
    """Copy rows of every array, which may be a read-only memory map, into tensors."""
    return mapped(lambda array: torch.from_numpy(np.array(array[indices])), tree)


def taken(tree: Any, index: Any) -> Any:
    """Index the first axis of every leaf; tensors come to the CPU."""
    return mapped(lambda leaf: leaf[index].cpu() if hasattr(leaf, "cpu") else leaf[index], tree)


def named(name: str, tree: Any) -> dict[str, Any]:
    """The leaves by their paths below `name`, as ``name-key``; one leaf alone is called `name`."""
    if isinstance(tree, Mapping):
        parts = tree.items()
    elif isinstance(tree, (list, tuple)):
        parts = [(str(index), part) for index, part in enumerate(tree)]  # type: ignore[assignment]
    else:
        return {name: tree}
    return {path: leaf for key, part in parts for path, leaf in named(f"{name}-{key}", part).items()}


def gathered(name: str, stored: Mapping[str, Any]) -> Any:
    """Put leaves that :func:`named` named back into a tree of dicts; None where there are none."""
    if name in stored:
        return stored[name]
    tree: dict[str, Any] = {}
    for path, leaf in stored.items():
        if path.startswith(f"{name}-"):
            *above, last = path.removeprefix(f"{name}-").split("-")
            place = tree
            for key in above:
                place = place.setdefault(key, {})
            place[last] = leaf
    return tree or None
