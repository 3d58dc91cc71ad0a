"""Images that training held out, found again in a folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from saccade.data.layouts import listed
from saccade.errors import InputError
from saccade.tasks.base import Held

Kind = TypeVar("Kind")


def recorded_of(by_name: Mapping[str, Kind], folder: Path, recorded: Held | None) -> tuple[list[Kind], str]:
    """Choose the images of a folder that were held out from training, if it was trained on; else all.

    Args:
        by_name: Whatever stands for an image, by its relative path.
        folder: Folder of the images.
        recorded: Images that the run recorded as held out; None if the run split no folder.

    Returns:
        The chosen ones, and which they are, in words.

    Raises:
        InputError: Some of the held-out images are gone; others may have been trained on.
    """
    if recorded is None:
        return list(by_name.values()), "all of them"
    held = [by_name[name] for name in recorded.names if name in by_name]
    if not held:
        return list(by_name.values()), "all of them, none was seen in training"
    missing = [name for name in recorded.names if name not in by_name]
    if missing:
        raise InputError(
            f"{folder}: {len(missing)} of the {len(recorded.names)} images held out from training are gone: "
            f"{listed(missing)}",
            "put them back; the others may have been trained on",
        )
    return held, f"those held out from training by seed {recorded.seed}"
