"""A folder of a comparison that is kept at an address, such as ``s3://bucket/name``, which fsspec reads and writes.

Each machine works in a folder of its own, and whole files are copied: a checkpoint when it has been written, the files
of a run when it is done, its result last. So what is at the address is always something that can be resumed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

from saccade.addresses import is_telling, state_of
from saccade.errors import InputError, require
from saccade.files import is_temporary, replacing
from saccade.runs.names import CACHE, CHECKPOINTS, LOCK, LOGS, RESULT, RESULTS, SETTINGS

_ADDRESS = re.compile(r"(?i)^[a-z][a-z0-9+.-]+://")
CLAIM = ".claim.json"
"""File at an address that says who works at it; it is never copied."""
NOT_HERE = (CHECKPOINTS, CACHE, LOGS)
"""Folders that the machine of the comparison itself does not copy."""


class Mirror:
    """A folder here and its copy at an address.

    Args:
        address: The address.
        folder: The folder.

    Raises:
        InputError: fsspec does not know such addresses, or the storage does not answer.
    """

    def __init__(self, address: str, folder: Path) -> None:
        self.address, self.folder = address.rstrip("/"), folder
        if self.address.endswith(":"):
            raise InputError(f"{address} cannot be used: it names nothing", "such as s3://bucket/name")
        fsspec = require("fsspec", extra="cluster")
        try:
            self.system, self.root = fsspec.core.url_to_fs(self.address)
        except Exception as cause:  # packages for kinds of storage, and their settings
            raise self.refusal("be used", cause) from cause
        self.same: dict[str, tuple[Any, tuple[int, int]]] = {}  # name: its state there, and size and time here

    def names(self, under: str = "") -> dict[str, Any]:
        """Return the state of every file at the address but the claim, by its name relative to it."""
        try:
            self.system.invalidate_cache()
            root = f"{self.root}/{under}".rstrip("/")
            found = self.system.find(root, detail=True)
        except FileNotFoundError:
            return {}
        except Exception as cause:
            raise self.refusal("be read", cause) from cause
        cut = len(self.root.rstrip("/")) + 1
        return {
            path[cut:]: state_of(info)
            for path, info in found.items()
            if info.get("type") != "directory" and len(path) > cut and path[cut:] != CLAIM
        }

    def refuse_foreign(self) -> None:
        """Refuse an address with files of something else.

        Raises:
            InputError: It has files, and nothing of a comparison.
        """
        names = self.names()
        if names and SETTINGS not in names and any(not name.startswith(".shared.") for name in names):
            raise InputError(
                f"{self.address} is not empty and does not hold a comparison", "choose another address with --out"
            )

    def pull(self, under: str = "", without: Collection[str] = ()) -> None:
        """Copy what is there and not the same here."""
        for name, state in self.names(under).items():
            here = self.folder / name
            known = self.same.get(name)
            if _within(name, without) or (
                known is not None and known[0] == state and is_telling(state) and here.exists()
            ):
                continue
            if not here.resolve().is_relative_to(self.folder.resolve()):
                raise InputError(f"{self.address}: the name {name!r} leads out of its folder", "remove it there")
            try:
                with replacing(here) as temporary:
                    self.system.get_file(f"{self.root}/{name}", str(temporary))
            except InputError:
                raise
            except Exception as cause:
                raise self.refusal("be read", cause) from cause
            self.same[name] = state, _stamp(here)

    def push(self, under: str = "", without: Collection[str] = ()) -> None:
        """Copy what is here and not the same there, results last; then delete there what has been deleted here."""
        top = self.folder / under
        paths = [top] if top.is_file() else [path for path in top.rglob("*") if path.is_file()]
        here = {path.relative_to(self.folder).as_posix(): path for path in paths if _kept(path)}
        here = {name: path for name, path in here.items() if not _within(name, without)}
        changed = [name for name, path in here.items() if name not in self.same or self.same[name][1] != _stamp(path)]
        try:
            for name in sorted(changed, key=lambda name: (name.endswith((RESULT, RESULTS)), name)):
                stamp = _stamp(here[name])
                self.system.makedirs(f"{self.root}/{name}".rpartition("/")[0], exist_ok=True)
                self.system.put_file(str(here[name]), f"{self.root}/{name}")
                self.system.invalidate_cache()
                self.same[name] = self._state(name), stamp
            for name in [name for name in self.same if name not in here and _is_under(name, under)]:
                if not _within(name, without):
                    self.system.rm_file(f"{self.root}/{name}")
                    del self.same[name]
        except FileNotFoundError:  # deleted by another process meanwhile
            pass
        except Exception as cause:
            raise self.refusal("be written", cause) from cause

    def clear(self, under: str = "") -> None:
        """Delete every file at the address, or those in a folder of it."""
        try:
            for name in self.names(under):
                self.system.rm_file(f"{self.root}/{name}")
                self.same.pop(name, None)
            if under and self.system.exists(f"{self.root}/{under}"):  # folders that are left, where storage has any
                self.system.rm(f"{self.root}/{under}", recursive=True)
        except InputError:
            raise
        except Exception as cause:
            raise self.refusal("be written", cause) from cause

    def _state(self, name: str) -> Any:
        return state_of(self.system.info(f"{self.root}/{name}"))

    def refusal(self, what: str, cause: Exception) -> InputError:
        """Return the error for storage that cannot `what`, such as ``"be read"``, with what it said."""
        said = str(cause).strip().splitlines() or [type(cause).__name__]
        return InputError(
            f"{self.address} cannot {what} ({said[0]})",
            "see whether the address is right, its package installed (s3fs for s3://), and access allowed",
        )


def is_address(out: str) -> bool:
    """Return True for an address such as ``s3://bucket/name``."""
    return _ADDRESS.match(out) is not None


def folder_of(address: str) -> Path:
    """Return the folder on this machine for an address: named like it, and another one for another address."""
    name = re.sub(r"[^\w.-]", "_", address.rstrip("/").rpartition("/")[2]) or "results"
    return Path("saccade-compare") / f"{name}-{hashlib.blake2b(address.encode(), digest_size=3).hexdigest()}"


def _kept(path: Path) -> bool:
    return path.name != LOCK and not is_temporary(path.name) and not path.name.endswith(".part")


def _within(name: str, folders: Collection[str]) -> bool:
    return any(part in folders for part in name.split("/")[:-1])


def _is_under(name: str, under: str) -> bool:
    return not under or name == under or name.startswith(f"{under}/")


def _stamp(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns
