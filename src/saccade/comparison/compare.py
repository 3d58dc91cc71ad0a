"""``saccade.compare``: which attention helps on these data, by how much, at what cost."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from saccade.comparison import results as results_module
from saccade.comparison.arms import Arm, resolve_arms
from saccade.comparison.experiment import Experiment, check_data, decide, identify_data, load_data, load_start
from saccade.comparison.forecast import Forecast, forecast
from saccade.comparison.pool import Pool
from saccade.comparison.progress import Progress
from saccade.comparison.settings import CACHE, PLACES, RESULTS, SETTINGS, Settings, clear, refuse
from saccade.comparison.worker import RESULT
from saccade.data import Dataset
from saccade.data.identity import RECORD
from saccade.errors import InputError, require
from saccade.files import locked, read_json, write_json
from saccade.networks.make import DEMO

DEFAULT_SEEDS, QUICK_SEEDS = 5, 3
DEMO_SIZE, DEFAULT_SIZE = 96, 160


@dataclass(frozen=True)
class Comparison:
    """A finished comparison.

    Args:
        folder: Where it is kept.
        results: The content of ``results.json``.
        report: The page, if it was made.
    """

    folder: Path
    results: dict[str, Any]
    report: Path | None

    def table(self) -> str:
        """Arms, scores, differences, verdicts and costs as lines of text."""
        return results_module.table(self.results)

    def __str__(self) -> str:
        return self.table()


def compare(
    data: str | os.PathLike[str] | None = None,
    mechanisms: str | Sequence[str | Mapping[str, Any]] | None = None,
    *,
    preset: str | None = None,
    backbone: str | None = None,
    pretrained: bool | str | os.PathLike[str] = False,
    at: str | None = None,
    seeds: int | None = None,
    quick: bool = False,
    steps: int | None = None,
    epochs: float | None = None,
    size: int | None = None,
    batch: int | None = None,
    device: str = "auto",
    out: str | os.PathLike[str] | None = None,
    jobs: int | None = None,
    control_params: bool = False,
    fresh_start: bool = False,
    scenes: int = 0,
    overwrite: bool = False,
    dry_run: bool = False,
    progress: bool = True,
    command: str | None = None,
) -> Comparison | Forecast:
    """Train the same network with each attention mechanism and with none, several times, and say which helps.

    For each seed all arms share the split, the order of the batches and the initial weights of everything but the
    mechanism, which starts as the identity. Differences are paired by seed; the rule for a verdict is in
    :mod:`saccade.comparison.statistics`.

    Args:
        data: A folder of images (``train/CLASS``, or one folder a class; or ``images/`` and ``masks/``); None: the
            demo.
        mechanisms: Arms: names with options, ``"psa[variant=sequential]"``, or dicts with ``name``. ``"none"`` is the
            control and is added when missing. A name given twice is a second arm on seeds of its own.
        preset: The arms of an ablation of the literature, see `saccade.catalog.PRESETS`.
        backbone: A timm name; ``resnet18`` by default, the demo has a network of its own.
        pretrained: True: timm's weights; a path: a local file.
        at: Place of every mechanism, see :func:`saccade.insert`; by default each mechanism's natural place.
        seeds: Runs of each arm, 5 by default; fewer than 3 allow no verdict.
        quick: 3 seeds.
        steps: Of each run; by default 300 on the demo, else 10 epochs, at least 200 and at most 2,000 steps.
        epochs: Instead of `steps`.
        size: Side of the images in pixels; 160 by default. The demo's scenes have 96.
        batch: Images a step; 16 on the demo, 32 for classification, 8 for segmentation by default.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``.
        out: Folder for everything that is written; ``saccade-compare/NAME`` by default. The same call again goes on
            where it stopped; other settings in the same folder are refused.
        jobs: Runs at a time: by default one a core, one a GPU on CUDA.
        control_params: Add the arm ``conv3x3``, a zero-started convolution with at least as many parameters as the
            largest mechanism.
        fresh_start: The demo only: each seed gets a shared start of its own.
        scenes: The demo only: another number draws other scenes, to see that the answer does not hang on these.
        overwrite: Delete what is in `out` and start anew.
        dry_run: Only say what would be done and how long it would take.
        progress: Show progress on stderr.
        command: The command line to print in the report; by default the equivalent one.

    Raises:
        InputError: Something given is wrong; nothing was changed.
        KeyboardInterrupt: Stopped by Ctrl-C; everything is saved and the same call goes on.
    """
    arms = resolve_arms(mechanisms, preset, at)
    if data is None and (backbone not in (None, DEMO) or pretrained or size not in (None, DEMO_SIZE)):
        raise InputError(
            "the demo has its own network and size: backbone, pretrained and size need data of yours",
            "give a folder: saccade compare DATA --backbone ...",
        )
    if data is not None and (fresh_start or scenes):
        raise InputError(
            "fresh_start and scenes belong to the demo; on your data each seed has its own initial weights"
        )
    demo = data is None
    settings = Settings(
        data=None if data is None else str(Path(data).expanduser().resolve()),
        mechanisms=tuple(arm.label for arm in arms),
        backbone=backbone or (DEMO if demo else "resnet18"),
        pretrained=pretrained if isinstance(pretrained, bool) else str(Path(pretrained).expanduser().resolve()),
        at=at,
        seeds=seeds if seeds is not None else QUICK_SEEDS if quick else DEFAULT_SEEDS,
        steps=steps,
        epochs=epochs,
        size=size if size is not None else DEMO_SIZE if demo else DEFAULT_SIZE,
        batch=batch,
        device=_device(device),
        control_params=control_params,
        fresh_start=fresh_start,
        scenes=scenes,
    )
    folder = Path(out) if out is not None else Path("saccade-compare") / Path(settings.data or "demo").name
    if not (overwrite or dry_run):
        refuse(folder, settings)
        if (folder / RESULTS).exists():
            _check_finished(settings, folder, shown=progress)
            return finished(folder)
    for package in ("timm", "torchvision", "jinja2", "PIL"):
        require(package, extra="train")
    _check_folder(settings)
    devices = _devices(settings.device, jobs, len(arms) * settings.seeds)
    if dry_run:
        return forecast(settings, arms, len(devices), shown=progress)
    new = not folder.exists()
    with locked(folder, "comparison"), _terminated_like_interrupted():
        try:
            experiment, found = _prepare(settings, arms, folder, overwrite=overwrite, shown=progress)
        except BaseException:
            if new:  # a mistake must not leave a folder that the corrected call would have to share
                shutil.rmtree(folder, ignore_errors=True)
            raise
        try:
            return _carry_out(experiment, found, devices, progress, command or settings.command(folder))
        except KeyboardInterrupt:
            print(f"\nstopped; {folder} keeps what is done: the same command goes on from there", file=sys.stderr)
            raise


def finished(folder: Path) -> Comparison:
    """A comparison done earlier; its page is made again if it is missing."""
    from saccade.report.build import build_report

    report = folder / "report.html"
    return Comparison(folder, read_json(folder / RESULTS), report if report.exists() else build_report(folder))


def _prepare(
    settings: Settings, arms: tuple[Arm, ...], folder: Path, *, overwrite: bool, shown: bool
) -> tuple[Experiment, Dataset]:
    """Load the data, make every network once, and only then make the folder this comparison's."""
    with Progress(shown=shown, steps=0) as speaking:
        identity = identify_data(settings, folder, speaking.counting)
        if not overwrite:
            check_data(settings, folder, identity)
            identity.write(folder / RECORD)
        data = load_data(settings, folder, speaking.counting, identity)
        if settings.data is None:
            load_start(settings, folder, speaking.counting)
        speaking.say(data.note)
        experiment = decide(settings, arms, data, folder)
        places = {arm.name: experiment.places(arm, data) for arm in experiment.arms}
        for arm, where in places.items():
            speaking.say(f"  {arm}: {', '.join(where) or 'the network as it is'}")
    if overwrite:
        clear(folder)
    refuse(folder, settings)
    experiment.save()
    identity.write(folder / RECORD)
    write_json(folder / PLACES, places)
    write_json(folder / SETTINGS, settings.to_json())
    return experiment, data


