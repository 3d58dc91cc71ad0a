"""Save a Keras network with inserted mechanisms in Keras's own format."""

from __future__ import annotations

import os
from os import PathLike
from pathlib import Path

import keras

from saccade.errors import InputError
from saccade.keras.insertion.verifying import verify


def save(model: keras.Model, path: str | PathLike[str]) -> Path:
    """Save a Keras network with its mechanisms as a ``.keras`` file, after :func:`saccade.keras.verify`.

    The file is loaded by ``keras.saving.load_model(path)`` after ``import saccade.keras``, with any backend.

    Args:
        model: A functional or Sequential network.
        path: File to write; an existing one is replaced at once, when the new one is complete.

    Returns:
        The path.

    Raises:
        InputError: The name does not end in ``.keras``, the folder does not exist, or a mechanism does not run.

    Example:
        >>> import keras, pathlib, saccade.keras, tempfile
        >>> model = keras.Sequential([keras.Input((16, 16, 3)), keras.layers.Conv2D(8, 3), keras.layers.Conv2D(8, 3)])
        >>> model = saccade.keras.insert(model, "se", at="*")
        >>> path = saccade.keras.save(model, pathlib.Path(tempfile.mkdtemp()) / "model.keras")
        >>> len(saccade.keras.attachments(keras.saving.load_model(path)))
        2
    """
    path = Path(path)
    if path.suffix != ".keras":
        raise InputError(
            f"save: expected a name that ends in .keras; received {path.name}",
            "for other runtimes, write files with saccade.keras.export",
        )
    if not path.parent.is_dir():
        raise InputError(f"save: the folder {path.parent} does not exist", "make it first")
    verify(model)
    partial = path.with_name(f".{path.stem}.{os.getpid()}.keras")
    try:
        model.save(partial)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return path
