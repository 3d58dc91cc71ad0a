"""``saccade.train``: a network trained on a folder, in a folder of its own, whatever happens to the machine."""

from __future__ import annotations

import math
import os
import shlex
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.utils.data import Dataset

from saccade.data.reading import class_names
from saccade.data.shard_names import name_of
from saccade.devices import check_compiler, find_device
from saccade.errors import InputError, require
from saccade.files import check_folder, locked
from saccade.options import called_with
from saccade.runs.options import RunSpec, TrainOptions
from saccade.runs.training_run import TrainingRun
from saccade.saving.store import foreign_code, header_of
from saccade.tasks import task_for, task_for_datasets
from saccade.tasks.base import Task, TaskData
from saccade.training.distributed import Distributed, by_the_first, distributed, lost_process
from saccade.training.evaluation import collect
from saccade.training.loop import Interrupted, Validate, train
from saccade.training.optimizers import check_optimizer, optimizer_for
from saccade.training.order import shard_order
from saccade.training.progress import Counting, TrainingProgress, duration
from saccade.training.readers import refuse_unguarded
from saccade.training.recipe import Recipe
from saccade.training.recipes import PRETRAINED_RATE, NamedRecipe, find_recipe
from saccade.training.signals import stop_on_signals
from saccade.training.sources import LoaderSource, Share, check_batch, check_memory, cores

_VALIDATIONS, _ROWS = 100, 2000  # per run, at most


