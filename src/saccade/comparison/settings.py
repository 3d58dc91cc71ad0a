"""What was asked for, and the folder it is done in: claimed by one comparison, refused to another."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from saccade.data.identity import RECORD
from saccade.errors import InputError
from saccade.files import LOCK, read_json
from saccade.ops import chosen

SETTINGS = "settings.json"
RESULTS = "results.json"
CACHE = "cache"
PLACES = "places.json"


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


def refuse(folder: Path, settings: Settings) -> None:
    """Refuse a folder that belongs to something else; changes nothing.

    Raises:
        InputError: The folder holds another comparison (the differing settings are named), or other files.
    """
    path = folder / SETTINGS
    if path.exists():
        before, now = read_json(path), settings.to_json()
        differing = [f"{k}: {before.get(k)!r} there, {now[k]!r} now" for k in now if before.get(k) != now[k]]
        if differing:
            raise InputError(
                f"{folder} holds a comparison with other settings ({'; '.join(differing)})",
                "choose another folder with --out, or start anew with --overwrite",
            )
    elif folder.exists() and any(entry.name not in (LOCK, CACHE, RECORD) for entry in folder.iterdir()):
        raise InputError(f"{folder} is not empty and holds no comparison", "choose another folder with --out")


def clear(folder: Path) -> None:
    """Delete a comparison from its folder; anything else there stays.

    Raises:
        InputError: The folder holds no comparison, or something could not be deleted.
    """
    if not (folder / SETTINGS).exists():
        return
    try:
        for name in (RESULTS, "report.html", "experiment.json", RECORD, PLACES, "costs.json"):
            (folder / name).unlink(missing_ok=True)
        for inside in ("runs", "start", "pictures", "logs"):
            if (folder / inside).exists():
                shutil.rmtree(folder / inside)
        (folder / SETTINGS).unlink()
    except OSError as cause:
        raise InputError(f"{folder} could not be cleared: {cause}", "choose another folder with --out") from cause
