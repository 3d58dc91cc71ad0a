"""LiteRT files (.tflite) for phones."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from saccade.errors import require
from saccade.exporting.subject import Subject
from saccade.exporting.targets import Array, Plan, Session, Target, as_arrays, beside, described
from saccade.exporting.targets.onnx import quiet


class LiteRt(Target):
    """Convert by litert-torch, which takes fixed sizes only: free ones give wrong numbers or none.

    What the file says lies next to it, in a file of JSON.
    """

    name, runtime, suffixes, extra = "litert", "ai-edge-litert", (".tflite", ".tflite.json"), "litert"
    free_sizes = free_batch = half = False

    def write(self, subject: Subject, plan: Plan, path: Path, about: Mapping[str, Any]) -> None:
        litert: Any = require("litert_torch", extra="litert")
        with quiet():
            made = litert.convert(subject.net, (subject.example(1, plan.shape.size),))
            made.export(str(path))
        path.with_name(f"{path.name}.json").write_text(json.dumps(about), encoding="utf-8")

    def open(self, path: Path) -> Session:
        return _Session(path)


class _Session(Session):
    def __init__(self, path: Path) -> None:
        interpreter: Any = require("ai_edge_litert.interpreter", extra="litert")
        self._interpreter = interpreter.Interpreter(model_path=str(path))  # which its runners read from
        self._run = self._interpreter.get_signature_runner()
        self._input = next(iter(self._run.get_input_details()))
        self.about = described(beside(path))

    def outputs(self, x: Array) -> tuple[Array, ...]:
        found = self._run(**{self._input: np.ascontiguousarray(x)})
        return as_arrays([found[name] for name in sorted(found)])  # output_0, output_1, ...
