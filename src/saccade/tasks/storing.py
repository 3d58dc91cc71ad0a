"""Samples of any task as arrays that all runs of a comparison share."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from saccade.data import Arrays, OnProgress, Split
from saccade.data.cache import Append, load_or_build
from saccade.data.folder import entry_name
from saccade.errors import InputError
from saccade.tasks.base import Side, Task, TaskData
from saccade.tasks.trees import gathered, named


def stored(
    task: type[Task],
    data: TaskData,
    folder: Path,
    cache: Path,
    record: Path | None = None,
    on_progress: OnProgress | None = None,
    *,
    how: str = "",
) -> Arrays:
    """Read every sample once and keep it; samples of one side have one shape.

    Args:
        task: Task of the data.
        data: Samples without augmentation.
        folder: Folder they come from.
        cache: Folder for the arrays.
        record: File with the state of the data's files as an earlier call found them.
        on_progress: Called with (done, total, what).
        how: Part of the name of the arrays, for what decides on samples apart from the files.

    Raises:
        InputError: Samples whose shapes differ, or a sample that cannot be read.
    """
    sides: dict[str, Side] = {"train": data.train, "val": data.val}
    first = {side: _row(found, 0) for side, found in sides.items()}
    shapes = {
        f"{side}_{name}": ((len(sides[side]), *array.shape), str(array.dtype))
        for side, row in first.items()
        for name, array in row.items()
    }

    def fill(append: Append) -> dict[str, Any]:
        done, total = 0, sum(map(len, sides.values()))
        for side, found in sides.items():
            for index in range(len(found)):
                row = _row(found, index)
                if {name: array.shape for name, array in row.items()} != {n: a.shape for n, a in first[side].items()}:
                    raise InputError(
                        f"{found.name(index)}: its shapes differ from those of {found.name(0)}",
                        f"a comparison of {task.name} needs samples of one shape",
                    )
                for name, array in row.items():
                    append(f"{side}_{name}", array)
                done += 1
                if on_progress is not None:
                    on_progress(done, total, "reading images")
        return {}

    identity = data.identity(record, on_progress)
    arrays, _ = load_or_build(cache / f"{entry_name(folder, data.task.size, identity)}{how}", shapes, fill)
    splits = {side: _split(found, side, arrays) for side, found in sides.items()}
    return Arrays(
        folder.resolve().name, task.name, data.task.classes, splits["train"], splits["val"], note=data.note,
        facts=dict(data.task.facts), identity=identity, split=data.split, stated=data.statement,
    )  # fmt: skip


def _row(side: Side, index: int) -> dict[str, Any]:
    image, target = side.samples[index]
    leaves = named("targets", target)
    found = {
        name: leaf.numpy() if isinstance(leaf, torch.Tensor) else np.asarray(leaf) for name, leaf in leaves.items()
    }
    return {"images": image.permute(1, 2, 0).numpy(), **found}


def _split(side: Side, name: str, arrays: Mapping[str, Any]) -> Split:
    own = {key.removeprefix(f"{name}_"): array for key, array in arrays.items() if key.startswith(f"{name}_")}
    names = tuple(side.names) or tuple(side.name(index) for index in range(len(side)))
    return Split(own["images"], gathered("targets", own), names)