def _carry_out(experiment: Experiment, data: Dataset, devices: list[str], shown: bool, command: str) -> Comparison:
    from saccade.report.build import build_report

    folder = experiment.folder
    starts, runs = _starts(experiment), _runs(experiment)
    left = len(starts) * experiment.start_steps + len(runs) * experiment.steps
    with Pool(folder, devices) as pool, Progress(shown=shown, steps=left) as showing:
        pool.run([{"job": "start", "seed": seed} for seed in starts], showing.on_event)
        pool.run([{"job": "run", "arm": arm, "index": index} for arm, index in runs], showing.on_event)
        showing.say("measuring costs")
        # Alone and one after the other: a run beside it would be in the latencies.
        pool.run([{"job": "costs"}], showing.on_event)
        pool.run([{"job": "pictures"}], showing.on_event)
    found = results_module.collect(experiment, data, command=command, jobs=len(devices))
    write_json(folder / RESULTS, found)
    report = build_report(folder)
    shutil.rmtree(folder / CACHE, ignore_errors=True)
    return Comparison(folder, found, report)


def _starts(experiment: Experiment) -> list[int]:
    """Seeds of the shared starts that are still to be trained."""
    if not experiment.start_steps:
        return []
    seeds = {
        experiment.start_seed(experiment.seed(arm, i))
        for arm in experiment.arms
        for i in range(experiment.settings.seeds)
    }
    return [seed for seed in sorted(seeds) if not (experiment.start_folder(seed) / RESULT).exists()]


