"""Files that a run writes while it trains: ``log.csv``, ``gates.csv`` and, if wanted, files for TensorBoard."""

from __future__ import annotations

import csv
import io
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from saccade.errors import InputError
from saccade.files import check_regular, replacing
from saccade.insertion.groups import gate_values

LOG, GATES, TENSORBOARD = "log.csv", "gates.csv", "tensorboard"
_BEGUN = "restore it from a copy, or move it elsewhere: the run resumes, and begins a new log"
FIELDS = ("step", "loss", "learning_rate", "score", "seconds", "waiting")


@dataclass(frozen=True)
class Row:
    """Record of a step.

    Args:
        step: Number of the step, from 1.
        loss: Mean over the samples of the step; in the files, over those since the row before.
        rate: The learning rate.
        scores: Scores of validation images, where there was a validation; the first is the one that counts.
        seconds: Seconds trained so far.
        waiting: Seconds of these spent waiting for data.
    """

    step: int
    loss: float
    rate: float
    scores: Mapping[str, float]
    seconds: float
    waiting: float

    def over(self, loss: float) -> Row:
        """The same with the loss of several steps."""
        return replace(self, loss=loss)

    def cells(self) -> dict[str, str]:
        """Return the values as ``log.csv`` has them."""
        score = next((f"{value:.6f}" for value in self.scores.values()), "")
        values = (
            str(self.step), f"{self.loss:.6g}", f"{self.rate:.4g}", score, f"{self.seconds:.3f}", f"{self.waiting:.3f}",
        )  # fmt: skip
        return dict(zip(FIELDS, values, strict=True))


class Log:
    """Log files of a run; rows later than the checkpoint it is resumed from are dropped.

    Args:
        folder: Folder of the run.
        done: Number of steps done before.
        tensorboard: If True, also write files for TensorBoard.
    """

    def __init__(self, folder: Path, done: int, *, tensorboard: bool = False) -> None:
        self.rows = _Table(folder / LOG, FIELDS, done)
        self.gates = _Table(folder / GATES, (), done)
        self.board = _board(folder, done) if tensorboard else None

    def write(self, row: Row, model: nn.Module) -> None:
        """Write a row; after a validation also the gates."""
        self.rows.add(row.cells())
        values = {"loss": row.loss, "learning rate": row.rate, **row.scores}
        if row.scores:
            gates = gate_values(model)
            if gates:
                self.gates.add({"step": str(row.step)} | {name: f"{value:.6g}" for name, value in gates.items()})
            values |= {f"gates/{name}": value for name, value in gates.items()}
        if self.board is not None:
            for name, value in values.items():
                self.board.add_scalar(name, value, row.step)

    def flush(self) -> None:
        """Put everything on disk."""
        self.rows.flush()
        self.gates.flush()
        if self.board is not None:
            self.board.flush()


def read_rows(path: Path, hint: str, needed: Sequence[str] = ("step",)) -> list[dict[str, str]]:
    """Read a log, every row of which begins with its step.

    Args:
        path: The file.
        hint: Advice for a file that is damaged.
        needed: Columns that it must have.

    Raises:
        InputError: The file cannot be read, or a row has no step or another number of values.
    """
    check_regular(path, hint)
    try:
        text = path.read_bytes().decode()
        reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        rows, columns = list(reader), list(reader.fieldnames or ())
    except OSError as cause:
        raise InputError(f"{path} cannot be read: {cause.strerror or cause}", hint) from cause
    except (csv.Error, UnicodeDecodeError) as cause:
        raise InputError(f"{path} is not a log of saccade ({cause})", hint) from cause
    missing = [name for name in needed if name not in columns]
    if missing:
        raise InputError(f"{path} is not a log of saccade: it has no column {', '.join(missing)}", hint)
    if not text.endswith("\n"):
        raise InputError(f"{path} is cut short in line {len(rows) + 1}", hint)
    for number, row in enumerate(rows, 2):
        if None in row or None in row.values() or not re.fullmatch(r"\d{1,18}", row["step"]):
            raise InputError(f"{path} is damaged in line {number}", hint)
    return rows


class _Table:
    """A CSV file that is replaced whole."""

    def __init__(self, path: Path, fields: Iterable[str], done: int) -> None:
        self.path, self.fields = path, list(fields)
        self.rows: list[dict[str, str]] = []
        if done and path.exists():
            found = read_rows(path, _BEGUN, self.fields or ("step",))
            self.rows = [{k: row[k] for k in self.fields or row} for row in found if int(row["step"]) <= done]

    def add(self, row: dict[str, str]) -> None:
        self.rows.append(row)

    def flush(self) -> None:
        if not self.rows:
            return
        with replacing(self.path) as temporary, temporary.open("w", newline="", encoding="utf-8") as opened:
            writer = csv.DictWriter(opened, self.fields or list(self.rows[0]))
            writer.writeheader()
            writer.writerows(self.rows)


def _board(folder: Path, done: int) -> Any:
    """TensorBoard hides what earlier files have from this step on."""
    from saccade.errors import require

    # With this name known, TensorBoard writes by itself; otherwise it loads TensorFlow where that is installed, which
    # takes 8 s. Who already uses TensorFlow keeps it.
    if "tensorflow" not in sys.modules:
        sys.modules.setdefault("tensorboard.compat.notf", ModuleType("tensorboard.compat.notf"))
    writer: Any = require("torch.utils.tensorboard", extra="train")
    return writer.SummaryWriter(str(folder / TENSORBOARD), purge_step=done + 1)
