"""Folders as people have them, drawn at random: ``python -m benchmarks.odd_folders --count 2000 --seed 0``.

Each is read by everything that reads folders. Four things are asked of every one:

1. whatever is wrong is refused in a sentence (`InputError`), never by another exception;
2. the files used and the files left out add up to all files;
3. ``data check`` finds it good if and only if every sample of a training can be read, and the data of a comparison too;
4. no class carries the name of a side or of a container, unless ``--layout classes`` asked for it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from saccade.data.check import check_data
from saccade.data.folder import load_folder
from saccade.data.names import role_of
from saccade.data.reading import Reading
from saccade.errors import InputError
from saccade.runs.options import RunSpec
from saccade.tasks import recognise

TRAIN = ("train", "Training", "TRAIN", "train2017", "train_set", "trainset", "Train-Images", "training_data")
VAL = ("val", "Validation", "valid", "VAL", "val2017", "dev", "valset", "eval_images")
TEST = ("test", "Testing", "test_set", "TEST", "test2017")
IMAGES = ("images", "img", "imgs", "JPEGImages", "Image", "IMAGES")
MASKS = ("masks", "labels", "gt", "SegmentationClass", "ground_truth", "Annotations", "mask")
CLASSES = ("cat", "dog", "bird cage", "train", "images", "Café", "0", "1", "set", "mask", "bus", "x.y", "trainer")
MASK_VALUES = (
    "01", "01", "012", "0-255", "0-128", "one", "colour", "palette", "16 bit", "RGBA", "mixed", "ignored", "odd"
)  # fmt: skip
SUFFIXES = ("_mask", "-mask", "_gt", "_seg", "_labelIds")
KINDS = (
    "classes", "sided", "pairs", "sided pairs", "sides below", "prefixed", "together", "chaos", "sides inside", "twice",
    "two ends", "table", "two deep",
)  # fmt: skip
ENDS = (("_sat", "_mask"), ("_image", "_label"), ("_L", "_R"), ("", "_mask"), ("_rgb", "_gt"))
WRAPPERS = ("dataset", "v1", "my data", "release 2")


@dataclass
class Tree:
    """A folder that was drawn.

    Args:
        root: Its path.
        how: Fields of the reading.
        story: What was put into it, in words.
    """

    root: Path
    how: dict[str, Any] = field(default_factory=dict)
    story: list[str] = field(default_factory=list)


class Planter:
    """Writes one tree."""

    def __init__(self, rng: np.random.Generator, tree: Tree) -> None:
        self.rng, self.tree, self.number = rng, tree, 0
        self.image_mode = self.pick(("RGB", "RGB", "RGB", "L", "RGBA", "P", "1", "I;16", "CMYK"))
        self.mask_values = self.pick(MASK_VALUES)
        self.white = self.pick((65535, 65535, 4095, 2000))
        self.suffixes = self.pick(
            ((".png", ".png", ".PNG", ".bmp"), (".jpg", ".jpeg", ".JPG"), (".jfif", ".tif", ".webp"))
        )
        self.pictures: list[Path] = []

    def pick(self, some: Any) -> Any:
        return some[int(self.rng.integers(len(some)))]

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def image(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = self.rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        mode = self.image_mode
        if mode == "I;16":
            wide = np.round(pixels[..., 0] / 255 * self.white)
            Image.fromarray(wide.astype(np.uint16)).save(path.with_suffix(".png"))
        else:
            suffix = ".jpg" if mode == "CMYK" else self.pick(self.suffixes)
            suffix = ".png" if mode in ("RGBA", "P", "1") else suffix
            Image.fromarray(pixels).convert(mode).save(path.with_suffix(suffix))
            path = path.with_suffix(suffix)
        self.pictures.append(path.with_suffix(".png") if mode == "I;16" else path)

    def mask(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        values = self.rng.integers(0, 2, (8, 8), dtype=np.uint8)
        values[0, :2] = (0, 1)
        kind = self.mask_values
        if kind == "012":
            values[1, 1] = 2
        elif kind == "0-255":
            values *= 255
        elif kind == "0-128":
            values *= 128
        elif kind == "one":
            values[:] = 1
        elif kind == "mixed":
            values *= self.pick((1, 255))
        elif kind == "ignored":
            values[2:4, :2] = 255
        elif kind == "odd":
            values *= self.pick((1, 1, 1, 1, 7))
        if kind == "colour":
            made = Image.fromarray(values[..., None] * np.array([200, 30, 40], np.uint8))
        elif kind == "palette":
            made = Image.fromarray(values, mode="P")
            made.putpalette([0, 0, 0, 128, 0, 0])
        elif kind == "16 bit":
            made = Image.fromarray(values.astype(np.uint16))
        elif kind == "RGBA":
            made = Image.fromarray(np.dstack([values * 255] * 4))
        else:
            made = Image.fromarray(values)
        made.save(path.with_suffix(".png"))

    def together(self, place: Path, image: str, mask: str) -> None:
        for _ in range(int(self.rng.integers(2, 5))):
            stem = self.stem()
            self.image(place / f"{stem}{image}.png")
            if not self.chance(0.04):
                self.mask(place / f"{stem}{mask}.png")

    def table(self, top: Path, names: list[str]) -> None:
        rows = []
        for _ in range(int(self.rng.integers(3, 9))):
            self.image(top / "pictures" / f"{self.stem()}.png")
            some = sorted({self.pick(names) for _ in range(self.pick((1, 1, 2)))})
            rows.append(f"pictures/{self.pictures[-1].name},{','.join(some)}")
        if self.chance(0.1):
            rows.append(self.pick((rows[0], "pictures/none.png,cat", "pictures/1.png")))
        (top / "labels.csv").write_text("\n".join(["file,class,class", *rows]), encoding="utf-8")

    def stem(self) -> str:
        self.number += 1
        return self.pick(("{}", "img_{}", "p{}_x", "IMG {}", "ü{}")).format(self.number)

    def class_folders(self, top: Path, names: list[str], each: tuple[int, int] = (1, 4)) -> None:
        for name in names:
            for _ in range(int(self.rng.integers(*each))):
                deeper = "nested" if self.chance(0.05) else "."
                self.image(top / name / deeper / f"{self.stem()}.png")

    def pairs(self, images: Path, masks: Path, suffix: str = "") -> None:
        for _ in range(int(self.rng.integers(1, 5))):
            stem = self.stem()
            self.image(images / f"{stem}.png")
            if not self.chance(0.04):
                self.mask(masks / f"{stem}{suffix}.png")
        if self.chance(0.1):
            self.mask(masks / "alone.png")


def draw(rng: np.random.Generator, root: Path) -> Tree:
    """Draw one folder."""
    tree = Tree(root)
    plant = Planter(rng, tree)
    root.mkdir(parents=True)
    top = root
    while plant.chance(0.2):
        top = top / plant.pick(WRAPPERS)
    sides = [plant.pick(TRAIN), plant.pick(VAL)]
    if plant.chance(0.3):
        sides.append(plant.pick(TEST))
    if plant.chance(0.1):
        sides = [plant.pick(TRAIN), plant.pick(TEST)]
    if plant.chance(0.05):
        sides.pop()
    names = sorted({plant.pick(CLASSES) for _ in range(int(rng.integers(1, 5)))})
    if plant.chance(0.6):
        names = [name for name in names if role_of(name) is None] or ["cat"]
    kind = plant.pick(KINDS)
    tree.story += [kind, plant.image_mode, plant.mask_values]
    suffix = plant.pick(SUFFIXES) if plant.chance(0.15) else ""
    images, masks = plant.pick(IMAGES), plant.pick(MASKS)
    if kind == "classes":
        plant.class_folders(top, names)
    elif kind == "sided":
        for side in sides:
            plant.class_folders(top / side, names[: len(names) - int(plant.chance(0.1))])
    elif kind == "pairs":
        plant.pairs(top / images, top / masks, suffix)
    elif kind == "sided pairs":
        for side in sides:
            plant.pairs(top / side / images, top / side / masks, suffix)
    elif kind == "sides below":
        for side in sides:
            plant.pairs(top / images / side, top / masks / side, suffix)
    elif kind == "prefixed":
        for side in sides:
            plant.pairs(top / f"{side}_{images}", top / f"{side}_{masks}", suffix)
    elif kind == "together":
        where = [top / side for side in sides] if plant.chance(0.6) else [top]
        for place in where:
            plant.pairs(place, place, suffix or "_mask")
    elif kind == "sides inside":
        for name in names:
            for side in sides:
                plant.class_folders(top / name, [side])
    elif kind == "twice":
        for side in sides:
            plant.class_folders(top / side / side, names)
    elif kind == "two ends":
        ends = plant.pick(ENDS)
        for place in [top / side for side in sides] if plant.chance(0.6) else [top]:
            plant.together(place, *ends)
    elif kind == "table":
        plant.table(top, names)
    elif kind == "two deep":
        for name in names:
            plant.class_folders(top / name, sorted({plant.pick(CLASSES) for _ in range(3)}))
    else:
        words = (*TRAIN, *VAL, *TEST, *IMAGES, *MASKS, *CLASSES)
        for _ in range(int(rng.integers(1, 6))):
            parts = [plant.pick(words) for _ in range(int(rng.integers(0, 4)))]
            for _ in range(int(rng.integers(1, 3))):
                plant.image(top.joinpath(*parts) / f"{plant.stem()}.png")
    _disturb(plant, top, names)
    _options(plant, names)
    return tree


def _disturb(plant: Planter, top: Path, names: list[str]) -> None:
    """Put in what else lies in people's folders."""
    root, places = plant.tree.root, sorted({path.parent for path in plant.pictures}) or [top]

    def say(word: str, share: float = 0.06) -> bool:
        done = plant.chance(share)
        plant.tree.story += [word] * done
        return done

    if say("text"):
        (plant.pick(places) / "notes.txt").write_text("seen")
        (root / "README").write_text("read")
    if say("loose image"):
        plant.image(root / "loose.png")
    if say("unknown format"):
        (plant.pick(places) / "old.psd").write_bytes(b"8BPS")
    if say("hidden"):
        (plant.pick(places) / ".DS_Store").write_text("x")
        plant.image(root / ".thumbs" / "a.png")
    if say("empty folder"):
        (plant.pick(places).parent / "nothing").mkdir(exist_ok=True)
    if say("unusable folder"):
        (top / "raws").mkdir(parents=True, exist_ok=True)
        (top / "raws" / "a.nef").write_bytes(b"x")
    if say("broken file") and plant.pictures:
        plant.pick(plant.pictures).write_bytes(b"no picture")
    if say("circle"):
        (plant.pick(places) / "again").symlink_to(root, target_is_directory=True)
    if say("dead link"):
        (plant.pick(places) / "gone.png").symlink_to("nowhere.png")
    if say("copy") and plant.pictures:
        source, place = plant.pick(plant.pictures), plant.pick(places)
        shutil.copy(source, place / f"copy{source.suffix}")
    if say("not UTF-8") and sys.platform == "linux" and plant.pictures:
        path = plant.pick(plant.pictures)
        if path.exists():
            os.rename(path, os.fsencode(path.parent) + b"/\xe9" + os.fsencode(path.name))
    if say("system folder"):
        plant.image(root / "__MACOSX" / "a.png")
    if say("classes.txt"):
        (root / "classes.txt").write_text("ground\nthing\n")


