"""The demos' pictures as a folder: an example of a user's own data, for segmentation or key points."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Literal

from saccade.data import OnProgress
from saccade.data.chips import write_chips
from saccade.data.notes import load_notes
from saccade.data.scenes import Kind
from saccade.errors import InputError, require
from saccade.files import check_folder

Task = Literal["segmentation", "pose"]


def write_demo(
    folder: Path,
    *,
    train: int = 400,
    held_out: int = 100,
    kind: Kind = "task",
    seed: int = 0,
    task: Task = "segmentation",
    on_progress: OnProgress | None = None,
) -> Path:
    """Write ``train/`` and ``val/`` with ``images/`` and ``masks/`` (PNG), and ``classes.txt``.

    Key points are written as :func:`saccade.data.chips.write_chips` says.

    Args:
        folder: Folder to create; must be absent or empty.
        train: Number of training scenes.
        held_out: Number of validation scenes.
        kind: Kind of scenes, see :func:`saccade.data.notes.load_notes`.
        seed: Seed of the scenes, see :func:`saccade.data.notes.load_notes`.
        task: ``"segmentation"``, the scenes of "notes", or ``"pose"``, the pictures of "chips".
        on_progress: Called with (done, total, what).

    Raises:
        InputError: The folder is not empty, or a count is below 1.
        MissingExtraError: scikit-learn or scikit-image is missing.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} exists and is not empty", "choose another folder")
    check_folder(folder)
    if task == "pose":
        if min(train, held_out) < 1:
            raise InputError(f"chips: `train` and `held_out` must be at least 1; received {train=}, {held_out=}")
        return write_chips(folder, train=train, held_out=held_out, seed=seed, on_progress=on_progress)
    pil = require("PIL.Image", extra="train")
    with tempfile.TemporaryDirectory() as cache:
        data = load_notes(Path(cache), kind=kind, seed=seed, train=train, held_out=held_out, on_progress=on_progress)
        for side, split in (("train", data.train), ("val", data.val)):
            for what, pictures in (("images", split.images), ("masks", split.targets)):
                (folder / side / what).mkdir(parents=True)
                for number, pixels in enumerate(pictures):
                    pil.fromarray(pixels).save(folder / side / what / f"{number:04}.png")
        (folder / "classes.txt").write_text("\n".join(data.classes) + "\n", encoding="utf-8")
    return folder
