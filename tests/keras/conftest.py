"""Keras reads its backend once, when it is imported: here PyTorch's, unless the process was started with another."""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")
import keras  # noqa: F401  # before torch: TensorFlow and what timm imports do not load in the other order
