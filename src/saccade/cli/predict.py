"""``saccade predict``: what a trained network says of images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

import saccade
from saccade.cli.answer import DONE, FOUND_WRONG, Answer, Given


def predict(
    *images: Annotated[Path, Parameter(name="IMAGES")],
    model: Path,
    out: Path | None = None,
    batch: int = 64,
    device: str = "auto",
    settings: Given,
) -> Answer:
    """Say what a trained network sees in images. Those that cannot be read are named; the exit status is then 1.

    Args:
        images: Files, or folders, which are searched.
        model: The folder `saccade train` wrote, which gives its best network, or one file in it.
        out: Folder for `predictions.csv`, with the five likeliest classes of each image.
        batch: Number of images at a time.
        device: `auto`, `cpu` or `cuda`.
    """
    found = saccade.predict(images, model, out=out, batch=batch, device=device)
    return Answer(list(found.rows), str(found), FOUND_WRONG if found.failed else DONE)
