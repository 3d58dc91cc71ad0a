"""The installed distribution: its name on package indexes, where it came from, and the command that installs it.

The package and the command are called ``saccade``; on the public index that name belongs to another project.
"""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

DISTRIBUTION = "saccade-attention"

_CLONE = Path(__file__).parents[2]


def requirements() -> list[str]:
    """Return the requirements of the installed distribution; empty if only its source is on the path."""
    try:
        return metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        return []


def install_command(extra: str | None = None, *, upgrade: bool = False) -> str:
    """Return the command that installs saccade again from where this copy came from.

    Args:
        extra: Extra to install with it.
        upgrade: If True, replace versions that are already installed.

    Returns:
        A line for a shell. An editable copy names its clone, a copy from a wheel or a repository names that, and a copy
        from a package index the distribution.
    """
    return f"pip install {'--upgrade ' if upgrade else ''}{_target('' if extra is None else f'[{extra}]')}"


def _target(extra: str) -> str:
    origin = _origin()
    if origin is None:
        return f"'{DISTRIBUTION}{extra}'"
    url = str(origin["url"])
    if "vcs_info" in origin:
        return f"'{DISTRIBUTION}{extra} @ {origin['vcs_info']['vcs']}+{url}'"
    if urlsplit(url).scheme != "file":
        return f"'{DISTRIBUTION}{extra} @ {url}'"
    path = Path(url2pathname(urlsplit(url).path))
    if "dir_info" not in origin:  # a wheel, which may have been deleted since
        return f"'{path if path.exists() else path.name}{extra}'"
    place = path if path.exists() else "."
    return f"{'-e ' if origin['dir_info'].get('editable') else ''}'{place}{extra}'"


def _origin() -> dict[str, Any] | None:
    """Return what the installer recorded of its source (``direct_url.json``), or None for a package index."""
    try:
        recorded = metadata.distribution(DISTRIBUTION).read_text("direct_url.json")
    except metadata.PackageNotFoundError:  # not installed: the source itself is on the path
        clone = {"url": _CLONE.as_uri(), "dir_info": {"editable": True}}
        return clone if (_CLONE / "pyproject.toml").is_file() else None
    return json.loads(recorded) if recorded else None
