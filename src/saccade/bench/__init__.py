"""``saccade bench``: time and memory of each mechanism, compared with the formulation of its authors' code."""
