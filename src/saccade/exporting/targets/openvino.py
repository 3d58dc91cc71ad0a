"""OpenVINO files, a description (.xml) and its weights (.bin)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from saccade.errors import require
from saccade.exporting.subject import Subject
from saccade.exporting.targets import Array, Plan, Session, Target, as_arrays, described
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
        if plan.calibration is not None:
            from saccade.exporting.quantising import compressed, nodes_of_mechanisms

            model = compressed(model, plan, nodes_of_mechanisms(made, plan))
        model.set_rt_info(json.dumps(plan.told(about, openvino=openvino.__version__)), [KEY])
        try:
            openvino.save_model(model, str(path), compress_to_fp16=plan.half)
        except RuntimeError as cause:  # of its streams, which do not say more
            raise OSError(f"OpenVINO failed to write it ({' '.join(str(cause).split())[:100]})") from cause

    def open(self, path: Path) -> Session:
        return _Session(path)


class _Session(Session):
    def __init__(self, path: Path) -> None:
        openvino: Any = require("openvino", extra="openvino")
        import torch

        core = openvino.Core()
        model = core.read_model(str(path))
        self.about = described(str(model.get_rt_info([KEY]).astype(str)) if model.has_rt_info([KEY]) else "")
        # By default it computes in bfloat16 where the processor has it, which is another network.
        # With one thread OpenVINO 2026.4.1 does not always say that an operator refuses a size.
        threads = max(2, torch.get_num_threads())
        hints = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads}
        self._compiled = core.compile_model(model, "CPU", hints)

    def outputs(self, x: Array) -> tuple[Array, ...]:
        found = self._compiled([x])
        return tuple(part.copy() for part in as_arrays([found[output] for output in self._compiled.outputs]))
