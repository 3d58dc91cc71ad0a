"""Networks with attention on disk: weights and a recipe to rebuild the network, in one file without a pickle."""

from saccade.saving.store import load, save

__all__ = ["load", "save"]
