"""A worker process: reads jobs as JSON lines, does them on one thread, writes events as JSON lines.

Processes and not threads of one, because two one-thread processes beat one two-thread process on a busy machine; and
plain subprocesses, because they need no ``if __name__ == "__main__"`` in the user's script. When the parent dies, its
end of the pipe closes: the worker then saves its run and leaves.
"""

from __future__ import annotations

import hashlib
import json
import os
import queue
import shutil
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, TextIO, cast

import numpy as np
import torch

from saccade import schema
from saccade.catalog.imports import accept, imported
from saccade.comparison.experiment import Experiment, load_start
from saccade.comparison.inner import inner
from saccade.comparison.tuning import Rates, Trial
from saccade.data import Arrays
from saccade.data.reading import Reading
from saccade.errors import InputError
from saccade.files import replacing, write_json
from saccade.finite import NotFiniteError
from saccade.ops import use
from saccade.runs.names import BEST, CHECKPOINTS, CONFIG, COSTS, EVIDENCE, LAST, RESULT
from saccade.runs.records import read_object
from saccade.saving.store import header_of
from saccade.tasks import register
from saccade.tasks.base import Task
from saccade.tasks.evidence import Evidence
from saccade.tasks.trees import named
from saccade.training.evaluation import collect_arrays, validation_on
from saccade.training.log import Row
from saccade.training.loop import Interrupted, train
from saccade.training.recipe import Recipe
from saccade.training.sources import ArraySource


