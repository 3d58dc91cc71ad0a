"""``saccade.evaluate``: score a trained network."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from saccade.catalog.imports import Trust
from saccade.runs.open import open_run
from saccade.runs.train import reading_processes
from saccade.tasks.evidence import images_in
from saccade.training.distributed import distributed
from saccade.training.evaluation import collect
from saccade.training.sources import LoaderSource

_SHOWN = 5


@dataclass(frozen=True)
class Evaluation:
    """Scores of a network on validation images.

    Args:
        results: Scores by name, and those of classes and groups as ``by_class``, ``by_size`` and the like.
        writes: True in the process that prints.
    """

    results: dict[str, Any]
    writes: bool = True

    def __str__(self) -> str:
        found = self.results
        how = f"; {found['protocol']}" if "protocol" in found else ""
        lines = [f"{found['file']} on {found['images']} images: {found['what']}{how}", ""]
        lines += [f"{name:<16} {value:.4f}" for name, value in found["scores"].items()]
        metric = next(iter(found["scores"]))
        for kind in found["limits"]:
            each = "  ".join(f"{name} {_number(value)}" for name, value in found[f"by_{kind}"].items())
            lines.append(f"{f'{metric} by {kind}':<16} {each}")
        rows, title = list(found["by_class"].items()), "classes"
        if len(rows) > 4 * _SHOWN and None not in found["by_class"].values():
            rows, title = sorted(rows, key=lambda row: row[1])[:_SHOWN], "lowest classes"
        width = max([20, *(len(name) for name, _ in rows)])
        table = ["", title, *(f"  {name:<{width}} {_number(value)}" for name, value in rows)] if rows else []
        return "\n".join([*lines, *table])


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def evaluate_network(
    data: str | os.PathLike[str],
    model: str | os.PathLike[str],
    *,
    trust: Trust = (),
    batch: int = 64,
    protocol: Any = None,
    device: str = "auto",
    workers: int | None = None,
) -> Evaluation:
    """Score a trained network; run by ``torchrun`` on all devices, with the same result.

    Scored are the images of the validation side of `data`; of a folder that was split for training, those that were
    held out; of any other folder, all. Images of different sizes are scored one at a time.

    Args:
        data: Folder of images.
        model: Folder of a run or of an arm of a comparison, or a file in it.
        trust: Code of your own that may be imported for it, as for :func:`saccade.load`.
        batch: Images at a time, in each process.
        protocol: Segmentation: ``"whole"`` images (the default), ``"sliding"`` windows of the size of the training
            crops, ``"multi-scale"``: such windows at six scales, mirrored too; or any other, see
            :class:`saccade.tasks.segmentation.protocols.Protocol`.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``.
        workers: Processes that read images.

    Raises:
        InputError: Something given is wrong, or an image cannot be read.
    """
    opened, where, path = open_run(model, trust), distributed(device), Path(data)
    task = opened.task
    net, how = task.under(opened.net, protocol)
    side, what = task.held_out(path, opened.held)
    workers = reading_processes(where) if workers is None else workers
    source = LoaderSource(side.samples, workers=workers, name=side.name, device=where.device)
    net.to(where.device).to(memory_format=torch.channels_last)
    evidence = collect(net, task, source, batch if side.alike else 1, where, full=True)
    groups = task.groups(evidence)
    results = {
        "file": str(opened.file), "data": str(path), "what": what, "images": images_in(evidence),
        **({} if how is None else {"protocol": how}),
        "scores": task.scores(evidence), "by_class": task.by_class(evidence),
        **{f"by_{name}": group.values for name, group in groups.items()},
        "limits": {name: group.limits for name, group in groups.items()},
    }  # fmt: skip
    return Evaluation(results, where.index == 0)
