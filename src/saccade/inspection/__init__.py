"""Inspection of attention: as arrays first, then as pictures.

The names below are loaded on first use: schematics need neither torch nor numpy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from saccade.inspection.arrays import channel_gates, effective_receptive_field, rollout
    from saccade.inspection.pictures import (
        attention_picture,
        gate_histograms,
        gate_picture,
        gate_strips,
        matrix_picture,
        overlay,
        strongest,
    )
    from saccade.inspection.recording import record
    from saccade.inspection.records import Record, Records

_HOMES = {
    "Record": "records",
    "Records": "records",
    "attention_picture": "pictures",
    "channel_gates": "arrays",
    "effective_receptive_field": "arrays",
    "gate_histograms": "pictures",
    "gate_picture": "pictures",
    "gate_strips": "pictures",
    "matrix_picture": "pictures",
    "overlay": "pictures",
    "record": "recording",
    "rollout": "arrays",
    "strongest": "pictures",
}

__all__ = [
    "Record",
    "Records",
    "attention_picture",
    "channel_gates",
    "effective_receptive_field",
    "gate_histograms",
    "gate_picture",
    "gate_strips",
    "matrix_picture",
    "overlay",
    "record",
    "rollout",
    "strongest",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
