"""``saccade.compare``: which attention helps on these data, by how much, at what cost."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from saccade.catalog import name_code
from saccade.comparison.arms import Arm, resolve_arms
from saccade.comparison.backends.base import Backend
from saccade.comparison.backends.local import Pool
from saccade.comparison.claim import claimed
from saccade.comparison.collect import Verdicts, collect, read_run
from saccade.comparison.demos import find_demo
from saccade.comparison.detecting import Asked
from saccade.comparison.experiment import Experiment, check_unchanged, decide, load_data, load_start
from saccade.comparison.forecast import Forecast, forecast
from saccade.comparison.judging import Judging, keep_plan
from saccade.comparison.mirror import NOT_HERE, Mirror, folder_of, is_address
from saccade.comparison.options import CompareOptions
from saccade.comparison.progress import ComparisonProgress
from saccade.comparison.results import Results, Tuned, read_results, write_results
from saccade.comparison.settings import Settings, begun, clear, refuse
from saccade.comparison.trials import Trials
from saccade.data import Arrays
from saccade.data.folder import folder_identity
from saccade.data.reading import Reading
from saccade.data.shard_names import is_shards, name_of, text_of
from saccade.devices import find_device
from saccade.errors import InputError, require
from saccade.files import check_folder, clear_temporary, locked, write_json
from saccade.options import called_with
from saccade.runs.names import CACHE, DATA, PLACES, REPORT, RESULT, RESULTS, SETTINGS
from saccade.runs.records import StartResult, read_record
from saccade.tasks import registered
from saccade.training.readers import refuse_unguarded
from saccade.training.signals import interrupt_on_signals


@dataclass(frozen=True)
class Comparison:
    """A finished comparison.

    Args:
        folder: Folder of the comparison.
        results: Results of the comparison.
        report: Path of the report, if it was made.
    """

    folder: Path
    results: Results
    report: Path | None

    def table(self) -> str:
        """Return arms, scores, differences, verdicts and costs as lines of text."""
        from saccade.report.table import text

        return text(self.results)

    def to_json(self) -> dict[str, Any]:
        """Return the content of ``results.json``."""
        return self.results.to_json()

    def __str__(self) -> str:
        return self.table()


@called_with(CompareOptions, "compare")
def compare(options: CompareOptions) -> Comparison | Forecast:
    """Train the same network with each attention mechanism and with none, several times, and say which helps.

    For each seed all arms share the split, the order of the batches and the initial weights of everything but the
    mechanism, which starts as the identity. Differences are paired by seed; the rule for a verdict is in
    :mod:`saccade.comparison.statistics`. The same call again resumes what is unfinished in its folder; other settings
    in the same folder are refused.

    Raises:
        InputError: Something given is wrong; nothing was changed.
        KeyboardInterrupt: Stopped by Ctrl-C; everything is saved and the same call resumes it.
    """
    refuse_unguarded()
    device = _device(options)
    default = find_demo(options.demo if options.data is None else None).arms
    arms = resolve_arms(options.mechanisms, options.preset, options.at, default)
    name_code(options.backbone)
    settings = Settings.decide(options, tuple(arm.label for arm in arms), device)
    out = options.out if options.out is not None else Path("saccade-compare") / _name(settings)
    with _mirrored(out, options) as mirror:
        return _compare_in(mirror.folder if mirror is not None else Path(out), settings, arms, mirror, options)


def _compare_in(
    folder: Path, settings: Settings, arms: tuple[Arm, ...], mirror: Mirror | None, options: CompareOptions
) -> Comparison | Forecast:
    """Do a comparison in a folder, which may have a copy at an address, or plan it."""
    overwrite, dry_run, progress = options.overwrite, options.dry_run, options.progress
    check_folder(folder)
    asked = Asked.by(options, folder)
    if not (overwrite or dry_run):
        refuse(folder, settings)
        if (folder / RESULTS).exists():
            _refuse_changed(folder, settings, shown=options.progress)
            return finished(folder)
    for package in ("timm", "torchvision", "jinja2", "PIL"):
        require(package, extra="train")
    if settings.tune is not None:
        require("optuna", extra="tune")
    _check_data(settings)
    new = not folder.exists()
    with _backend(settings, folder, len(arms) * settings.seeds, mirror) as backend:
        if dry_run:
            return forecast(settings, arms, backend.jobs, shown=progress, asked=asked)
        done = _compare(settings, arms, folder, backend, new, options)
    if mirror is not None:
        mirror.push(without=NOT_HERE)
        mirror.clear(CACHE)
    return done


@contextmanager
def _mirrored(out: str | os.PathLike[str], options: CompareOptions) -> Iterator[Mirror | None]:
    """A context of results at an address, with a folder here, into which those that are there are copied; or of None.

    Raises:
        InputError: There are files of something else, another comparison is running there, or the runs are not done on
            a cluster.
    """
    address = text_of(out)
    if not is_address(address):
        yield None
        return
    if options.cluster is None:
        raise InputError(
            f"--out {address}: an address is for runs on a cluster", "give a folder, or add --cluster auto"
        )
    mirror = Mirror(address, folder_of(address))
    mirror.refuse_foreign()
    if options.dry_run:
        yield mirror
        return
    say = partial(print, file=sys.stderr) if options.progress else lambda text: None
    with claimed(mirror, say=say):
        if options.overwrite:
            mirror.clear()
        else:
            mirror.pull(without=NOT_HERE)
        yield mirror


@contextmanager
def _backend(settings: Settings, folder: Path, runs: int, mirror: Mirror | None) -> Iterator[Backend]:
    """Where the runs are done: this machine, or a cluster, to which the connection lasts as long as the context."""
    if settings.cluster is None:
        yield Pool(folder, _devices(settings.device, settings.jobs, runs), registered())
        return
    from saccade.comparison.backends.ray import RayCluster, connected

    with connected(settings.cluster):
        yield RayCluster(
            folder, registered(), cpus=settings.cpus_per_run or 1, gpus=settings.gpus_per_run or 0,
            at_most=settings.jobs, mirror=mirror,
        )  # fmt: skip


def _device(options: CompareOptions) -> str:
    """The device of the runs.

    Raises:
        InputError: There is no such device, or it contradicts what is said of the cluster.
    """
    if options.cluster is None:
        for name in ("gpus_per_run", "cpus_per_run"):
            if getattr(options, name) is not None:
                raise InputError(f"{name} is for runs on a cluster", "add --cluster auto, or leave it out")
        return str(find_device(options.device, ("cpu", "cuda")))
    device = "cuda" if options.gpus_per_run else "cpu"
    if options.device not in ("auto", device):
        raise InputError(
            f"--device {options.device}: on a cluster gpus_per_run says where runs are done",
            "leave --device out, and give --gpus-per-run 1 for a GPU each",
        )
    if options.dry_run and device == "cuda":
        find_device(device)
    return device


def _compare(
    settings: Settings, arms: tuple[Arm, ...], folder: Path, backend: Backend, new: bool, options: CompareOptions
) -> Comparison:
    """Do what a comparison has left to do."""
    overwrite, progress = options.overwrite, options.progress
    with locked(folder, "comparison"), interrupt_on_signals(shown=True):
        try:
            experiment, found = _prepare(settings, arms, folder, overwrite=overwrite, shown=progress)
        except BaseException:
            if new:  # a mistake must not leave a folder that the corrected call would have to share
                shutil.rmtree(folder, ignore_errors=True)
            raise
        try:
            return _carry_out(experiment, found, backend, progress, options.command or settings.command_line(folder))
        except KeyboardInterrupt:
            print(f"\nstopped; {folder} keeps what is done: run the same command to resume", file=sys.stderr)
            raise


def _name(settings: Settings) -> str:
    """Return the name of the folder of results unless another is given."""
    if settings.data is not None:
        return name_of(settings.data)
    return "demo" if settings.demo is None else settings.demo


def finished(folder: Path) -> Comparison:
    """Return a comparison that was finished earlier; its report is written again if it is missing."""
    from saccade.report.build import build_report

    report = folder / REPORT
    return Comparison(folder, read_results(folder), report if report.exists() else build_report(folder))


def _refuse_changed(folder: Path, settings: Settings, *, shown: bool) -> None:
    """Refuse to show a finished comparison as that of data that have changed since."""
    if settings.data is None:
        return
    path = Path(settings.data)
    if not path.is_dir() and not is_shards(path):
        raise InputError(
            f"no such folder: {settings.data}", f"saccade report {folder} shows the comparison that was made of it"
        )
    with ComparisonProgress(shown=shown, steps=0) as speaking:
        found = folder_identity(path, folder / DATA, reading=Reading.of(settings), on_progress=speaking.counting)
    check_unchanged(folder, settings, found, hint=f"; saccade report {shlex.quote(str(folder))} shows the finished one")


def _prepare(
    settings: Settings, arms: tuple[Arm, ...], folder: Path, *, overwrite: bool, shown: bool
) -> tuple[Experiment, Arrays]:
    """Load the data, make every network once, and only then make the folder this comparison's."""
    from saccade.report.build import outputs_for_page

    with ComparisonProgress(shown=shown, steps=0) as speaking:
        data = load_data(settings, folder, speaking.counting)
        if settings.data is None:
            load_start(settings, folder, speaking.counting)
        experiment = decide(settings, arms, data, folder)
        resumed = not overwrite and begun(folder)
        experiment, data = experiment.standardising(data, resumed=resumed)
        for line in data.statement.lines():
            speaking.say(line)
        Trials(experiment, data).refuse_too_few()
        places = {arm.name: experiment.places(arm, data) for arm in experiment.arms}
        for arm, where in places.items():
            speaking.say(f"  {arm}: {', '.join(where) or 'the network as it is'}")
    if not resumed:
        clear(folder)
    refuse(folder, settings)
    outputs_for_page(folder)  # before the hours that end with it
    experiment.save(data)
    clear_temporary(folder)
    keep_plan(folder, Judging(experiment, experiment.task(data)).plan)
    write_json(folder / PLACES, places)
    write_json(folder / SETTINGS, settings.to_json())
    return experiment, data


