"""The demo's scenes as a folder of images and masks: what a user's own data may look like."""

from __future__ import annotations

import tempfile
from pathlib import Path

from saccade.data import Progress
from saccade.data.notes import load_notes
from saccade.data.scenes import Kind
from saccade.errors import InputError, require


def write_demo(
    folder: Path,
    *,
    train: int = 400,
    held_out: int = 100,
    kind: Kind = "task",
    seed: int = 0,
    on_progress: Progress | None = None,
) -> Path:
    """Write ``train/`` and ``val/`` with ``images/`` and ``masks/`` (PNG), and ``classes.txt``.

    Args:
        folder: Is made; must not be there, or be empty.
        train: Scenes to learn from.
        held_out: Scenes to be judged on.
        kind: As of :func:`saccade.data.notes.load_notes`,
        seed: likewise.
        on_progress: Called with (done, total, what).

    Raises:
        InputError: There is something in the folder, or a count below 1.
        MissingExtraError: scikit-learn or scikit-image is missing.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} is there, and not empty", "choose another folder")
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
