"""Kill a training again and again, with SIGKILL at random moments, and see that it ends as if nothing had been.

``python -m benchmarks.training_survival --kills 100``. A training of 32-pixel images writes a checkpoint after every
step, so that many kills fall into the writing of one. It is killed at a random moment and begun again, until it is
finished; then its weights, its best weights, its log and its scores must be those of a run nobody killed, bit for bit.
Then the next one begins, until there were enough kills.

Each attempt is a process forked from this one, which has imported everything but started no thread: so an attempt
takes a fraction of a second instead of the ten that importing takes.
"""

from __future__ import annotations

import argparse
import csv
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

import numpy as np
import timm  # noqa: F401 (what an attempt would import is imported before it is forked)
import torch
import torchmetrics.classification  # noqa: F401
import torchvision.transforms.v2  # noqa: F401
from PIL import Image
from safetensors.torch import load_file

import saccade
import saccade.runs.train
from saccade.files import read_json

STEPS = 30


def write_images(folder: Path) -> Path:
    """Three classes of 16 images of 32 pixels: noise of three colours."""
    rng = np.random.default_rng(0)
    for index, name in enumerate(("red", "green", "blue")):
        (folder / name).mkdir(parents=True)
        for number in range(16):
            pixels = rng.integers(0, 120, (32, 32, 3)).astype(np.uint8)
            pixels[..., index] += 60
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


def train(data: Path, out: Path, workers: int) -> None:
    """The training; the same call goes on."""
    torch.set_num_threads(1)
    saccade.train(
        data, "test_resnet", mechanism="se", size=32, steps=STEPS, batch=8, ema=0.9, device="cpu", out=out,
        checkpoint_seconds=0.0, evaluate_every=10, workers=workers, progress=False,
    )  # fmt: skip


def attempt(data: Path, out: Path, workers: int, seconds: float | None) -> bool:
    """Begin or go on in a process of its own; whether it was killed after `seconds`."""
    child = os.fork()
    if not child:
        try:
            train(data, out, workers)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    if seconds is not None:
        until = time.monotonic() + seconds
        while time.monotonic() < until and os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            time.sleep(0.001)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return True
    if status:
        sys.exit("the training failed")
    return False


def traces(out: Path) -> dict[str, object]:
    """All that must be equal: tensors as bytes, the log without its times, the scores."""
    found: dict[str, object] = {}
    for name in ("model.safetensors", "best.safetensors"):
        for key, tensor in load_file(out / name).items():
            found[f"{name}/{key}"] = tensor.numpy().tobytes()
    for name in ("log.csv", "gates.csv"):
        with (out / name).open(newline="") as opened:
            rows = [{k: v for k, v in row.items() if k not in ("seconds", "waiting")} for row in csv.DictReader(opened)]
        found[name] = rows
    result = read_json(out / "result.json")
    found["result"] = {k: v for k, v in result.items() if k not in ("seconds", "waiting")}
    return found


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--kills", type=int, default=100)
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--workers", type=int, default=0)
    given = arguments.parse_args()
    draw = random.Random(given.seed)
    scratch = Path(tempfile.mkdtemp(prefix="saccade-survival-"))
    data = write_images(scratch / "images")
    begun = time.monotonic()
    attempt(data, scratch / "whole", given.workers, None)
    whole = time.monotonic() - begun
    expected = traces(scratch / "whole")
    kills = runs = in_writing = 0
    while kills < given.kills:
        out = scratch / f"run{runs}"
        while attempt(data, out, given.workers, draw.uniform(0.02, 0.5 * whole) if kills < given.kills else None):
            kills += 1
            in_writing += bool(list(out.glob("**/.*.tmp")))
        found = traces(out)
        differing = [name for name in expected if found.get(name) != expected[name]]
        if differing:
            sys.exit(f"after {kills} kills, run {runs} differs from one that was not killed: {differing[:5]}")
        runs += 1
        shutil.rmtree(out)
    shutil.rmtree(scratch)
    print(
        f"{kills} kills, {in_writing} of them while a file was written, in {runs} runs of {STEPS} steps: "
        f"every run ended bit for bit as one that was not killed ({time.monotonic() - begun:.0f} s)"
    )


if __name__ == "__main__":
    main()
