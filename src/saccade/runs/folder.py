"""A folder that belongs to one run or one comparison: claimed by it, refused to others, cleared on demand."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from saccade.errors import InputError
from saccade.files import LOCK, is_temporary
from saccade.outputs import RECORD
from saccade.runs.records import read_object

OTHER_FOLDER = "choose another folder with --out; the command that began there resumes it"


@dataclass(frozen=True)
class Owned:
    """A folder and what it is for.

    Args:
        folder: Its path.
        kind: Activity in it: ``"training"`` or ``"comparison"``.
        marker: Name of the JSON file that says what was asked; who finds it knows the owner.
        harmless: Names of entries that a folder without a marker may have.
    """

    folder: Path
    kind: str
    marker: str
    harmless: tuple[str, ...] = (LOCK, RECORD)

    @property
    def claimed(self) -> bool:
        """True if a run or comparison of this kind has begun in it."""
        return (self.folder / self.marker).exists()

    def read(self) -> dict[str, Any]:
        """Content of the marker."""
        return read_object(self.folder / self.marker)

    def refuse_foreign(self) -> None:
        """Refuse a folder with files of something else.

        Raises:
            InputError: It is not empty, and nothing of this kind has begun in it.
        """
        if self.claimed or not self.folder.exists():
            return
        if any(entry.name not in self.harmless and not is_temporary(entry.name) for entry in self.folder.iterdir()):
            raise InputError(
                f"{self.folder} is not empty and does not hold a {self.kind}", "choose another folder with --out"
            )

    def refuse_other(self, before: Mapping[str, Any], now: Mapping[str, Any], hint: str = OTHER_FOLDER) -> None:
        """Refuse settings that differ from those the folder was claimed with.

        Args:
            before: Settings it was claimed with.
            now: Settings asked for.
            hint: Advice for settings that differ.

        Raises:
            InputError: Naming each setting with both values.
        """
        differing = [
            f"{name}: {before.get(name)!r} there, {value!r} now"
            for name, value in now.items()
            if before.get(name) != value
        ]
        if differing:
            raise InputError(f"{self.folder} holds a {self.kind} with other settings ({'; '.join(differing)})", hint)

    def clear(self, files: Iterable[str], folders: Iterable[str]) -> None:
        """Delete what this kind writes, the marker last; anything else stays.

        Raises:
            InputError: Something could not be deleted.
        """
        if not self.claimed:
            return
        try:
            for name in folders:
                if (self.folder / name).exists():
                    shutil.rmtree(self.folder / name)
            for name in (*files, self.marker):
                (self.folder / name).unlink(missing_ok=True)
        except OSError as cause:
            raise InputError(
                f"{self.folder} could not be cleared: {cause}", "choose another folder with --out"
            ) from cause
