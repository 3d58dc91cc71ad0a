"""Authors' checkpoints: whose key names they carry, how they fit our modules, and what is wrong where they do not."""

from saccade.official.modules import LoadReport, load_official

__all__ = ["LoadReport", "load_official"]
