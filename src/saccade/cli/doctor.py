"""``saccade doctor``: whether what is installed works, and how to repair it."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from saccade.cli.answer import DONE, FOUND_WRONG, Answer, Given

if TYPE_CHECKING:
    from rich.table import Table

    from saccade.installation import Check

_COLOURS = {"ok": "green", "missing": "yellow", "broken": "red"}


def doctor(*, settings: Given) -> Answer:
    """Check the installation and say how to repair it.

    It looks at Python, torch with torchvision, the packages of each extra, GPU, Chromium, compiler and disk space, and
    takes some seconds, because it imports the packages. What is missing is optional; what is broken makes the exit
    status 1.
    """
    from saccade.installation import check_installation

    checks = check_installation()
    broken = [check.name for check in checks if check.state == "broken"]
    data = {"ok": not broken, "checks": [asdict(check) for check in checks]}
    return Answer(data, _draw(checks), FOUND_WRONG if broken else DONE)


def _draw(checks: list[Check]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    for check in checks:
        table.add_row(Text(check.state, style=_COLOURS[check.state]), Text(check.name), Text(check.found))
        if check.repair:
            table.add_row("", "", Text(f"repair: {check.repair}"))
    return table
