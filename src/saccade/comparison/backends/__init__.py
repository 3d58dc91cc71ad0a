"""Places where the jobs of a comparison are done: one file each, with a class that is a :class:`.base.Backend`."""
