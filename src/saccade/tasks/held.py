"""Images that training held out, found again in a folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from saccade.data.identity import contents_of
from saccade.data.layouts import listed
from saccade.errors import InputError
from saccade.tasks.base import Held

Kind = TypeVar("Kind")


def recorded_of(by_name: Mapping[str, Kind], folder: Path, recorded: Held | None) -> tuple[list[Kind], str]:
    """Choose the images of a folder that were held out from training, if it was trained on; else all.

    Whether a folder is the one of training is decided by the contents of the images, not by their names alone.

    Args:
        by_name: Whatever stands for an image, by its relative path.
        folder: Folder of the images.
        recorded: Images that the run recorded as held out; None if the run split no folder.

    Returns:
        The chosen ones, and which they are, in words.

    Raises:
        InputError: Some of the held-out images are gone or have changed; others may have been trained on.
    """
    if recorded is None:
        return list(by_name.values()), "all of them"
    held_names = [name for name in recorded.names if name in by_name]
    held = [by_name[name] for name in held_names]
    found = contents_of({name: folder / name for name in held_names if name in recorded.contents})
    if not held:
        return list(by_name.values()), "all of them, none was seen in training"
    changed = [name for name in held_names if name in recorded.contents and found[name] != recorded.contents[name]]
    if len(changed) == len(held_names):
        return list(by_name.values()), "all of them; names of training, but not its images"
    if changed:
        raise InputError(
            f"{folder}: {len(changed)} of the {len(recorded.names)} images held out from training have changed since: "
            f"{listed(changed)}",
            "put them back as they were, or give other images in a folder of their own",
        )
    missing = [name for name in recorded.names if name not in by_name]
    if missing:
        raise InputError(
            f"{folder}: {len(missing)} of the {len(recorded.names)} images held out from training are gone: "
            f"{listed(missing)}",
            "put them back; the others may have been trained on",
        )
    return held, f"those held out from training by seed {recorded.seed}"
