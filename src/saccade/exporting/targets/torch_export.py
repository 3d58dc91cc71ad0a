"""Programs of `torch.export`, run by PyTorch without the code of the network."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from saccade.exporting.subject import Subject
from saccade.exporting.targets import Array, Plan, Session, Target, as_arrays, described, free_dims
from saccade.exporting.targets.onnx import quiet

FILE = "saccade.json"


class TorchExport(Target):
    """Write the program with its weights."""

    name, runtime, suffixes, extra = "torch-export", "torch", (".pt2",), ""

    def write(self, subject: Subject, plan: Plan, path: Path, about: Mapping[str, Any]) -> None:
        made = io.BytesIO()  # on a full disk PyTorch's own writing of files ends the process
        torch.export.save(program(subject, plan), made, extra_files={FILE: json.dumps(about)})
        path.write_bytes(made.getbuffer())

    def open(self, path: Path) -> Session:
        return _Session(path)


class _Session(Session):
    def __init__(self, path: Path) -> None:
        kept = {FILE: ""}
        self._run = torch.export.load(path, extra_files=kept).module()
        self.about = described(kept[FILE])

    @torch.no_grad()
    def outputs(self, x: Array) -> tuple[Array, ...]:
        return as_arrays(self._run(torch.from_numpy(x)))


def program(subject: Subject, plan: Plan) -> Any:
    """Return the network as a program of `torch.export`."""
    free = free_dims(plan.shape)
    example = subject.example(plan.shape.batch or 2, plan.shape.size)
    with torch.no_grad(), quiet():
        return torch.export.export(subject.net, (example,), dynamic_shapes=(free,) if free else None)
