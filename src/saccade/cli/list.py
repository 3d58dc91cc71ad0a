"""``saccade list``: the mechanisms there are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from saccade.catalog import Cost, Entry, NaturalPlace, entries, list_mechanisms
from saccade.cli.answer import Answer, Given
from saccade.cli.options import default
from saccade.errors import InputError

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
    family: Annotated[str | None, default("all")] = None,
    attends: Annotated[str | None, default("all")] = None,
    recipes: bool = False,
    settings: Given,
) -> Answer:
    """Name the attention mechanisms, saccade's own and those of plug-ins; or show the recipes of training.

    Args:
        table: Show what each is: what it attends to, where it goes by itself, the resolution its branches keep, its
            non-linearities, whether it starts as the identity or is wrapped to, and its parameters, multiply-adds and
            attention map entries for C channels and N = H x W positions; divisions round down, to 1 at least.
        markdown: Print the same table in Markdown, with the papers, and the published code whose numbers each
            reproduces.
        html: Print a page with a schematic of each: `saccade list --html > list.html`.
        family: The family to show: `gate`, `position`, `channel`, `both`, `gather` or `control`.
        attends: Attention of the mechanisms to show: `channel`, `spatial` or `both`.
        recipes: Show every value of the recipes of `saccade train`, each with its source, instead of the mechanisms;
            with `--markdown` as tables for a page.
    """
    if recipes:
        if table or html or family or attends:
            raise InputError("list: --recipes goes with --markdown only", "leave the other options out")
        return _recipes(markdown=markdown)
    known = entries()
    rows = [_row(known[name]) for name in list_mechanisms(family=family, attends=attends)]
    if markdown:
        return Answer(rows, _markdown(rows))
    if html:
        from saccade.report.listing import listing

        return Answer(rows, listing(rows))
    return Answer(rows, _draw(rows) if table else "\n".join(row["name"] for row in rows))


def _recipes(*, markdown: bool) -> Answer:
    from saccade.training.recipes import RECIPES

    data, lines = [], []
    for name, recipe in RECIPES.items():
        title = f"{name} ({recipe.task})"
        rows = [(option, _written(value), source) for option, value, source in recipe.rows()]
        values = {option: {"value": value, "source": source} for option, value, source in recipe.rows()}
        data.append({"name": name, "task": recipe.task, "about": recipe.about, "values": values})
        lines += [
            f"## {title}" if markdown else title,
            *[""] * markdown,
            f"{'' if markdown else '  '}{recipe.about}",
            "",
        ]
        if markdown:
            lines += ["| option | value | source |", "|---|---|---|"]
            lines += [f"| `{_flag(option)}` | {value} | {source} |" for option, value, source in rows]
        else:
            lines += [f"  {_flag(option):<18} {value:<12} {source}" for option, value, source in rows]
        lines.append("")
    return Answer(data, "\n".join(lines[:-1]))


def _flag(option: str) -> str:
    return "--lr-factor" if option == "lr_factors" else f"--{option.replace('_', '-')}"


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return ", ".join(f"{pattern}={factor:g}" for pattern, factor in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


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
    """Write a place as ``block, 1 of 2, at strides 8, 16``."""
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