class Worker:
    """Does jobs of one experiment until it is told to stop."""

    def __init__(self, folder: Path, device: str, events: TextIO) -> None:
        self.experiment = Experiment.load(folder)
        use(self.experiment.settings.ops)
        self.device = device
        self.events = events
        self.stop = threading.Event()
        self.idle, self.training = True, False
        self._data: Arrays | None = None

    @property
    def data(self) -> Arrays:
        """The data, loaded at the first use."""
        self._data = self._data or self.experiment.data()
        return self._data

    def tell(self, event: str, **content: Any) -> None:
        """Write one line to the parent; ignored if the parent has exited."""
        try:
            self.events.write(json.dumps({"event": event, **content}) + "\n")
            self.events.flush()
        except OSError:
            self.stop.set()

    def do(self, job: dict[str, Any]) -> None:
        """Do one job and report how it ended."""
        self.idle = False
        try:
            getattr(self, f"do_{job['job']}")(**{k: v for k, v in job.items() if k != "job"})
            self.tell("done", job=job)
        except Interrupted:
            self.tell("stopped", job=job)
        except Exception as cause:  # whatever it was, the parent must hear of it
            traceback.print_exc()
            message = cause.message if isinstance(cause, InputError) else f"{type(cause).__name__}: {cause}"
            hint = cause.hint if isinstance(cause, InputError) else None
            self.tell("error", job=job, message=message, hint=hint, expected=isinstance(cause, InputError))
        self.idle, self.training = True, False

    def end(self) -> None:
        """Stop after the step that is computed; nothing else has something to save, and is left at once."""
        self.stop.set()
        if not (self.idle or self.training):
            os._exit(0)

    def do_start(self, seed: int) -> None:
        """Train the demo's shared start."""
        experiment = self.experiment
        data = load_start(experiment.settings, experiment.folder)
        net = experiment.base(data, seed)
        recipe, folder = self._here(experiment.start_recipe(seed)), experiment.start_folder(seed)
        self._train(net, ArraySource(data), recipe, folder, "start", seed)
        found = self._collect(net, data, recipe.batch)
        write_json(folder / RESULT, {"score": experiment.task(data).score(found), "seed": seed})
        shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)

    def do_run(self, arm: int, index: int) -> None:
        """Train and score one arm on one seed."""
        experiment, data = self.experiment, self.data
        chosen = experiment.arms[arm]
        seed = experiment.seed(chosen, index)
        folder = experiment.run_folder(chosen, index)
        net = experiment.network(chosen, seed, data)
        recipe = self._here(experiment.recipe(seed))
        write_json(folder / CONFIG, {"arm": chosen.name, "options": chosen.options, "seed": seed} | vars(recipe))
        seconds = self._train(net, experiment.source(data), recipe, folder, chosen.name, index)
        self.score(net, folder, seconds)
        shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)

    def do_trial(self, arm: int, index: int, number: int, learning_rate: float, gate_lr_factor: float) -> None:
        """Train one arm on a part of the training images, and score it on the rest of them."""
        experiment, chosen = self.experiment, self.experiment.arms[arm]
        setting = Rates(learning_rate=learning_rate, gate_lr_factor=gate_lr_factor)
        seed, folder = experiment.seed(chosen, index), experiment.trial_folder(chosen, index, number)
        data = inner(self.data, seed, Reading.of(experiment.settings))
        net = experiment.network(chosen, seed, data)
        recipe = replace(self._here(experiment.recipe(seed, setting)), evaluate_every=0)
        score, seconds = None, 0.0
        try:
            name = f"{chosen.name}, trial {number}"
            seconds = self._train(net, experiment.source(data), recipe, folder, name, index)
            score = experiment.task(data).score(self._collect(net, data, experiment.batch))
        except NotFiniteError:
            pass
        found = Trial(learning_rate=learning_rate, gate_lr_factor=gate_lr_factor, score=score, train_seconds=seconds)
        for weights in (folder / LAST, folder / BEST):
            weights.unlink(missing_ok=True)
        write_json(folder / RESULT, schema.to_json(found))
        shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)

    def do_tuned(self, arm: int, index: int, settings: Sequence[Mapping[str, float]]) -> None:
        """Train and score one arm on one seed with the first of the settings with which training does not diverge."""
        experiment, chosen = self.experiment.tuned, self.experiment.arms[arm]
        seed, folder = experiment.seed(chosen, index), experiment.run_folder(chosen, index)
        for number, one in enumerate(settings):
            net = experiment.network(chosen, seed, self.data)
            recipe = self._here(experiment.recipe(seed, Rates(**one)))
            config = {"arm": chosen.name, "options": chosen.options, "seed": seed} | vars(recipe)
            before = read_object(folder / CONFIG) if (folder / CONFIG).exists() else one
            if any(before.get(name) != value for name, value in one.items()):
                shutil.rmtree(folder)  # of a setting with which it diverged
            write_json(folder / CONFIG, config)
            try:
                seconds = self._train(net, experiment.source(self.data), recipe, folder, chosen.name, index)
                self.score(net, folder, seconds)
                break
            except NotFiniteError:
                if number == len(settings) - 1:
                    raise
        shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)

    def _train(
        self, net: torch.nn.Module, source: ArraySource, recipe: Recipe, folder: Path, name: str, index: int
    ) -> float:
        """Train, report to the parent, and return the training time in seconds."""
        task = self.experiment.task(source.data)
        validate = validation_on(source.data, task, device=torch.device(self.device), batch=recipe.batch)
        self.training = True
        done = train(
            net, self.experiment.fitted(net, source.data), source, recipe, folder, validate=validate, keep_best=False,
            header=header_of(net) | {"reading": task.to_json(), "folder": self.experiment.settings.changed()},
            on_step=self._steps(name, index, recipe.steps), should_stop=self.stop.is_set,
        )  # fmt: skip
        self.training = False
        return done.seconds

    def score(self, net: torch.nn.Module, folder: Path, seconds: float) -> None:
        """Score a trained network on all validation images; ``result.json``, written last, marks it as done."""
        task = self.experiment.task(self.data)
        seen = hashlib.blake2b(digest_size=16)
        found = self._collect(net, self.data, self.experiment.batch, full=True, on_predictions=partial(_hash, seen))
        with replacing(folder / EVIDENCE) as temporary, temporary.open("wb") as opened:
            np.savez(opened, allow_pickle=False, **found)
        groups = {name: asdict(group) for name, group in task.groups(found).items()}
        done = {"score": task.score(found), "scores": task.scores(found), "train_seconds": seconds, "groups": groups}
        write_json(folder / RESULT, done | {"predictions": seen.hexdigest()})

    def _collect(self, net: torch.nn.Module, data: Arrays, batch: int, **how: Any) -> Evidence:
        task = self.experiment.task(data)
        return collect_arrays(net, task, data.val, device=torch.device(self.device), batch=batch, **how)

    def do_costs(self) -> None:
        """Measure what each arm costs."""
        from saccade.comparison.costs import measure

        write_json(self.experiment.folder / COSTS, measure(self.experiment, self.data, self.device))

    def do_pictures(self) -> None:
        """Write the predictions and attention of all arms on the same few images."""
        from saccade.comparison.pictures import take

        take(self.experiment, self.data, self.device)

    def _here(self, recipe: Recipe) -> Recipe:
        return replace(recipe, device=self.device)

    def _steps(self, name: str, index: int, of: int) -> Callable[[Row], None]:
        every = max(1, of // 60)

        def on_step(row: Row) -> None:
            if row.step % every == 0 or row.step == of:
                self.tell("step", name=name, index=index, step=row.step, of=of, loss=row.loss)

        return on_step


def _hash(seen: Any, predictions: Any) -> None:
    """Add the predictions of a batch to a hash."""
    for name, leaf in named("prediction", predictions).items():
        seen.update(name.encode() + np.ascontiguousarray(leaf.cpu()).tobytes())


def main() -> None:
    """``python -m saccade.comparison.worker FOLDER DEVICE NAMED [TASK ...]``; NAMED is the code it may import."""
    folder, device, named, *tasks = sys.argv[1:]
    accept(json.loads(named))
    for task in tasks:
        register(cast(type[Task], imported(task)))
    events = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints goes to the log, not between the events
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    torch.set_num_threads(1)
    torch.set_num_interop_threads(1)
    worker = Worker(Path(folder), device, events)
    jobs: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()

    def listen() -> None:
        for line in sys.stdin:
            jobs.put(json.loads(line))
        worker.end()
        jobs.put(None)

    threading.Thread(target=listen, daemon=True).start()
    worker.tell("ready")
    while (job := jobs.get()) is not None:
        worker.do(job)


if __name__ == "__main__":
    main()
