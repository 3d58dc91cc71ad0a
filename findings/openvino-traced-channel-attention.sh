#!/usr/bin/env bash
# OpenVINO converts a traced network with attention between channels, softmax(X X^T) X over (B, C, H W), without a word
# into one that computes something else: it fuses the three steps into scaled dot product attention over the wrong axes.
# By way of ONNX the same network is right, and so it is with the maximum of each row subtracted before the softmax,
# which changes nothing in exact arithmetic.
# Seen with OpenVINO 2026.4.1, torch 2.15.0, onnx 1.23.2, onnxscript 0.7.2 (Python 3.11).
# Fails if that changes.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check uv
"$folder/venv/bin/uv" pip install --quiet --python "$folder/venv/bin/python" \
  openvino==2026.4.1 torch==2.15.0 onnx==1.23.2 onnxscript==0.7.2 numpy==2.4.0
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import numpy as np
import openvino
import torch


class ChannelAttention(torch.nn.Module):
    def __init__(self, written_out):
        super().__init__()
        self.written_out = written_out

    def forward(self, x):
        channels = x.flatten(2)
        energies = channels @ channels.transpose(1, 2)
        if self.written_out:
            energies = energies - energies.amax(dim=-1, keepdim=True)
        return x + (energies.softmax(dim=-1) @ channels).view(x.shape)


torch.manual_seed(0)
x = torch.randn(2, 8, 5, 7)


def error(model, net):
    compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return float(np.abs(compiled([x.numpy()])[0] - net(x).numpy()).max())


plain, written_out = ChannelAttention(False).eval(), ChannelAttention(True).eval()
traced = error(openvino.convert_model(plain, example_input=x), plain)
torch.onnx.export(plain, (x,), "plain.onnx", dynamo=True, verbose=False)
by_onnx = error(openvino.Core().read_model("plain.onnx"), plain)
apart = error(openvino.convert_model(written_out, example_input=x), written_out)
print(f"largest error: traced {traced:.2g}, by way of ONNX {by_onnx:.2g}, traced with the maximum written out {apart:.2g}")
assert traced > 0.1, "the behaviour has changed"
assert max(by_onnx, apart) < 1e-4, "the behaviour has changed"
PYTHON
