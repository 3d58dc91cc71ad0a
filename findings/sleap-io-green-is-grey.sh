#!/usr/bin/env bash
# sleap-io takes a video for grey when the first and the last channel of its first frame are equal, and then gives the
# first channel only. Footage whose light is all in the green channel, as fluorescence recordings are stored, is read as
# zeros, without a warning. Valid PNGs; their pixels are (0, 200, 0).
# Seen with sleap-io 0.9.5 (Python 3.11): shape (2, 8, 8, 1), largest value 0; with grayscale=False 3 channels, 200.
# Fails if that changes.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check uv
"$folder/venv/bin/uv" pip install --quiet --python "$folder/venv/bin/python" sleap-io==0.9.5
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import sleap_io
from PIL import Image

for number in range(2):
    Image.new("RGB", (8, 8), (0, 200, 0)).save(f"{number}.png")
read = sleap_io.Video.from_filename(["0.png", "1.png"])
forced = sleap_io.Video.from_filename(["0.png", "1.png"], grayscale=False)
print("file", np.asarray(Image.open("0.png")).max(axis=(0, 1)), "read", read.shape, read[0].max(), "forced", forced[0].shape, forced[0].max())
assert (read.shape, int(read[0].max())) == ((2, 8, 8, 1), 0)
assert (forced[0].shape, int(forced[0].max())) == ((8, 8, 3), 200)
PYTHON
