"""Files in 8 bits: calibration images, and what quantising the attention itself costs."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from saccade.errors import InputError, require
from saccade.exporting.subject import Subject
from saccade.exporting.targets import Array, Shape
from saccade.exporting.verifying import photo, relative_error

_MOST, _LEAST = 64, 2
_COMPARED = 4
_SCOPES = "pkg.torch.onnx.name_scopes"
_KEPT = 1.25
"""Attention stays in float if quantising it makes the error larger by this factor."""


def calibration_images(folder: Path, subject: Subject, shape: Shape) -> tuple[Array, ...]:
    """Read images for the calibration, as the network reads them, (1, C, H, W) each.

    Raises:
        InputError: The folder has fewer than two images, or the network does not read images.
    """
    from saccade.data.layouts import images_in

    if not folder.is_dir():
        raise InputError(f"--int8: {folder} is not a folder", "name a folder of images like those the file will see")
    if subject.channels != 3:
        raise InputError(f"--int8: {subject.name} reads {subject.channels} channels, not images", "leave it out")
    found = images_in(folder)
    if len(found) < _LEAST:
        raise InputError(
            f"--int8: {folder} has {len(found)} images; ranges need at least {_LEAST}, better {_MOST}",
            "name a folder with more of them",
        )
    chosen = [found[i * (len(found) - 1) // (min(_MOST, len(found)) - 1)] for i in range(min(_MOST, len(found)))]
    return tuple(subject.fed(photo(path, shape.size)).numpy() for path in chosen)


def quantised(model: Any, images: Sequence[Array], attention: Collection[str], notes: list[str]) -> Any:
    """Return an ONNX model whose convolutions and matrices are in 8 bits, by ONNX Runtime's static quantisation.

    Softmax and sigmoids stay in float: 8 bits leave a gate of 0.45 to 0.55 with 46 levels and round small weights of
    attention to 0. The layers of the mechanisms stay in float too where calibration shows that it matters.

    Args:
        model: The model in float32.
        images: Calibration images.
        attention: Names of the modules that are mechanisms.
        notes: Receives what quantising the attention costs.
    """
    names = _nodes_in(model, attention)
    with_attention = _quantise(model, images, ())
    if not names:
        return with_attention
    without = _quantise(model, images, names)
    some = images[:_COMPARED]
    wanted = _outputs(model, some)
    all_of_it, rest = (
        max(relative_error(found, right) for found, right in zip(_outputs(made, some), wanted, strict=True))
        for made in (with_attention, without)
    )
    kept = all_of_it > _KEPT * rest
    notes.append(
        f"8 bits: relative error {rest:.2g} with the attention in float, {all_of_it:.2g} with its layers in 8 bits; "
        f"it is {'kept in float' if kept else 'in 8 bits'}"
    )
    return without if kept else with_attention


def compressed(model: Any, images: Sequence[Array]) -> Any:
    """Return an OpenVINO model in 8 bits, by NNCF; softmax, sigmoids and attention stay in float."""
    nncf: Any = require("nncf", extra="openvino")
    ignored = nncf.IgnoredScope(types=["Sigmoid", "SoftMax", "Softmax", "ScaledDotProductAttention"], validate=False)
    return nncf.quantize(model, nncf.Dataset(list(images)), ignored_scope=ignored, subset_size=len(images))


def _nodes_in(model: Any, modules: Collection[str]) -> list[str]:
    """Return the names of the nodes that the exporter made of one of the modules or of a module in one."""
    found = []
    for node in model.graph.node:
        scopes = next((prop.value for prop in node.metadata_props if prop.key == _SCOPES), "")
        parts = {part.strip(" '\"") for part in scopes.strip("[]").split(",")}
        if parts & set(modules):
            found.append(node.name)
    return found


def _quantise(model: Any, images: Sequence[Array], left_out: Collection[str]) -> Any:
    onnx: Any = require("onnx", extra="onnx")
    quantization: Any = require("onnxruntime.quantization", extra="onnx")
    shapes: Any = require("onnxruntime.quantization.shape_inference", extra="onnx")
    name = model.graph.input[0].name
    with tempfile.TemporaryDirectory() as folder:
        given, prepared, made = (str(Path(folder) / f"{part}.onnx") for part in ("given", "prepared", "made"))
        onnx.save(model, given)
        shapes.quant_pre_process(given, prepared, skip_symbolic_shape=True, skip_optimization=True)
        products = [
            node.name
            for node in onnx.load(prepared).graph.node
            if node.op_type == "MatMul" and not _has_weights(model, node)
        ]
        quantization.quantize_static(
            prepared,
            made,
            _reader(quantization, name, images),
            op_types_to_quantize=["Conv", "Gemm", "MatMul"],
            nodes_to_exclude=[*left_out, *products],
            per_channel=True,
        )
        return onnx.load(made)


def _has_weights(model: Any, node: Any) -> bool:
    constants = {one.name for one in model.graph.initializer}
    return any(name in constants for name in node.input)


def _reader(quantization: Any, name: str, images: Sequence[Array]) -> Any:
    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._left: Iterator[Array] = iter(images)

        def get_next(self) -> dict[str, Array] | None:
            image = next(self._left, None)
            return None if image is None else {name: image}

    return Reader()


def _outputs(model: Any, images: Sequence[Array]) -> list[Array]:
    runtime: Any = require("onnxruntime", extra="onnx")
    session = runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return [np.asarray(session.run(None, {name: image})[0]) for image in images]
