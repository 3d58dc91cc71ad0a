"""Pages that show what a network attends to in images."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from saccade.errors import InputError, near
from saccade.inspection.pictures import attention_picture, gate_picture, gate_strips, matrix_picture
from saccade.look.images import Picture, check_queries, read_picture
from saccade.look.networks import Inspected
from saccade.look.page import render
from saccade.look.views import Look, choose_place, look_into
from saccade.outputs import Outputs


@dataclass(frozen=True)
class Looked:
    """The files written for one image.

    Args:
        image: Path of the image.
        page: Path of the HTML file.
        pictures: Paths of PNG files.
        places: Name, mechanism and query dependence of each place.
    """

    image: Path
    page: Path
    pictures: tuple[Path, ...]
    places: tuple[dict[str, Any], ...]


def look(
    images: Sequence[Path],
    network: Inspected,
    out: Path,
    *,
    queries: Sequence[tuple[int, int] | str] = (),
    place: str | None = None,
    size: int | None = None,
    png: bool = False,
    on_progress: Callable[[int, int, str], None] = lambda done, total, what: None,
) -> list[Looked]:
    """Write one self-contained page per image; all are read before the first is written.

    Args:
        images: Paths of the images.
        network: Network to look into.
        out: Folder for the pages.
        queries: Query points (y, x) in pixels of the images, whose weights are exact in the page; or names of key
            points, where the network finds them.
        place: Name of the place shown large at first.
        size: Longer side, in pixels, that images are reduced to; None takes that of training.
        png: If True, also write pictures: the weights of each query at each place, and the gates over depth.
        on_progress: Called with (done, total, what).

    Raises:
        InputError: An image cannot be read, a query point lies outside, or a place is unknown, or a file
            that saccade did not write has the name of a page.
    """
    names, outputs = _names(images), Outputs(out)
    outputs.check(out / f"{name}.html" for name in names)
    pictures = [read_picture(path, size or network.size, network.statistics) for path in images]
    asked = [located(queries, network, picture) for picture in pictures]
    for picture, points in zip(pictures, asked, strict=True):
        check_queries(points, picture)
    found = []
    for number, (path, picture, name, points) in enumerate(zip(images, pictures, names, asked, strict=True)):
        on_progress(number, len(images), path.name)
        seen = look_into(network.net, picture, points)
        first = choose_place(seen.places, place)
        page = out / f"{name}.html"
        with outputs.replacing(page) as draft:
            draft.write_text(render(picture, network, seen, first, points), encoding="utf-8")
        written = _pictures(outputs, name, picture, seen) if png else ()
        places = tuple(
            {"place": view.name, "mechanism": view.key or view.title, "query_dependence": view.dependence}
            for view in seen.places
        )
        found.append(Looked(path, page, written, places))
    return found


def located(queries: Sequence[tuple[int, int] | str], network: Inspected, picture: Picture) -> list[tuple[int, int]]:
    """Return query points, a key point being the highest pixel of its heat map over the whole image.

    Raises:
        InputError: A key point that the network does not find in the image, or heat maps of another number.
    """
    named = [query for query in queries if isinstance(query, str)]
    if not named:
        return [query for query in queries if not isinstance(query, str)]
    with torch.inference_mode():
        maps = network.net(picture.input)[0]
    each = len(maps) // max(1, len(network.joints))
    found = []
    for query in queries:
        if not isinstance(query, str):
            found.append(query)
            continue
        if query not in network.joints:
            raise InputError(f"look: {query!r} is not a key point of this network", near(query, network.joints))
        heat = maps[each * network.joints.index(query)]
        if not heat.max() > 0:
            raise InputError(f"{picture.name}: the network finds no {query}", "give a point of the image: --query Y,X")
        row, column = divmod(int(heat.argmax()), heat.shape[1])
        places = zip((row, column), heat.shape, picture.size, strict=True)
        y, x = (int((place + 0.5) * side / length) for place, length, side in places)
        found.append((y, x))
    return found


def _names(images: Sequence[Path]) -> list[str]:
    """Names of the pages: those of the images, numbered where two files share one."""
    names: list[str] = []
    for path in images:
        stem, number = path.stem, 2
        while stem in names:
            stem, number = f"{path.stem}-{number}", number + 1
        names.append(stem)
    return names


def _pictures(outputs: Outputs, name: str, picture: Picture, seen: Look) -> tuple[Path, ...]:
    """Write the weights of each query point, the gates or matrices of each place, and all channel gates together."""
    written, out = [], outputs.folder
    for view in seen.places:
        label = re.sub(r"[^\w.-]", "_", view.name) or "network"
        for exact in view.exact:
            at = ((exact.at[0] + 0.5) / view.size[1], (exact.at[1] + 0.5) / view.size[2])
            drawn = attention_picture(picture.shown, exact.row, at)
            written.append(_write(outputs, drawn.save, out / f"{name}.{label}.{exact.at[0]}-{exact.at[1]}.png"))
        if "spatial" in view.gates:
            drawn = gate_picture(picture.shown, view.gates["spatial"])
            written.append(_write(outputs, drawn.save, out / f"{name}.{label}.gate.png"))
        matrices = view.matrices | {f"middle {kind}": stack[len(stack) // 2] for kind, stack in view.strips.items()}
        for kind, matrix in matrices.items():
            drawn = matrix_picture(matrix)
            written.append(_write(outputs, drawn.save, out / f"{name}.{label}.{kind.replace(' ', '-')}.png"))
    gates = {view.name: view.gates["channel"] for view in seen.places if "channel" in view.gates}
    if gates:
        written.append(_write(outputs, gate_strips(gates).savefig, out / f"{name}.gates.png"))
    return tuple(written)


def _write(outputs: Outputs, save: Callable[..., Any], path: Path) -> Path:
    with outputs.replacing(path) as draft:
        save(draft, format="png")
    return path
