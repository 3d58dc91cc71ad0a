"""Is reading images the bottleneck? Images a second that are read and augmented, and the share of a training's time.

``python -m benchmarks.training_data``: JPEGs of 500 x 375 pixels (ImageNet's usual size), cut from scikit-image's
photographs, cropped and mirrored to 224 pixels.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import skimage.data
import torch
from PIL import Image

import saccade
from saccade.tasks.classification.layout import labelled_images
from saccade.tasks.classification.samples import ImageSamples, training_transform
from saccade.training.recipe import Recipe
from saccade.training.sources import LoaderSource, Share, cores

_PHOTOS = ("astronaut", "coffee", "chelsea", "rocket")
_SIZE = (500, 375)


def write_photos(folder: Path, count: int) -> Path:
    """``PHOTO/NUMBER.jpg``: parts of four photographs, enlarged a little, as a camera's."""
    for name in _PHOTOS:
        (folder / name).mkdir(parents=True)
        photo = Image.fromarray(getattr(skimage.data, name)())
        rng = np.random.default_rng(len(name))
        for number in range(count // len(_PHOTOS)):
            left, top = rng.integers(0, 60, 2)
            part = photo.crop((left, top, photo.width - 60 + left, photo.height - 60 + top))
            part.resize(_SIZE, Image.Resampling.BICUBIC).save(folder / name / f"{number:04d}.jpg", quality=92)
    return folder


def reading_rate(data: Path, size: int, workers: int, steps: int = 20, batch: int = 32) -> float:
    """Images a second, after the first batches of the workers."""
    samples = ImageSamples(labelled_images(data, _PHOTOS), training_transform("imagenet", size), near=2 * size)
    recipe = Recipe(steps=steps + 4, batch=batch, learning_rate=1.0)
    batches = LoaderSource(samples, workers=workers).steps(recipe, 0, Share())
    for _ in range(4):
        next(batches)
    started = time.perf_counter()
    for _ in range(steps):
        next(batches)
    return steps * batch / (time.perf_counter() - started)


def training_rate(data: Path, network: str, workers: int, steps: int, out: Path) -> tuple[float, float]:
    """Images a second of a training, and the share of its time it waits for data."""
    found = saccade.train(
        data, network, size=224, augment="imagenet", batch=16, steps=steps, workers=workers, out=out, device="cpu",
        evaluate_every=steps, progress=False,
    ).results  # fmt: skip
    return steps * 16 / found["seconds"], found["waiting"] / found["seconds"]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--images", type=int, default=400)
    arguments.add_argument("--steps", type=int, default=12)
    given = arguments.parse_args()
    print(f"{cores()} cores, torch on {torch.get_num_threads()} threads")
    with tempfile.TemporaryDirectory() as scratch:
        data = write_photos(Path(scratch) / "photos", given.images)
        for workers in (0, 1, 2):
            print(f"reading and augmenting, {workers} workers: {reading_rate(data, 224, workers):.0f} images/s")
        for network in ("resnet18", "resnet50"):
            for workers in (0, 1):
                out = Path(scratch) / f"{network}-{workers}"
                rate, share = training_rate(data, network, workers, given.steps, out)
                print(f"training {network}, {workers} workers: {rate:.1f} images/s, {share:.1%} waiting for data")


if __name__ == "__main__":
    main()
