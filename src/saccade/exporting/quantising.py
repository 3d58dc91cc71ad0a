"""Files in 8 bits: calibration images, and what quantising each mechanism costs, which decides what stays in float."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from saccade.errors import InputError, require
from saccade.exporting.subject import Subject
from saccade.exporting.targets import Array, Plan, Shape
from saccade.exporting.targets.onnx import quiet
from saccade.exporting.verifying import agreement_of, photo, relative_error

Model = TypeVar("Model")

_MOST, _LEAST = 64, 2
_MEASURED = 16
_SCOPES = "pkg.torch.onnx.name_scopes"
_WORSE, _FEWER = 1.25, 0.005
"""A mechanism stays in float if quantising it makes the error larger by this factor, or changes more predictions."""


@dataclass(frozen=True)
class Calibration:
    """Images of the folder of ``--int8``, as the network reads them, (1, C, H, W) each.

    Args:
        images: Those that the ranges of values are found on.
        measured: Those that the cost of quantisation is measured on; others than `images` if the folder has enough.
        held_out: True if `measured` has others.
    """

    images: tuple[Array, ...]
    measured: tuple[Array, ...]
    held_out: bool


@dataclass(frozen=True)
class Cost:
    """Cost of quantising the layers of a mechanism, the rest of the network being in 8 bits.

    Args:
        mechanism: Its class.
        modules: Number of its modules in the network.
        error: Relative error of the outputs with its layers in 8 bits.
        error_in_float: Relative error with its layers in float.
        agreement: Fraction of predictions as in float with its layers in 8 bits; None where there is a single output.
        agreement_in_float: Fraction likewise with its layers in float.
        kept: True if its layers stay in float.
    """

    mechanism: str
    modules: int
    error: float
    error_in_float: float
    agreement: float | None
    agreement_in_float: float | None
    kept: bool

    def __str__(self) -> str:
        in_8_bits, in_float = (
            f"relative error {error:.2g}" + ("" if same is None else f", {100 * same:.1f}% of the predictions the same")
            for error, same in ((self.error, self.agreement), (self.error_in_float, self.agreement_in_float))
        )
        decided = "it stays in float" if self.kept else "it is in 8 bits"
        return f"8 bits in the layers of {self.mechanism} x {self.modules}: {in_8_bits}; in float {in_float}; {decided}"


def calibration(folder: Path, subject: Subject, shape: Shape) -> Calibration:
    """Read images for the calibration, and for measuring what it costs.

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
            f"--int8: {folder} has {len(found) or 'no'} image{'' if len(found) == 1 else 's'}; "
            f"ranges need at least {_LEAST}, better {_MOST}",
            "name a folder with more of them",
        )
    chosen = _spread(found, _MOST)
    others = [path for path in found if path not in set(chosen)]
    held_out = len(others) >= _MEASURED
    measured = _spread(others if held_out else chosen, _MEASURED)
    images, shown = (
        tuple(subject.fed(photo(path, shape.size)).numpy() for path in some) for some in (chosen, measured)
    )
    return Calibration(images, shown, held_out)


