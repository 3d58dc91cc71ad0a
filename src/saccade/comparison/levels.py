"""Calibrated levels of sequential comparisons, as ``python -m benchmarks.sequential --calibrate`` prints them."""

SEEDS = (3, 4, 5, 6, 8, 10, 20)
"""Rows: largest number of seeds."""
ARMS = (1, 2, 3, 4, 6, 8, 12, 16, 24)
"""Columns: arms next to the control."""
LEVELS = {seeds: (1.0,) * 9 for seeds in SEEDS}
