"""Attention into a trained Keras network, and the result in another backend: ``python -m examples.keras_digits``.

Real handwritten digits that ship with scikit-learn (1,797 of 8 x 8 pixels): a small network is trained, attention is
inserted without changing what it computes, both are trained on alike, and the file is loaded by a second process with
another backend. Takes under two minutes on two cores.

KERAS_BACKEND chooses the backend of training (torch unless it is set); ``--other`` that of the second process.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
import numpy as np
from keras import layers

import saccade.keras

_OTHERS = {"torch": ("tensorflow", "jax"), "tensorflow": ("jax", "torch"), "jax": ("tensorflow", "torch")}


def digits() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return images and classes for training, and others for the test."""
    from sklearn.datasets import load_digits

    images, classes = load_digits(return_X_y=True)
    images = (images / 16).astype("float32").reshape(-1, 8, 8, 1)
    order = np.random.default_rng(0).permutation(len(images))
    train, test = order[:1300], order[1300:]
    return images[train], classes[train], images[test], classes[test]


def network() -> keras.Model:
    """Return a small network with two residual blocks."""
    image = keras.Input((8, 8, 1), name="image")
    x = layers.Conv2D(16, 3, padding="same", activation="relu", name="stem")(image)
    for number in (1, 2):
        y = layers.Conv2D(16, 3, padding="same", use_bias=False, name=f"block{number}_conv1")(x)
        y = layers.ReLU()(layers.BatchNormalization(momentum=0.9, name=f"block{number}_bn1")(y))
        y = layers.Conv2D(16, 3, padding="same", use_bias=False, name=f"block{number}_conv2")(y)
        y = layers.BatchNormalization(momentum=0.9, name=f"block{number}_bn2")(y)
        x = layers.ReLU(name=f"block{number}_out")(layers.Add()([x, y]))
    x = layers.GlobalAveragePooling2D(name="mean")(x)
    return keras.Model(image, layers.Dense(10, name="classes")(x), name="digits")


def fit(model: keras.Model, images: np.ndarray, classes: np.ndarray, epochs: int, rate: float) -> None:
    """Train a network by cross-entropy."""
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(rate), loss, metrics=["accuracy"])
    model.fit(images, classes, batch_size=64, epochs=epochs, verbose=0)


def predicted(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """Return the logits of images."""
    logits: np.ndarray = model.predict(images, batch_size=256, verbose=0)
    return logits


def other_backend(path: Path, images: Path, wanted: str | None) -> str | None:
    """Load a file in a fresh process with another backend, which writes its logits; return that backend's name.

    Raises:
        RuntimeError: The backend is installed, and cannot use the file.
    """
    for backend in [wanted] if wanted else _OTHERS[keras.backend.backend()]:
        if find_spec(backend) is None:
            continue
        code = (
            "import sys, keras, numpy as np, saccade.keras\n"
            "model = keras.saving.load_model(sys.argv[1])\n"
            "print(keras.backend.backend(), len(saccade.keras.verify(model)))\n"
            "np.save(sys.argv[2] + '.logits.npy', model.predict(np.load(sys.argv[2]), batch_size=256, verbose=0))\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, str(path), str(images)],
            env={**os.environ, "KERAS_BACKEND": backend},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode == 0:
            return backend
        raise RuntimeError(f"{backend}: {done.stderr}")
    return None


def main(arguments: list[str] | None = None) -> int:
    """Run the example; return 1 if the other backend disagrees."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mechanism", default="cbam", help="what is inserted")
    parser.add_argument("--epochs", type=int, default=6, help="epochs before the insertion, and after it")
    parser.add_argument("--other", choices=sorted(_OTHERS), help="backend of the second process")
    chosen = parser.parse_args(arguments)
    keras.utils.set_random_seed(0)
    images, classes, tests, answers = digits()

    model = network()
    fit(model, images, classes, chosen.epochs, 1e-3)
    before = predicted(model, tests)
    print(f"{keras.backend.backend()}: trained, {np.mean(before.argmax(1) == answers):.1%} of {len(tests)} test digits")

    attentive = saccade.keras.insert(model, chosen.mechanism)
    print(attentive.saccade_report)
    print(f"equal to the bit: {np.array_equal(before, predicted(attentive, tests))}")

    fit(attentive, images, classes, chosen.epochs, 3e-4)
    after = predicted(attentive, tests)
    print(f"fine-tuned: {np.mean(after.argmax(1) == answers):.1%}")

    with saccade.keras.record(attentive) as maps:
        attentive(tests[:1])
    for place, seen in maps.items():
        print(f"  {place}: mixed in by {seen.factor:+.2f}, {', '.join(seen.gates) or 'no'} gates")

    with tempfile.TemporaryDirectory() as folder:
        path = saccade.keras.save(attentive, Path(folder) / "digits.keras")
        kept = Path(folder) / "tests.npy"
        np.save(kept, tests)
        backend = other_backend(path, kept, chosen.other)
        if backend is None:
            print("no other backend is installed: pip install tensorflow-cpu, or jax")
            return 0
        logits = np.load(f"{kept}.logits.npy")
    same = bool(np.array_equal(logits.argmax(1), after.argmax(1)))
    print(f"{backend}: equal predictions: {same}; logits differ by at most {np.abs(logits - after).max():.1e}")
    return 0 if same else 1


if __name__ == "__main__":
    raise SystemExit(main())