def _spread(paths: Sequence[Path], most: int) -> list[Path]:
    """Return paths from the whole of a list, evenly."""
    count = min(most, len(paths))
    return [paths[i * (len(paths) - 1) // max(1, count - 1)] for i in range(count)]


def quantised(model: Any, plan: Plan) -> Any:
    """Return an ONNX model whose convolutions and matrices are in 8 bits, by ONNX Runtime's static quantisation.

    Softmax and sigmoids stay in float: 8 bits leave a gate of 0.45 to 0.55 with 46 levels and round small weights of
    attention to 0. The layers of a mechanism stay in float too where it is measured to matter.

    Args:
        model: The model in float32.
        plan: Images and mechanisms; receives what quantising each mechanism costs.
    """
    assert plan.calibration is not None
    images = plan.calibration.images
    layers = {name: _nodes_in(model, modules) for name, modules in plan.attention.items()}

    def made(in_float: Collection[str]) -> Any:
        with quiet():
            return _quantise(model, images, in_float)

    return _chosen(layers, made, _by_onnxruntime, model, plan)


def compressed(model: Any, plan: Plan, named: Mapping[str, Collection[str]]) -> Any:
    """Return an OpenVINO model in 8 bits, by NNCF; softmax, sigmoids and products of pairs stay in float.

    Args:
        model: The model in float32.
        plan: Images and mechanisms; receives what quantising each mechanism costs.
        named: Names of the nodes of each mechanism in the ONNX model that it was read from.
    """
    nncf: Any = require("nncf", extra="openvino")
    ranges: Any = require("nncf.quantization.range_estimator", extra="openvino")
    assert plan.calibration is not None
    images = list(plan.calibration.images)
    layers = {
        name: [one.get_friendly_name() for one in model.get_ops() if _is_of(one, nodes)]
        for name, nodes in named.items()
    }

    def made(in_float: Collection[str]) -> Any:
        ignored = nncf.IgnoredScope(names=list(in_float), types=list(_IN_FLOAT), validate=False)
        with quiet(), redirect_stdout(io.StringIO()):  # which it draws bars on
            return nncf.quantize(
                model,
                nncf.Dataset(images),
                ignored_scope=ignored,
                subset_size=len(images),
                # Weights that sums in 16 bits hold, and the extremes of all images instead of their means.
                advanced_parameters=nncf.AdvancedQuantizationParameters(
                    overflow_fix=nncf.OverflowFix.ENABLE,
                    activations_range_estimator_params=ranges.RangeEstimatorParametersSet.MINMAX,
                ),
            )

    nncf.set_log_level(40)
    return _chosen(layers, made, _by_openvino, model, plan)


_IN_FLOAT = ("Sigmoid", "SoftMax", "Softmax", "ScaledDotProductAttention")


def _is_of(one: Any, nodes: Collection[str]) -> bool:
    """Return whether an operator of OpenVINO was read from one of the nodes, whose name or output it has."""
    names = {one.get_friendly_name(), *(name for output in one.outputs() for name in output.get_names())}
    return one.get_type_name() not in ("Constant", "Parameter", "Result") and not names.isdisjoint(nodes)


def nodes_of_mechanisms(model: Any, plan: Plan) -> dict[str, list[str]]:
    """Return the names of the nodes of each mechanism in an ONNX model, and those of their outputs."""
    found = {}
    for name, modules in plan.attention.items():
        nodes = set(_nodes_in(model, modules))
        outputs = [output for node in model.graph.node if node.name in nodes for output in node.output]
        found[name] = [*nodes, *outputs]
    return found


def _chosen(
    layers: Mapping[str, Sequence[str]],
    made: Callable[[Collection[str]], Model],
    outputs: Callable[[Any, Sequence[Array]], list[Array]],
    model: Any,
    plan: Plan,
) -> Model:
    """Return the quantised model in which those mechanisms are in float that lose by 8 bits.

    Args:
        layers: Names of the nodes of each mechanism.
        made: Quantises the model except for nodes.
        outputs: Runs a model on images.
        model: The model in float32.
        plan: Images and mechanisms; receives the costs.
    """
    assert plan.calibration is not None
    some = plan.calibration.measured
    wanted = outputs(model, some)

    def quality(one: Any) -> tuple[float, float | None]:
        pairs = list(zip(outputs(one, some), wanted, strict=True))
        same = [agreement_of(found, right, plan.joints) for found, right in pairs]
        counted = [part for part in same if part is not None]
        error = max(relative_error(found, right) for found, right in pairs)
        return error, sum(counted) / len(counted) if counted else None

    whole = made(())
    if not any(layers.values()):
        return whole
    error, same = quality(whole)
    variants = {}
    for name, nodes in layers.items():
        if not nodes:
            continue
        variants[name] = made(nodes)
        error_in_float, same_in_float = quality(variants[name])
        fewer = same is not None and same_in_float is not None and same < same_in_float - _FEWER
        kept = fewer or error > _WORSE * error_in_float
        cost = Cost(name, len(plan.attention[name]), error, error_in_float, same, same_in_float, kept)
        plan.costs.append(asdict(cost))
        plan.notes.append(str(cost))
    of_what = "images that the ranges were not found on" if plan.calibration.held_out else "images of the calibration"
    plan.notes.append(f"8 bits: measured on {len(some)} {of_what}, against float32; softmax and gates stay in float")
    kept_ones = [cost["mechanism"] for cost in plan.costs if cost["kept"]]
    if not kept_ones:
        return whole
    if len(kept_ones) == 1:
        return variants[kept_ones[0]]
    return made([node for name in kept_ones for node in layers[name]])


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
            reduce_range=True,  # processors without VNNI add two products in 16 bits, which 8 bits of weights overflow
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


def _by_onnxruntime(model: Any, images: Sequence[Array]) -> list[Array]:
    """Return the output of the network, which is the last, for each image."""
    runtime: Any = require("onnxruntime", extra="onnx")
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    session = runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return [np.asarray(session.run(None, {name: image})[-1]) for image in images]


def _by_openvino(model: Any, images: Sequence[Array]) -> list[Array]:
    """Return the output of the network, which is the last, for each image."""
    openvino: Any = require("openvino", extra="openvino")
    compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    last = compiled.outputs[-1]
    return [np.array(compiled([image])[last]) for image in images]
