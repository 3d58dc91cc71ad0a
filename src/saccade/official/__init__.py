"""Authors' checkpoints: recognise their key names, load them into our modules, and report what does not fit."""

from saccade.official.modules import LoadReport, load_official

__all__ = ["LoadReport", "load_official"]
