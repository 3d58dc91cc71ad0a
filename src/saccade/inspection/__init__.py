"""Looking at attention: as arrays first."""

from saccade.inspection.recording import Record, Records, record

__all__ = ["Record", "Records", "record"]
