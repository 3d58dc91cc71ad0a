"""``saccade compare``: which attention helps on your data, by how much, at what cost."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import saccade
from saccade.cli.answer import Answer, Given
from saccade.cli.options import takes
from saccade.comparison.options import CompareOptions

_WEIGHTS = (".pth", ".pt", ".bin", ".safetensors")
TIMM = "timm"


@takes(CompareOptions)
def compare(data: str | None = None, /, *, settings: Given, **given: Any) -> Answer:
    """Train a network with each attention mechanism and without, and say which helped, by how much, at what cost.

    Without DATA it runs on an embedded demo: no download, minutes on a laptop. Every arm sees the same data in the same
    order from the same start, once for each seed. It ends with a table and the path of `report.html`. The same command
    again resumes what is unfinished.

    - `saccade compare --quick` shows it on the demo
    - `saccade compare photos --pretrained --dry-run` says what it would train on your photos, and how long that takes
    - `saccade compare photos --mechanisms "none,se,cbam[reduction=8]"` chooses what is compared
    """
    # Repeating the printed command must not delete results.
    command = settings.command.replace(" --overwrite", "")
    result = saccade.compare(data, **pretrained_of(given), progress=not settings.quiet, command=command)
    page = f"\n\n{result.report}" if result.report else ""
    return Answer(result.to_json(), result.table() + page)


def pretrained_of(given: dict[str, Any]) -> dict[str, Any]:
    """Return the options with the word that stands for timm's weights replaced by True."""
    return given | {"pretrained": True} if given.get("pretrained") == TIMM else given


def complete_pretrained(tokens: Sequence[str]) -> list[str]:
    """Give ``--pretrained`` its value: the weights file that follows it, else timm's weights.

    What follows is the file when such a file exists or its ending is that of weights; ``--pretrained=FILE`` stays.
    """
    completed: list[str] = []
    rest = list(tokens)
    while rest:
        token = rest.pop(0)
        if token == "--":
            return [*completed, token, *rest]
        if token == "--pretrained":
            given = rest.pop(0) if rest and _is_weights(rest[0]) else TIMM
            token = f"--pretrained={given}"
        completed.append(token)
    return completed


def _is_weights(token: str) -> bool:
    if token.startswith("-"):
        return False
    # Of `saccade look --pretrained photo.jpg` the photograph is what to look at.
    picture = token.lower().endswith((".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif"))
    return token.lower().endswith(_WEIGHTS) or (Path(token).is_file() and not picture)
