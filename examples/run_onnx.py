"""Run a file of ``saccade export --to onnx --with-pre`` with numpy and ONNX Runtime alone.

    python run_onnx.py net.onnx image.npy

image.npy holds one image, uint8 (H, W, 3) in RGB, at the size that the network was trained on or any other.
"""

import json
import sys

import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
about = json.loads(session.get_modelmeta().custom_metadata_map["saccade"])
image = np.load(sys.argv[2]).transpose(2, 0, 1)[None]
if not about["pre"]:  # the file does not standardise by itself
    mean, std = (np.float32(part).reshape(3, 1, 1) for part in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    image = (image.astype(np.float32) / 255 - mean) / std
# The last output is what the network returns; --with-post puts predictions before it.
output = session.run(None, {session.get_inputs()[0].name: image})[-1]
best = output[0].argmax(axis=0)  # a class, or one for each pixel
classes = about["classes"] or [str(index) for index in range(output.shape[1])]
for index, count in zip(*np.unique(best, return_counts=True), strict=True):
    print(classes[index], f"{count / best.size:.1%}" if best.size > 1 else "")
