"""Attention as the pages' script reads it: JSON, with the numbers as base64. The script is ``attention.js``."""

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
    """What the script must know beside the numbers: the colours (256 x RGBA), and how weights are drawn."""
    return {
        "heat": _text(ramp(HEAT)), "clear": _text(ramp(HEAT, clear=True)), "balance": _text(ramp(BALANCE)),
        "peak": PEAK, "sources": SOURCES,
    }  # fmt: skip


def weights(grid: Grid, exact: Exact = ()) -> dict[str, Any]:
    """Rows of weights, with the exact ones of some positions: ((y, x), (H', W'))."""
    whole = grid.values.reshape(*grid.queries, *grid.sources)
    return stored_weights(whole, grid.scales.reshape(grid.queries), grid.size, exact)


def stored_weights(whole: Array, scales: Array, size: Sequence[int], exact: Exact = ()) -> dict[str, Any]:
    """The same from whole numbers (h, w, H', W') with factors (h, w), of a map of `size` (H, W)."""
    found = _rows(whole.astype(np.int8 if (whole < 0).any() else np.uint8), scales)
    found |= {"queries": whole.shape[:2], "sources": whole.shape[2:], "size": size}
    found["exact"] = [
        {"at": at, "sources": row.shape, "row": _text(np.ascontiguousarray(row, dtype="<f4"))} for at, row in exact
    ]
    return found


def values(array: Array) -> dict[str, Any]:
    """One map or matrix (h, w), in 8 bits with one scale."""
    whole, scales = quantised(np.asarray(array, dtype=np.float32).reshape(1, -1))
    return _rows(whole, scales) | {"shape": array.shape, "low": float(array.min()), "high": float(array.max())}


def stack(arrays: Array) -> dict[str, Any]:
    """Several matrices (S, h, w), in 8 bits with one scale each."""
    whole, scales = quantised(np.asarray(arrays, dtype=np.float32).reshape(len(arrays), -1))
    return _rows(whole, scales) | {"shape": arrays.shape[1:], "count": len(arrays)}


def to_json(content: Any) -> str:
    """JSON in which `<` is written so that nothing can end the script element it stands in."""
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")


def _rows(whole: Array, scales: NDArray[np.float32]) -> dict[str, Any]:
    return {"values": _text(whole), "scales": _text(scales.astype("<f4")), "signed": whole.dtype == np.int8}


def _text(array: Array) -> str:
    return base64.b64encode(array.tobytes()).decode("ascii")
