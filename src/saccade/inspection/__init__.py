"""Inspection of attention: as arrays first, then as pictures."""

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
