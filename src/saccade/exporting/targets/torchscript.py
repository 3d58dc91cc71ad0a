"""TorchScript files, which older programs and libtorch read."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from saccade.exporting.subject import Subject
from saccade.exporting.targets import Array, Plan, Session, Target, as_arrays, described
from saccade.exporting.targets.onnx import quiet

FILE = "saccade.json"


class TorchScript(Target):
    """Trace the network from its definitions, with all weights as they are."""

    name, runtime, suffixes, extra = "torchscript", "torch", (".pt",), ""

    def write(self, subject: Subject, plan: Plan, path: Path, about: Mapping[str, Any]) -> None:
        example = subject.example(plan.shape.batch or 2, plan.shape.size)
        with torch.no_grad(), quiet():
            traced = torch.jit.trace(subject.net, (example,), check_trace=False)  # type: ignore[no-untyped-call]
            made = io.BytesIO()  # on a full disk PyTorch's own writing of files ends the process
            torch.jit.save(traced, made, _extra_files={FILE: json.dumps(about)})
        path.write_bytes(made.getbuffer())

    def open(self, path: Path) -> Session:
        return _Session(path)


class _Session(Session):
    def __init__(self, path: Path) -> None:
        kept: dict[str, Any] = {FILE: ""}
        with quiet():
            self._run = torch.jit.load(str(path), _extra_files=kept)  # type: ignore[no-untyped-call]
        self.about = described(kept[FILE])

    @torch.no_grad()
    def outputs(self, x: Array) -> tuple[Array, ...]:
        with quiet():
            return as_arrays(self._run(torch.from_numpy(x)))
