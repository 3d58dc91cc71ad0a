"""ONNX files, run by ONNX Runtime."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from saccade.errors import InputError, require
from saccade.exporting.attention_bodies import BODIES, has_nodes, with_bodies
from saccade.exporting.subject import Subject
from saccade.exporting.targets import Array, Plan, Session, Target, as_arrays, described, free_dims
from saccade.ops.nodes import as_nodes

KEY = "saccade"
INPUT = "images"
_OPSET = 18


class Onnx(Target):
    """Write by the newer exporter of PyTorch; softmax attention runs over blocks of queries, without a table."""

    name, runtime, suffixes, extra = "onnx", "onnxruntime", (".onnx",), "onnx"
    int8 = True

    def write(self, subject: Subject, plan: Plan, path: Path, about: Mapping[str, Any]) -> None:
        body = "blocks" if plan.calibration is None else "blocks, 8 bits"
        model = converted(subject, plan, opset=plan.opset or _OPSET, body=body)
        onnx: Any = require("onnx", extra="onnx")
        model.producer_name, model.doc_string = "saccade", f"{about['name']}, exported by saccade {about['saccade']}"
        if plan.calibration is not None:
            from saccade.exporting.quantising import quantised

            model = quantised(model, plan)
        described = plan.told(about, onnx=onnx.__version__, opset=plan.opset or _OPSET)
        onnx.helper.set_model_props(model, {KEY: json.dumps(described)})
        path.write_bytes(model.SerializeToString())

    def open(self, path: Path) -> Session:
        return _Session(path)


class _Session(Session):
    def __init__(self, path: Path) -> None:
        runtime: Any = require("onnxruntime", extra="onnx")
        import torch

        options = runtime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = torch.get_num_threads()
        self._session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name
        kept = self._session.get_modelmeta().custom_metadata_map
        self.about = described(kept.get(KEY, ""))

    def outputs(self, x: Array) -> tuple[Array, ...]:
        return as_arrays(self._session.run(None, {self._input: x}))


def converted(subject: Subject, plan: Plan, *, opset: int, body: str) -> Any:
    """Convert a network to an ONNX model.

    Args:
        subject: The network.
        plan: How it is written.
        opset: Version of the operators.
        body: Body of softmax attention, in :data:`saccade.exporting.attention_bodies.BODIES`.

    Raises:
        InputError: The version does not have the operators of the network.
    """
    import torch

    require("onnx", extra="onnx")
    require("onnxscript", extra="onnx")
    example = subject.example(plan.shape.batch or 2, plan.shape.size)
    free = free_dims(plan.shape)
    with as_nodes(), quiet(), torch.no_grad():
        program = torch.onnx.export(
            subject.net,
            (example,),
            dynamo=True,
            dynamic_shapes=(free,) if free else None,
            opset_version=opset,
            input_names=[INPUT],
            output_names=list(subject.outputs),
            verbose=False,
        )
    assert program is not None
    model, least = program.model_proto, BODIES[body][1]
    written = next(one.version for one in model.opset_import if one.domain in ("", "ai.onnx"))
    if written != opset:
        raise InputError(
            f"--opset {opset}: PyTorch wrote {subject.name} with operators of version {written} instead",
            f"--opset {max(written, least)}",
        )
    if opset < least and has_nodes(model):
        raise InputError(f"--opset {opset}: softmax attention needs operators of version {least}", f"--opset {least}")
    return with_bodies(model, body)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence what the exporter says of its own working."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
