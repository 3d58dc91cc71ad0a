"""``saccade list``: the mechanisms there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from saccade.catalog import Cost, Entry, NaturalPlace, entries, list_mechanisms
from saccade.cli.answer import Answer, Given

if TYPE_CHECKING:
    from rich.table import Table

_COLUMNS = ("name", "attends", "place", "keeps", "nonlinear", "start", "params", "macs", "entries", "where")
_PAGE_COLUMNS = (*_COLUMNS, "paper", "held_to")
_HEADINGS = {"nonlinear": "non-linear", "macs": "MACs", "entries": "map entries", "held_to": "held to"}


def list_(
    *,
    table: bool = False,
    markdown: bool = False,
    html: bool = False,
    family: str | None = None,
    attends: str | None = None,
    settings: Given,
) -> Answer:
    """Name the attention mechanisms: saccade's own and those of installed plug-ins.

    Args:
        table: Show what each is: what it attends to, where it goes by itself, the resolution its branches keep, its
            non-linearities, whether it starts as the identity or is wrapped to, and its parameters, multiply-adds and
            attention map entries for C channels and N = H x W positions; divisions round down, to 1 at least.
        markdown: The same table for a page, with the papers and the published code whose numbers each reproduces.
        html: A page with a schematic of each, to be written to a file: `saccade list --html > list.html`.
        family: Only this family: `gate`, `position`, `channel`, `both`, `gather` or `control`.
        attends: Only what attends to this: `channel`, `spatial` or `both`.
    """
    known = entries()
    rows = [_row(known[name]) for name in list_mechanisms(family=family, attends=attends)]
    if markdown:
        return Answer(rows, _markdown(rows))
    if html:
        from saccade.report.listing import listing

        return Answer(rows, listing(rows))
    return Answer(rows, _draw(rows) if table else "\n".join(row["name"] for row in rows))


def _row(entry: Entry) -> dict[str, str]:
    cost = entry.cost or Cost("", "", "", "", "")
    return {
        "name": entry.name,
        "title": entry.title,
        "family": entry.family,
        "attends": entry.attends,
        "place": _in_words(entry.place),
        "keeps": cost.keeps,
        "nonlinear": cost.nonlinear,
        "start": "identity" if entry.identity else "wrapped",
        "params": cost.written(cost.params),
        "macs": cost.written(cost.macs),
        "entries": cost.written(cost.entries),
        "where": cost.written(cost.where),
        "paper": entry.paper,
        "held_to": entry.held_to,
    }


def _in_words(place: NaturalPlace) -> str:
    """As ``block, 1 of 2, at strides 8, 16``."""
    parts = [place.at]
    if place.every >= 100:
        parts.append("last of each stage")
    elif place.every > 1:
        parts.append(f"1 of {place.every}")
    if place.strides:
        parts.append(f"at strides {', '.join(map(str, place.strides))}")
    return ", ".join(parts)


def _heading(column: str) -> str:
    return _HEADINGS.get(column, column)


def _markdown(rows: list[dict[str, str]]) -> str:
    lines = [[_heading(column) for column in _PAGE_COLUMNS], ["---"] * len(_PAGE_COLUMNS)]
    lines += [[f"`{row['name']}`", *(row[column] or "-" for column in _PAGE_COLUMNS[1:])] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _draw(rows: list[dict[str, str]]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table()
    for column in _COLUMNS:
        table.add_column(_heading(column), no_wrap=column == "name", overflow="fold")
    for row in rows:
        table.add_row(*(Text(row[column] or "-") for column in _COLUMNS))
    return table
