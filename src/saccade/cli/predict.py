"""``saccade predict``: what a trained network says of images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

import saccade
from saccade.cli.answer import DONE, FOUND_WRONG, Answer, Given


def predict(
    *images: Annotated[Path, Parameter(name="IMAGES")],
    model: Path,
    trust: list[str] | None = None,
    out: Path | None = None,
    batch: int = 64,
    protocol: Literal["whole", "sliding", "multi-scale"] = "sliding",
    device: str = "auto",
    settings: Given,
) -> Answer:
    """Say what a trained network sees in images. Those that cannot be read are named; the exit status is then 1.

    Args:
        images: Files, folders, which are searched, or patterns such as `"photos/*.jpg"`.
        model: The folder `saccade train` wrote, which gives its best network, or one file in it.
        trust: The import path of code of your own that the model needs and that may be imported for it, such as
            `my_package.blocks:MyBlock`; may be given several times.
        out: Folder for `predictions.csv`, with the five likeliest classes of each image; of segmentation for masks with
            a palette, overlays, and the share of each class.
        batch: Number of images at a time; of classification.
        protocol: Of segmentation: windows of the size of the training crops, where an image is larger; whole images; or
            windows at six scales, mirrored too.
        device: `auto`, `cpu` or `cuda`.
    """
    from saccade.comparison.progress import Progress

    with Progress(shown=not settings.quiet, steps=0) as showing:
        found = saccade.predict(
            images, model, trust=trust or (), out=out, batch=batch, protocol=protocol, device=device,
            on_progress=lambda done, total: showing.counting(done, total, "predicting"),
        )  # fmt: skip
    return Answer(found.to_json(), str(found), FOUND_WRONG if found.failed else DONE)
