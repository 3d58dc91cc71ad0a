"""Draw a schematic of each mechanism from a short description: shapes on the arrows, the gate or sum at the end.

The drawing takes the colour of the text around it, so it serves light and dark pages alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape

from saccade.catalog import Entry, entries, find
from saccade.errors import InputError
from saccade.inspection.schematic_table import SCHEMATICS

_LINE, _LEFT, _TOP, _RADIUS = 62, 24, 34, 12
_TEXT, _SMALL = 11.5, 10.0  # sizes of letters in boxes and on arrows
_WIDE = 0.6  # width of a letter, as a fraction of its size
_BOX_HEIGHT = 38
_SIGNS, _ENDS = {"×", "+"}, {"x", "y"}
_STYLE = "svg{color:#1b1d22;background:none}@media(prefers-color-scheme:dark){svg{color:#eceae4}}"


@dataclass(frozen=True)
class _Node:
    """A drawn element: a box with text, a sign in a circle, or the feature map at either end."""

    text: str
    x: float
    y: float

    @property
    def half(self) -> float:
        """Half of its width."""
        return _half(self.text)

    @property
    def half_height(self) -> float:
        return _RADIUS if self.text in _SIGNS or self.text in _ENDS else _BOX_HEIGHT / 2


def has_schematic(name: str) -> bool:
    """Return whether there is a drawing of a mechanism."""
    entry = entries().get(name)
    return entry is not None and bool(_description(entry))


def schematic(name: str, *, standalone: bool = False) -> str:
    """Return the drawing of a mechanism as SVG.

    Args:
        name: Name in the catalog.
        standalone: If True, return a file of its own, with colours for light and dark.

    Raises:
        InputError: The mechanism is unknown.
    """
    entry = find(name)
    if not _description(entry):
        raise InputError(f"{entry.name}: it has no schematic", f"schematics exist of {', '.join(SCHEMATICS)}")
    nodes, edges = _placed(_description(entry))
    width = max(node.x + node.half for node in nodes.values()) + 14
    height = max(node.y + node.half_height for node in nodes.values()) + 14
    title = escape(f"{entry.title}: from x to y")
    parts = [_arrow(nodes[start], nodes[end], label) for start, end, label in edges]
    parts += [_drawn(node) for node in nodes.values()]
    style = f"<style>{_STYLE}</style>" if standalone else ""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" height="{height:.0f}" role="img" '
        f'aria-label="{title}" font-family="system-ui, sans-serif" fill="currentColor" stroke="none">'
        f"<title>{title}</title>{style}{''.join(parts)}</svg>"
    )


def _description(entry: Entry) -> str:
    return entry.schematic or SCHEMATICS.get(entry.name, "")


def _placed(description: str) -> tuple[Mapping[str, _Node], list[tuple[str, str, str]]]:
    """Parse a description into nodes with their positions and edges with their labels.

    ``name row text`` is a node, ``a > b label`` an arrow. A node stands to the right of all that lead to it, with room
    for the labels between; x and y stand in row 0.
    """
    texts, rows, edges = {"x": "x", "y": "y"}, {"x": 0.0, "y": 0.0}, []
    for line in filter(None, map(str.strip, description.splitlines())):
        first, second, *rest = line.split(maxsplit=2)
        if second == ">":
            end, _, label = rest[0].partition(" ")
            edges.append((first, end, label))
        else:
            rows[first], texts[first] = float(second), rest[0]
    across = dict.fromkeys(texts, float(_LEFT))
    for _ in texts:  # the longest path has fewer steps than nodes
        for start, end, label in edges:
            apart = _half(texts[start]) + _half(texts[end]) + max(26, len(label) * _SMALL * _WIDE + 30)
            across[end] = max(across[end], across[start] + apart)
    nodes = {name: _Node(text, across[name], _TOP + rows[name] * _LINE) for name, text in texts.items()}
    return nodes, edges


def _half(text: str) -> float:
    """Return half of the width of the drawn element."""
    if text in _SIGNS or text in _ENDS:
        return _RADIUS
    return max(len(line) for line in text.split("|")) * _TEXT * _WIDE / 2 + 8


def _drawn(node: _Node) -> str:
    if node.text in _ENDS:
        return _text(node.x, node.y, node.text, 16, 'font-style="italic" font-weight="600"')
    if node.text in _SIGNS:
        circle = f'<circle cx="{node.x:.1f}" cy="{node.y:.1f}" r="{_RADIUS}" fill="#3d7fc1"/>'
        return circle + _text(node.x, node.y, node.text, 17, 'fill="#fff" font-weight="700"')
    box = (
        f'<rect x="{node.x - node.half:.1f}" y="{node.y - node.half_height:.1f}" width="{2 * node.half:.1f}" '
        f'height="{_BOX_HEIGHT}" rx="6" fill-opacity=".07" '
        'stroke="currentColor" stroke-opacity=".45"/>'
    )
    lines = node.text.split("|")
    return box + "".join(
        _text(node.x, node.y + 13 * (number - (len(lines) - 1) / 2), line, _TEXT) for number, line in enumerate(lines)
    )


def _arrow(start: _Node, end: _Node, label: str) -> str:
    """Draw a line from the right of one to the left of the other, or into its bottom or top if it is a sign."""
    x0, y0 = start.x + start.half, start.y
    other_row = end.y != start.y
    down = 1 if end.y < start.y else -1
    if start.text == "x" and other_row:  # branches leave the map downwards
        x0 += 6
        points = [(x0, y0), (x0, end.y), (end.x - end.half, end.y)]
        label_at = (x0 + 5, end.y - 8, "start")
    elif other_row and end.text in _SIGNS:
        points = [(x0, y0), (end.x, y0), (end.x, end.y + down * end.half_height)]
        label_at = (end.x + 5, (y0 + end.y) / 2 + 8 * down, "start")
    elif other_row:
        turn = end.x - end.half - 12
        points = [(x0, y0), (turn, y0), (turn, end.y), (end.x - end.half, end.y)]
        label_at = ((x0 + turn) / 2, y0 - 7, "middle")
    else:
        points = [(x0, y0), (end.x - end.half, end.y)]
        label_at = ((x0 + end.x - end.half) / 2, y0 - 7, "middle")
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    line = f'<polyline points="{path}" fill="none" stroke="currentColor" stroke-width="1.3"/>'
    x, y, anchor = label_at
    said = _text(x, y, label, _SMALL, f'text-anchor="{anchor}" fill-opacity=".75"') if label else ""
    return line + _head(points[-2], points[-1]) + said


def _head(before: tuple[float, float], at: tuple[float, float]) -> str:
    """Draw the tip of an arrow along the last piece of its line."""
    length = max(abs(at[0] - before[0]), abs(at[1] - before[1])) or 1.0
    dx, dy = (at[0] - before[0]) / length, (at[1] - before[1]) / length
    back = (at[0] - 7 * dx, at[1] - 7 * dy)
    points = [at, (back[0] - 3.5 * dy, back[1] + 3.5 * dx), (back[0] + 3.5 * dy, back[1] - 3.5 * dx)]
    return f'<polygon points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in points)}"/>'


def _text(x: float, y: float, text: str, size: float, more: str = "") -> str:
    anchor = "" if "text-anchor" in more else 'text-anchor="middle" '
    return f'<text x="{x:.1f}" y="{y:.1f}" dy=".35em" font-size="{size}" {anchor}{more}>{escape(text)}</text>'
