"""The training loop. It reads top to bottom, resumes bit for bit, and knows nothing of arms, folders or reports.

Two rules make a stopped run end with the very weights of one that was not (on a CPU with the same number of threads):
every random number of a step depends on (seed, step, process) alone, and whatever else a step depends on is in the
checkpoint.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from contextlib import closing, nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from saccade import schema
from saccade.errors import InputError, require
from saccade.finite import NotFiniteError
from saccade.insertion import verify
from saccade.saving.store import BEST, LAST
from saccade.tasks.base import divisor
from saccade.tasks.trees import moved
from saccade.training.checkpoint import CheckpointManager, TrainState, save_weights
from saccade.training.distributed import Distributed, SingleProcess
from saccade.training.inputs import to_input
from saccade.training.log import Log, Row
from saccade.training.optimizers import optimizer_for
from saccade.training.readers import readers_explained
from saccade.training.recipe import Recipe
from saccade.training.schedules import rate
from saccade.training.sources import Batch, Share, Source, seed_of

if TYPE_CHECKING:
    from saccade.tasks.base import Task

_SHOWN = 8

Validate = Callable[[nn.Module], Mapping[str, float]]
"""Scores of a network on validation images, the one that counts first."""


class Interrupted(Exception):
    """Training was asked to stop; the checkpoint is written."""


class Diverged(NotFiniteError):
    """The loss is not a number any more."""


@dataclass
class State:
    """Training progress, saved in every checkpoint.

    Args:
        step: Steps done.
        seconds: Seconds spent on them.
        waiting: Seconds of these spent waiting for data.
        total: Sum of the losses since the last row of the log.
        count: Number of samples that `total` is the sum over, or the sum of their weights.
        scores: Scores of the last validation.
        best: Largest score so far.
        best_step: Steps done when it was reached.
        stale: Validations since then.
    """

    step: int = 0
    seconds: float = 0.0
    waiting: float = 0.0
    total: float = 0.0
    count: float = 0.0
    scores: dict[str, float] | None = None
    best: float | None = None
    best_step: int = 0
    stale: int = 0

    def record(self, scores: Mapping[str, float]) -> bool:
        """Record new scores and return whether they are the best so far."""
        self.scores = dict(scores)
        score = next(iter(scores.values()))
        better = self.best is None or score > self.best
        if better:
            self.best, self.best_step, self.stale = score, self.step, 0
        else:
            self.stale += 1
        return better


def train(
    model: nn.Module,
    task: Task,
    source: Source,
    recipe: Recipe,
    folder: Path,
    *,
    where: Distributed | None = None,
    validate: Validate | None = None,
    header: Mapping[str, Any] | None = None,
    keep_best: bool = True,
    tensorboard: bool = False,
    on_step: Callable[[Row], None] = lambda row: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> State:
    """Train `model` in place, from the newest checkpoint where there is one; it ends with the moving average, if any.

    Args:
        model: Network whose output goes to `task`.
        task: Loss and predictions.
        source: Batches.
        recipe: See `Recipe`.
        folder: Gets ``log.csv``, ``gates.csv``, ``checkpoints/``, ``best.safetensors`` where there are validations and
            a header, and ``model.safetensors`` at the end.
        where: Device and processes; by default one process on the recipe's device. One process of several writes.
        validate: Scores of validation images, asked for every `evaluate_every` steps and after the last.
        header: Recipe of the network, stored in the files.
        keep_best: Write ``best.safetensors``.
        tensorboard: If True, also write files for TensorBoard.
        on_step: Called after each step; its row has the loss of this step.
        should_stop: Asked in each step; True in any process writes a checkpoint after it, and raises `Interrupted` in
            all.

    Raises:
        Interrupted: `should_stop` said so.
        Diverged: The loss became NaN or infinite.
        InputError: A batch that cannot be shared, an unknown optimizer, a checkpoint of another network, a full disk.
    """
    where = where or SingleProcess(recipe.device)
    share = Share(where.index, where.processes, recipe.accumulate)
    share.check(recipe.batch)
    writes = where.index == 0
    verify(model)  # a conversion between insertion and training may have dropped a hook
    model.to(where.device)
    if recipe.channels_last:
        model.to(memory_format=torch.channels_last)
    net = where.wrap(model)
    net = torch.compile(net) if recipe.compile else net  # type: ignore[assignment]
    optimizer = optimizer_for(model, recipe)
    peaks = [group["lr"] for group in optimizer.param_groups]
    scaler = torch.amp.GradScaler(where.device.type, enabled=recipe.amp == "fp16")
    averaging = _average(model, recipe)
    trained = TrainState(model, optimizer, scaler, averaging and averaging.module, header)
    kept = CheckpointManager(folder, recipe.keep)
    state = State(**(kept.restore(trained, tidy=writes, check=partial(_check_state, recipe.steps)) or {}))
    if where.sum(torch.tensor(float(state.step))).item() != state.step * where.processes:
        raise InputError(
            f"the processes do not find the same checkpoints in {folder}: process {where.index} has step {state.step}",
            "choose a folder with --out that all machines see",
        )
    log = Log(folder, state.step, tensorboard=tensorboard and writes)
    saved = time.perf_counter()

    with closing(source.steps(recipe, state.step, share)) as steps, readers_explained():
        while state.step < recipe.steps and not (recipe.patience and state.stale >= recipe.patience):
            net.train()
            started = time.perf_counter()
            batches = next(steps)
            waited = time.perf_counter() - started
            _seed(recipe, state.step, where)
            factor = rate(state.step, recipe)
            for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                group["lr"] = peak * factor
            optimizer.zero_grad(set_to_none=True)
            total, count, stop = _gradients(net, task, batches, recipe, where, scaler, should_stop())
            if recipe.clip is not None:
                scaler.unscale_(optimizer)
                nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
            scaler.step(optimizer)
            scaler.update()
            if averaging is not None:
                averaging.update(model, step=state.step + 1)
            state.step += 1
            state.seconds += time.perf_counter() - started
            state.waiting += waited
            loss = total / (count or 1.0)
            if not math.isfinite(loss):
                raise _diverged(loss, recipe, factor, source, kept, state.step - 1)
            state.total, state.count = state.total + total, state.count + count

            last = state.step == recipe.steps
            due = bool(recipe.evaluate_every and (state.step % recipe.evaluate_every == 0 or last))
            scores: Mapping[str, float] = {}
            if validate is not None and due:
                scores = validate(trained.shown)
                if state.record(scores) and writes and keep_best and header is not None:
                    save_weights(trained.shown, folder / BEST, header)
            row = Row(state.step, loss, recipe.learning_rate * factor, scores, state.seconds, state.waiting)
            if scores or last or state.step % recipe.log_every == 0:
                log.write(row.over(state.total / (state.count or 1.0)), model)
                state.total = state.count = 0.0
            on_step(row)
            if writes and not last and (stop or time.perf_counter() - saved > recipe.checkpoint_seconds):
                log.flush()
                kept.save(trained, asdict(state))
                saved = time.perf_counter()
            if stop and not last:
                where.wait()  # the file must be there when the others leave: who started them may end them all
                raise Interrupted

    if averaging is not None:
        model.load_state_dict(averaging.module.state_dict())
    if writes:
        log.flush()
        save_weights(model, folder / LAST, header)
    where.wait()
    return state


def _check_state(steps: int, written: Mapping[str, Any]) -> None:
    """Refuse a state that a run of `steps` steps cannot have.

    Raises:
        InputError: Naming what is wrong in it.
    """
    state = schema.from_json(State, {"step": None, **written}, source="its state")
    numbers = {"step": state.step, "seconds": state.seconds, "waiting": state.waiting, "count": state.count}
    wrong = [name for name, value in numbers.items() if not 0 <= value < math.inf]
    if wrong or not math.isfinite(state.total) or state.step > steps:
        raise InputError(f"its state has {wrong[0] if wrong else 'step'} {numbers[wrong[0] if wrong else 'step']}")


def _gradients(
    net: nn.Module,
    task: Task,
    batches: list[Batch],
    recipe: Recipe,
    where: Distributed,
    scaler: torch.amp.GradScaler,
    stop: bool,
) -> tuple[float, float, bool]:
    """Gradients of the sum of all losses over the count of all samples; that sum and count, and whether to stop.

    The count of all processes is known only when each has computed its part. So parts are divided by an estimate, the
    count of the first part times their number, and the gradients are put right at the end.
    """
    exact = torch.float32 if where.device.type == "mps" else torch.float64  # counts of pixels outgrow float32
    sums = torch.zeros(3, dtype=exact, device=where.device)
    sums[2] = float(stop)
    estimate: Tensor | None = None
    everywhere = torch.zeros((), device=where.device)
    for number, batch in enumerate(batches, 1):
        with nullcontext() if number == len(batches) else where.no_sync(net):
            with torch.autocast(where.device.type, _PRECISION.get(recipe.amp), enabled=recipe.amp is not None):
                logits = net(to_input(batch.images, where.device, task.statistics, channels_last=recipe.channels_last))
            total, count = task.loss(_full(logits), moved(batch.targets, where.device))
            everywhere = everywhere + where.sum(count.to(torch.float32))
            if estimate is None:
                estimate = divisor(everywhere * len(batches))
            scaler.scale(total * (where.processes / estimate)).backward()  # type: ignore[no-untyped-call]
        sums[0] += total.detach()
        sums[1] += count
    if len(batches) > 1 and estimate is not None:
        gradients = [p.grad for p in net.parameters() if p.grad is not None]
        torch._foreach_mul_(gradients, estimate / divisor(everywhere))
    total_sum, count_sum, stops = where.sum(sums).tolist()
    return total_sum, count_sum, stops > 0


_PRECISION: dict[str | None, torch.dtype] = {"bf16": torch.bfloat16, "fp16": torch.float16}


def _full(logits: Any) -> Any:
    """Tensors of half precision as float32, in whatever a network returns: losses are computed in that."""
    if isinstance(logits, Tensor):
        return logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits
    if isinstance(logits, Mapping):
        return {name: _full(value) for name, value in logits.items()}
    return type(logits)(_full(value) for value in logits) if isinstance(logits, (list, tuple)) else logits


def _seed(recipe: Recipe, step: int, where: Distributed) -> None:
    """Dropout of a step depends on this alone: nothing of a generator needs to be kept."""
    seed = seed_of(recipe.seed, step, where.index)
    torch.default_generator.manual_seed(seed)
    if where.device.type == "cuda":
        torch.cuda.manual_seed(seed)


def _average(model: nn.Module, recipe: Recipe) -> Any:
    """A copy of the network that follows its weights slowly, at first less so; timm's."""
    if recipe.ema is None:
        return None
    utils: Any = require("timm.utils", extra="train")
    return utils.ModelEmaV3(model, decay=recipe.ema, use_warmup=True)


def _diverged(
    loss: float, recipe: Recipe, factor: float, source: Source, kept: CheckpointManager, step: int
) -> Diverged:
    names = source.names(recipe, step)
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    paths = kept.paths()
    hint, elsewhere = "no checkpoint had been written yet", ""
    if paths:
        hint, elsewhere = f"the last good checkpoint is {paths[0]}", ", in another folder with --out"
    return Diverged(
        f"the loss is {loss} at step {step + 1}, learning rate {recipe.learning_rate * factor:.2e}; "
        f"the batch was {', '.join(names[:_SHOWN])}{more}",
        f"{hint}; lower the learning rate, or clip gradients{elsewhere}",
    )
