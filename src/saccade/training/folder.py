"""The folder of a run: claimed by one training, refused to another, and what lies in it beside the weights."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from saccade.data import Progress
from saccade.data.identity import RECORD
from saccade.environment import environment, git_state
from saccade.errors import InputError
from saccade.files import LOCK, read_json, write_json
from saccade.saving.store import BEST, LAST
from saccade.training.checkpoint import FOLDER
from saccade.training.loop import State
from saccade.training.placement import Placement
from saccade.training.problems import Problem, Question
from saccade.training.recipe import Recipe
from saccade.version import __version__

RUN, RESULT, SPLIT = "run.json", "result.json", "split.json"
_FORMAT = 1
_FREE = ("device", "checkpoint_seconds", "keep")  # may differ when a run goes on


class RunFolder:
    """Where a run is kept.

    Args:
        folder: Its path.
        question: Data and network as asked.
        recipe: How it is trained.
        problem: What was found for the question.
    """

    def __init__(self, folder: Path, question: Question, recipe: Recipe, problem: Problem) -> None:
        self.folder, self.question, self.recipe, self.problem = folder, question, recipe, problem

    def asked(self) -> dict[str, Any]:
        """What must be the same for a run to go on, apart from the data themselves."""
        recipe = {name: value for name, value in self.recipe.to_json().items() if name not in _FREE}
        return {**asdict(self.question), **recipe}

    def claim(self, *, overwrite: bool, command: str | None, on_progress: Progress | None = None) -> None:
        """Make it the folder of this run, or find that it is; the caller holds its lock.

        Args:
            overwrite: Delete a run that is in it.
            command: What was typed, for the record.
            on_progress: Called with (done, total, what) while files of the data are read.

        Raises:
            InputError: Another run is in it (what differs is said), or other files.
        """
        if overwrite:
            self._clear()
        path, record = self.folder / RUN, self.folder / RECORD
        if path.exists():
            before = read_json(path)["asked"]
            self._refuse_other(before)
            identity = self.problem.identity(record, on_progress)
            identity.check(
                before.get("files", ""), record, data=self.question.data,
                hint="put the files back, choose another folder with --out, or start again with --overwrite",
            )  # fmt: skip
            identity.write(record)
            return
        if any(entry.name not in (LOCK, RECORD) for entry in self.folder.iterdir()):
            raise InputError(f"{self.folder} is not empty and holds no training", "choose another folder with --out")
        if self.problem.split:
            write_json(self.folder / SPLIT, {"seed": self.question.split_seed, "held_out": list(self.problem.split)})
        identity = self.problem.identity(record, on_progress)
        identity.write(record)
        asked = {**self.asked(), "files": identity.digest}
        found = {"format": _FORMAT, "saccade": __version__, "command": command, "asked": asked}
        write_json(path, found)

    def _refuse_other(self, before: dict[str, Any]) -> None:
        now = self.asked()
        differing = [
            f"{name}: {before.get(name)!r} there, {value!r} now"
            for name, value in now.items()
            if before.get(name) != value
        ]
        if differing:
            raise InputError(
                f"{self.folder} holds a training with other settings ({'; '.join(differing)})",
                "choose another folder with --out, or start anew with --overwrite",
            )

    def _clear(self) -> None:
        """Delete a run; anything else in the folder stays."""
        if not (self.folder / RUN).exists():
            return
        for name in (FOLDER, "tensorboard"):
            shutil.rmtree(self.folder / name, ignore_errors=True)
        for name in (BEST, LAST, RESULT, SPLIT, "log.csv", "gates.csv", RECORD, RUN):
            (self.folder / name).unlink(missing_ok=True)

    def network(self) -> nn.Module:
        """The network as the run begins; it has then read an image.

        Raises:
            InputError: It cannot be made, or cannot work on images of this size.
        """
        torch.manual_seed(self.recipe.seed)
        net = self.problem.network()
        height, width = self.problem.shape
        try:
            with torch.inference_mode():
                net.eval()(torch.zeros(1, 3, height, width))
        except Exception as cause:  # whatever a network says of a size it cannot take
            raise InputError(
                f"{self.question.network} cannot work on images of {height} x {width} ({cause})",
                "choose another --size, --network or --at",
            ) from cause
        return net

    def record(self, net: nn.Module, where: Placement) -> None:
        """Add versions, machine and the state of the code to the record; one process does it."""
        if where.index:
            return
        found = read_json(self.folder / RUN)
        found |= {
            "recipe": self.recipe.to_json(),
            "note": self.problem.note,
            "params": sum(p.numel() for p in net.parameters()),
            "environment": environment(str(where.device), processes=where.processes, threads=torch.get_num_threads()),
            "git": git_state(),
        }
        write_json(self.folder / RUN, found)

    def describe(self, net: nn.Module) -> str:
        """The network in a line."""
        question = self.question
        report: Any = getattr(net, "saccade_report", None)
        inserted = f" with {question.mechanism}" if question.mechanism else ""
        places = f" at {len(report.places)} places" if report and question.mechanism else ""
        on = f" on {question.backbone}" if question.backbone else ""
        return f"{question.network}{on}{inserted}{places}, {sum(p.numel() for p in net.parameters()):,} parameters"

    def result(self) -> dict[str, Any] | None:
        """What a finished run found; None for any other."""
        path = self.folder / RESULT
        return read_json(path) if path.exists() else None

    def finish(self, state: State) -> None:
        """Write the result, which says that the run is finished."""
        write_json(
            self.folder / RESULT,
            {
                "data": self.question.data,
                "metric": self.problem.task.metric,
                "steps": state.step,
                "seconds": state.seconds,
                "waiting": state.waiting,
                "scores": state.scores,
                "best": state.best,
                "best_step": state.best_step,
            },
        )
