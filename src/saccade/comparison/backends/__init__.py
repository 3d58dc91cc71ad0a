"""Where the jobs of a comparison are done: one file for each place, with a class that is a :class:`.base.Backend`."""
