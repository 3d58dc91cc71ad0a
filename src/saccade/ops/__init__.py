"""Mathematics the mechanisms share: pure functions of tensors, each lean form beside its definition."""

from saccade.ops.modes import definitions

__all__ = ["definitions"]