@dataclass(frozen=True)
class Training:
    """A finished run.

    Args:
        folder: Folder of the run; :func:`saccade.load` reads it.
        results: The content of ``result.json``.
        writes: True if this process is the one that prints.
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
        model = ["--model", str(self.folder)]
        model += [word for path in foreign_code(self.folder) for word in ("--trust", path)]
        lines += ["", shlex.join(["saccade", "evaluate", found["data"], *model])]
        return "\n".join([*lines, shlex.join(["saccade", "predict", "IMAGES", *model, "--out", "DIR"])])


@called_with(TrainOptions, "train")
def train_network(options: TrainOptions) -> Training:
    """Train a network on a folder of images; the same call again resumes an unfinished training.

    Run by ``torchrun``, every process calls this, and they train together: `batch` is that of all of them, the loss
    is divided by the number of samples of all of them.

    In Python `data` is also two torch Datasets, training and validation, that give (image (3, H, W), class or
    classes (H, W)). Their images are uint8, or floats as the network is to read them; `size` and `augment` are then
    theirs to decide. See `saccade.training.recipes` for the recipes of papers,
    :func:`saccade.tasks.classification.samples.training_transform` and
    :func:`saccade.tasks.segmentation.crops.training_view` for augmentation.

    Raises:
        InputError: Something given is wrong; nothing was changed.
        Diverged: The loss became NaN or infinite.
        KeyboardInterrupt: Stopped by Ctrl-C or SIGTERM; everything is saved and the same call resumes it.
    """
    refuse_unguarded()
    for package in ("timm", "torchvision", "PIL"):
        require(package, extra="train")
    device = find_device(options.device)
    if options.compile:
        check_compiler(device)
    if options.steps is not None and options.epochs is not None:
        raise InputError("give steps or epochs, not both")
    given = options.data if isinstance(options.data, tuple) else None
    asked = RunSpec.decide(options)
    task = task_for(asked) if given is None else task_for_datasets(asked)
    published = find_recipe(options.recipe, task.name, task.recipe)
    check_optimizer(options.optimizer if "optimizer" in options.given else published.values["optimizer"])
    folder = Path(options.out) if options.out is not None else Path("saccade-train") / name_of(asked.data)
    check_folder(folder)
    spec = replace(asked, size=options.size or published.size, augment=options.augment or published.augment)
    spec = replace(spec, **{name: value for name, value in published.reading.items() if name not in options.given})
    where = distributed(options.device)
    found = task.load(spec) if given is None else data_of(task, given, spec, class_names(spec))
    found = replace(found, task=found.task.scored_by(options.score))
    decided = decide(published, found, where, options)
    overwrite, workers = options.overwrite, options.workers
    run = TrainingRun(folder, spec, decided, found)
    finished = run.result() is not None and not overwrite
    net = (
        None if finished else run.network(decided.batch // (where.processes * decided.accumulate))
    )  # before a folder is made: the corrected call would find it taken
    shown = options.progress and where.index == 0
    fit = None
    if net is not None:
        with Counting(shown=shown) as showing:
            run.weigh(overwrite=overwrite, on_progress=showing.counting)
        run.standardise(net, overwrite=overwrite)
        weights = run.balance.weights
        fit = run.data.task.with_hardest(decided.hardest_joints)
        fit = fit.fitted(net, label_smoothing=decided.label_smoothing, class_weights=weights)
        optimizer_for(net, decided)  # a pattern that fits no parameter
    with Counting(shown=shown) as showing:
        by_the_first(where, partial(run.identify, overwrite=overwrite, on_progress=showing.counting))
    with ExitStack() as stack:
        if where.index == 0:
            stack.enter_context(locked(folder, "training"))
        by_the_first(where, partial(run.claim, overwrite=overwrite, command=options.command))
        if net is not None and fit is not None:
            lines = published.lines() if options.recipe != "default" else []
            _carry_out(
                run, net, fit, where, workers=reading_processes(where) if workers is None else workers,
                tensorboard=options.tensorboard, shown=shown, said=[*lines, *run.balance.said(found.task.classes)],
            )  # fmt: skip
    return Training(folder, run.result() or {}, where.index == 0)


def data_of(
    task: type[Task], pair: tuple[Dataset[Any], Dataset[Any]], spec: RunSpec, classes: Sequence[str] | None
) -> TaskData:
    """Take any two torch Datasets, of training and validation, that give (image, target).

    Images are uint8 (3, H, W), or floats as the network is to read them. In training they have one size.

    Raises:
        InputError: Samples of another kind, or classes that neither `classes` nor the data set names.
    """
    train = pair[0]
    names = classes or getattr(train, "classes", None)
    if not names:
        raise InputError(f"{type(train).__name__} does not say its classes", "name them: classes=[...]")
    image = train[0][0]
    if not isinstance(image, Tensor) or image.dim() != 3:
        raise InputError(
            f"{type(train).__name__}: expected tensors (3, H, W) as images; received {type(image).__name__}",
            "end its transform with torchvision.transforms.v2.PILToTensor()",
        )
    return task.of_datasets(pair, spec, tuple(map(str, names)), (int(image.shape[1]), int(image.shape[2])))


def decide(published: NamedRecipe, data: TaskData, where: Distributed, options: TrainOptions) -> Recipe:
    """Return the recipe decided: what was asked for, else what was published, else what suits the data."""
    steps, epochs, batch = options.steps, options.epochs, options.batch
    suited = {"learning_rate": PRETRAINED_RATE} if options.pretrained and options.recipe == "default" else {}
    values = {**published.values, **suited, **options.changes()}
    unit = where.processes * int(values.get("accumulate", 1))
    count = len(data.train)
    if batch is None:
        batch = max(unit, min(published.batch, count) // unit * unit)
    else:
        check_batch(batch, count)
    Share(where.index, where.processes, int(values.get("accumulate", 1))).check(batch)
    check_memory(batch // unit, data.shape)
    each = math.ceil(count / batch)  # steps per epoch
    if steps is None:
        steps = max(1, math.ceil((published.epochs if epochs is None else epochs) * count / batch))
    values.setdefault("evaluate_every", max(each, steps // _VALIDATIONS))
    values.setdefault("log_every", max(1, steps // _ROWS))
    return Recipe(steps=steps, batch=batch, device=where.device.type, **values)


def _carry_out(
    run: TrainingRun,
    net: nn.Module,
    task: Task,
    where: Distributed,
    *,
    workers: int,
    tensorboard: bool,
    shown: bool,
    said: list[str],
) -> None:
    data, recipe = run.data, run.recipe
    run.record(net, where)
    reading = {"reading": data.task.to_json(), "folder": run.spec.changed()} if data.files is not None else {}
    source = LoaderSource(
        data.train.samples,
        workers=workers,
        name=data.train.name,
        device=where.device,
        groups=run.balance.groups or shard_order(data.train.shards),
    )
    with (
        stop_on_signals(shown=shown) as should_stop,
        TrainingProgress(shown=shown, steps=recipe.steps, batch=recipe.batch, device=where.device) as showing,
    ):
        for line in (
            *data.statement.lines(),
            *said,
            f"{run.describe(net)}; {recipe.steps} steps of {recipe.batch} images",
        ):
            showing.say(line)
        try:
            state = train(
                net, task, source, recipe, run.folder, where=where,
                validate=_validation(data, recipe, where, workers), header=header_of(net) | reading,
                tensorboard=tensorboard, on_step=showing.on_step, should_stop=should_stop,
            )  # fmt: skip
        except Interrupted as cause:
            if shown:
                print(f"\nstopped; {run.folder} keeps what is done: run the same command to resume", file=sys.stderr)
            raise KeyboardInterrupt from cause
        except RuntimeError as cause:
            if where.processes == 1 or not lost_process(cause):
                raise
            raise InputError(
                f"another process of this training is gone ({cause})",
                "run the same command to resume from the last checkpoint",
            ) from cause
    if where.index == 0:
        run.finish(state)
    where.wait()


def _validation(data: TaskData, recipe: Recipe, where: Distributed, workers: int) -> Validate:
    """Scores on all validation images."""
    source = LoaderSource(data.val.samples, workers=workers, name=data.val.name, device=where.device)
    batch = max(1, recipe.batch // (where.processes * recipe.accumulate)) if data.val.alike else 1

    def validate(model: nn.Module) -> dict[str, float]:
        return data.task.scores(collect(model, data.task, source, batch, where, seed=recipe.seed))

    return validate


def reading_processes(where: Distributed) -> int:
    """Worker processes for reading: the cores this process may use, shared with others on its machine, 8 at most."""
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return min(8, max(1, cores() // here))
