"""``saccade compare``: which attention helps on your data, by how much, at what cost."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

import saccade
from saccade.cli.answer import Answer, Given

_WEIGHTS = (".pth", ".pt", ".bin", ".safetensors")
TIMM = "timm"


def compare(
    data: Annotated[str | None, Parameter(name="DATA")] = None,
    /,
    *,
    mechanisms: str | None = None,
    preset: str | None = None,
    backbone: str | None = None,
    pretrained: Annotated[str | None, Parameter(metavar="[PATH]")] = None,
    at: str | None = None,
    seeds: int | None = None,
    quick: bool = False,
    steps: int | None = None,
    epochs: float | None = None,
    size: int | None = None,
    batch: int | None = None,
    device: str = "auto",
    out: Path | None = None,
    jobs: int | None = None,
    control_params: bool = False,
    fresh_start: bool = False,
    scenes: int = 0,
    overwrite: bool = False,
    dry_run: bool = False,
    settings: Given,
) -> Answer:
    """Train a network with each attention mechanism and without, and say which helped, by how much, at what cost.

    Without DATA it runs on an embedded demo: no download, minutes on a laptop. Every arm sees the same data in the same
    order from the same start, once for each seed. At the end stand a table and the path of `report.html`. The same
    command again continues what is unfinished.

    - `saccade compare --quick` shows it on the demo
    - `saccade compare photos --pretrained --dry-run` says what it would train on your photos, and how long that takes
    - `saccade compare photos --mechanisms "none,se,cbam[reduction=8]"` chooses what is compared

    Args:
        data: Your folder. Classification: `train/CLASS/*.jpg` and `val/CLASS/*.jpg`, or `CLASS/*.jpg` to be split.
            Segmentation: `images/` and `masks/`, with files of the same names. Which of these it is, is recognised and
            said.
        mechanisms: The arms, separated by commas, options in brackets:
            `"none,se,psa[variant=sequential],cbam[reduction=8]"`. `none` is the control; a name given twice is a second
            arm on seeds of its own. `saccade list` names them. One of your own by its import path,
            `my_package.blocks:MyBlock`.
        preset: The arms of an ablation in the literature: `se-ablation`, `dual`, `gates`, `context` or `polarized`.
        backbone: The timm network that your data is learned with, or the import path of your own; `resnet18` if not
            given.
        pretrained: Start from trained weights: without PATH those of timm, which are downloaded; with PATH those of a
            .safetensors, .pth, .pt or .bin file.
        at: Where mechanisms go instead of their natural places: `residual`, `inner`, `stage`, `stage:1-3`, `stage:-1`,
            `block`, names such as `"layer3.*.bn2"`, or `before:NAMES`.
        seeds: Number of runs of each arm, 5 if not given; fewer than 3 allow no claim.
        quick: Fewer seeds: 3.
        steps: Length of each run, in batches; 300 in the demo, else about 10 epochs, if neither is given.
        epochs: Length of each run, in passes through the data.
        size: Height and width, in pixels, to which images are brought.
        batch: Number of images in a step.
        device: `auto`, `cpu` or `cuda`.
        out: Folder for the results; `saccade-compare/NAME` if not given, with the name of your folder, or `demo`.
        jobs: Number of runs at a time; if not given as many as cores, or as GPUs.
        control_params: Add the arm `conv3x3`: a convolution with at least the parameters of the largest mechanism.
        fresh_start: In the demo, train the network that all arms start from anew for each seed.
        scenes: In the demo, another number draws other scenes.
        overwrite: Remove what a comparison with other settings left in the folder.
        dry_run: Show the plan, the costs and the estimated time, and train nothing.
    """
    result = saccade.compare(
        data,
        mechanisms,
        preset=preset,
        backbone=backbone,
        pretrained=pretrained == TIMM or pretrained or False,
        at=at,
        seeds=seeds,
        quick=quick,
        steps=steps,
        epochs=epochs,
        size=size,
        batch=batch,
        device=device,
        out=out,
        jobs=jobs,
        control_params=control_params,
        fresh_start=fresh_start,
        scenes=scenes,
        overwrite=overwrite,
        dry_run=dry_run,
        progress=not settings.quiet,
        # Whoever repeats it wants to keep the results.
        command=settings.command.replace(" --overwrite", ""),
    )
    page = f"\n\n{result.report}" if result.report else ""
    return Answer(result.results, result.table() + page)


def complete_pretrained(tokens: Sequence[str]) -> list[str]:
    """Give ``--pretrained`` its value: the weights file that follows it, else timm's weights.

    What follows is the file when such a file exists or its ending is that of weights; ``--pretrained=FILE`` stays.
    """
    completed: list[str] = []
    rest = list(tokens)
    while rest:
        token = rest.pop(0)
        if token == "--":
            return [*completed, token, *rest]
        if token == "--pretrained":
            given = rest.pop(0) if rest and _is_weights(rest[0]) else TIMM
            token = f"--pretrained={given}"
        completed.append(token)
    return completed


def _is_weights(token: str) -> bool:
    if token.startswith("-"):
        return False
    # Of `saccade look --pretrained photo.jpg` the photograph is what to look at.
    picture = token.lower().endswith((".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif"))
    return token.lower().endswith(_WEIGHTS) or (Path(token).is_file() and not picture)