def _carry_out(experiment: Experiment, data: Arrays, backend: Backend, shown: bool, command: str) -> Comparison:
    from saccade.report.build import build_report

    folder = experiment.folder
    judging = Judging(experiment, experiment.task(data))
    trials = Trials(experiment, data)
    left = _steps(experiment, judging.standing().at_most) + trials.steps_left
    with backend as pool, ComparisonProgress(shown=shown, steps=left) as showing:
        while not (now := judging.standing()).over:
            if now.news:
                showing.say(now.news)
            showing.expect(_steps(experiment, now.at_most) + trials.steps_left)
            starts, runs = _starts(experiment, now.needed), _runs(experiment, now.needed)
            pool.run([{"job": "start", "seed": seed} for seed in starts], showing.on_event)
            pool.run([{"job": "run", "arm": arm, "index": index} for arm, index in runs], showing.on_event)
        if now.news:
            showing.say(now.news)
        tuned = _tune(trials, pool, showing)
        showing.say("measuring costs")
        # One job at a time: concurrent work distorts the latencies.
        pool.run([{"job": "costs"}], showing.on_event)
        pool.run([{"job": "pictures"}], showing.on_event)
    verdicts = Verdicts(now.needed, judging.differences(), judging.plan, tuned)
    found = collect(experiment, data, verdicts, command=command, jobs=backend.jobs, measured_on=backend.measured_on)
    write_results(folder, found)
    report = build_report(folder)
    shutil.rmtree(folder / CACHE, ignore_errors=True)
    return Comparison(folder, found, report)


