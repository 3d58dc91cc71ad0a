"""Compact attention of a whole feature map: a grid of queries by a grid of sources, 8 bits per weight.

The loss is measured while compressing, so that a page can state how far its numbers are from the exact ones.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saccade.errors import InputError
from saccade.inspection.records import Record

SIDE = 32
_AT_ONCE = 256  # queries whose rows are in memory together
_CHECKED = 48  # positions whose exact rows are compared with the stored ones


@dataclass(frozen=True)
class Grid:
    """Attention weights from a grid of queries to a grid of sources.

    Query (i, j) represents the part [i / h, (i + 1) / h) x [j / w, (j + 1) / w) of the map, and weight k of a source
    the sum over its part. A weight is `values` times the `scales` of its row.

    Args:
        values: (Q, M) uint8, or int8 if weights may be negative.
        scales: (Q,) float32.
        queries: (h, w) with h w = Q; (1, 1) if all queries share one row.
        sources: (H', W') with H' W' = M.
        size: (H, W) of the mechanism's map, the number of queries.
        keys: (H, W) of the map of sources, which may be pooled.
        rounding: Largest error of the 8 bits, as a fraction of the largest weight of its row.
        moved: Mean fraction of the weight that lies elsewhere in the exact row of a position, compared with the row
            that represents it; 0 if every query is stored.
    """

    values: NDArray[Any]
    scales: NDArray[np.float32]
    queries: tuple[int, int]
    sources: tuple[int, int]
    size: tuple[int, int]
    keys: tuple[int, int]
    rounding: float
    moved: float

    @property
    def signed(self) -> bool:
        """True if weights may be negative."""
        return self.values.dtype == np.int8

    @property
    def nbytes(self) -> int:
        """Size of the stored weights and scales, in bytes."""
        return self.values.nbytes + self.scales.nbytes

    def row(self, y: int, x: int) -> NDArray[np.float32]:
        """Return the weights (H', W') of query (y, x) of the grid."""
        number = y * self.queries[1] + x
        found: NDArray[np.float32] = self.values[number].astype(np.float32) * self.scales[number]
        return found.reshape(self.sources)


def attention_grid(record: Record, *, image: int = 0, side: int = SIDE) -> Grid:
    """Store the attention of at most `side` x `side` queries on at most `SIDE` x `SIDE` sources.

    Args:
        record: Record of a mechanism that weights positions.
        image: Index in the batch.
        side: Largest number of rows and of columns of queries.

    Raises:
        InputError: The map has other than two axes.
    """
    if record.input.dim() != 4:
        raise InputError(
            f"attention_grid: expected a map with two axes; received one of shape {tuple(record.input.shape)}",
            "record.weights(queries=...) and attention_picture show maps of any axes",
        )
    height, width = (int(length) for length in record.input.shape[-2:])
    if record.has("context_map"):
        exact = record.context_map[image][None]
        return _stored(exact, (1, 1), (height, width), (height, width))
    queries = min(height, side), min(width, side)
    rows, keys = _rows(record, image, _middles(queries, (height, width)))
    grid = _stored(rows, queries, (height, width), keys)
    if queries == (height, width):
        return grid
    return replace(grid, moved=_moved(record, image, grid))


def binned(rows: Tensor, size: tuple[int, ...]) -> Tensor:
    """Sum maps (Q, H, W) over a grid of `size`, (Q, h, w); no cell of the map is counted twice or left out."""
    for axis, count in enumerate(size, 1):
        length = rows.shape[axis]
        if count < length:
            into = torch.arange(length, device=rows.device) * count // length
            shape = list(rows.shape)
            shape[axis] = count
            rows = rows.new_zeros(shape).index_add_(axis, into, rows)
    return rows


def quantised(rows: NDArray[np.float32]) -> tuple[NDArray[Any], NDArray[np.float32]]:
    """Quantise rows (Q, M) to integers with one factor per row: uint8, or int8 if a weight is negative."""
    signed = bool((rows < 0).any())
    most = 127 if signed else 255
    largest = np.abs(rows).max(axis=1)
    scales = np.where(largest > 0, largest / most, 1.0).astype(np.float32)
    whole = np.clip(np.rint(rows / scales[:, None]), -most, most)
    return whole.astype(np.int8 if signed else np.uint8), scales


def _rows(record: Record, image: int, queries: list[tuple[int, int]]) -> tuple[Tensor, tuple[int, int]]:
    """Compute binned rows of many queries, a few at a time, and the size of the map they are sums over."""
    found, keys = [], (0, 0)
    for start in range(0, len(queries), _AT_ONCE):
        exact = record.weights(queries[start : start + _AT_ONCE])[image].float()
        keys = (int(exact.shape[-2]), int(exact.shape[-1]))
        found.append(binned(exact, (min(keys[0], SIDE), min(keys[1], SIDE))))
    return torch.cat(found), keys


def _stored(rows: Tensor, queries: tuple[int, int], size: tuple[int, int], keys: tuple[int, int]) -> Grid:
    sources = min(keys[0], SIDE), min(keys[1], SIDE)
    flat = binned(rows.float(), sources).flatten(1).cpu().numpy()
    values, scales = quantised(flat)
    largest = np.abs(flat).max(axis=1, keepdims=True)
    error = np.abs(values * scales[:, None] - flat) / np.where(largest > 0, largest, 1)
    return Grid(values, scales, queries, sources, size, keys, float(error.max()), 0.0)


def _middles(queries: tuple[int, int], size: tuple[int, int]) -> list[tuple[int, int]]:
    """Return the position of the map at the centre of each cell of the grid, row by row."""
    rows, columns = (
        [int((k + 0.5) * length / count) for k in range(count)] for count, length in zip(queries, size, strict=True)
    )
    return [(y, x) for y in rows for x in columns]


def _moved(record: Record, image: int, grid: Grid) -> float:
    """Return the mean distance between exact rows of random positions and the stored rows that represent them."""
    random = np.random.default_rng(0)
    height, width = grid.size
    drawn = [(int(random.integers(height)), int(random.integers(width))) for _ in range(_CHECKED)]
    exact = _rows(record, image, drawn)[0].cpu().numpy()
    apart = []
    for (y, x), row in zip(drawn, exact, strict=True):
        shown = grid.row(y * grid.queries[0] // height, x * grid.queries[1] // width)
        apart.append(float(np.abs(shown - row).sum() / max(np.abs(shown).sum() + np.abs(row).sum(), 1e-30)))
    return float(np.mean(apart))
