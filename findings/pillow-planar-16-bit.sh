#!/usr/bin/env bash
# Pillow opens a TIFF of 16-bit colours that are stored in planes (PlanarConfiguration 2, as GDAL and tifffile write on
# request) without an error, and its pixels are wrong: each plane is decoded as if it had 8 bits. The same values stored
# pixel by pixel are right, and planes of 8 bits are too.
# Seen with Pillow 13.0.0, files written by tifffile 2026.3.3 and read back by it (Python 3.11).
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

values = np.arange(4 * 5 * 3, dtype=np.uint16).reshape(4, 5, 3) * 1000  # 0 to 59,000
found = {}
for name, array, planes in (
    ("16 bits, pixel by pixel", values, "contig"),
    ("16 bits, in planes", values, "separate"),
    ("8 bits, in planes", (values >> 8).astype(np.uint8), "separate"),
):
    stored = array if planes == "contig" else np.moveaxis(array, 2, 0)
    tifffile.imwrite("a.tif", stored, photometric="rgb", planarconfig=planes)
    assert (tifffile.imread("a.tif") == stored).all()
    with Image.open("a.tif") as image:
        pixels = np.asarray(image.convert("RGB"))
    found[name] = bool((pixels == (values >> 8)).all())
    print(f"{name}: {'right' if found[name] else 'wrong'}, first pixels {pixels[0, :3].tolist()}")
assert list(found.values()) == [True, False, True], "the behaviour has changed"
PYTHON
