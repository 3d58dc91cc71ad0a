"""Attention as JSON for the script of the pages, ``attention.js``, with numbers in base64."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saccade.inspection.colours import BALANCE, HEAT, ramp
from saccade.inspection.grids import Grid, quantised
from saccade.inspection.pictures import PEAK, SOURCES

Array = NDArray[Any]
Exact = Sequence[tuple[tuple[int, int], Array]]


def settings() -> dict[str, Any]:
    """Return what the script needs to draw weights: the colours (256 x RGBA), the peak and the number of sources."""
    return {
        "heat": _text(ramp(HEAT)), "clear": _text(ramp(HEAT, clear=True)), "balance": _text(ramp(BALANCE)),
        "peak": PEAK, "sources": SOURCES,
    }  # fmt: skip


def weights(grid: Grid, exact: Exact = ()) -> dict[str, Any]:
    """Return the rows of a grid, with the exact rows of some positions: ((y, x), (H', W'))."""
    whole = grid.values.reshape(*grid.queries, *grid.sources)
    return stored_weights(whole, grid.scales.reshape(grid.queries), grid.size, exact)


def stored_weights(whole: Array, scales: Array, size: Sequence[int], exact: Exact = ()) -> dict[str, Any]:
    """Return the same from integers (h, w, H', W') with factors (h, w), of a feature map of `size` (H, W)."""
    found = _rows(whole.astype(np.int8 if (whole < 0).any() else np.uint8), scales)
    found |= {"queries": whole.shape[:2], "sources": whole.shape[2:], "size": size}
    found["exact"] = [
        {"at": at, "sources": row.shape, "row": _text(np.ascontiguousarray(row, dtype="<f4"))} for at, row in exact
    ]
    return found


def values(array: Array) -> dict[str, Any]:
    """Return one map or matrix (h, w) in 8 bits with one scale."""
    whole, scales = quantised(np.asarray(array, dtype=np.float32).reshape(1, -1))
    return _rows(whole, scales) | {"shape": array.shape, "low": float(array.min()), "high": float(array.max())}


def stack(arrays: Array) -> dict[str, Any]:
    """Return several matrices (S, h, w) in 8 bits with one scale each."""
    whole, scales = quantised(np.asarray(arrays, dtype=np.float32).reshape(len(arrays), -1))
    return _rows(whole, scales) | {"shape": arrays.shape[1:], "count": len(arrays)}


def to_json(content: Any) -> str:
    """Return JSON in which `<` is escaped, so that no content can end the script element around it."""
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")


def _rows(whole: Array, scales: NDArray[np.float32]) -> dict[str, Any]:
    return {"values": _text(whole), "scales": _text(scales.astype("<f4")), "signed": whole.dtype == np.int8}


def _text(array: Array) -> str:
    return base64.b64encode(array.tobytes()).decode("ascii")
