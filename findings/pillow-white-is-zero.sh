#!/usr/bin/env bash
# A TIFF may say that 0 is white (PhotometricInterpretation 0). Pillow turns the values of 8 bits over, so that white is
# bright, and leaves those of 16 bits as they are: the same X-ray is a positive with 8 bits and a negative with 16.
# Seen with Pillow 13.0.0, files written by tifffile 2026.3.3 (Python 3.11).
# Fails if that changes.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pillow==13.0.0 tifffile==2026.3.3 numpy==2.4.0
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import tifffile
from PIL import Image

found = {}
for kind in (np.uint8, np.uint16):
    top = np.iinfo(kind).max
    tifffile.imwrite("a.tif", np.array([[0, top]], kind), photometric="miniswhite")
    with Image.open("a.tif") as image:
        found[kind.__name__] = (np.asarray(image) / top).ravel().tolist()
    print(f"stored 0 (white) and {top} (black), {kind.__name__}: read as {found[kind.__name__]} of full brightness")
assert found == {"uint8": [1.0, 0.0], "uint16": [0.0, 1.0]}, "the behaviour has changed"
PYTHON
