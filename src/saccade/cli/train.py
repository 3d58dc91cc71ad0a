"""``saccade train``: a network trained fully, in a folder of its own, that survives what happens to the machine."""

from __future__ import annotations

from typing import Any

import saccade
from saccade.cli.answer import Answer, Given
from saccade.cli.compare import pretrained_of
from saccade.cli.options import takes
from saccade.errors import InputError
from saccade.runs.options import TrainOptions


@takes(TrainOptions)
def train(data: str, /, *, settings: Given, **given: Any) -> Answer | None:
    """Train a network on your images. The same command again resumes it where it was stopped, killed or cut off.

    - `saccade train photos --network resnet50 --mechanism cbam --pretrained --epochs 20`
    - `saccade train imagenet --network se_resnet50 --recipe eca --amp bf16`
    - `saccade train scenes --network danet --backbone resnet18 --pretrained`
    - `torchrun --nproc-per-node=4 -m saccade train ...` uses four GPUs
    """
    if "lr_factor" in given:
        given["lr_factors"] = _factors(given.pop("lr_factor"))
    found = saccade.train(data, **pretrained_of(given), progress=not settings.quiet, command=settings.command)
    return Answer(found.results | {"folder": str(found.folder)}, str(found)) if found.writes else None


def _factors(given: tuple[str, ...]) -> tuple[tuple[str, float], ...]:
    pairs = []
    for text in given:
        pattern, _, number = text.rpartition("=")
        try:
            pairs.append((pattern, float(number)))
        except ValueError:
            pattern = ""
        if not pattern:
            raise InputError(f"--lr-factor: expected NAMES=FACTOR; received {text!r}", 'such as --lr-factor "fc.*=10"')
    return tuple(pairs)
