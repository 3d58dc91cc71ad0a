"""What was asked for, and the folder it is done in: claimed by one comparison, refused to another."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from saccade.errors import InputError
from saccade.ops import chosen
from saccade.runs.folder import Owned
from saccade.runs.names import (
    CACHE,
    COSTS,
    DATA,
    EXPERIMENT,
    LOCK,
    LOGS,
    PICTURES,
    PLACES,
    REPORT,
    RESULTS,
    RUNS,
    SETTINGS,
    SPLIT,
    START,
)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The question as asked; None stands for "the default", which is decided once the data are known."""

    data: str | None
    mechanisms: tuple[str, ...]
    backbone: str
    pretrained: bool | str
    at: str | None
    seeds: int
    steps: int | None
    epochs: float | None
    size: int
    batch: int | None
    device: str
    control_params: bool
    fresh_start: bool
    scenes: int = 0
    ops: Mapping[str, str] = field(default_factory=lambda: chosen().to_json())
    """Which of several equal ways operations take, see :func:`saccade.ops.tune`; others would end in other bits."""

    def __post_init__(self) -> None:
        for name in ("seeds", "steps", "size", "batch"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
                raise InputError(f"{name} must be a whole number of at least 1; received {value!r}")
        if self.epochs is not None and not self.epochs > 0:
            raise InputError(f"epochs must be above 0; received {self.epochs!r}")
        if self.steps is not None and self.epochs is not None:
            raise InputError("give steps or epochs, not both")
        if not isinstance(self.scenes, int) or self.scenes < 0:
            raise InputError(f"scenes must be a whole number of at least 0; received {self.scenes!r}")
        if self.size < 32:
            raise InputError(f"size must be at least 32 pixels; received {self.size}")

    def command(self, folder: Path) -> str:
        """The command line that does this comparison in `folder`."""
        words = ["saccade", "compare"] + ([self.data] if self.data else [])
        words += ["--mechanisms", ",".join(self.mechanisms), "--seeds", str(self.seeds)]
        if self.data:
            words += ["--backbone", self.backbone, "--size", str(self.size)]
        if self.pretrained:
            words += ["--pretrained"] if self.pretrained is True else ["--pretrained", self.pretrained]
        words += ["--device", self.device]
        for name in ("at", "steps", "epochs", "batch"):
            value = getattr(self, name)
            words += [f"--{name}", str(value)] if value is not None else []
        words += ["--control-params"] * self.control_params + ["--fresh-start"] * self.fresh_start
        words += ["--scenes", str(self.scenes)] if self.scenes else []
        return shlex.join([*words, "--out", str(folder)])

    def to_json(self) -> dict[str, Any]:
        """Plain values, in a fixed order."""
        return asdict(self) | {"mechanisms": list(self.mechanisms)}


def owned(folder: Path) -> Owned:
    """The folder of a comparison."""
    return Owned(folder, "comparison", SETTINGS, (LOCK, CACHE))


def refuse(folder: Path, settings: Settings) -> None:
    """Refuse a folder that belongs to something else; changes nothing.

    Raises:
        InputError: The folder holds another comparison (the differing settings are named), or other files.
    """
    place = owned(folder)
    place.refuse_foreign()
    if place.claimed:
        place.refuse_other(place.read(), settings.to_json())


def clear(folder: Path) -> None:
    """Delete a comparison from its folder; anything else there stays.

    Raises:
        InputError: Something could not be deleted.
    """
    owned(folder).clear((RESULTS, REPORT, EXPERIMENT, PLACES, COSTS, DATA, SPLIT), (RUNS, START, PICTURES, LOGS))
