"""Exported files in the place of networks: predicted and evaluated with like any other."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from saccade.data.reading import Reading
from saccade.errors import InputError, MissingExtraError, SaccadeWarning
from saccade.exporting.subject import FORMAT, OUTPUT
from saccade.exporting.targets import Session, of_file
from saccade.networks.statistics import IMAGENET, Statistics
from saccade.runs.open import Opened
from saccade.tasks import from_json

_OURS = "write it with saccade export"


class ExportedNetwork(nn.Module):
    """A file in its runtime, as a function of tensors.

    Args:
        session: The open file.
        file: Its name, for messages.
        about: What it says of itself.
    """

    def __init__(self, session: Session, file: Path, about: Mapping[str, Any]) -> None:
        super().__init__()
        self._session, self._file, self._about = session, file, about
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        free = self._about["free"]
        if "height" not in free and list(x.shape[2:]) != self._about["size"]:
            height, width = self._about["size"]
            raise InputError(
                f"{self._file}: takes images of {height} x {width} only; received {x.shape[2]} x {x.shape[3]}",
                "export it without --size, or give images of that size",
            )
        if self._about["pre"]:
            x = _as_bytes(x, self._about["statistics"])
        given = x.detach().cpu().contiguous()
        parts = list(given[:, None].unbind(0)) if "batch" not in free else (given,)
        try:
            found = [torch.from_numpy(self._session.outputs(part.numpy())[-1]) for part in parts]
        except Exception as cause:  # runtimes raise anything
            raise InputError(
                f"{self._file}: its runtime failed on {tuple(given.shape)}: {' '.join(str(cause).split())[:300]}",
                "export it again; if that was verified, this is a fault of the runtime",
            ) from cause
        return torch.cat(found).to(x.device)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of its example."""
        height, width = self._about["size"]
        return height, width

    def extra_repr(self) -> str:
        return str(self._file)


def open_exported(path: Path) -> Opened:
    """Open a file that ``saccade export`` wrote.

    Raises:
        InputError: It is missing or damaged, another program wrote it, or its runtime refuses it.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file", "give what saccade export wrote")
    kind = of_file(path)
    try:
        session = kind.open(path)
        about = dict(session.about)
    except MissingExtraError:
        raise
    except InputError as cause:
        raise InputError(f"{path}: {cause.message}", cause.hint) from cause
    except Exception as cause:
        raise InputError(
            f"{path}: its runtime refuses it: {type(cause).__name__}: {' '.join(str(cause).split())[:300]}",
            "the file is damaged, or of another version: export it again",
        ) from cause
    if not about:
        raise InputError(f"{path}: saccade did not write it, so its classes and sizes are not known", _OURS)
    try:
        if about["format"] != FORMAT:
            raise InputError(f"{path}: a later saccade wrote it", "install that version")
        if about["post"] and about.get("outputs", [])[-1:] != [OUTPUT]:
            raise InputError(
                f"{path}: it returns predictions alone, from which protocols and scores cannot start",
                "export it again: files of this version have the output of the network too",
            )
        known = None if about["task"] is None else from_json(about["task"])
        reading = Reading.from_json(about["reading"] or {})
        height, width = (int(side) for side in about["size"])
        checked = {
            "free": [str(axis) for axis in about["free"]], "size": [height, width], "pre": bool(about["pre"]),
            "statistics": IMAGENET if known is None else known.statistics,
        }  # fmt: skip
        name, source = str(about["name"]), Path(about["source"] or path)
    except InputError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as cause:
        raise InputError(f"{path}: what it says of itself is damaged ({cause!r})", _OURS) from cause
    if about["source"] and not source.exists():
        warnings.warn(
            f"{path}: the training at {source} is no longer there, so images that it trained on are not told apart",
            SaccadeWarning,
            stacklevel=2,
        )
    return Opened(path, ExportedNetwork(session, path, checked), name, known, reading, exported=True, source=source)


def _as_bytes(x: Tensor, statistics: Statistics) -> Tensor:
    """Return images that were standardised as the bytes they were."""
    mean, std = (torch.tensor(part, device=x.device).view(1, 3, 1, 1) for part in (statistics.mean, statistics.std))
    return (255 * (x * std + mean)).round().clamp(0, 255).to(torch.uint8)
