"""``saccade evaluate``: what a trained network is worth on held-out images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

import saccade
from saccade.cli.answer import Answer, Given


def evaluate(
    data: Annotated[str, Parameter(name="DATA")],
    /,
    *,
    model: Path,
    trust: list[str] | None = None,
    batch: int = 64,
    protocol: Literal["whole", "sliding", "multi-scale"] = "whole",
    device: str = "auto",
    workers: int | None = None,
    settings: Given,
) -> Answer | None:
    """Score a trained network on held-out images; with torchrun on several devices, with the same result.

    Args:
        data: Your folder: its `val/` is scored; if training split it, the part that was held out; of any other folder
            all images.
        model: The folder `saccade train` wrote, which gives its best network, or one file in it.
        trust: The import path of code of your own that the model needs and that may be imported for it, such as
            `my_package.blocks:MyBlock`; may be given several times.
        batch: Number of images at a time; images with masks go one by one.
        protocol: Of segmentation: whole images; windows of the size of the training crops; or such windows at six
            scales, mirrored too. The output names it.
        device: `auto`, `cpu` or `cuda`.
        workers: Number of processes that read images; as many as cores if not given.
    """
    found = saccade.evaluate(
        data, model, trust=trust or (), batch=batch, protocol=protocol, device=device, workers=workers
    )
    return Answer(found.results, str(found)) if found.writes else None
