"""OpenVINO files, a description (.xml) and its weights (.bin)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from saccade.errors import require
from saccade.exporting.subject import Subject
from saccade.exporting.targets import Array, Plan, Session, Target, as_array
from saccade.exporting.targets.onnx import KEY, converted

_OPSET = 23


class OpenVino(Target):
    """Convert by way of ONNX, where softmax attention is one operator that OpenVINO computes without a table.

    OpenVINO's own reading of traced networks fuses attention between channels over the wrong axes.
    """

    name, runtime, suffixes, extra = "openvino", "openvino", (".xml", ".bin"), "openvino"
    int8 = True

    def write(self, subject: Subject, plan: Plan, path: Path, about: Mapping[str, Any]) -> None:
        openvino: Any = require("openvino", extra="openvino")
        made = converted(subject, plan, opset=plan.opset or _OPSET, body="attention")
        model = openvino.Core().read_model(made.SerializeToString())
        if plan.images:
            from saccade.exporting.quantising import compressed

            model = compressed(model, plan.images)
        versions = {**about["versions"], "openvino": openvino.__version__}
        model.set_rt_info(json.dumps({**about, "versions": versions}), [KEY])
        openvino.save_model(model, str(path), compress_to_fp16=plan.half)

    def open(self, path: Path) -> Session:
        return _Session(path)


class _Session(Session):
    def __init__(self, path: Path) -> None:
        openvino: Any = require("openvino", extra="openvino")
        import torch

        core = openvino.Core()
        model = core.read_model(str(path))
        self.about = json.loads(str(model.get_rt_info([KEY]).astype(str))) if model.has_rt_info([KEY]) else {}
        # By default it computes in bfloat16 where the processor has it, which is another network.
        hints = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": torch.get_num_threads()}
        self._compiled = core.compile_model(model, "CPU", hints)

    def run(self, x: Array) -> Array:
        return as_array(self._compiled([x])[0]).copy()
