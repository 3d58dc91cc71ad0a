"""Files for other runtimes: written by the backends that can, run there, and refused with what to do elsewhere."""

import keras
import numpy as np
import pytest
from keras import layers

from saccade.errors import InputError
from saccade.keras import attachments, export, insert

FORMATS = {"torch": [".onnx"], "tensorflow": ["", ".tflite"], "jax": [""]}[keras.backend.backend()]
MORE = ["pam", "sagan", "non_local", "non_local[pairwise=dot_product,sub_sample=False]"]
"""Maps over pairs, of pooled keys too."""


def network(mechanism):
    model = keras.Sequential(
        [
            keras.Input((None, None, 3)),
            layers.Conv2D(8, 3, padding="same", name="conv"),
            layers.GlobalAveragePooling2D(),
        ]
    )
    model = insert(model, mechanism, at="conv")
    for layer in attachments(model).values():
        for variable in layer.trainable_variables:
            variable.assign(np.random.default_rng(1).normal(size=variable.shape) * 0.3)
    return model


@pytest.mark.filterwarnings("ignore")  # the exporters' own
@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("mechanism", ["cbam", *(pytest.param(each, marks=pytest.mark.full) for each in MORE)])
def test_files_keep_free_sizes(mechanism, suffix, tmp_path):
    path = export(network(mechanism), tmp_path / f"net{suffix}")
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    with pytest.raises(InputError, match=r"exists\n.*remove it"):
        export(network(mechanism), path)


def test_what_cannot_be_written_is_refused(tmp_path):
    model = network("se")
    with pytest.raises(InputError, match=r"\.onnx or \.tflite, or a folder.*\n.*saccade\.keras\.save"):
        export(model, tmp_path / "net.keras")
    with pytest.raises(InputError, match="does not exist"):
        export(model, tmp_path / "nowhere" / f"net{FORMATS[0]}")
    if keras.backend.backend() != "tensorflow":
        with pytest.raises(InputError, match=r"LiteRT with the backends tensorflow.*\n.*KERAS_BACKEND=tensorflow"):
            export(model, tmp_path / "net.tflite")
    assert not list(tmp_path.iterdir())
