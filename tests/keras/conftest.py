"""Keras reads its backend once, when it is imported: here PyTorch's, unless the process was started with another."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("KERAS_BACKEND", "torch")
import keras  # noqa: F401  # before torch: TensorFlow and what timm imports do not load in the other order

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items):
    """Keras makes an array of a PyTorch tensor in a way that numpy has deprecated."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"))
