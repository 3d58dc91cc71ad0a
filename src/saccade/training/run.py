"""``saccade.train``: a network trained on a folder, in a folder of its own, whatever happens to the machine."""

from __future__ import annotations

import math
import os
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from saccade.errors import InputError, require
from saccade.files import locked
from saccade.networks.named import is_segmenter
from saccade.options import called_with
from saccade.saving.store import header_of
from saccade.training.evaluation import measure
from saccade.training.folder import RunFolder
from saccade.training.loop import Interrupted, Look, train
from saccade.training.options import Question, TrainOptions
from saccade.training.placement import Placement, lost_process, placement
from saccade.training.problems import Problem, find_problem, problem_of
from saccade.training.progress import Progress, duration
from saccade.training.recipe import Recipe
from saccade.training.recipes import PRETRAINED_RATE, Published, find_recipe
from saccade.training.signals import stop_on_signals
from saccade.training.sources import LoaderSource, Share, cores

_LOOKS, _ROWS = 100, 2000  # of a run, at most


@dataclass(frozen=True)
class Training:
    """A finished run.

    Args:
        folder: Where it is kept; :func:`saccade.load` reads it.
        results: The content of ``result.json``.
        writes: Whether this process is the one of several that speaks.
    """

    folder: Path
    results: dict[str, Any]
    writes: bool = True

    def __str__(self) -> str:
        found = self.results
        scores = ", ".join(f"{name} {value:.4f}" for name, value in found["scores"].items())
        lines = [f"{found['steps']} steps in {duration(found['seconds'])}: {scores}"]
        if found["best_step"] != found["steps"]:
            lines.append(f"best after {found['best_step']} steps: {found['metric']} {found['best']:.4f}")
        lines += ["", f"saccade evaluate {found['data']} --model {self.folder}"]
        return "\n".join([*lines, f"saccade predict IMAGES --model {self.folder} --out DIR"])


@called_with(TrainOptions, "train")
def train_network(options: TrainOptions) -> Training:
    """Train a network on a folder of images; the same call again resumes an unfinished training.

    Run by ``torchrun``, every process calls this, and they train together: `batch` is that of all of them, the loss
    is divided by the number of samples of all of them.

    In Python `data` is also two torch Datasets, training and validation, that give (image (3, H, W), class or
    classes (H, W)). Their images are uint8, or floats as the network is to read them; `size` and `augment` are then
    theirs to decide. See `saccade.training.recipes` for the recipes of papers,
    :func:`saccade.data.samples.training_transform` and :func:`saccade.data.crops.training_view` for augmentation.

    Raises:
        InputError: Something given is wrong; nothing was changed.
        Diverged: The loss became NaN or infinite.
        KeyboardInterrupt: Stopped by Ctrl-C or SIGTERM; everything is saved and the same call resumes it.
    """
    for package in ("timm", "torchvision", "torchmetrics", "PIL"):
        require(package, extra="train")
    published = find_recipe(options.recipe, "segmentation" if is_segmenter(options.network) else "classification")
    question = Question.decide(options, size=published.size, augment=published.augment)
    where = placement(options.device)
    pair = options.data if isinstance(options.data, tuple) else None
    smoothing = options.label_smoothing
    problem = problem_of(pair, question, options.classes, smoothing) if pair else find_problem(question, smoothing)
    decided = decide(published, problem, where, options)
    out, overwrite, workers = options.out, options.overwrite, options.workers
    folder = Path(out) if out is not None else Path("saccade-train") / Path(question.data).name
    run = RunFolder(folder, question, decided, problem)
    finished = run.result() is not None and not overwrite
    net = None if finished else run.network()  # before a folder is made: the corrected call would find it taken
    with ExitStack() as stack:
        if where.index == 0:
            stack.enter_context(locked(folder, "training"))
            run.claim(overwrite=overwrite, command=options.command)
        where.wait()
        if net is not None:
            lines = published.lines() if options.recipe != "default" else []
            _carry_out(
                run, net, where, workers=reading_processes(where) if workers is None else workers,
                tensorboard=options.tensorboard, shown=options.progress and where.index == 0, said=lines,
            )  # fmt: skip
    return Training(folder, run.result() or {}, where.index == 0)


def decide(published: Published, problem: Problem, where: Placement, options: TrainOptions) -> Recipe:
    """Return the recipe decided: what was asked for, else what was published, else what suits the data."""
    steps, epochs, batch = options.steps, options.epochs, options.batch
    if steps is not None and epochs is not None:
        raise InputError("give steps or epochs, not both")
    suited = {"learning_rate": PRETRAINED_RATE} if options.pretrained and options.recipe == "default" else {}
    values = {**published.values, **suited, **options.changes()}
    unit = where.processes * int(values.get("accumulate", 1))
    count = len(problem.train)
    if batch is None:
        batch = max(unit, min(published.batch, count) // unit * unit)
    each = math.ceil(count / batch)  # steps an epoch
    if steps is None:
        steps = max(1, math.ceil((published.epochs if epochs is None else epochs) * count / batch))
    values.setdefault("evaluate_every", max(each, steps // _LOOKS))
    values.setdefault("log_every", max(1, steps // _ROWS))
    return Recipe(steps=steps, batch=batch, device=where.device.type, **values)


def _carry_out(
    run: RunFolder,
    net: nn.Module,
    where: Placement,
    *,
    workers: int,
    tensorboard: bool,
    shown: bool,
    said: list[str],
) -> None:
    problem, recipe = run.problem, run.recipe
    run.record(net, where)
    reading = {"reading": problem.reading} if problem.reading else {}
    source = LoaderSource(problem.train.samples, workers=workers, name=problem.train.name, device=where.device)
    with (
        stop_on_signals() as should_stop,
        Progress(shown=shown, steps=recipe.steps, batch=recipe.batch, device=where.device) as showing,
    ):
        for line in (problem.note, *said, f"{run.describe(net)}; {recipe.steps} steps of {recipe.batch} images"):
            showing.say(line)
        try:
            state = train(
                net, problem.task_of(net), source, recipe, run.folder, where=where,
                look=_look(problem, recipe, where, workers), header=header_of(net) | reading,
                tensorboard=tensorboard, on_step=showing.on_step, should_stop=should_stop,
            )  # fmt: skip
        except Interrupted as cause:
            if shown:
                print(f"\nstopped; {run.folder} keeps what is done: the same command goes on", file=sys.stderr)
            raise KeyboardInterrupt from cause
        except RuntimeError as cause:
            if where.processes == 1 or not lost_process(cause):
                raise
            raise InputError(
                f"another process of this training is gone ({cause})",
                "the same command goes on from the last checkpoint",
            ) from cause
    if where.index == 0:
        run.finish(state)
    where.wait()


def _look(problem: Problem, recipe: Recipe, where: Placement, workers: int) -> Look:
    """Scores on all held-out images."""
    source = LoaderSource(problem.val.samples, workers=workers, name=problem.val.name, device=where.device)
    metrics, share = problem.task.metrics(), Share(where.index, where.processes)
    batch = max(1, recipe.batch // (where.processes * recipe.accumulate)) if problem.val.alike else 1

    def look(model: nn.Module) -> dict[str, float]:
        return measure(model, metrics, problem.task, source.once(batch, share, seed=recipe.seed), where)

    return look


def reading_processes(where: Placement) -> int:
    """Worker processes for reading: the cores this process may use, shared with others on its machine, 8 at most."""
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return min(8, max(1, cores() // here))
