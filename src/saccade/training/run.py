"""``saccade.train``: a network trained on a folder, in a folder of its own, whatever happens to the machine."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn
from torch.utils.data import Dataset

from saccade.errors import InputError, near, require
from saccade.files import locked
from saccade.networks.make import is_segmenter
from saccade.saving.store import header_of
from saccade.training.evaluation import measure
from saccade.training.folder import RunFolder
from saccade.training.loop import Interrupted, Look, train
from saccade.training.placement import Placement, by_the_first, lost_process, placement
from saccade.training.problems import Problem, Question, find_problem, problem_of
from saccade.training.progress import Counting, Progress, duration
from saccade.training.recipe import Recipe
from saccade.training.recipes import Published, find_recipe
from saccade.training.signals import stop_on_signals
from saccade.training.sources import LoaderSource, Share, cores

_PRETRAINED_RATE = 3e-4
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


def train_network(
    data: str | os.PathLike[str] | tuple[Dataset[Any], Dataset[Any]],
    network: str,
    *,
    classes: Sequence[str] | None = None,
    backbone: str | None = None,
    mechanism: str | None = None,
    at: str | None = None,
    pretrained: bool | str | os.PathLike[str] = False,
    recipe: str = "default",
    steps: int | None = None,
    epochs: float | None = None,
    batch: int | None = None,
    size: int | None = None,
    augment: str | None = None,
    split_seed: int = 0,
    seed: int = 0,
    device: str = "auto",
    workers: int | None = None,
    out: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    tensorboard: bool = False,
    progress: bool = True,
    command: str | None = None,
    **changes: Any,
) -> Training:
    """Train a network on a folder of images; the same call goes on where an earlier one was stopped.

    Run by ``torchrun``, every process calls this, and they train together: `batch` is that of all of them, the loss
    is divided by the number of samples of all of them.

    Args:
        data: ``train/CLASS`` and ``val/CLASS``, or one folder a class, which is then split by `split_seed`; for
            segmentation any layout of :func:`saccade.data.mask_folder.load_labelled`; or two torch Datasets, training
            and held-out, that give (image (3, H, W), class or classes (H, W)). Their images are uint8, or floats as the
            network is to read them; `size` and `augment` are then theirs to decide.
        network: A name of :func:`saccade.classifier`, of :func:`saccade.segmenter` or of timm.
        classes: Names, for Datasets that do not say their own.
        backbone: Of networks that are a head on a backbone.
        mechanism: Inserted into a network of timm or into ``fcn``, as the identity; or of the segmentation network
            ``head``.
        at: Where it goes.
        pretrained: True: timm's weights (of the backbone); or a path, also of an earlier run.
        recipe: ``"default"``, or one of a paper, see `saccade.training.recipes`.
        steps: Length; by default the epochs of the recipe.
        epochs: Instead of `steps`.
        batch: Images a step.
        size: Side of the images, or of the crops of images with masks, in pixels.
        augment: ``"imagenet"``, ``"light"``, ``"cifar"``, ``"shift"`` or ``"none"``, see
            :func:`saccade.data.samples.training_transform`; of images with masks ``"full"``, ``"scale"`` or
            ``"shift"``, see :func:`saccade.data.crops.training_view`.
        split_seed: Decides a split that the folder does not give.
        seed: Initial weights, order, augmentation and dropout.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``.
        workers: Processes that read images; by default as many as there are cores for each process, 8 at most.
        out: Folder for everything that is written; ``saccade-train/NAME`` by default.
        overwrite: Delete an earlier run in `out`.
        tensorboard: Also write files for TensorBoard.
        progress: Show progress on stderr.
        command: What was typed, for the record.
        changes: Any other value of `saccade.training.recipe.Recipe`.

    Raises:
        InputError: Something given is wrong; nothing was changed.
        Diverged: The loss became NaN or infinite.
        KeyboardInterrupt: Stopped by Ctrl-C or SIGTERM; everything is saved and the same call goes on.
    """
    for package in ("timm", "torchvision", "torchmetrics", "PIL"):
        require(package, extra="train")
    published = find_recipe(recipe, "segmentation" if is_segmenter(network) else "classification")
    pair = data if isinstance(data, tuple) else None
    named = type(data[0]).__name__ if isinstance(data, tuple) else str(Path(data).expanduser().resolve())
    question = Question(
        data=named, network=network, backbone=backbone, mechanism=mechanism, at=at,
        pretrained=pretrained if isinstance(pretrained, bool) else str(Path(pretrained).expanduser().resolve()),
        size=size or published.size, augment=augment or published.augment, split_seed=split_seed,
    )  # fmt: skip
    where = placement(device)
    smoothing = float(changes.get("label_smoothing") or 0.0)
    problem = problem_of(pair, question, classes, smoothing) if pair else find_problem(question, smoothing)
    decided = decide(
        published, problem, where, steps=steps, epochs=epochs, batch=batch, seed=seed,
        rate=_PRETRAINED_RATE if pretrained and recipe == "default" else None, changes=changes,
    )  # fmt: skip
    folder = Path(out) if out is not None else Path("saccade-train") / Path(question.data).name
    run = RunFolder(folder, question, decided, problem)
    finished = run.result() is not None and not overwrite
    net = None if finished else run.network()  # before a folder is made: the corrected call would find it taken
    with ExitStack() as stack:
        if where.index == 0:
            stack.enter_context(locked(folder, "training"))
        with Counting(shown=progress and where.index == 0) as showing:
            claim = partial(run.claim, overwrite=overwrite, command=command, on_progress=showing.counting)
            by_the_first(where, claim)
        if net is not None:
            lines = published.lines() if recipe != "default" else []
            _carry_out(
                run, net, where, workers=reading_processes(where) if workers is None else workers,
                tensorboard=tensorboard, shown=progress and where.index == 0, said=lines,
            )  # fmt: skip
    return Training(folder, run.result() or {}, where.index == 0)


def decide(
    published: Published,
    problem: Problem,
    where: Placement,
    *,
    steps: int | None,
    epochs: float | None,
    batch: int | None,
    seed: int,
    rate: float | None,
    changes: dict[str, Any],
) -> Recipe:
    """The recipe with everything decided: what was asked for, else what was published, else what suits the data."""
    known = [name for name in Recipe.__dataclass_fields__ if name not in ("steps", "batch", "seed", "device")]
    for name in changes:
        if name not in known:
            raise InputError(f"train: unknown option {name!r}", near(name, known))
    if steps is not None and epochs is not None:
        raise InputError("give steps or epochs, not both")
    given = {name: value for name, value in changes.items() if value is not None}
    values = {**published.values, **({} if rate is None else {"learning_rate": rate}), **given}
    unit = where.processes * int(values.get("accumulate", 1))
    count = len(problem.train)
    if batch is None:
        batch = max(unit, min(published.batch, count) // unit * unit)
    each = math.ceil(count / batch)  # steps an epoch
    if steps is None:
        steps = max(1, math.ceil((published.epochs if epochs is None else epochs) * count / batch))
    values.setdefault("evaluate_every", max(each, steps // _LOOKS))
    values.setdefault("log_every", max(1, steps // _ROWS))
    values.setdefault("checkpoint_seconds", 300.0)
    values.setdefault("keep", 3)
    return Recipe(steps=steps, batch=batch, seed=seed, device=where.device.type, **values)


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
