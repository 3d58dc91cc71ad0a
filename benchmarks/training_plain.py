"""ResNet-18, with and without SE, by saccade's loop and by a plain PyTorch loop: the same accuracy?

``python -m benchmarks.training_plain OUT``: trains each on scikit-learn's 1,797 digits, written out as a folder of
32-pixel images, with three seeds, and prints a table. OUT keeps what is done: the same command goes on.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path

import numpy as np
import timm
import torch
from PIL import Image
from sklearn.datasets import load_digits
from tests.training import plain
from torch.utils.data import DataLoader

import saccade
from saccade.data.layouts import find_layout
from saccade.tasks.classification.samples import ImageSamples, scoring_transform, training_transform

SIZE, BATCH, SEEDS = 32, 32, (0, 1, 2)


def write_digits(folder: Path, side: int = SIZE) -> Path:
    """``DIGIT/NUMBER.png``, enlarged bicubically."""
    images, labels = load_digits(return_X_y=True)
    for number, (pixels, digit) in enumerate(zip(images.reshape(-1, 8, 8), labels, strict=True)):
        path = folder / str(digit) / f"{number:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.rint(pixels * 255 / 16).astype(np.uint8)).resize((side, side), 3).save(path)
    return folder


def by_saccade(data: Path, mechanism: str | None, seed: int, steps: int, out: Path) -> float:
    """The accuracy after the last step."""
    found = saccade.train(
        data, "resnet18", mechanism=mechanism, size=SIZE, batch=BATCH, steps=steps, augment="shift", seed=seed,
        out=out, workers=0, evaluate_every=steps, checkpoint_seconds=1e9,
    )  # fmt: skip
    return float(found.results["scores"]["accuracy"])


def by_a_plain_loop(data: Path, mechanism: str | None, seed: int, steps: int) -> float:
    """The same recipe and the same split; order and augmentation from torch's own sampler."""
    torch.manual_seed(seed)
    net = timm.create_model("resnet18", num_classes=10)
    if mechanism:
        saccade.insert(net, mechanism)
    layout = find_layout(data, 0)
    train = ImageSamples(layout.train, training_transform("shift", SIZE))
    held_out = ImageSamples(layout.val, scoring_transform(SIZE, crop=1.0))
    loader = DataLoader(train, BATCH, shuffle=True, drop_last=True)
    plain.train(net, (batch for _ in range(steps) for batch in loader), steps)
    return plain.accuracy(net, DataLoader(held_out, BATCH))


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("out", type=Path)
    arguments.add_argument("--epochs", type=int, default=8)
    given = arguments.parse_args()
    data = given.out / "digits"
    if not data.exists():
        write_digits(data)
    steps = given.epochs * len(find_layout(data, 0).train) // BATCH
    path = given.out / "accuracies.json"
    found = json.loads(path.read_text()) if path.exists() else {}
    for seed in SEEDS:
        for mechanism in (None, "se"):
            name = f"ResNet-18{' + SE' if mechanism else ''}"
            if f"{name}, saccade, {seed}" not in found:
                out = given.out / f"{mechanism}-{seed}"
                found[f"{name}, saccade, {seed}"] = by_saccade(data, mechanism, seed, steps, out)
                path.write_text(json.dumps(found, indent=1))
            if f"{name}, plain, {seed}" not in found:
                found[f"{name}, plain, {seed}"] = by_a_plain_loop(data, mechanism, seed, steps)
                path.write_text(json.dumps(found, indent=1))
    print(f"| network, {steps} steps of {BATCH} | loop | " + " | ".join(f"seed {s}" for s in SEEDS) + " | mean ± sd |")
    print("|---|---|" + "---|" * (len(SEEDS) + 1))
    for name in ("ResNet-18", "ResNet-18 + SE"):
        for loop in ("saccade", "plain"):
            values = [100 * found[f"{name}, {loop}, {seed}"] for seed in SEEDS]
            cells = " | ".join(f"{value:.1f}" for value in values)
            print(f"| {name} | {loop} | {cells} | {statistics.mean(values):.1f} ± {statistics.stdev(values):.1f} |")


if __name__ == "__main__":
    main()
