"""Mathematics that the mechanisms share: pure functions of tensors, each lean form next to its definition."""

from saccade.ops.modes import definitions
from saccade.ops.tuning import Choice, chosen, tune, use, using

__all__ = ["Choice", "chosen", "definitions", "tune", "use", "using"]
