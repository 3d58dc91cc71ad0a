"""The names of shards, such as ``train-{000..127}.tar`` or ``s3://bucket/train-{000..127}.tar``, told from folders."""

from __future__ import annotations

import os
import re
from pathlib import Path

from saccade.data.decoding import SUFFIXES
from saccade.files import at_home

END = ".tar"
ADDRESS = re.compile(r"(?i)^[a-z][a-z0-9+.-]+://")
_COLLAPSED = re.compile(r"(?i)(^|::)([a-z][a-z0-9+.-]+):/(?=[^/])")  # what a path makes of an address


def is_shards(data: str | os.PathLike[str]) -> bool:
    """Return True for names of archives such as ``train-{000..127}.tar``, and for a folder that holds archives only."""
    path = Path(data)
    text = os.fspath(data)
    if path.is_dir():
        with os.scandir(path) as entries:
            names = [entry.name for entry in entries if not entry.name.startswith(".")]
        archives = [name for name in names if name.lower().endswith(END)]
        return bool(archives) and not any(Path(name).suffix.lower() in SUFFIXES for name in names) and not any(
            (path / name).is_dir() for name in names
        )  # fmt: skip
    return all(part.lower().endswith(END) for part in text.split("::"))


def plain_data(data: str | os.PathLike[str]) -> str:
    """Return the absolute path of a folder, or the names of shards with absolute paths; addresses stay."""
    if not is_shards(data) or Path(data).is_dir():
        return str(at_home(data).resolve())
    parts = text_of(data).split("::")
    return "::".join(part if ADDRESS.match(part) else os.path.abspath(at_home(part)) for part in parts)


def text_of(data: str | os.PathLike[str]) -> str:
    """Return the names of shards as they were given, with the two slashes of an address, of which a path keeps one."""
    return _COLLAPSED.sub(r"\1\2://", os.fspath(data))


def name_of(data: str | os.PathLike[str]) -> str:
    """Return a short name for data: that of the folder, of shards what their names have in common."""
    path = Path(data)
    if not is_shards(data) or path.is_dir():
        return path.resolve().name
    last = text_of(data).split("::")[0].rsplit("/", 1)[-1][: -len(END)]
    plain = re.sub(r"\{[^}]*\}", "", last)
    return re.sub(r"[^\w]+$|^[^\w]+", "", re.sub(r"[^\w.-]+", "-", plain)) or "shards"
