"""``saccade list``: the mechanisms there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from saccade.cli.answer import Answer, Given

if TYPE_CHECKING:
    from rich.table import Table

    from saccade.catalog import Entry, Placement

_COLUMNS = ("name", "family", "attends", "place", "paper", "held_to")


def list_(*, table: bool = False, family: str | None = None, attends: str | None = None, settings: Given) -> Answer:
    """Name the attention mechanisms.

    Args:
        table: Show what each is: family, what it attends to, where it goes by itself, its paper, and the published code
            whose numbers it reproduces.
        family: Only this family: `gate`, `position`, `channel`, `both`, `gather` or `control`.
        attends: Only what attends to this: `channel`, `spatial` or `both`.
    """
    from saccade.catalog import CATALOG, list_mechanisms

    entries = [CATALOG[name] for name in list_mechanisms(family=family, attends=attends)]
    rows = [_row(entry) for entry in entries]
    return Answer(rows, _draw(rows) if table else "\n".join(entry.name for entry in entries))


def _row(entry: Entry) -> dict[str, str]:
    values = (entry.name, entry.family, entry.attends, _in_words(entry.place), entry.paper, entry.held_to)
    return dict(zip(_COLUMNS, values, strict=True)) | {"title": entry.title}


def _in_words(place: Placement) -> str:
    """As ``block, 1 of 2, at strides 8, 16``."""
    parts = [place.at]
    if place.every > 1:
        parts.append(f"1 of {place.every}")
    if place.strides:
        parts.append(f"at strides {', '.join(map(str, place.strides))}")
    return ", ".join(parts)


def _draw(rows: list[dict[str, str]]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table()
    for column in _COLUMNS:
        table.add_column(column.replace("_", " "), no_wrap=column == "name", overflow="fold")
    for row in rows:
        table.add_row(*(Text(row[column] or "-") for column in _COLUMNS))
    return table
