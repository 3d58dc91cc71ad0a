"""Networks with attention on disk: weights and the way to build the network again, in one file without a pickle."""

from saccade.saving.store import load, save

__all__ = ["load", "save"]
