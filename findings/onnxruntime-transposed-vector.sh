#!/usr/bin/env bash
# ONNX Runtime multiplies a transposed matrix with a vector wrongly: for x of (B, C, N) and w of (C,), the product
# Transpose(x) w of ONNX's MatMul is right without rewriting, and with it (the default) the two nodes become one
# FusedMatMul whose result differs by more than its own size. The extended rewriting "MatmulTransposeFusion" does it;
# w as a matrix of one column (C, 1) is right at every level. Nothing warns. Scores w . x of positions are such products.
# Seen with onnxruntime 1.32.0, onnx 1.23.2, numpy 2.4.0 (Python 3.11, CPU).
# Fails if that changes.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check uv
"$folder/venv/bin/uv" pip install --quiet --python "$folder/venv/bin/python" \
  onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.0
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

rng = np.random.default_rng(0)
x = rng.standard_normal((2, 16, 30)).astype(np.float32)
w = rng.standard_normal(16).astype(np.float32)
levels = onnxruntime.GraphOptimizationLevel


def error(weights, level, disabled=()):
    nodes = [helper.make_node("Transpose", ["x"], ["t"], perm=[0, 2, 1]), helper.make_node("MatMul", ["t", "w"], ["y"])]
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)
    answer = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "product", [given], [answer], [numpy_helper.from_array(weights, "w")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"], disabled_optimizers=list(disabled)
    )
    wanted = x.transpose(0, 2, 1) @ weights
    return float(np.abs(session.run(None, {"x": x})[0] - wanted).max() / np.abs(wanted).max())


default = error(w, levels.ORT_ENABLE_ALL)
basic = error(w, levels.ORT_ENABLE_BASIC)
without = error(w, levels.ORT_ENABLE_ALL, ["MatmulTransposeFusion"])
column = error(w[:, None], levels.ORT_ENABLE_ALL)
print(f"vector: {default:.2g} by default, {basic:.2g} with basic rewriting, {without:.2g} without the fusion; column: {column:.2g}")
assert default > 0.1, "the behaviour has changed"
assert max(basic, without, column) < 1e-5, "the behaviour has changed"
PYTHON
