"""The training loop. It reads top to bottom, resumes bit for bit, and knows nothing of arms or reports."""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from saccade.data import Dataset, Split
from saccade.errors import InputError
from saccade.files import replacing
from saccade.insertion import parameter_groups, verify
from saccade.training.checkpoint import load_checkpoint, save_checkpoint, save_weights
from saccade.training.metrics import score
from saccade.training.order import batch_at
from saccade.training.tasks import Task, task_for

CHECKPOINT = "checkpoint.safetensors"
WEIGHTS = "model.safetensors"
LOG_FIELDS = ("step", "loss", "learning_rate", "score", "seconds")
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, as pretrained networks expect


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything a run depends on besides network and data."""

    steps: int
    """Optimiser steps."""
    batch: int
    """Images a step."""
    learning_rate: float
    """The largest rate of the one-cycle schedule."""
    seed: int
    """Order of the samples, augmentation and dropout."""
    weight_decay: float = 0.02
    """AdamW's, on tensors of two or more dimensions."""
    warmup: float = 0.2
    """Share of the steps in which the rate rises."""
    gate_lr_factor: float = 10.0
    """Rate of the identity-start factors g and of scalar gammas, relative to the rest."""
    augment: bool = False
    """Random crops and flips, a function of (seed, epoch, sample)."""
    device: str = "cpu"
    """Where it runs."""
    evaluate_every: int = 0
    """Steps between looks at held-out images for the learning curve; 0: none."""
    evaluate_images: int = 100
    """How many images such a look takes at most, spread evenly over the split."""
    checkpoint_seconds: float = 20.0
    """Seconds between checkpoints; when one is written changes no result."""


class Interrupted(Exception):
    """Training was asked to stop; the checkpoint is written."""


class Diverged(InputError):
    """The loss is not a number any more."""


