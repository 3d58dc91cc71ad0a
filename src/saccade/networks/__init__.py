"""Whole networks: named classifiers, named segmenters, and the heads they are built with."""
