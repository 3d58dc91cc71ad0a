#!/usr/bin/env bash
# datumaro reads none of the images of a "CVAT for images 1.1" export whose images say a subset, and says nothing: it
# takes the name of the file, which CVAT calls annotations.xml, for the only subset wanted. An ellipse is left out as
# silently where the image is read.
# Seen with datumaro 1.13.12 (Python 3.11): 0 images with subset="train"; without it 1 image, 1 of its 2 shapes.
# Fails if that changes.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check datumaro==1.13.12
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
from pathlib import Path

import datumaro
from PIL import Image

TEXT = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version>
<meta><task><id>1</id><name>a task</name><size>1</size><mode>annotation</mode>
<labels><label><name>cat</name><attributes></attributes></label></labels></task></meta>
<image id="0" name="a.png"{subset} width="10" height="8">
<polygon label="cat" source="manual" occluded="0" points="1.0,1.0;5.0,1.0;5.0,5.0" z_order="0"></polygon>
<ellipse label="cat" source="manual" occluded="0" cx="6.0" cy="4.0" rx="2.0" ry="3.0" z_order="0"></ellipse>
</image></annotations>
"""
found = {}
for kind, subset in (("with", ' subset="train"'), ("without", "")):
    root = Path(kind)
    (root / "images").mkdir(parents=True)
    Image.new("RGB", (10, 8)).save(root / "images" / "a.png")
    (root / "annotations.xml").write_text(TEXT.format(subset=subset))
    data = datumaro.Dataset.import_from(str(root), "cvat")
    found[kind] = [len(item.annotations) for item in data]
    print(f"{kind} a subset: {len(found[kind])} images, shapes {found[kind]} of [2]")
assert found == {"with": [], "without": [1]}, "the behaviour has changed"
PYTHON
