"""Looking at attention: as arrays first."""

from saccade.inspection.record import Record, Records, record

__all__ = ["Record", "Records", "record"]
