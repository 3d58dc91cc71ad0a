"""The folder of one training run: what was asked, what was found, and how it ended."""

from __future__ import annotations

import shlex
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from saccade.data import OnProgress
from saccade.data.identity import Identity
from saccade.environment import environment, git_state
from saccade.files import clear_temporary, write_json
from saccade.networks.statistics import statistics_for
from saccade.runs.folder import OTHER_FOLDER, Owned
from saccade.runs.names import BEST, CHECKPOINTS, DATA, GATES, LAST, LOG, RESULT, RUN, SPLIT, TENSORBOARD
from saccade.runs.options import RunSpec
from saccade.runs.records import RunOutcome, RunRecord, read_object, read_record
from saccade.tasks.base import TaskData
from saccade.training.composition import Balance
from saccade.training.distributed import Distributed
from saccade.training.loop import State
from saccade.training.recipe import Recipe
from saccade.training.trial import check_network
from saccade.version import __version__

_FORMAT = 1


class TrainingRun:
    """A run with its folder.

    Args:
        folder: Its path.
        spec: Data and network as asked.
        recipe: Recipe of the training.
        data: Data found for the spec.
    """

    def __init__(self, folder: Path, spec: RunSpec, recipe: Recipe, data: TaskData) -> None:
        self.folder, self.spec, self.recipe, self.data = folder, spec, recipe, data
        self.owned = Owned(folder, "training", RUN)
        self.balance = Balance()
        self.identity = Identity("")

    def asked(self) -> dict[str, Any]:
        """Return the settings that must be the same for a run to be resumed."""
        return {**self.spec.recorded(), **self.recipe.recorded()}

    def begun(self) -> bool:
        """Return True if the folder keeps something that a run is resumed from; until then it belongs to none."""
        kept = (self.folder / name for name in (LAST, RESULT))
        return any(path.exists() for path in kept) or any((self.folder / CHECKPOINTS).glob("[!.]*"))

    def identify(self, *, overwrite: bool, on_progress: OnProgress | None = None) -> None:
        """Read the files of the data that the folder has no record of; changes nothing.

        Raises:
            InputError: The folder holds other files, or the data of a new run cannot be used.
        """
        self.owned.refuse_foreign()
        self.identity = self.data.identity(self.folder / DATA, on_progress)
        if overwrite or not (self.owned.claimed and self.begun()):
            self.identity.refuse_contradiction()

    def claim(self, *, overwrite: bool, command: str | None) -> None:
        """Make it the folder of this run, or find that it is; the caller holds its lock, and has called `identify`.

        A run that ended before it kept anything, such as one with a mistake in its command, does not hold the folder.

        Raises:
            InputError: Another run is in it (what differs is said), its data have changed, or it holds other files.
        """
        self.owned.refuse_foreign()
        identity = self.identity
        if self.owned.claimed and (overwrite or not self.begun()):
            self.owned.clear((BEST, LAST, RESULT, SPLIT, DATA, LOG, GATES), (CHECKPOINTS, TENSORBOARD))
        if self.owned.claimed:
            before = read_record(self.folder / RUN, RunRecord)
            further = (
                f"to train it further, start another from it: --pretrained {shlex.quote(str(self.folder))} --out NEW"
            )
            done = (self.folder / RESULT).exists()
            self.owned.refuse_other(before.asked, self.asked(), further if done else OTHER_FOLDER)
            identity.check(
                before.identity, self.folder / DATA, data=self.spec.data, hint=f"put the files back, {OTHER_FOLDER}"
            )
            clear_temporary(self.folder)
            return
        clear_temporary(self.folder)
        if self.data.split:
            write_json(self.folder / SPLIT, {"seed": self.spec.split_seed, "held_out": list(self.data.split)})
        found = {"format": _FORMAT, "saccade": __version__, "command": command, "asked": self.asked()}
        identity.write(self.folder / DATA)
        write_json(self.folder / RUN, found | {"identity": identity.digest})

    def weigh(self, *, overwrite: bool, on_progress: OnProgress | None = None) -> None:
        """Decide the weights of classes and the groups that are sampled; weights on record are not computed again.

        Args:
            overwrite: If True, the folder is to be cleared: its record does not count.
            on_progress: Called with (done, total, what) while targets are read.

        Raises:
            InputError: A weight of no class, a class without a weight, or a task without classes.
        """
        ours = self.owned.claimed and self.begun() and not overwrite
        known = read_record(self.folder / RUN, RunRecord).class_weights if ours else None
        seen = partial(self.data.composition, on_progress)
        self.balance = Balance.decide(self.recipe, self.data.task, seen, known)

    def standardise(self, net: nn.Module, *, overwrite: bool) -> None:
        """Decide what images are standardised by, as the weights that it begins with expect, and add it to the data.

        What is on record is not decided again.

        Args:
            net: The network as the run begins.
            overwrite: If True, the folder is to be cleared: its record does not count.
        """
        if self.owned.claimed and self.begun() and not overwrite:
            found = read_record(self.folder / RUN, RunRecord).statistics
        else:
            found = statistics_for(net, self.spec.pretrained)
        self.data = self.data.standardising(found, said=bool(self.spec.pretrained))

    def network(self, batch: int) -> nn.Module:
        """The network as the run begins; it has then read images.

        Args:
            batch: Images that it sees at a time in training.

        Raises:
            InputError: It cannot be made, cannot work on images of this size, or cannot be trained on such a batch.
        """
        torch.manual_seed(self.recipe.seed)
        net = self.data.task.network(self.spec)
        check_network(net, self.spec.network, self.data.shape, batch, "choose another --size, --network or --at")
        return net

    def record(self, net: nn.Module, where: Distributed) -> None:
        """Add versions, machine and the state of the code to the record; one process does it."""
        if where.index:
            return
        found = read_object(self.folder / RUN)
        found |= {
            "recipe": self.recipe.to_json(),
            **self.balance.recorded(self.data.task.classes),
            "note": self.data.note,
            "statement": self.data.statement.to_json(),
            "statistics": self.data.task.statistics.to_json(),
            "params": sum(p.numel() for p in net.parameters()),
            "environment": environment(str(where.device), processes=where.processes, threads=torch.get_num_threads()),
            "git": git_state(),
        }
        write_json(self.folder / RUN, found)

    def describe(self, net: nn.Module) -> str:
        """The network in one line."""
        spec = self.spec
        report: Any = getattr(net, "saccade_report", None)
        inserted = f" with {spec.mechanism}" if spec.mechanism else ""
        places = f" at {len(report.places)} places" if report and spec.mechanism else ""
        on = f" on {spec.backbone}" if spec.backbone else ""
        return f"{spec.network}{on}{inserted}{places}, {sum(p.numel() for p in net.parameters()):,} parameters"

    def result(self) -> dict[str, Any] | None:
        """Return the result of a finished run; None for any other."""
        path = self.folder / RESULT
        if not path.exists():
            return None
        read_record(path, RunOutcome)
        return read_object(path)

    def finish(self, state: State) -> None:
        """Write the result, which says that the run is finished."""
        write_json(
            self.folder / RESULT,
            {
                "data": self.spec.data,
                "metric": self.data.task.metric,
                "steps": state.step,
                "seconds": state.seconds,
                "waiting": state.waiting,
                "scores": state.scores,
                "best": state.best,
                "best_step": state.best_step,
            },
        )
