"""``saccade bench``: time and memory of each mechanism beside the form its authors' code computes it in."""
