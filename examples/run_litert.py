"""Run a file of ``saccade export --to litert`` with numpy and LiteRT alone.

    python run_litert.py net.tflite image.npy

image.npy holds one image, uint8 (H, W, 3) in RGB, at the size that the file was exported with. What saccade says of the
file lies next to it, in net.tflite.json.
"""

import json
import sys
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter

about = json.loads(Path(sys.argv[1] + ".json").read_text(encoding="utf-8"))
interpreter = Interpreter(model_path=sys.argv[1])
run = interpreter.get_signature_runner()
image = np.load(sys.argv[2]).transpose(2, 0, 1)[None]
if not about["pre"]:  # the file does not standardise by itself
    mean, std = (np.float32(part).reshape(3, 1, 1) for part in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    image = (image.astype(np.float32) / 255 - mean) / std
found = run(**{next(iter(run.get_input_details())): np.ascontiguousarray(image)})
output = found[max(found)]  # the last is what the network returns; --with-post puts predictions before it
best = output[0].argmax(axis=0)  # a class, or one for each pixel
classes = about["classes"] or [str(index) for index in range(output.shape[1])]
for index, count in zip(*np.unique(best, return_counts=True), strict=True):
    print(classes[index], f"{count / best.size:.1%}" if best.size > 1 else "")
