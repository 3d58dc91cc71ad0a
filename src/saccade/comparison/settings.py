"""Settings of a comparison, and its folder: claimed by one comparison, refused to another."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from saccade.comparison.demos import find_demo
from saccade.comparison.options import (
    DEFAULT_BACKBONE,
    DEFAULT_SEEDS,
    DEFAULT_SIZE,
    QUICK_SEEDS,
    CompareOptions,
)
from saccade.data.reading import Reading
from saccade.data.shard_names import plain_data
from saccade.errors import InputError
from saccade.files import at_home
from saccade.ops import chosen
from saccade.outputs import RECORD
from saccade.runs.folder import Owned
from saccade.runs.names import (
    CACHE,
    CHECKPOINTS,
    COSTS,
    DATA,
    EXPERIMENT,
    LAST,
    LOCK,
    LOGS,
    NODES,
    PICTURES,
    PLACES,
    PLAN,
    REPORT,
    RESULT,
    RESULTS,
    RUNS,
    SETTINGS,
    SPLIT,
    START,
    TRIALS,
    TUNED,
)
from saccade.runs.records import SettingsRecord, read_record

# Simulated by `benchmarks.sequential.look_and_add`, one arm, 20,000 tables: 8.3% wrong claims instead of 4.9%.
MORE_SEEDS = (
    "the number of seeds is fixed before the first run: looking at the result of 5 and then adding 3 makes a wrong "
    "claim 1.7 times as likely; choose another folder with --out, or let --sequential decide with --seeds "
    "as the largest number"
)


@dataclass(frozen=True, kw_only=True)
class Settings(CompareOptions):
    """The options of a comparison with everything decided that does not depend on the data.

    What depends on the data, such as the number of steps, stays None until the data are known.
    """

    data: str | None = None
    """Absolute path of the folder; None for the demo."""
    mechanisms: tuple[str, ...]
    """Labels of all arms."""
    backbone: str
    """Name of the network."""
    pretrained: bool | str = False
    """True if timm's weights are loaded, or the absolute path of a file."""
    seeds: int
    """Runs of each arm."""
    size: int
    """Side of the images in pixels."""
    ops: Mapping[str, str] = field(default_factory=lambda: chosen().to_json())
    """Implementations of operations, see :func:`saccade.ops.tune`; others would give other bits."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps is not None and self.epochs is not None:
            raise InputError("give steps or epochs, not both")
        if self.tune is not None and self.sequential:
            raise InputError(
                "tune and sequential: stages are planned for one table, and tuning makes two", "leave one out"
            )
        if self.tune is not None and self.learning_rate == 0:
            raise InputError("tune: a learning rate of 0 has no neighbours to try", "leave --learning-rate out")

    @classmethod
    def decide(cls, options: CompareOptions, mechanisms: tuple[str, ...], device: str) -> Settings:
        """Fill in the defaults.

        Args:
            options: Options as given.
            mechanisms: Labels of the arms they name.
            device: The device they name, found.

        Raises:
            InputError: Options of the demo with a folder, or the other way round; a value out of range.
        """
        demo, pretrained = options.data is None, options.pretrained
        if options.demo is not None and not demo:
            raise InputError(f"--demo {options.demo} and a folder: give one of them")
        own = find_demo(options.demo)
        if demo and (
            options.backbone not in (None, own.name)
            or pretrained
            or options.size not in (None, own.size)
            or options.augment
        ):
            raise InputError(
                "the demo has its own network, size and images: backbone, pretrained, size and augment are for yours",
                "give a folder: saccade compare DATA --backbone ...",
            )
        if not demo and (options.fresh_start or options.scenes):
            raise InputError(
                "fresh_start and scenes belong to the demo; on your data each seed has its own initial weights"
            )
        decided = {
            "data": None if options.data is None else plain_data(options.data),
            "mechanisms": mechanisms,
            "backbone": options.backbone or (own.name if demo else DEFAULT_BACKBONE),
            "pretrained": pretrained if isinstance(pretrained, bool) else str(at_home(pretrained).resolve()),
            "seeds": options.seeds if options.seeds is not None else QUICK_SEEDS if options.quick else DEFAULT_SEEDS,
            "size": options.size if options.size is not None else own.size if demo else DEFAULT_SIZE,
            "device": device,
        }
        if demo and Reading.of(options).changed():
            names = ", ".join(Reading.of(options).changed())
            raise InputError(f"{names}: how a folder is read; the demo has none", "give a folder: saccade compare DATA")
        asked = {one.name: getattr(options, one.name) for one in fields(options) if one.init}
        return cls(**asked | decided)

    def command_line(self, folder: Path) -> str:
        """Return the command line that does this comparison in `folder`."""
        words = self.words(without=() if self.data else ("backbone", "size"))  # the demo has its own
        return shlex.join(["saccade", "compare", *words, "--out", str(folder)])

    def to_json(self) -> dict[str, Any]:
        """Return the values that decide the result, as plain values in a fixed order."""
        return self.recorded()


def owned(folder: Path) -> Owned:
    """The folder of a comparison."""
    return Owned(folder, "comparison", SETTINGS, (LOCK, CACHE, RECORD))


def refuse(folder: Path, settings: Settings) -> None:
    """Refuse a folder that belongs to something else; changes nothing.

    Raises:
        InputError: The folder holds another comparison (the differing settings are named), or other files.
    """
    place = owned(folder)
    place.refuse_foreign()
    if place.claimed and begun(folder):
        read_record(folder / SETTINGS, SettingsRecord)
        before, now = place.read(), settings.to_json()
        place.refuse_other(before, now, *[MORE_SEEDS][: before.get("seeds") != now["seeds"]])


def begun(folder: Path) -> bool:
    """Return True if a folder keeps something of a comparison; until then it belongs to none."""
    kept = [
        f"{runs}/{name}" for runs in (f"{RUNS}/*/*", f"{START}/*") for name in (LAST, RESULT, f"{CHECKPOINTS}/[!.]*")
    ]
    return (folder / RESULTS).exists() or any(any(folder.glob(pattern)) for pattern in kept)


def clear(folder: Path) -> None:
    """Delete a comparison from its folder; anything else there stays.

    Raises:
        InputError: Something could not be deleted.
    """
    files = (RESULTS, REPORT, EXPERIMENT, PLACES, PLAN, COSTS, DATA, SPLIT, NODES)
    owned(folder).clear(files, (RUNS, TRIALS, TUNED, START, PICTURES, LOGS))
