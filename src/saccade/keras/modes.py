"""Switch between the definition of each operation and its lean form, for the Keras layers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

_definitions = 0  # number of open `definitions()` blocks in the whole process
_exports = 0  # number of open `exporting()` blocks


@contextmanager
def definitions() -> Iterator[None]:
    """Run every layer by the plain definition of its equation while the block is open, in the whole process.

    A graph that is traced or exported in the block has no loops over blocks of queries, and stores the maps over pairs
    of positions.

    Example:
        >>> import keras, saccade.keras
        >>> pam, x = saccade.keras.layer("pam"), keras.random.normal((1, 7, 9, 16))
        >>> with saccade.keras.definitions():
        ...     expected = pam(x)
        >>> bool(keras.ops.all(keras.ops.isclose(pam(x), expected)))
        True
    """
    global _definitions
    _definitions += 1
    try:
        yield
    finally:
        _definitions -= 1


def by_definition() -> bool:
    """Return whether to run the definition."""
    return _definitions > 0


@contextmanager
def exporting() -> Iterator[None]:
    """Write definitions in operations that runtimes know, which may differ in gradients: a file computes none."""
    global _exports
    _exports += 1
    try:
        with definitions():
            yield
    finally:
        _exports -= 1


def exported() -> bool:
    """Return whether what runs is written to a file."""
    return _exports > 0