def _tune(trials: Trials, pool: Backend, showing: ComparisonProgress) -> tuple[Tuned, ...]:
    """Do the trials of all runs and the runs with the settings they chose; return what was found of each arm."""
    if not trials.count:
        return ()
    while jobs := trials.next_jobs():
        showing.expect(trials.steps_left)
        showing.say(f"{len(jobs)} trials")
        pool.run(jobs, showing.on_event)
    showing.expect(trials.steps_left)
    pool.run(trials.tuned_jobs(), showing.on_event)
    return trials.found()


def _steps(experiment: Experiment, seeds: Sequence[int]) -> int:
    """Training steps that are still to be done for these numbers of seeds of the arms."""
    starts, runs = _starts(experiment, seeds), _runs(experiment, seeds)
    return len(starts) * experiment.start_steps + len(runs) * experiment.steps


def _starts(experiment: Experiment, counts: Sequence[int]) -> list[int]:
    """Seeds of the shared starts that are still to be trained for the first seeds of each arm."""
    if not experiment.start_steps:
        return []
    seeds = {
        experiment.start_seed(experiment.seed(arm, i))
        for arm, count in zip(experiment.arms, counts, strict=True)
        for i in range(count)
    }
    read = partial(read_record, kind=StartResult)
    return [seed for seed in sorted(seeds) if not _done(experiment.start_folder(seed), read)]


def _runs(experiment: Experiment, counts: Sequence[int]) -> list[tuple[int, int]]:
    """Runs still to be done as (arm, index), seed by seed, so that an early stop leaves complete seeds."""
    every = [(number, index) for index in range(max(counts)) for number, count in enumerate(counts) if index < count]
    return [(n, i) for n, i in every if not _done(experiment.run_folder(experiment.arms[n], i), read_run)]


def _done(folder: Path, read: Callable[[Path], object]) -> bool:
    """Return whether a run is finished.

    Raises:
        InputError: Its result is damaged; better said now than when the others are done.
    """
    if not (folder / RESULT).exists():
        return False
    read(folder / RESULT)
    return True


def _check_data(settings: Settings) -> None:
    if settings.data is not None and not Path(settings.data).is_dir() and not is_shards(settings.data):
        raise InputError(f"no such folder: {settings.data}", "give the folder that holds the images")


def _devices(device: str, jobs: int | None, runs: int) -> list[str]:
    """The device of each worker: one worker per GPU, or one per core."""
    asked = torch.device(device)
    if asked.type == "cuda":
        every = [device] if asked.index is not None else [f"cuda:{i}" for i in range(torch.cuda.device_count())]
        return every[: min(jobs or len(every), runs)]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return [device] * min(jobs or cores, runs)
