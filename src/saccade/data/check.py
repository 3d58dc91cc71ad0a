"""Read every file of a folder once before training: report files that are broken and images that occur twice."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from saccade.data import IGNORE
from saccade.data.identity import contradictions
from saccade.data.images import UnreadableError, read_image
from saccade.data.layouts import Item, listed, relative
from saccade.data.reading import AS_IT_IS, Reading
from saccade.data.statement import Statement
from saccade.errors import require
from saccade.tasks import recognise
from saccade.tasks.base import Files, Task

IGNORED = "ignored (255)"


@dataclass
class Findings:
    """The findings of a check of one folder.

    Args:
        note: The layout, as recognised.
        statement: What the folder was read as, with what was left out.
        task: Name of its task.
        unit: Unit of the counts: images, or pixels.
        counts: Class name to the count on each side.
        images: Number of images read.
        bad: Files that cannot be used, with the reason.
        repeated: Groups of files with the same content.
        leaked: Groups with files on both sides.
        labelled: Images under two classes, both files named with their classes.
        problems: What else makes the sides dishonest, such as a group of files on both.
        remarks: Other points worth knowing.
    """

    note: str
    task: str
    unit: str
    counts: dict[str, dict[str, int]]
    images: int = 0
    bad: dict[str, str] = field(default_factory=dict)
    repeated: list[list[str]] = field(default_factory=list)
    leaked: list[list[str]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    statement: Statement | None = None
    labelled: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    allow_copies: bool = False

    @property
    def good(self) -> bool:
        """True if training would take the folder: no bad file, no image under two classes or on both sides."""
        copies = not self.allow_copies and (self.leaked or self.labelled)
        return not (self.bad or self.problems or copies)

    def __str__(self) -> str:
        lines = self.statement.lines() if self.statement is not None else [self.note]
        if self.counts:
            word = self.statement.called if self.statement is not None else "classes"
            word = {"classes": "class"}.get(word, word)
            width = max(len(word), *map(len, self.counts))
            lines += ["", f"{word:<{width}}  {'training':>12}  {'validation':>12}   ({self.unit})"]
            lines += [f"{name:<{width}}  {n['train']:>12,}  {n['val']:>12,}" for name, n in self.counts.items()]
        lines += ["", f"{len(self.bad)} of {self.images} files cannot be used" + (":" if self.bad else "")]
        lines += [f"  {name}: {reason}" for name, reason in self.bad.items()]
        if self.leaked:
            lines.append(f"{_images(len(self.leaked))} in both training and validation:")
            lines += [f"  {' = '.join(group)}" for group in self.leaked]
        if self.labelled:
            lines.append(f"{_images(len(self.labelled))} there under two classes:")
            lines += [f"  {line}" for line in self.labelled]
        lines += self.problems
        within = len(self.repeated) - len(self.leaked)
        lines += [f"{_images(within)} there more than once within one side"] if within else []
        return "\n".join(lines + self.remarks)

    def to_json(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        statement = self.statement.to_json() if self.statement is not None else None
        return vars(self) | {"statement": statement, "good": self.good}


def _images(count: int) -> str:
    return "1 image is" if count == 1 else f"{count:,} images are"


@dataclass(frozen=True)
class _Read:
    """One item as it was found."""

    problem: str = ""
    file: Path | None = None
    digest: str = ""
    shape: tuple[int, int] = (0, 0)
    tally: Any = ()


def check_data(
    path: str | Path,
    *,
    reading: Reading = AS_IT_IS,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Findings:
    """Read every image and mask of a folder, and count images or pixels per class.

    Args:
        path: The data, in any layout that is recognised.
        reading: How the folder is to be read.
        on_progress: Called with (done, total).

    Raises:
        InputError: The layout is not recognised or is incomplete.
    """
    path = Path(path)
    task, reading = recognise(path, reading)
    files = task.examined(task.files(path, reading), reading, where=str(path))
    found = Findings(
        files.note, task.name, task.unit, {}, statement=files.statement(), problems=list(files.problems),
        allow_copies=files.allow_copies,
    )  # fmt: skip
    places: dict[str, list[tuple[str, str]]] = defaultdict(list)
    tallies: dict[str, Any] = {"train": 0, "val": 0}
    shapes: Counter[tuple[int, int]] = Counter()
    items = [(side, item) for side in ("train", "val") for item in getattr(files, side)]
    if not items:  # of CIFAR, whose images are not files of their own
        found.counts = {name: {"train": train, "val": val} for name, (train, val) in files.counts.items()}
        found.images = sum(map(sum, files.counts.values()))
        return found
    for (side, item), read in _reading(task, files, items):
        found.images += 1
        name = relative(item.image, path)
        on_progress(found.images, len(items))
        if read.problem:
            found.bad[relative(read.file or item.image, path)] = read.problem
            continue
        shapes[read.shape] += 1
        places[read.digest].append((side, name))
        tallies[side] = tallies[side] + np.asarray(read.tally)
    found.counts = _counts(files, tallies)
    for group in places.values():
        if len(group) > 1:
            names = [name for _, name in group]
            found.repeated.append(names)
            if len({side for side, _ in group}) > 1:
                found.leaked.append(names)
    contents = {name: digest for digest, group in places.items() for _, name in group}
    found.labelled = contradictions(replace(files, problems=()).under(path, task.name), contents)[0]
    found.remarks = [*_remarks(task, found, shapes), *task.findings(files)]
    return found


def _reading(
    task: type[Task], files: Files, items: Sequence[tuple[str, Item]]
) -> Iterator[tuple[tuple[str, Item], _Read]]:
    """Several files are decoded at once; Pillow lets go of the interpreter while it decodes."""
    require("PIL.Image", extra="train")

    def one(given: tuple[str, Item]) -> _Read:
        item = given[1]
        try:
            content = hashlib.blake2b(item.image.read_bytes(), digest_size=16).hexdigest()
            size = read_image(item.image, white=files.pixels.white).size
            return _Read("", None, content, size, task.tally(files, item, size))
        except UnreadableError as problem:
            return _Read(problem.whole, problem.file)
        except OSError as problem:
            return _Read(str(problem))

    with ThreadPoolExecutor() as pool:
        yield from zip(items, pool.map(one, items), strict=True)


def _counts(files: Files, tallies: dict[str, Any]) -> dict[str, dict[str, int]]:
    """Counts by class name; a task that tallies all 256 values of a mask has ignored pixels at the last."""
    whole = np.atleast_1d(np.asarray(sum(tallies.values())))
    there = np.flatnonzero(whole[:IGNORE])
    names = files.classes or tuple(map(str, range(int(there.max(initial=-1)) + 1)))
    rows = [*enumerate(names), *([(IGNORE, IGNORED)] if len(whole) > IGNORE else [])] if len(whole) > 1 else []
    sides = {side: np.broadcast_to(tally, whole.shape) for side, tally in tallies.items()}
    return {name: {side: int(tally[index]) for side, tally in sides.items()} for index, name in rows}


def _remarks(task: type[Task], found: Findings, shapes: Counter[tuple[int, int]]) -> Iterator[str]:
    if shapes:
        smallest, largest = min(shapes, key=min), max(shapes, key=max)
        yield f"sizes from {smallest[0]} x {smallest[1]} to {largest[0]} x {largest[1]} px, {len(shapes)} different"
    classes = {name: n for name, n in found.counts.items() if name != IGNORED}
    empty = [name for name, n in classes.items() if not n["train"]]
    unseen = [name for name, n in classes.items() if n["train"] and not n["val"]]
    if empty:
        yield f"no training images for: {listed(empty)}"
    if unseen:
        yield f"without validation images, so never scored: {listed(unseen)}"
    yield from task.remarks(classes)
