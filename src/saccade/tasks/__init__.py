"""Tasks: one folder each, found by the folder of data they recognise.

A task of your own is a subclass of :class:`saccade.tasks.base.Task` and one call::

    saccade.tasks.register("my_package.counting:Counting")

Then ``data check``, ``train``, ``evaluate``, ``predict``, ``compare`` and the report work on its folders.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saccade.errors import InputError, near

if TYPE_CHECKING:
    from saccade.data.reading import Reading
    from saccade.runs.options import RunSpec
    from saccade.tasks.base import Task

# Asked in this order whether a folder is theirs; classification takes any folder of folders, so it is the last.
_BUILT_IN = {
    "pose": "saccade.tasks.pose.task:Pose",
    "segmentation": "saccade.tasks.segmentation.task:Segmentation",
    "multi-label": "saccade.tasks.multilabel.task:MultiLabel",
    "classification": "saccade.tasks.classification.task:Classification",
}
_REGISTERED: dict[str, type[Task]] = {}


def register(task: type[Task] | str) -> None:
    """Make a task known to every command of this process; it is asked before the built-in ones.

    Args:
        task: The class, or its import path such as ``"my_package.counting:Counting"``.

    Raises:
        InputError: Another task has its name.
    """
    found: type[Task] = _imported(task) if isinstance(task, str) else task
    if found.name in _BUILT_IN or _REGISTERED.get(found.name, found) is not found:
        raise InputError(f"there is a task called {found.name!r} already", "give yours another `name`")
    _REGISTERED[found.name] = found


def registered() -> list[str]:
    """Import paths of the registered tasks, for processes that must know them too."""
    return [f"{task.__module__}:{task.__qualname__}" for task in _REGISTERED.values()]


def list_tasks() -> tuple[str, ...]:
    """Names of all tasks."""
    return (*_REGISTERED, *_BUILT_IN)


def find_task(name: str) -> type[Task]:
    """Find a task by its name.

    Raises:
        InputError: There is none of that name.
    """
    if name in _REGISTERED:
        return _REGISTERED[name]
    if name not in _BUILT_IN:
        raise InputError(
            f"unknown task {name!r}", f"{near(name, list_tasks())}; one of your own: saccade.tasks.register"
        )
    return _imported(_BUILT_IN[name])


def every_task() -> list[type[Task]]:
    """All tasks, in the order in which they are asked whether a folder is theirs."""
    return [find_task(name) for name in list_tasks()]


def recognise(folder: Path, reading: Reading | None = None) -> tuple[type[Task], Reading]:
    """Find the task that a folder is laid out for, and its layout.

    Args:
        folder: Folder of the data.
        reading: How it is to be read; None recognises everything.

    Returns:
        The task, and the reading with the name of the layout.

    Raises:
        InputError: There is no such folder, no task recognises it, it may be read in several ways, or the task cannot
            read it as asked.
    """
    from saccade.data.layouts import ambiguous, not_recognised
    from saccade.data.reading import Reading
    from saccade.data.shard_names import is_shards
    from saccade.data.tree import remembered

    reading = reading if reading is not None else Reading()
    if not folder.is_dir() and not is_shards(folder):
        what = "is a file, not a folder" if folder.exists() else "does not exist"
        raise InputError(f"{folder} {what}", "give a folder of images")
    if reading.layout is not None:
        found = task_of_layout(reading.layout)
        check_reading(found, reading)
        return found, reading
    readings: dict[str, tuple[type[Task], str]] = {}
    with remembered():
        for task in every_task():
            for name, words in task.recognises(folder, Reading.of(reading)).items():
                readings[name] = task, words
            if readings.keys() - task.competing - {n for n, (one, _) in readings.items() if one is not task}:
                break
        if not readings:
            raise not_recognised(folder)
        if len(readings) > 1:
            raise ambiguous(folder, {name: words for name, (_, words) in readings.items()})
        ((name, (found, _)),) = readings.items()
        doubt = found.doubts(folder, Reading.of(reading), name)
    if doubt is not None:
        raise InputError(f"{folder}: {doubt[0]}", f"{doubt[1]}; if it is {name} all the same, say so: --layout {name}")
    check_reading(found, reading)
    return found, replace(reading, layout=name)


def task_of_layout(name: str) -> type[Task]:
    """Find the task with a layout of that name.

    Raises:
        InputError: There is none; all names are listed.
    """
    tasks = every_task()
    for task in tasks:
        if name in task.layouts:
            return task
    known = [layout for task in tasks for layout in task.layouts]
    raise InputError(f"--layout {name}: no such layout", f"known: {', '.join(known)}")


def layout_of(task: type[Task], folder: Path, reading: Reading) -> str:
    """The layout that a folder is read in: the one of the reading, else the one recognised.

    Raises:
        InputError: See :func:`recognise`; or the layout belongs to another task.
    """
    if reading.layout is None:
        found, reading = recognise(folder, reading)
    else:
        found = task_of_layout(reading.layout)
    if found is not task and not issubclass(found, task):
        raise InputError(f"{folder} is laid out for {found.name} ({reading.layout}), not for {task.name}")
    assert reading.layout is not None
    return reading.layout


def check_reading(task: type[Task], reading: Reading) -> None:
    """Refuse a reading that makes no sense for a task.

    Raises:
        InputError: Naming the options.
    """
    wrong = [name for name in reading.changed() if name not in task.reads]
    if wrong:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in wrong)
        raise InputError(f"{options}: makes no sense for {task.name}", "leave it out, or see --layout")


def task_for(spec: RunSpec) -> type[Task]:
    """Find the task of a folder, and refuse a network that is for another one.

    Raises:
        InputError: See there.
    """
    return _fitting(recognise(Path(spec.data), spec)[0], spec)


def task_for_datasets(spec: RunSpec) -> type[Task]:
    """Find the task of two torch Datasets: that of the network; classification, for a network that serves any task."""
    return _fitting(task_of_network(spec.network) or find_task("classification"), spec)


def _fitting(task: type[Task], spec: RunSpec) -> type[Task]:
    """Return `task`, or refuse a network that is for another one.

    Raises:
        InputError: The network belongs to another task, or its options make no sense.
    """
    owner = task_of_network(spec.network)
    if owner is not None and not issubclass(task, owner):
        raise InputError(
            f"{spec.data} is for {task.name}, and the network {spec.network} for {owner.name}",
            f"choose a network for {task.name}, or give other data",
        )
    task.check_network(spec)
    return task


def task_of_network(network: str) -> type[Task] | None:
    """The task that a network belongs to; None for one of timm, which serves any."""
    return next((task for task in every_task() if task.owns(network)), None)


def from_json(written: Mapping[str, Any]) -> Task:
    """Make the task that :meth:`saccade.tasks.base.Task.to_json` described."""
    from saccade.networks.statistics import Statistics

    facts = dict(written)
    statistics = Statistics.from_json(facts.pop("statistics", None))
    made = find_task(facts.pop("task"))(facts.pop("classes"), size=facts.pop("size"), **facts)
    return made.standardising(statistics)


def _imported(path: str) -> type[Task]:
    module, _, name = path.partition(":")
    found: type[Task] = getattr(importlib.import_module(module), name)
    return found
