"""Export Keras networks with mechanisms to SavedModel, ONNX and LiteRT, and compare the files with the network."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Any

import keras
import numpy as np

from saccade.errors import InputError, require
from saccade.keras.insertion.walking import graph_of
from saccade.keras.modes import exporting

_WRITERS = {
    "": ("tf_saved_model", "SavedModel", ("tensorflow", "jax")),
    ".onnx": ("onnx", "ONNX", ("torch", "tensorflow", "jax")),
    ".tflite": ("litert", "LiteRT", ("tensorflow",)),
}
_SIDES = ((40, 56), (64, 48))
_TRACED = (36, 60)
_TOLERANCE = 1e-4


def export(model: keras.Model, path: str | PathLike[str], **options: Any) -> Path:
    """Export a Keras network to a file or folder for another runtime, and run that to compare it with the network.

    Batch and sizes that are None in the network stay free. Attention over positions is written by its definition, which
    stores the map over pairs of positions.

    Args:
        model: A functional or Sequential network.
        path: A folder for SavedModel, a name that ends in ``.onnx`` or ``.tflite``. SavedModel is written by the
            backends TensorFlow and JAX, LiteRT by TensorFlow, ONNX by all three.
        options: Further arguments of Keras's ``model.export``.

    Returns:
        The path.

    Raises:
        InputError: The backend does not write the format, something is there already, or the runtime gives other
            outputs than the network by more than 1e-4 of their largest value; nothing is left then.
        MissingExtraError: A package that writes or runs the format is not installed.

    Example:
        >>> import keras, pathlib, saccade.keras, tempfile
        >>> conv = keras.layers.Conv2D(8, 3, padding="same", name="conv")
        >>> model = keras.Sequential([keras.Input((None, None, 3)), conv])
        >>> model = saccade.keras.insert(model, "se", at="conv")
        >>> saccade.keras.export(model, pathlib.Path(tempfile.mkdtemp()) / "model.onnx").name
        'model.onnx'
    """
    path, graph = Path(path), graph_of(model, "export")
    if path.suffix not in _WRITERS:
        raise InputError(
            f"export: expected a name ending in .onnx or .tflite, or a folder without an ending; received {path.name}",
            "for a file that Keras loads again there is saccade.keras.save",
        )
    kind, title, writers = _WRITERS[path.suffix]
    if keras.backend.backend() not in writers:
        raise InputError(
            f"export: Keras writes {title} with the backends {', '.join(writers)}; this process runs "
            f"{keras.backend.backend()}",
            f"save(model, 'model.keras') here, and load and export it in a process with KERAS_BACKEND={writers[0]}",
        )
    if path.exists():
        raise InputError(f"export: {path} exists", "remove it first, or choose another name")
    if not path.parent.is_dir():
        raise InputError(f"export: the folder {path.parent} does not exist", "make it first")
    run = _RUNNERS[kind]
    partial = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    given = {"verbose": False, **options}
    try:
        with exporting():
            batches = [[_random(x, sides) for x in graph.inputs] for sides in _SIDES]
            expected = [_arrays(model(_packed(graph, batch), training=False)) for batch in batches]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of the exporters that are called; what they write is run below
                if kind == "onnx" and keras.backend.backend() == "torch" and "input_signature" not in options:
                    _trace(graph, partial, **options)
                else:
                    model.export(partial, format=kind, **given)
        for batch, outputs in zip(batches, expected, strict=True):
            _compare(title, run(partial, batch), outputs, batch)
        os.replace(partial, path)
    finally:
        if partial.is_dir():
            shutil.rmtree(partial)
        partial.unlink(missing_ok=True)
    return path


def _trace(graph: Any, path: Path, *, opset_version: int | None = None, verbose: bool | None = None) -> None:
    """Write ONNX by PyTorch's tracer, on maps of a size that every mechanism takes.

    That of Keras traces free sizes as 1, which layers that pool by twos refuse.
    """
    require("onnx", extra="onnx")
    import torch

    class Flat(torch.nn.Module):
        """The network as a function of its inputs one by one."""

        def __init__(self) -> None:
            super().__init__()
            self.wrapped = graph

        def forward(self, *inputs: Any) -> list[Any]:
            found: list[Any] = keras.tree.flatten(self.wrapped(_packed(self.wrapped, list(inputs)), training=False))
            return found

    names = [x.name for x in graph.inputs]
    free = {
        name: {axis: "batch" if axis == 0 else f"{name}_{axis}" for axis, side in enumerate(x.shape) if side is None}
        for name, x in zip(names, graph.inputs, strict=True)
    }
    given = tuple(torch.from_numpy(_random(x, _TRACED)) for x in graph.inputs)
    torch.onnx.export(
        Flat().eval(),
        given,
        str(path),
        dynamo=False,  # the other exporter fixes sizes that the layers of Keras read as numbers
        input_names=names,
        dynamic_axes={name: axes for name, axes in free.items() if axes},
        opset_version=opset_version,
        verbose=bool(verbose),
    )


def _compare(title: str, found: list[Any], expected: list[Any], batch: list[Any]) -> None:
    for own, of in zip(found, expected, strict=True):
        error = float(np.abs(own - of).max() / max(float(np.abs(of).max()), 1e-12)) if own.shape == of.shape else None
        if error is None or not error <= _TOLERANCE:
            said = f"outputs of the shape {own.shape}" if error is None else f"outputs that differ by {error:.1e}"
            raise InputError(
                f"export: the {title} file gives {said} for inputs of {', '.join(str(x.shape) for x in batch)}; the "
                f"network gives {of.shape}",
                "fix the sizes of the network's inputs, or export to another format",
            )


def _random(x: Any, sides: tuple[int, int]) -> Any:
    free = iter(sides)
    shape = (2, *(next(free, 8) if side is None else side for side in x.shape[1:]))
    return np.random.default_rng(0).random(shape).astype(x.dtype)


def _packed(graph: Any, batch: list[Any]) -> Any:
    return keras.tree.pack_sequence_as(graph.input, batch)


def _arrays(outputs: Any) -> list[Any]:
    return [keras.ops.convert_to_numpy(y) for y in keras.tree.flatten(outputs)]


def _run_saved_model(path: Path, batch: list[Any]) -> list[Any]:
    loaded = require("tensorflow", extra="keras").saved_model.load(str(path))
    found = loaded.serve(batch[0]) if len(batch) == 1 else loaded.serve(batch)
    return [np.asarray(y) for y in keras.tree.flatten(found)]


def _run_onnx(path: Path, batch: list[Any]) -> list[Any]:
    runtime = require("onnxruntime", extra="onnx")
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return list(session.run(None, {x.name: given for x, given in zip(session.get_inputs(), batch, strict=True)}))


def _run_litert(path: Path, batch: list[Any]) -> list[Any]:
    interpreter = require("tensorflow", extra="keras").lite.Interpreter(model_path=str(path))
    for about, given in zip(interpreter.get_input_details(), batch, strict=True):
        interpreter.resize_tensor_input(about["index"], given.shape)
    interpreter.allocate_tensors()
    for about, given in zip(interpreter.get_input_details(), batch, strict=True):
        interpreter.set_tensor(about["index"], given)
    interpreter.invoke()
    return [interpreter.get_tensor(about["index"]) for about in interpreter.get_output_details()]


_RUNNERS: dict[str, Callable[[Path, list[Any]], list[Any]]] = {
    "tf_saved_model": _run_saved_model,
    "onnx": _run_onnx,
    "litert": _run_litert,
}