def _runs(experiment: Experiment) -> list[tuple[int, int]]:
    """(arm, index) of the runs still to be done, seed by seed, so that an early stop leaves whole seeds."""
    every = [(number, index) for index in range(experiment.settings.seeds) for number in range(len(experiment.arms))]
    return [(n, i) for n, i in every if not (experiment.run_folder(experiment.arms[n], i) / RESULT).exists()]


def _check_folder(settings: Settings, hint: str = "give the folder that holds the images") -> None:
    if settings.data is not None and not Path(settings.data).is_dir():
        raise InputError(f"no such folder: {settings.data}", hint)


def _check_finished(settings: Settings, folder: Path, *, shown: bool) -> None:
    """Refuse to show a finished comparison as one of data that are no longer those it was made on."""
    instead = f"saccade report {shlex.quote(str(folder))} shows the finished comparison"
    _check_folder(settings, instead)
    with Progress(shown=shown, steps=0) as speaking:
        check_data(settings, folder, identify_data(settings, folder, speaking.counting), hint=f"; {instead}")


def _device(asked: str) -> str:
    if asked == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        kind = torch.device(asked).type
    except RuntimeError:
        kind = "unknown"
    if kind not in ("cpu", "cuda"):
        raise InputError(f"unknown device {asked!r}", "use auto, cpu, cuda, or one GPU such as cuda:1")
    if kind == "cuda" and not torch.cuda.is_available():
        raise InputError(f"device {asked!r}: torch sees no GPU here", "use --device cpu, or see saccade doctor")
    return asked


def _devices(device: str, jobs: int | None, runs: int) -> list[str]:
    """The device of each worker: one a GPU, or one a core."""
    if jobs is not None and jobs < 1:
        raise InputError(f"jobs must be at least 1; received {jobs}")
    asked = torch.device(device)
    if asked.type == "cuda":
        every = [device] if asked.index is not None else [f"cuda:{i}" for i in range(torch.cuda.device_count())]
        return every[: min(jobs or len(every), runs)]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return [device] * min(jobs or cores, runs)


@contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """SIGTERM, which pre-emptible machines send, is treated as Ctrl-C."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
