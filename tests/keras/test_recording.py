"""Views of the mechanisms of Keras networks: those of the same PyTorch modules, through sub-models."""

import keras
import numpy as np
import pytest
import torch
from keras import layers, ops

import saccade.keras
from saccade.errors import InputError
from saccade.keras import attachments, insert, layer, record, to_torch

IMAGES = np.random.default_rng(0).random((2, 12, 16, 3), dtype="float32")


def network():
    """A sub-model with a convolution, in a network."""
    image = keras.Input((None, None, 3))
    inner = keras.Model(image, layers.Conv2D(8, 3, padding="same", name="conv")(image), name="backbone")
    outer = keras.Input((None, None, 3))
    return keras.Model(outer, layers.Conv2D(2, 3, name="head")(inner(outer)), name="net")


def test_views_are_those_of_the_module_on_the_same_map():
    model = insert(insert(network(), "cbam[reduction=2]+pam", at="backbone/conv"), "cam", at="before:head")
    attachments(model)["backbone/conv_saccade"].g.assign([0.5])
    features = ops.convert_to_numpy(model.get_layer("backbone").get_layer("conv")(IMAGES)).transpose(0, 3, 1, 2)
    x = torch.from_numpy(features.copy())
    with record(model) as maps:
        model(IMAGES)
    assert list(maps) == ["backbone/conv", "backbone/conv#2", "before:head"]
    seen = maps["backbone/conv"]
    torch.testing.assert_close(seen.input, x, rtol=1e-5, atol=1e-6)
    module = to_torch(attachments(model)["backbone/conv_saccade"].mechanism).eval()
    for name, gate in module.gates(seen.input).items():
        torch.testing.assert_close(seen.gates[name], gate)
    assert (seen.g, round(seen.factor, 4)) == (0.5, 0.5)
    rows = maps["backbone/conv#2"].weights([(0, 0), (11, 15)])
    assert rows.shape == (2, 2, 12, 16)
    torch.testing.assert_close(rows.sum((2, 3)), torch.ones(2, 2))
    assert maps["before:head"].channel_weights([0, 3]).shape == (2, 2, 8)
    assert not saccade.keras.watching.WATCHERS


def test_built_in_mechanisms_parts_and_own_layers():
    image = keras.Input((8, 8, 3))
    x = layer("dual", name="attention")(layers.Conv2D(8, 3, name="conv")(image))
    model = insert(keras.Model(image, layers.Conv2D(2, 3, name="head")(x)), lambda c: layers.Conv2D(c, 1), at="conv")
    with record(model) as maps:
        model(IMAGES[:, :8, :8])
    assert set(maps) == {"attention", "attention.position", "attention.channel", "conv"}
    assert maps["attention.position"].weights([(0, 0)]).shape == (2, 1, 6, 6)
    assert maps["conv"].input.shape == (2, 8, 6, 6)


def test_what_cannot_be_recorded_is_refused():
    with pytest.raises(InputError, match=r"net contains no mechanism\n.*insert one first"), record(network()):
        pass
    with pytest.raises(InputError, match=r"received torch.*\n.*saccade.record"), record(torch.nn.Conv2d(1, 1, 1)):
        pass
    model = insert(network(), "se", at="head")
    with record(model) as maps, pytest.raises(KeyError, match="run the network"):
        maps["head"]
    if keras.backend.backend() != "torch":  # which runs `predict` as it stands
        with pytest.raises(InputError, match=r"compiled function.*\n.*model\(images\)"), record(model):
            model.predict(IMAGES, verbose=0)
