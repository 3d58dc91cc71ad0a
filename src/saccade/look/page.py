"""The page of ``saccade look``: everything computed for one image, in one HTML file."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saccade.inspection.colours import gate_limits
from saccade.inspection.grids import Grid
from saccade.inspection.schematics import has_schematic, schematic
from saccade.look.images import SHOWN, Picture
from saccade.look.networks import Inspected
from saccade.look.texts import SPOKEN, TEXTS, WORDS
from saccade.look.views import Look, PlaceView
from saccade.report import attention, numbers, pictures
from saccade.report.bilingual import SPACE, breakable
from saccade.version import __version__

Array = NDArray[Any]

_FEATURE_SIDE = 46
_GUESSES = 5
_CLASSES = 24


def render(picture: Picture, network: Inspected, look: Look, place: int, queries: Sequence[tuple[int, int]]) -> str:
    """Return the page as text.

    Args:
        picture: The image.
        network: The network.
        look: Output of the network for the image.
        place: Index of the place shown large at first.
        queries: Query points (y, x) that were asked for, in pixels of the file.
    """
    environment = WORDS.environment(_file)
    safe = environment.filters["html"]
    environment.filters["breakable"] = lambda name: safe(breakable(name).replace(".", ".<wbr>"))
    environment.globals["factors"] = _factors
    page: str = environment.get_template("page.html.jinja").render(_context(picture, network, look, place, queries))
    return page


def _file(name: str) -> str:
    own = resources.files("saccade.look").joinpath(name)
    return (own if own.is_file() else resources.files("saccade.report").joinpath(name)).read_text("utf-8")


def _context(
    picture: Picture, network: Inspected, look: Look, place: int, queries: Sequence[tuple[int, int]]
) -> dict[str, Any]:
    height, width = picture.shown.shape[:2]
    middle = (picture.size[0] // 2, picture.size[1] // 2)
    drawn = dict.fromkeys(view.key for view in look.places)
    return {
        "picture": picture,
        "network": network,
        "look": look,
        "points": list(queries),
        "title": WORDS.pair("page_title", name=picture.name),
        "aspect": round(width / height, 4),
        "photo": pictures.photo(picture.shown, side=SHOWN),
        "version": __version__,
        "params": sum(p.numel() for p in network.net.parameters()),
        "regions": _regions(picture, network, look.output),
        "guesses": _guesses(network, look.output),
        "strips": _strips(look.places),
        "channels": [view for one in look.places if (view := _channels(one, picture)) is not None],
        "exactness": _exactness(picture, look, queries),
        "schematics": [schematic(key) for key in drawn if has_schematic(key)],
        "data": _data(picture, look, place, list(queries) or [middle]),
    }


def _data(picture: Picture, look: Look, place: int, points: Sequence[tuple[int, int]]) -> str:
    """The data that the script reads, as JSON."""
    content = {
        "settings": attention.settings(),
        "words": {key: TEXTS[key] for key in SPOKEN},
        "size": picture.size,
        "points": points,
        "place": place,
        "places": [_place(view) for view in look.places],
    }
    return attention.to_json(content)


def _place(view: PlaceView) -> dict[str, Any]:
    """One place for the script; `view` names what it draws."""
    found: dict[str, Any] = {"name": view.name or view.title}
    if "channel" in view.gates:
        gate = np.sort(view.gates["channel"])[::-1]
        found["channel"] = _gate(gate[None]) | {"mean": float(gate.mean())}
    if view.grid is not None:
        found["weights"] = attention.weights(view.grid, [(one.at, one.row) for one in view.exact])
        found["sums"], found["shared"] = _sums(view.grid), view.grid.queries == (1, 1) and view.dependence == 0
        return found | {"view": "weights"}
    if "spatial" in view.gates:
        return found | {"view": "spatial", "spatial": _gate(view.gates["spatial"])}
    if view.strips:
        strips = {name: attention.stack(stack) for name, stack in view.strips.items()}
        return found | {"view": "strips"} | strips
    if "channels" in view.matrices:
        return found | {"view": "matrix", "matrix": attention.values(view.matrices["channels"])}
    if "channel" in found:
        return found | {"view": "channel"}
    return found | {"view": "covariance", "covariance": attention.values(next(iter(view.matrices.values())))}


def _gate(gate: Any) -> dict[str, Any]:
    return attention.values(gate) | {"drawn": gate_limits(float(gate.min()), float(gate.max()))}


def _sums(grid: Grid) -> bool:
    """True if rows sum to 1, so that a weight is a fraction."""
    sums = grid.values.astype(np.float32).sum(axis=1) * grid.scales
    return not grid.signed and bool(np.abs(sums - 1).max() < 0.05)


def _strips(places: Sequence[PlaceView]) -> dict[str, Any] | None:
    gates = {
        view.name or view.title: np.sort(view.gates["channel"])[::-1] for view in places if "channel" in view.gates
    }
    if not gates:
        return None
    low, high = min(float(g.min()) for g in gates.values()), max(float(g.max()) for g in gates.values())
    rows = [
        {"name": name, "count": len(gate), "uri": pictures.heat_strip([gate], *gate_limits(low, high))}
        for name, gate in gates.items()
    ]
    return {"rows": rows, "low": f"{low:.2f}", "high": f"{high:.2f}"}


def _channels(view: PlaceView, picture: Picture) -> dict[str, Any] | None:
    """The details of one place on its channels; None if it has none."""
    most = len(view.open) // 2
    features = [
        {"channel": channel, "gate": f"{gate:.3f}", "most": number < most, "uri": _feature(shown)}
        for number, (channel, gate, shown) in enumerate(view.open)
    ]
    matrices = [
        {"kind": kind, "what": WORDS.pair(f"matrix_{kind}"), "uri": pictures.heat_square(matrix)}
        for kind, matrix in view.matrices.items()
    ]
    gathered = [] if view.gathered is None else [_feature(one) for one in view.gathered]
    if not features and not matrices and not gathered:
        return None
    return {"place": view, "features": features, "matrices": matrices, "gathered": gathered}


def _feature(shown: Array) -> str:
    """A feature map, reduced to about the size it is drawn at."""
    step = max(1, max(shown.shape) // _FEATURE_SIDE)
    return pictures.heat_square(shown[::step, ::step])


def _regions(picture: Picture, network: Inspected, output: Array | None) -> dict[str, Any] | None:
    if output is None or output.ndim != 3:
        return None
    classes = output.argmax(axis=0)
    present, counts = np.unique(classes, return_counts=True)
    order = np.argsort(-counts)[:_CLASSES]
    listed = [
        {
            "name": _class(network, int(present[k])),
            "share": numbers.percent(float(counts[k]) / classes.size),
            "colour": "rgb({}, {}, {})".format(*pictures.TINTS[int(present[k]) % len(pictures.TINTS)]),
        }
        for k in order
    ]
    uri = pictures.region_overlay(classes.astype(np.uint8), np.zeros(classes.shape, bool), None)
    return {"uri": uri, "classes": listed}


def _guesses(network: Inspected, output: Array | None) -> list[dict[str, Any]]:
    if output is None or output.ndim != 1:
        return []
    shares = np.exp(output - output.max())
    shares /= shares.sum()
    best = np.argsort(-shares, kind="stable")[:_GUESSES]
    return [{"name": _class(network, int(k)), "probability": float(shares[k])} for k in best]


def _class(network: Inspected, number: int) -> str:
    from html import escape

    if number < len(network.classes):
        return escape(network.classes[number])
    return WORDS.both("class", number=number)


def _factors(view: PlaceView) -> str:
    found = {} if view.g is None else {"g": view.g}
    return ", ".join(f"{name} {value:.3g}" for name, value in (found | view.gammas).items()) or "-"


def _exactness(picture: Picture, look: Look, queries: Sequence[tuple[int, int]]) -> list[str]:
    """Sentences on what is approximate in the page, with the measured errors (HTML)."""
    height, width = picture.size
    read_height, read_width = picture.read.shape[:2]
    told = [WORDS.both("exact_image", height=height, width=width, read_height=read_height, read_width=read_width)]
    if picture.frames > 1:
        told.append(WORDS.both("exact_frames", frames=picture.frames))
    for view in look.places:
        if view.grid is not None:
            told.append(_exactness_of(view, view.grid))
    if any(view.grid is not None for view in look.places):
        told += [WORDS.both("exact_asked")] if queries else []
        told.append(WORDS.both("exact_draw"))
    return told


def _exactness_of(view: PlaceView, grid: Grid) -> str:
    sizes = {
        name: f"{size[0]} × {size[1]}"
        for name, size in (
            ("queries", grid.queries),
            ("sources", grid.sources),
            ("size", grid.size),
            ("keys", grid.keys),
        )
    }
    said = WORDS.both("exact_grid", place=view.name or view.title, **sizes) + SPACE
    said += WORDS.both("exact_rounding", rounding=f"{100 * grid.rounding:.2f}%") + SPACE
    if grid.queries == grid.size or grid.queries == (1, 1):
        return said + WORDS.both("exact_every")
    return said + WORDS.both("exact_moved", moved=numbers.percent(grid.moved))
