"""``saccade evaluate``: score a trained network on images it was not trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

import saccade
from saccade.cli.answer import Answer, Given
from saccade.cli.options import default


def evaluate(
    data: Annotated[str, Parameter(name="DATA")],
    /,
    *,
    model: Path,
    trust: list[str] | None = None,
    batch: int = 64,
    protocol: Literal["whole", "sliding", "multi-scale"] = "whole",
    device: str = "auto",
    workers: Annotated[int | None, default("one per core, 8 at most")] = None,
    settings: Given,
) -> Answer | None:
    """Score a trained network on images it was not trained on; torchrun does it on several devices, with equal scores.

    Args:
        data: Your folder: its `val/` is scored, or the validation images of a folder that training split, or all images
            of any other folder.
        model: The folder of a training or of an arm of a comparison, or one file in it.
        trust: The import path of code of your own that the model needs and that may be imported for it, such as
            `my_package.blocks:MyBlock`; may be given several times.
        batch: Number of images at a time; images with masks are scored one by one.
        protocol: View of an image for segmentation networks: `whole`; in windows of the size of the training crops
            (`sliding`); or in such windows at six scales, mirrored too (`multi-scale`).
        device: Device to run on: `auto` (a GPU if there is one), `cpu` or `cuda`.
        workers: Number of processes that read images.
    """
    found = saccade.evaluate(
        data, model, trust=trust or (), batch=batch, protocol=protocol, device=device, workers=workers
    )
    return Answer(found.results, str(found)) if found.writes else None
