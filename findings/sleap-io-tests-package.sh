#!/usr/bin/env bash
# The wheel of sleap-io holds its own tests as a top-level package `tests`: where it is installed, `import tests` of a
# project whose tests are a package finds sleap-io's as soon as the project's folder is not first on the path.
# Seen with sleap-io 0.9.5 (Python 3.11): tests/__init__.py is among its installed files, and is imported from a folder
# without tests.
# Fails if that changes.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check uv
"$folder/venv/bin/uv" pip install --quiet --no-deps --python "$folder/venv/bin/python" sleap-io==0.9.5
mkdir "$folder/empty"; cd "$folder/empty"
"$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import files
from importlib.util import find_spec

shipped = sorted(str(one) for one in files("sleap-io") if str(one).startswith("tests/"))
found = find_spec("tests")
print(len(shipped), "files, such as", shipped[:2], "imported from", found and found.origin)
assert "tests/__init__.py" in shipped
assert found is not None and "site-packages" in found.origin
PYTHON
