#!/usr/bin/env bash
# Keras on JAX computes means, and so LayerNormalization, of float64 in float32, also with JAX's 64 bits on and floatx
# float64: the result is labelled float64, and its digits are those of float32. Matrix products and sums keep all digits.
# Seen with keras 3.15.1, jax 0.10.2 (Python 3.11): error of mean and of LayerNormalization about 1e-7 and 5e-7, of sum, of
# matmul and of sum / count about 1e-15; all five results are float64.
# Fails if that changes.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check keras==3.15.1 jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6
cd "$folder"
KERAS_HOME="$folder" KERAS_BACKEND=jax JAX_ENABLE_X64=1 "$folder/venv/bin/python" - <<'PYTHON'
import jax
import keras
import numpy as np
from keras import ops

keras.config.set_floatx("float64")
random = np.random.default_rng(0)
x, w = random.normal(size=(2, 50, 80)), random.normal(size=(80, 60))
a, b = (ops.convert_to_tensor(each, dtype="float64") for each in (x, w))
normed = (x - x.mean(axis=-1, keepdims=True)) / np.sqrt(x.var(axis=-1, keepdims=True) + 1e-5)
found = {
    "mean": (ops.mean(a, axis=1), x.mean(axis=1)),
    "LayerNormalization": (keras.layers.LayerNormalization(epsilon=1e-5, dtype="float64")(a), normed),
    "sum": (ops.sum(a, axis=1), x.sum(axis=1)),
    "sum / count": (ops.sum(a, axis=1) / 50, x.mean(axis=1)),
    "matmul": (ops.matmul(a, b), x @ w),
}
errors = {}
for name, (ours, expected) in found.items():
    assert keras.backend.standardize_dtype(ours.dtype) == "float64", name
    errors[name] = float(np.abs(np.asarray(ours) - expected).max())
print("keras", keras.__version__, "jax", jax.__version__, {name: f"{error:.1e}" for name, error in errors.items()})
assert all(errors[name] > 1e-9 for name in ("mean", "LayerNormalization")), "it keeps float64 now"
assert all(errors[name] < 1e-12 for name in ("sum", "sum / count", "matmul")), "it does not keep float64 here either"
PYTHON
