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
from saccade.files import replacing
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
    """

    rows: tuple[dict[str, Any], ...]
    out: Path | None

    @property
    def failed(self) -> list[str]:
        """Images that could not be read, with the reason."""
        return [f"{row['image']}: {row['problem']}" for row in self.rows if row["problem"]]

    def to_json(self) -> list[dict[str, Any]]:
        """Plain values."""
        return list(self.rows)

    def __str__(self) -> str:
        width = max(len(row["image"]) for row in self.rows)
        lines = []
        for row in self.rows:
            cells = _cells(row, most=3).items()
            pairs = [f"{value:.3f}" if isinstance(value, float) else str(value) for _, value in cells]
            if "classes" in row:  # class and probability follow each other
                pairs = [f"{name} {value}" for name, value in zip(pairs[::2], pairs[1::2], strict=True)]
            lines.append(f"{row['image']:<{width}}  {', '.join(pairs) or row['problem']}")
        return "\n".join(lines + ([f"\n{self.out / TABLE}"] if self.out else []))


def write_rows(task: Task, opened: Opened, images: Sequence[tuple[Path, Path]], options: Options) -> Predictions:
    """Predict files in batches, and write ``predictions.csv`` where a folder was given."""
    net, _ = task.under(opened.net, options.protocol, default="sliding")
    paths, rows = [path for path, _ in images], []
    for chunk, read in _read(paths, task, options.batch):
        good = [image for image in read if isinstance(image, Tensor)]
        with torch.inference_mode():
            found = predicted(net, task, torch.stack(good), options.device) if good else None
        number = 0
        for path, image in zip(chunk, read, strict=True):
            row: dict[str, Any] = {"image": str(path), "problem": image if isinstance(image, str) else ""}
            if not isinstance(image, str):
                row |= task.row(taken(found, number))
                number += 1
            rows.append(row)
        options.on_progress(len(rows), len(paths))
    if options.out is not None:
        _write(options.out / TABLE, rows)
    return Predictions(tuple(rows), options.out)


def _read(paths: Sequence[Path], task: Task, batch: int) -> Iterator[tuple[list[Path], list[Tensor | str]]]:
    """Chunks of paths, and of each the image, or why it could not be read; several are decoded at once."""
    require("PIL.Image", extra="train")

    def one(path: Path) -> Tensor | str:
        try:
            return task.input(read_image(path, near=2 * task.size))
        except UnreadableError as problem:
            return str(problem)

    waiting = iter(paths)
    with ThreadPoolExecutor(cores()) as pool:
        while chunk := list(islice(waiting, batch)):
            yield chunk, list(pool.map(one, chunk))


def _cells(row: dict[str, Any], *, most: int | None = None) -> dict[str, Any]:
    """A row as cells of a table; classes with their probabilities are spread over columns."""
    cells = {name: value for name, value in row.items() if name not in ("image", "problem", "classes")}
    for number, (name, probability) in enumerate(row.get("classes", ())[:most], 1):
        cells |= {f"class_{number}": name, f"probability_{number}": probability}
    return cells


def _write(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    columns = list(dict.fromkeys(name for row in rows for name in _cells(row)))
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as opened:
        writer = csv.writer(opened)
        writer.writerow(["image", *columns, "problem"])
        for row in rows:
            cells = _cells(row)
            values = [cells.get(name, "") for name in columns]
            shown = [f"{value:.6f}" if isinstance(value, float) else value for value in values]
            writer.writerow([row["image"], *shown, row["problem"]])
