"""``saccade predict``: what a trained network says of images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

import saccade
from saccade.cli.answer import DONE, FOUND_WRONG, Answer, Given
from saccade.cli.options import default


def predict(
    *images: Annotated[Path, Parameter(name="IMAGES")],
    model: Path,
    trust: list[str] | None = None,
    out: Annotated[Path | None, default("nothing is written")] = None,
    batch: int = 64,
    protocol: Literal["whole", "sliding", "multi-scale"] = "sliding",
    device: str = "auto",
    settings: Given,
) -> Answer:
    """Say what a trained network sees in images. Those that cannot be read are named; the exit status is then 1.

    Args:
        images: Files, folders, which are searched, or patterns such as `"photos/*.jpg"`.
        model: The folder of a training or of an arm of a comparison, or one file in it.
        trust: The import path of code of your own that the model needs and that may be imported for it, such as
            `my_package.blocks:MyBlock`; may be given several times.
        out: Folder for `predictions.csv`, with the five likeliest classes of each image; for segmentation, with masks,
            overlays, and the fraction of each class.
        batch: Number of images at a time; segmentation networks take images one by one.
        protocol: View of an image for segmentation networks: `whole`; in windows of the size of the training crops, if
            it is larger (`sliding`); or in such windows at six scales, mirrored too (`multi-scale`).
        device: Device to run on: `auto` (a GPU if there is one), `cpu` or `cuda`.
    """
    from saccade.comparison.progress import ComparisonProgress

    with ComparisonProgress(shown=not settings.quiet, steps=0) as showing:
        found = saccade.predict(
            images, model, trust=trust or (), out=out, batch=batch, protocol=protocol, device=device,
            on_progress=lambda done, total: showing.counting(done, total, "predicting"),
        )  # fmt: skip
    return Answer(found.to_json(), str(found), FOUND_WRONG if found.failed else DONE)
