"""The state of a file at an address, as its storage tells it: enough to see whether the file has changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_TELLING = (
    "etag", "mtime", "lastmodified", "modified", "updated", "created", "generation", "contentmd5", "md5hash", "digest",
    "crc32c",
)  # fmt: skip


def state_of(info: Mapping[str, Any]) -> dict[str, str]:
    """Return what changes with a file, by name; kinds of storage in fsspec spell the names in ways of their own.

    Args:
        info: What ``info`` or ``find`` of a file system of fsspec says of the file.
    """
    plain = {name.lower().replace("-", "").replace("_", ""): value for name, value in info.items()}
    return {name: str(plain[name]) for name in ("size", *_TELLING) if plain.get(name) not in (None, "")}


def is_telling(state: Mapping[str, str]) -> bool:
    """Return True if a state has more than a size, so that a file of the same size is seen to be another one."""
    return any(name in state for name in _TELLING)
