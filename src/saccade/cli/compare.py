"""``saccade compare``: which attention helps on your data, by how much, at what cost."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import saccade
from saccade.cli.answer import Answer, Given
from saccade.cli.options import takes
from saccade.comparison.options import CompareOptions
from saccade.files import at_home
from saccade.synonyms import plain_word

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


def complete_pretrained(tokens: Sequence[str], flags: Collection[str] = (), positions: int | None = None) -> list[str]:
    """Give ``--pretrained`` its value: the weights that follow it, else timm's weights.

    What follows is weights if it is a file or the folder of a training, if its ending is that of weights, or if the
    command line names something else at every position there is; ``--pretrained=PATH`` stays.

    Args:
        tokens: The words of the command line, the command's name first.
        flags: Options without a value, with underscores.
        positions: Number of words that the command takes by position; None: any number.
    """
    completed: list[str] = []
    rest = list(tokens)
    others = _by_position(rest, flags)
    while rest:
        token = rest.pop(0)
        if token == "--":
            return [*completed, token, *rest]
        if token == "--pretrained":
            follows = bool(rest) and not rest[0].startswith("-")
            full = positions is not None and others > positions
            others -= follows and full
            given = rest.pop(0) if follows and (full or _is_weights(rest[0])) else TIMM
            token = f"--pretrained={given}"
        completed.append(token)
    return completed


def _by_position(tokens: Sequence[str], flags: Collection[str]) -> int:
    """Count the words of a command line that are neither options nor their values."""
    found = 0
    for number, token in enumerate(tokens[1:], 1):
        if token == "--":
            return found + len(tokens) - number - 1
        before = tokens[number - 1]
        valued = before.startswith("--") and "=" not in before and plain_word(before) not in {*flags, "pretrained"}
        found += not token.startswith("-") and (number == 1 or not valued)
    return found


def _is_weights(token: str) -> bool:
    """Return True for a file other than a picture, for the folder of a training, and for an ending of weights."""
    path = at_home(token)
    if path.is_dir():
        from saccade.runs.names import BEST, CHECKPOINTS, LAST, RUN

        return any((path / name).exists() for name in (BEST, LAST, CHECKPOINTS, RUN))
    # Of `saccade look --pretrained photo.jpg` the photograph is what to look at.
    picture = token.lower().endswith((".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif"))
    return token.lower().endswith(_WEIGHTS) or (path.is_file() and not picture)