def _options(plant: Planter, names: list[str]) -> None:
    how = plant.tree.how
    if plant.chance(0.1):
        how["split"] = float(plant.pick((0.2, 0.5, 0.9)))
    if plant.chance(0.06):
        how["layout"] = plant.pick(("classes", "train-val/classes", "images-masks", "side-by-side", "voc", "cifar"))
    if plant.chance(0.05):
        how["classes"] = ",".join([*names[:2], "unknown"][: int(plant.rng.integers(2, 4))]) + ","
    if plant.chance(0.05):
        how["group"] = plant.pick((r"(\d)", r"(p)", r"([a-z]+)"))
    if plant.chance(0.03):
        how["mask_suffix"] = plant.pick(SUFFIXES)
    if plant.chance(0.05):
        how["allow_copies"] = True
    if how:
        plant.tree.story.append(str(how))


def faults(tree: Tree, scratch: Path) -> Iterator[str]:
    """Read a folder in all ways, and yield what is wrong with how it was read."""
    try:
        reading = Reading(**tree.how)
    except InputError:
        return
    outcomes = {}
    for name, use in (("check", _check), ("train", _train), ("compare", _compare)):
        try:
            outcomes[name] = use(tree.root, reading, scratch)
        except InputError as refusal:
            outcomes[name] = f"refused: {refusal.message}"
        except Exception as fault:
            yield f"{name}: not foreseen: {type(fault).__name__}: {fault}"
            return
    good = {name: not outcome for name, outcome in outcomes.items()}
    if len(set(good.values())) > 1:
        yield f"they disagree: {outcomes}"
    try:
        task, found = recognise(tree.root, reading)
        files = task.files(tree.root, found)
    except InputError:
        return
    used = {path for item in (*files.train, *files.val) for path in (item.image, item.target) if isinstance(path, Path)}
    below = {path for path in (*used, *files.others) if path.is_relative_to(tree.root)}
    left_out = sum(row.count for row in files.left_out if not row.folders)
    every = count_files(tree.root)
    if every != len(below) + left_out:
        yield f"counts: {every} files, {len(below)} used, {left_out} left out: {[str(row) for row in files.left_out]}"
    said = [name for name in files.classes if task.name == "classification" and role_of(name) is not None]
    if said and found.layout == "classes" and "layout" not in tree.how and len(files.classes) > len(said):
        yield f"classes called like sides or containers: {said}"


