"""Shards next to the folder of the same files: images a second with two readers, and memory of long lists.

``python -m benchmarks.shards [--images 20000]``: JPEGs of 256 pixels, cut from scikit-image's photographs, read by the
same samples and the same augmentation, in turns. Cold: before each turn the system is asked to forget the files, as
where a data set is larger than the memory.
"""

from __future__ import annotations

import argparse
import io
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from statistics import median

import numpy as np
import skimage.data
from PIL import Image

from benchmarks.training_data import _PHOTOS
from saccade.runs.options import RunSpec
from saccade.tasks import find_task
from saccade.training.order import shard_order
from saccade.training.recipe import Recipe
from saccade.training.sources import LoaderSource, Share

_SIDE, _BATCH, _EACH = 256, 64, 1000


def write(folder: Path, count: int) -> tuple[Path, Path]:
    """The same JPEGs as ``train/CLASS/*.jpg`` and ``val``, and as shards of a thousand."""
    files, shards = folder / "files", folder / "shards"
    shards.mkdir(parents=True)
    photos = [Image.fromarray(getattr(skimage.data, name)()).convert("RGB") for name in _PHOTOS]
    random = np.random.default_rng(0)
    number = 0
    for side, some in (("train", count), ("val", len(_PHOTOS))):
        for start in range(0, some, _EACH):
            with tarfile.open(shards / f"{side}-{start // _EACH:03d}.tar", "w") as tar:
                for _ in range(min(_EACH, some - start)):
                    kind = number % len(photos)
                    photo = photos[kind]
                    left, top = (int(random.integers(0, length - _SIDE)) for length in photo.size)
                    opened = io.BytesIO()
                    photo.crop((left, top, left + _SIDE, top + _SIDE)).save(opened, "JPEG", quality=90)
                    place = files / side / str(kind)
                    place.mkdir(parents=True, exist_ok=True)
                    (place / f"{number:06d}.jpg").write_bytes(opened.getvalue())
                    for end, content in (("jpg", opened.getvalue()), ("cls", str(kind).encode())):
                        info = tarfile.TarInfo(f"{number:06d}.{end}")
                        info.size = len(content)
                        tar.addfile(info, io.BytesIO(content))
                    number += 1
    return files, shards


def forget(folder: Path) -> None:
    """Ask the system to drop the files below a folder from its memory."""
    for path in folder.rglob("*"):
        if path.is_file():
            number = os.open(path, os.O_RDONLY)
            os.fsync(number)
            os.posix_fadvise(number, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(number)


def source_of(data: Path, size: int) -> LoaderSource:
    side = find_task("classification").load(RunSpec(data=str(data), network="resnet18", size=size)).train
    return LoaderSource(side.samples, workers=2, name=side.name, groups=shard_order(side.shards))


def rate(source: LoaderSource, steps: int, seed: int) -> float:
    """Images a second with two readers, after the first batches."""
    batches = source.steps(Recipe(steps=steps + 4, batch=_BATCH, seed=seed, learning_rate=1.0), 0, Share())
    for _ in range(4):
        next(batches)
    started = time.perf_counter()
    for _ in range(steps):
        next(batches)
    found = steps * _BATCH / (time.perf_counter() - started)
    batches.close()
    return found


_LISTED = """
import resource, sys
from pathlib import Path
from saccade.data.layouts import Item
from saccade.data.members import Member, Shard
count, shards = int(sys.argv[1]), sys.argv[2] == "shards"
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
if shards:
    made = [Shard(Path(f"/data/train-{n:05d}.tar"), f"train-{n:05d}.tar", n, 0) for n in range(count // 1000)]
    items = []
    for shard in made:
        folder = Path("/data/{0..999}.tar") / shard.name
        name = "{:05d}/{:08d}.jpg".format
        places = [(name(shard.number, i), shard, 100_000 * i, 100_000 + i) for i in range(1000)]
        items += [Item(Member.of(folder, *place), i % 1000) for i, place in enumerate(places)]
else:
    folders = [Path("/data/train") / f"n{n:08d}" for n in range(1000)]
    each = range(count // 1000)
    items = [Item(folder / f"{folder.name}_{i:08d}.jpg", n) for n, folder in enumerate(folders) for i in each]
names = [str(item.image) for item in items]
keys = {item.image for item in items}
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def memory(kind: str, count: int) -> float:
    """MiB of a process that lists so many samples, with their names and a set of them, in simulated data."""
    done = subprocess.run(
        [sys.executable, "-c", _LISTED, str(count), kind], capture_output=True, text=True, check=True, timeout=900
    )
    return int(done.stdout) / 1024


def said(name: str, values: Iterable[float]) -> str:
    values = list(values)
    return f"{name} {median(values):,.0f} ({min(values):,.0f} to {max(values):,.0f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--listed", type=int, default=1_000_000)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=30)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="saccade-shards-") as scratch:
        os.environ["XDG_CACHE_HOME"] = f"{scratch}/cache"
        places = dict(zip(("folder", "shards"), write(Path(scratch), given.images), strict=True))
        started = time.perf_counter()
        sources = {name: source_of(place, given.size) for name, place in places.items()}
        print(f"listed in {time.perf_counter() - started:.1f} s")
        for cold in (False, True):
            rates: dict[str, list[float]] = {name: [] for name in places}
            for turn in range(given.rounds):
                for name, place in places.items():
                    if cold:
                        forget(place)
                    rates[name].append(rate(sources[name], given.steps, turn))
            ratio = median(rates["shards"]) / median(rates["folder"])
            lines = ", ".join(said(name, values) for name, values in rates.items())
            print(f"{'cold' if cold else 'warm'}: images/s: {lines}; shards / folder {ratio:.2f}")
    sizes = {kind: memory(kind, given.listed) for kind in ("folder", "shards")}
    print(
        f"{given.listed:,} samples listed: folder {sizes['folder']:,.0f} MiB, shards {sizes['shards']:,.0f} MiB, "
        f"{sizes['shards'] / sizes['folder']:.2f}"
    )


if __name__ == "__main__":
    main()