def train(
    model: nn.Module,
    data: Dataset,
    recipe: Recipe,
    folder: Path,
    *,
    on_step: Callable[[int, float], None] = lambda step, loss: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> float:
    """Train `model` in place; returns the seconds spent training.

    Goes on from `folder/checkpoint.safetensors` if there is one, and then ends with the very weights of an
    uninterrupted run (on a CPU with the same number of threads).

    Args:
        model: Returns logits.
        data: uint8 images and targets.
        recipe: See `Recipe`.
        folder: Gets ``log.csv``, the checkpoint while running, ``model.safetensors`` at the end.
        on_step: Called after each step with its number (from 1) and loss.
        should_stop: Asked after each step; True writes a checkpoint and raises `Interrupted`.

    Raises:
        Interrupted: `should_stop` said so.
        Diverged: The loss became NaN or infinite.
    """
    task = task_for(data.task, len(data.classes))
    device = torch.device(recipe.device)
    torch.manual_seed(recipe.seed)
    verify(model)  # a conversion between insertion and training may have dropped a hook
    model.to(device).to(memory_format=torch.channels_last).train()
    groups = parameter_groups(
        model, lr=recipe.learning_rate, weight_decay=recipe.weight_decay, gate_lr_factor=recipe.gate_lr_factor
    )
    optimiser = torch.optim.AdamW(groups, lr=recipe.learning_rate, fused=True)
    peaks = [group["lr"] for group in optimiser.param_groups]
    done, seconds = 0, 0.0
    if (folder / CHECKPOINT).exists():
        state = load_checkpoint(folder / CHECKPOINT, model, optimiser)
        done, seconds = state["step"], state["seconds"]
    log = _Log(folder / "log.csv", done)
    saved = time.perf_counter()

    for step in range(done, recipe.steps):
        started = time.perf_counter()
        indices, images, targets = training_batch(data, recipe, step)
        images, targets = to_input(images, device), targets.to(device)
        factor = one_cycle(step, recipe.steps, recipe.warmup)
        for group, peak in zip(optimiser.param_groups, peaks, strict=True):
            group["lr"] = peak * factor
        loss = task.loss(model(images), targets)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        value = loss.item()
        seconds += time.perf_counter() - started

        if not math.isfinite(value):
            raise _diverged(value, step, recipe.learning_rate * factor, data.train, indices, folder)
        held_out = None
        last = step + 1 == recipe.steps
        if recipe.evaluate_every and ((step + 1) % recipe.evaluate_every == 0 or last):
            # Spread over the split: images often lie there class by class.
            few = slice(None, None, math.ceil(len(data.val.images) / recipe.evaluate_images))
            held_out = score(evaluate(model, task, data.val, device=device, batch=recipe.batch, which=few)[1])
            model.train()
        log.write(step + 1, value, recipe.learning_rate * factor, held_out, seconds)
        on_step(step + 1, value)
        stop = should_stop() and not last
        if stop or (time.perf_counter() - saved > recipe.checkpoint_seconds and not last):
            log.flush()
            save_checkpoint(folder / CHECKPOINT, model, optimiser, {"step": step + 1, "seconds": seconds})
            saved = time.perf_counter()
        if stop:
            raise Interrupted
    log.flush()
    save_weights(model, folder / WEIGHTS)
    return seconds


@torch.inference_mode()
def evaluate(
    model: nn.Module, task: Task, split: Split, *, device: torch.device, batch: int, which: slice = slice(None)
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Predictions and per-image counts (images, K, 2) of `model` on a split, in evaluation mode."""
    model.eval()
    images, targets = split.images[which], split.targets[which]
    predictions, counts = [], []
    for start in range(0, len(images), batch):
        chunk = torch.from_numpy(np.array(images[start : start + batch])).permute(0, 3, 1, 2)
        target = torch.from_numpy(np.array(targets[start : start + batch])).to(device)
        prediction = task.predict(model(to_input(chunk, device)), (chunk.shape[2], chunk.shape[3]))
        counts.append(task.counts(prediction, target))
        predictions.append(prediction.cpu().numpy())
    return np.concatenate(predictions), np.concatenate(counts)


def to_input(images: Tensor, device: torch.device) -> Tensor:
    """uint8 (B, 3, H, W) to what networks read: float, normalised, channels last."""
    x = images.to(device=device, dtype=torch.float32, memory_format=torch.channels_last)
    mean = torch.tensor(_MEAN, device=device).view(1, 3, 1, 1)
    std = torch.tensor(_STD, device=device).view(1, 3, 1, 1)
    return (x / 255 - mean) / std


def one_cycle(step: int, steps: int, warmup: float) -> float:
    """The rate of a step relative to the largest: up from 1/25 over `warmup`, then down to 1e-5, both as cosines."""
    rising = max(1.0, warmup * steps - 1)
    if step <= rising:
        low, high, share = 1 / 25, 1.0, step / rising
    else:
        low, high, share = 1.0, 1e-5, (step - rising) / max(1.0, steps - 1 - rising)
    return high + (low - high) * (1 + math.cos(math.pi * share)) / 2


def training_batch(data: Dataset, recipe: Recipe, step: int) -> tuple[NDArray[np.int64], Tensor, Tensor]:
    """Indices, uint8 images (B, 3, H, W) and targets of a step, as the network is to see them."""
    split = data.train
    indices, epochs = batch_at(step, count=len(split.images), batch=recipe.batch, seed=recipe.seed)
    images = torch.from_numpy(split.images[indices]).permute(0, 3, 1, 2)
    targets = torch.from_numpy(split.targets[indices])
    if recipe.augment:
        from saccade.data.augment import augment

        keys = [(recipe.seed, int(epoch), int(index)) for epoch, index in zip(epochs, indices, strict=True)]
        side = data.val.images.shape[1]  # training images may be kept larger, to crop from
        images, targets = augment(images, targets, data.task, size=side, keys=keys)
    return indices, images, targets


def _diverged(value: float, step: int, rate: float, split: Split, indices: NDArray[np.int64], folder: Path) -> Diverged:
    names = ", ".join(split.names[i] for i in indices[:8])
    kept = folder / CHECKPOINT
    hint = f"the last good checkpoint is {kept}" if kept.exists() else "no checkpoint had been written yet"
    return Diverged(
        f"the loss is {value} at step {step + 1}, learning rate {rate:.2e}; the batch began with {names}", hint
    )


class _Log:
    """``log.csv``: rows of a run that went on past its checkpoint are dropped before it is resumed."""

    def __init__(self, path: Path, done: int) -> None:
        self.path = path
        self.rows: list[dict[str, Any]] = []
        if done and path.exists():
            with path.open(newline="", encoding="utf-8") as opened:
                self.rows = [row for row in csv.DictReader(opened) if int(row["step"]) <= done]

    def write(self, step: int, loss: float, rate: float, score: float | None, seconds: float) -> None:
        values = (step, f"{loss:.6g}", f"{rate:.4g}", "" if score is None else f"{score:.6f}", f"{seconds:.3f}")
        self.rows.append(dict(zip(LOG_FIELDS, values, strict=True)))

    def flush(self) -> None:
        with replacing(self.path) as temporary, temporary.open("w", newline="", encoding="utf-8") as opened:
            writer = csv.DictWriter(opened, LOG_FIELDS)
            writer.writeheader()
            writer.writerows(self.rows)