def _check(root: Path, reading: Reading, scratch: Path) -> str:
    found = check_data(root, reading=reading)
    return "" if found.good else f"bad {found.bad}, leaked {found.leaked}, {found.labelled} {found.problems}"


def _train(root: Path, reading: Reading, scratch: Path) -> str:
    spec = RunSpec(data=str(root), network="", size=16, augment="none", **reading.plain())
    task, _ = recognise(root, spec)
    data = task.load(spec)
    data.identity().refuse_contradiction()
    for side in (data.train, data.val):
        for index in range(len(side)):
            try:
                side.samples[index]
            except InputError:
                raise
            except Exception as problem:
                if type(problem).__name__ != "UnreadableError":  # the reader of training names the sample then
                    raise
                return f"{side.name(index)}: {problem}"
    return ""


def _compare(root: Path, reading: Reading, scratch: Path) -> str:
    load_folder(root, scratch / "cache", size=16, reading=reading)
    shutil.rmtree(scratch / "cache", ignore_errors=True)
    return ""


def count_files(root: Path) -> int:
    """Count files that are not hidden; links to folders above are circles."""
    total = 0
    for _, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        total += sum(not name.startswith(".") for name in files)
    return total


def examine(
    seed: int, count: int, *, first: int = 0, keep: Path | None = None
) -> Iterator[tuple[int, Tree, list[str]]]:
    """Draw folders and yield number, folder and faults of each.

    Args:
        seed: Seed of all of them; each is a function of it and of its number.
        count: Number of folders.
        first: Number of the first.
        keep: Folder in which those with faults stay.
    """
    for number in range(first, first + count):
        scratch = Path(tempfile.mkdtemp(prefix="odd-"))
        try:
            tree = draw(np.random.default_rng((seed, number)), scratch / f"data{number}")
            found = list(faults(tree, scratch))
            if found and keep is not None:
                shutil.copytree(tree.root, keep / str(number), symlinks=True)
            yield number, tree, found
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def main() -> None:
    """Examine folders and print the faults."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--keep", type=Path)
    given = parser.parse_args()
    stories: Counter[str] = Counter()
    bad = 0
    for number, tree, found in examine(given.seed, given.count, first=given.first, keep=given.keep):
        stories[tree.story[0]] += 1
        bad += bool(found)
        for fault in found:
            print(f"{number} [{', '.join(tree.story)}] {fault}", flush=True)
    print(f"{sum(stories.values())} folders ({dict(stories)}), {bad} with faults")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
