"""Run a file of ``saccade export --to executorch`` with ExecuTorch alone, whose Python runtime takes torch's tensors.

    python run_executorch.py net.pte image.npy

image.npy holds one image, uint8 (H, W, 3) in RGB, at the size that the network was trained on or any other. What
saccade says of the file lies next to it, in net.pte.json.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from executorch.runtime import Runtime

about = json.loads(Path(sys.argv[1] + ".json").read_text(encoding="utf-8"))
method = Runtime.get().load_program(Path(sys.argv[1])).load_method("forward")
image = np.load(sys.argv[2]).transpose(2, 0, 1)[None]
if not about["pre"]:  # the file does not standardise by itself
    mean, std = (np.float32(part).reshape(3, 1, 1) for part in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    image = (image.astype(np.float32) / 255 - mean) / std
# The last output is what the network returns; --with-post puts predictions before it.
output = method.execute([torch.from_numpy(np.ascontiguousarray(image))])[-1].numpy()
best = output[0].argmax(axis=0)  # a class, or one for each pixel
classes = about["classes"] or [str(index) for index in range(output.shape[1])]
for index, count in zip(*np.unique(best, return_counts=True), strict=True):
    print(classes[index], f"{count / best.size:.1%}" if best.size > 1 else "")
