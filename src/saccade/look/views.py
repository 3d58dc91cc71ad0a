"""Everything that the mechanisms of a network computed for one image, reduced to what a page can hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from saccade.catalog import entries
from saccade.errors import InputError, near
from saccade.inspection.grids import SIDE, Grid, attention_grid, binned
from saccade.inspection.recording import record
from saccade.inspection.records import Record
from saccade.look.images import Picture

Array = NDArray[Any]

BUDGET = 7_000_000
"""Largest size of the attention stored in a page, in bytes; base64 adds a third, so a page stays below 10 MB."""
_LEAST_SIDE = 8
_EXTREMES = 4  # number of channels shown as the most open, and as the least open
_DESCRIPTORS = 8


@dataclass(frozen=True)
class Exact:
    """The exact attention weights of one query position.

    Args:
        at: Position (y, x) on the feature map.
        row: Its weights (H', W').
    """

    at: tuple[int, int]
    row: Array


@dataclass
class PlaceView:
    """One place with its mechanism, and what the mechanism computed.

    Args:
        name: Module path of the place.
        key: Name in the catalog; empty for a mechanism of your own.
        title: Title of the mechanism.
        size: Size (C, H, W) of the feature map that the mechanism read.
        params: Number of its parameters.
        g: Factor that mixes its output in; None if it is not wrapped.
        gammas: Factors of its own that start at 0, by name.
        dependence: Query dependence, see :meth:`saccade.inspection.Record.query_dependence`; None without queries.
        grid: Attention weights of a grid of query positions; None without such weights.
        exact: Exact weights of the query points that were asked for.
        gates: Gates: ``"channel"`` (C,) and ``"spatial"`` (H, W).
        open: The most open channels, then the least open ones, as (channel, gate, feature map).
        matrices: Matrices by kind: ``"channels"`` (CAM), ``"covariance channel"``, ``"covariance spatial"``.
        strips: Weights between channels (FLA) in ``"columns"`` and ``"rows"``, (S, c, c), reduced.
        branches: Mean weight of each branch (SK).
        gathered: Attention maps of the first descriptors (A2), (n, H, W).
    """

    name: str
    key: str
    title: str
    size: tuple[int, int, int]
    params: int
    g: float | None = None
    gammas: dict[str, float] = field(default_factory=dict)
    dependence: float | None = None
    grid: Grid | None = None
    exact: list[Exact] = field(default_factory=list)
    gates: dict[str, Array] = field(default_factory=dict)
    open: list[tuple[int, float, Array]] = field(default_factory=list)
    matrices: dict[str, Array] = field(default_factory=dict)
    strips: dict[str, Array] = field(default_factory=dict)
    branches: list[float] = field(default_factory=list)
    gathered: Array | None = None


@dataclass(frozen=True)
class Look:
    """Everything computed for one image.

    Args:
        places: The places in the order in which they ran; parts of a mechanism are places of their own.
        output: Logits (K,) or (K, h, w) that the network returned; None for any other output.
        side: Largest number of rows, and of columns, of stored query positions.
    """

    places: list[PlaceView]
    output: Array | None
    side: int


def look_into(net: nn.Module, picture: Picture, queries: Sequence[tuple[int, int]]) -> Look:
    """Run a network on an image and collect what its mechanisms attend to.

    Args:
        net: The network, in evaluation mode.
        picture: The image.
        queries: Query points (y, x) in pixels of the file, whose exact weights are wanted.

    Raises:
        InputError: The network cannot work on an image of this size.
    """
    with torch.inference_mode(), record(net) as maps:
        output = _run(net, picture)
        shown = [seen for seen in maps.values() if _shows(seen)]
        if not shown:
            kinds = ", ".join(dict.fromkeys(seen.label for seen in maps.values()))
            raise InputError(f"look: nothing of {kinds or 'this network'} can be shown: no gates and no weights")
        side = _side([seen for seen in shown if seen.has("weights")], len(queries))
        places = [_view(seen, picture, queries, side) for seen in shown]
    return Look(places, output, side)


def choose_place(places: Sequence[PlaceView], wanted: str | None) -> int:
    """Return the index of the place to show first: the one asked for, else the last that weighs positions, or the last.

    Raises:
        InputError: There is no such place.
    """
    if wanted is not None:
        names = [place.name for place in places]
        if wanted not in names:
            raise InputError(f"--place: there is no place {wanted!r}", near(wanted, names))
        return names.index(wanted)
    weighing = [number for number, place in enumerate(places) if place.grid is not None]
    spatial = [number for number, place in enumerate(places) if "spatial" in place.gates]
    return (weighing or spatial or [len(places) - 1])[-1]


def _run(net: nn.Module, picture: Picture) -> Array | None:
    try:
        output = net(picture.input)
    except Exception as cause:  # whatever a network says of a size it cannot take
        height, width = picture.read.shape[:2]
        raise InputError(
            f"{picture.name}: the network cannot work on {height} x {width} pixels ({str(cause).splitlines()[0]})",
            "choose another --size; many networks need multiples of 32",
        ) from cause
    if isinstance(output, dict):
        output = output.get("out")
    if isinstance(output, (tuple, list)) and output:
        output = output[0]
    if not isinstance(output, Tensor) or output.dim() not in (2, 4):
        return None
    found: Array = output[0].float().numpy()
    return found


def _shows(seen: Record) -> bool:
    views = ("gates", "weights", "channel_weights", "column_weights", "covariances")
    return seen.input.dim() == 4 and any(seen.has(view) for view in views)


def _side(seen: list[Record], queries: int) -> int:
    """The number of rows and columns of queries that fit the budget, after the exact rows of float32."""
    sizes = [(one.input.shape[-2:], 1 if one.has("context_map") else SIDE) for one in seen]
    exact = sum(4 * queries * height * width for (height, width), _ in sizes)

    def stored(side: int) -> int:
        return sum(
            min(height, side, most) * min(width, side, most) * min(height, SIDE) * min(width, SIDE)
            for (height, width), most in sizes
        )

    return next((side for side in range(SIDE, _LEAST_SIDE, -1) if stored(side) + exact <= BUDGET), _LEAST_SIDE)


def _view(seen: Record, picture: Picture, queries: Sequence[tuple[int, int]], side: int) -> PlaceView:
    key, title = _named(seen)
    channels, height, width = (int(length) for length in seen.input.shape[1:])
    view = PlaceView(
        seen.name, key, title, (channels, height, width),
        params=sum(p.numel() for p in seen.mechanism.parameters()), g=seen.factor, gammas=seen.gammas,
    )  # fmt: skip
    if seen.has("weights"):
        view.grid = attention_grid(seen, side=side)
        view.exact = _exact(seen, picture, queries)
    if seen.has("weights") or seen.has("channel_weights") or seen.has("column_weights"):
        view.dependence = seen.query_dependence()
    _add_gates(view, seen)
    _add_channels(view, seen)
    return view


def _exact(seen: Record, picture: Picture, queries: Sequence[tuple[int, int]]) -> list[Exact]:
    size = seen.input.shape[-2:]
    cells = list(dict.fromkeys(picture.cell(query, size) for query in queries))
    rows = seen.weights(cells)[0].float().numpy() if cells else ()
    return [Exact(cell, row) for cell, row in zip(cells, rows, strict=True)]


def _add_gates(view: PlaceView, seen: Record) -> None:
    view.gates = {kind: gate[0].float().numpy() for kind, gate in seen.gates.items()}
    if "spatial" in view.gates:
        view.gates["spatial"] = view.gates["spatial"].reshape(seen.input.shape[-2:])
    if "channel" in view.gates:
        gate = view.gates["channel"]
        order = np.argsort(-gate, kind="stable")
        few = min(_EXTREMES, len(order) // 2)
        maps = seen.input[0].float()
        view.open = [(int(c), float(gate[c]), maps[int(c)].numpy()) for c in (*order[:few], *order[len(order) - few :])]
    if seen.has("branch_weights"):
        view.branches = [float(share) for share in seen.branch_weights[0].mean(dim=1)]


def _add_channels(view: PlaceView, seen: Record) -> None:
    if seen.has("column_weights"):
        view.strips = {"columns": _strips(seen, "columns"), "rows": _strips(seen, "rows")}
    elif seen.has("channel_weights"):
        view.matrices["channels"] = _reduced(seen.channel_weights()[0])
    if seen.has("covariances"):
        for kind, matrix in seen.covariances.items():
            view.matrices[f"covariance {kind}"] = _reduced(matrix[0], mean=True)
    if seen.has("descriptors"):
        view.gathered = seen.gathered_from[0, :_DESCRIPTORS].float().numpy()


def _strips(seen: Record, which: str) -> Array:
    """The weights between groups of channels in at most 32 columns or rows, (S, c, c)."""
    length = int(seen.input.shape[3 if which == "columns" else 2])
    count = min(length, SIDE)
    kept = []
    for strip in [int((k + 0.5) * length / count) for k in range(count)]:
        weights = seen.column_weights([strip]) if which == "columns" else seen.row_weights([strip])
        kept.append(_reduced(weights[0, 0]))
    return np.stack(kept)


def _reduced(matrix: Tensor, *, mean: bool = False) -> Array:
    """A matrix of channels, reduced to at most 32 x 32 groups: the mean of rows, the sum (or mean) of columns."""
    rows, columns = (min(int(length), SIDE) for length in matrix.shape)
    found: Array = binned(matrix.float()[None], (rows, columns))[0].cpu().numpy() / (matrix.shape[0] / rows)
    return found / (matrix.shape[1] / columns) if mean else found


def _named(seen: Record) -> tuple[str, str]:
    """The name of a mechanism in the catalog, and its title."""
    kind = type(seen.mechanism)
    for entry in entries().values():
        if entry.source is kind or entry.path == f"{kind.__module__}:{kind.__name__}":
            return entry.name, entry.title
    return "", seen.label
