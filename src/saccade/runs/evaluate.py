"""``saccade.evaluate``: score a trained network."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Subset

from saccade.data.identity import contents_of
from saccade.data.reading import Reading
from saccade.data.statement import Statement
from saccade.errors import InputError
from saccade.options import called_with, declared
from saccade.runs.open import Opened, open_run
from saccade.runs.options import EvaluateOptions
from saccade.runs.train import reading_processes
from saccade.tasks import recognise
from saccade.tasks.base import Side, Task
from saccade.tasks.evidence import images_in
from saccade.training.distributed import distributed
from saccade.training.evaluation import collect
from saccade.training.progress import Counting
from saccade.training.sources import LoaderSource

_SHOWN = 5


@dataclass(frozen=True)
class Evaluation:
    """Scores of a network on validation images.

    Args:
        results: Scores by name, and those of classes and groups as ``by_class``, ``by_size`` and the like.
        writes: True in the process that prints.
    """

    results: dict[str, Any]
    writes: bool = True

    def __str__(self) -> str:
        found = self.results
        how = f"; {found['protocol']}" if "protocol" in found else ""
        lines = [f"{found['file']} on {found['images']} images: {found['what']}{how}", ""]
        wide = max(16, *map(len, found["scores"]))
        lines += [f"{name:<{wide}} {value:.4f}" for name, value in found["scores"].items()]
        metric = next(iter(found["scores"]))
        for kind in found["limits"]:
            each = "  ".join(f"{name} {_number(value)}" for name, value in found[f"by_{kind}"].items())
            lines.append(f"{f'{metric} by {kind}':<{wide}} {each}")
        called = found["statement"]["called"]
        rows, title = list(found["by_class"].items()), called
        if len(rows) > 4 * _SHOWN and None not in found["by_class"].values():
            rows, title = sorted(rows, key=lambda row: row[1])[:_SHOWN], f"lowest {called}"
        width = max([20, *(len(name) for name, _ in rows)])
        table = ["", title, *(f"  {name:<{width}} {_number(value)}" for name, value in rows)] if rows else []
        return "\n".join([*lines, *table])


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


@called_with(EvaluateOptions, "evaluate")
def evaluate_network(options: EvaluateOptions) -> Evaluation:
    """Score a trained network; run by ``torchrun`` on all devices, with the same result.

    Scored are the images of the validation side of `data`; of a folder that was split for training, those that were
    held out; of any other folder, all. Images of different sizes are scored one at a time. The folder is read as it
    was in training, except for the options given. `protocol` may also be a
    :class:`saccade.tasks.segmentation.protocols.Protocol`.

    Raises:
        InputError: Something given is wrong, or an image cannot be read.
    """
    where, path = distributed(options.device), Path(options.data)
    opened = open_run(options.model, options.trust)
    task = opened.task
    net, how = task.under(opened.net, options.protocol)
    reading = reading_of(opened, options)
    side, what = _unseen(path, *task.held_out(path, opened.held, reading), opened.trained_on)
    statement = _statement(task, path, reading, side, what)
    if where.index == 0:
        with Counting(shown=options.progress) as showing:
            for line in statement.lines():
                showing.say(line)
    workers = reading_processes(where) if options.workers is None else options.workers
    source = LoaderSource(side.samples, workers=workers, name=side.name, device=where.device)
    net.to(where.device).to(memory_format=torch.channels_last)
    evidence = collect(net, task, source, options.batch if side.alike else 1, where, full=True)
    groups = task.groups(evidence)
    results = {
        "file": str(opened.file), "data": str(path), "what": what, "images": images_in(evidence),
        "statement": statement.to_json(),
        **({} if how is None else {"protocol": how}),
        "scores": task.scores(evidence), "by_class": task.by_class(evidence),
        **{f"by_{name}": group.values for name, group in groups.items()},
        "limits": {name: group.limits for name, group in groups.items()},
    }  # fmt: skip
    return Evaluation(results, where.index == 0)


def _unseen(folder: Path, side: Side, what: str, trained_on: frozenset[str]) -> tuple[Side, str]:
    """Leave out images that training saw, by their contents.

    Raises:
        InputError: It saw all of them.
    """
    if not trained_on or not side.names:
        return side, what
    contents = contents_of({name: folder / name for name in side.names if (folder / name).is_file()})
    new = [index for index, name in enumerate(side.names) if contents.get(name) not in trained_on]
    if len(new) == len(side.names):
        return side, what
    if not new:
        raise InputError(f"{folder}: training saw all of these images", "give others: a score on them says nothing")
    names = [side.names[index] for index in new]
    rest = Side(Subset(side.samples, new), lambda index: side.name(new[index]), names, side.alike)
    return rest, f"{what}, without {len(side.names) - len(new)} that training saw"


def _statement(task: Task, folder: Path, reading: Reading, side: Side, what: str) -> Statement:
    """Return the reading of the folder, as far as that can be said of one that may have no sides."""
    note = f"{len(side)} images of {folder}: {what}"
    try:
        found, reading = recognise(folder, reading)
        files = found.files(folder, reading)
    except InputError:  # such as a folder with one image of a class, which training could not split
        return Statement(note=note, layout=reading.layout or "", classes=task.classes)
    return replace(files.statement(), note=f"{note} ({files.note})", split="", classes=task.classes)


def reading_of(opened: Opened, options: Reading) -> Reading:
    """How a folder is read that a trained network is given: as in training, but for the options given."""
    names = {one.name for one in declared(Reading)} & options.given
    given = {name: getattr(options, name) for name in names}
    return Reading(**Reading.of(opened.reading).plain() | given)
