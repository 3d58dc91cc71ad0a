"""The page of ``saccade list --html``: each mechanism with its schematic, its paper and what it costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from saccade.inspection.schematics import has_schematic, schematic

_FACTS = {
    "attends": "attends to", "place": "place", "keeps": "keeps", "nonlinear": "non-linear", "start": "start",
    "params": "parameters", "macs": "MACs", "entries": "map entries", "where": "where", "held_to": "held to",
}  # fmt: skip
_STYLE = """
:root { color-scheme: light dark; }
body { margin: 0 auto; padding: 16px 20px 48px; max-width: 960px; font: 16px/1.55 system-ui, sans-serif; color: #1b1d22;
  background: #fbfbf9; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin: 44px 0 4px; } p { margin: 0 0 10px; }
svg { max-width: 100%; height: auto; } figure { margin: 12px 0; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 2px 16px; margin: 0; font-size: 14.5px; }
dt, p { color: #565b66; } dd { margin: 0; }
@media (prefers-color-scheme: dark) {
  body { color: #eceae4; background: #15171b; } dt, p { color: #a9adb6; }
}
"""
_NOTE = (
    "The default form of each, for a map x of C channels and N = H × W positions, the batch left out. "
    "Divisions round down, to 1 at least."
)


def listing(rows: Sequence[Mapping[str, str]]) -> str:
    """Return the page as text: one file that loads nothing.

    Args:
        rows: Rows as ``saccade list --json`` prints them.
    """
    sections = "".join(map(_section, rows))
    return (
        '<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8"><title>saccade: the mechanisms</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
        f"<style>{_STYLE}</style></head>\n<body>\n<h1>The mechanisms</h1>\n<p>{_NOTE}</p>\n{sections}</body>\n</html>"
    )


def _section(row: Mapping[str, str]) -> str:
    name = row["name"]
    drawing = f"<figure>{schematic(name)}</figure>\n" if has_schematic(name) else ""
    facts = "".join(f"<dt>{title}</dt><dd>{escape(row[key] or '-')}</dd>" for key, title in _FACTS.items())
    return (
        f'<h2 id="{escape(name)}"><code>{escape(name)}</code> {escape(row["title"])}</h2>\n'
        f"<p>{escape(row['paper'])}</p>\n{drawing}<dl>{facts}</dl>\n"
    )
