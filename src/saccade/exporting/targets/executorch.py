"""ExecuTorch files for phones and boards, with the kernels of XNNPACK."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from saccade.errors import require
from saccade.exporting.subject import Subject
from saccade.exporting.targets import Array, Plan, Session, Target, as_arrays, beside, described
from saccade.exporting.targets.onnx import quiet
from saccade.exporting.targets.torch_export import program


class ExecuTorch(Target):
    """Lower the program of `torch.export`. What its file says lies next to it, in a file of JSON."""

    name, runtime, suffixes, extra = "executorch", "executorch", (".pte", ".pte.json"), "executorch"
    half = False

    def write(self, subject: Subject, plan: Plan, path: Path, about: Mapping[str, Any]) -> None:
        exir: Any = require("executorch.exir", extra="executorch")
        xnnpack: Any = require("executorch.backends.xnnpack.partition.xnnpack_partitioner", extra="executorch")
        with quiet():
            lowered = exir.to_edge_transform_and_lower(
                program(subject, plan), partitioner=[xnnpack.XnnpackPartitioner()]
            ).to_executorch()
        path.write_bytes(lowered.buffer)
        path.with_name(f"{path.name}.json").write_text(json.dumps(about), encoding="utf-8")

    def open(self, path: Path) -> Session:
        return _Session(path)


class _Session(Session):
    def __init__(self, path: Path) -> None:
        runtime: Any = require("executorch.runtime", extra="executorch")
        self._method = runtime.Runtime.get().load_program(path).load_method("forward")
        self.about = described(beside(path))

    def outputs(self, x: Array) -> tuple[Array, ...]:
        import torch

        return tuple(part.copy() for part in as_arrays(self._method.execute([torch.from_numpy(x)])))
