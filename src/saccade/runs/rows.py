"""Predictions as a table, one row per image."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from saccade.data.images import UnreadableError, read_image
from saccade.errors import require
from saccade.outputs import Outputs
from saccade.tasks.trees import taken
from saccade.training.evaluation import predicted
from saccade.training.sources import cores

if TYPE_CHECKING:
    from saccade.runs.open import Opened
    from saccade.runs.predict import Options
    from saccade.tasks.base import Task

TABLE = "predictions.csv"


@dataclass(frozen=True)
class Predictions:
    """Predictions of a network on images.

    Args:
        rows: One per image: ``image``, ``problem`` (empty, or why it could not be read), and the prediction in the
            columns of the task; classification has ``classes``, the likeliest first, each with its probability.
        out: Folder with ``predictions.csv``, if one was asked for.
        said: Prediction of each image in words; empty where it could not be read.
    """

    rows: tuple[dict[str, Any], ...]
    out: Path | None
    said: tuple[str, ...]

    @property
    def failed(self) -> list[str]:
        """Images that could not be read, with the reason."""
        return [f"{row['image']}: {row['problem']}" for row in self.rows if row["problem"]]

    def to_json(self) -> list[dict[str, Any]]:
        """Plain values."""
        return list(self.rows)

    def __str__(self) -> str:
        width = max(len(row["image"]) for row in self.rows)
        pairs = zip(self.rows, self.said, strict=True)
        lines = [f"{row['image']:<{width}}  {row['problem'] or said}" for row, said in pairs]
        return "\n".join(lines + ([f"\n{self.out / TABLE}"] if self.out else []))


def write_rows(task: Task, opened: Opened, images: Sequence[tuple[Path, Path]], options: Options) -> Predictions:
    """Predict files in batches, and write ``predictions.csv`` where a folder was given."""
    outputs = None if options.out is None else Outputs(options.out)
    if outputs is not None:
        outputs.check([outputs.folder / TABLE])
    net, _ = task.under(opened.net, options.protocol, default="sliding")
    paths = [path for path, _ in images]
    rows: list[dict[str, Any]] = []
    cells: list[dict[str, Any]] = []
    said: list[str] = []
    for chunk, read in _read(paths, task, options.batch):
        good = [image for image in read if isinstance(image, Tensor)]
        with torch.inference_mode():
            found = predicted(net, task, torch.stack(good), options.device) if good else None
        places = iter(range(len(good)))
        for path, image in zip(chunk, read, strict=True):
            problem = image if isinstance(image, str) else ""
            row = task.row_without() if problem else task.row(taken(found, next(places)))
            rows.append({"image": str(path), "problem": problem, **row})
            cells.append({} if problem else task.cells(row))
            said.append("" if problem else task.said(row))
        options.on_progress(len(rows), len(paths))
    if outputs is not None:
        _write(outputs, rows, cells)
    return Predictions(tuple(rows), options.out, tuple(said))


def _read(paths: Sequence[Path], task: Task, batch: int) -> Iterator[tuple[list[Path], list[Tensor | str]]]:
    """Chunks of paths, and of each the image, or why it could not be read; several are decoded at once."""
    require("PIL.Image", extra="train")

    def one(path: Path) -> Tensor | str:
        try:
            return task.input(read_image(path, near=2 * task.size, white=task.white))
        except UnreadableError as problem:
            return problem.whole

    waiting = iter(paths)
    with ThreadPoolExecutor(cores()) as pool:
        while chunk := list(islice(waiting, batch)):
            yield chunk, list(pool.map(one, chunk))


def _write(outputs: Outputs, rows: Sequence[dict[str, Any]], cells: Sequence[dict[str, Any]]) -> None:
    columns = list(dict.fromkeys(name for row in cells for name in row))
    with (
        outputs.replacing(outputs.folder / TABLE) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as opened,
    ):
        writer = csv.writer(opened)
        writer.writerow(["image", *columns, "problem"])
        for row, given in zip(rows, cells, strict=True):
            values = [given.get(name, "") for name in columns]
            shown = [f"{value:.6f}" if isinstance(value, float) else value for value in values]
            writer.writerow([row["image"], *shown, row["problem"]])
