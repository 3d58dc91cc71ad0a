"""Every recorded case of a mechanism's authors, from our Keras layer, on the backend of this process."""

import keras
import numpy as np
import pytest
import torch

from saccade.keras import from_torch
from saccade.keras.weights import named_weights, to_keras
from saccade.official import load_official
from tests.golden import dense, gates
from tests.golden.cases import Case, below, in_our_names, is_block, load, numbered
from tests.keras.gradients import array, differentiate

pytestmark = [pytest.mark.full, pytest.mark.filterwarnings("ignore::saccade.errors.SaccadeWarning")]

MAPPERS = (gates, dense)
MAPPED = frozenset.union(*(mapper.MECHANISMS for mapper in MAPPERS))
CASES = [case for case in load() if case.mechanism in MAPPED and not is_block(case)]


def make(case: Case):
    (mapper,) = (mapper for mapper in MAPPERS if case.mechanism in mapper.MECHANISMS)
    return mapper.build(case).to(case.dtype).train(case.training)


def last(tensor: torch.Tensor) -> np.ndarray:
    return np.ascontiguousarray(tensor.detach().movedim(1, -1).numpy())


@pytest.fixture
def precision(case):
    given, name = keras.config.floatx(), str(case.dtype).removeprefix("torch.")
    keras.config.set_floatx(name)
    yield name
    keras.config.set_floatx(given)


@pytest.fixture
def plain_start(monkeypatch):
    """Weights that start as an array of zeros: all are set, and random numbers cost a compilation for each shape."""
    add_weight = keras.layers.Layer.add_weight

    def zeros(shape, dtype=None):
        return keras.ops.convert_to_tensor(np.zeros(shape, dtype))

    monkeypatch.setattr(
        keras.layers.Layer,
        "add_weight",
        lambda self, *args, **options: add_weight(self, *args, **{**options, "initializer": zeros}),
    )


@pytest.mark.usefixtures("plain_start")
@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CASES])
def test_equals_the_authors(case: Case, precision: str) -> None:
    recorded = case.tensors()
    module = make(case)
    given = below("param.", recorded)
    report = load_official(module, given) if given else None
    layer = from_torch(module, data_format="channels_last", dtype=precision)
    expected = numbered("output", recorded)

    def outputs(x):
        found = [layer(x, training=case.training)]
        return found if len(expected) == 1 else [*found, layer.attention(x)]

    cotangents = numbered("cotangent", recorded)
    first, gradient, gradients = differentiate(
        layer, outputs, last(recorded["input"]), [last(cotangents[0]), *(each.numpy() for each in cotangents[1:])]
    )

    np.testing.assert_allclose(first[0], last(expected[0]), **case.tolerance, err_msg="output")
    for found, wanted in zip(first[1:], expected[1:], strict=True):
        np.testing.assert_allclose(found, wanted.reshape(found.shape), **case.tolerance, err_msg="the map")
    np.testing.assert_allclose(
        gradient, last(recorded["grad_input"]), **case.grad_tolerance, err_msg="gradient of the input"
    )
    if report is None:
        return
    names = named_weights(layer)
    by_variable = {id(variable): each for variable, each in zip(layer.trainable_variables, gradients, strict=True)}
    for name, wanted in in_our_names(report, below("grad.", recorded)).items():
        found = by_variable.pop(id(names[name]))
        wanted = to_keras(names[name], wanted.numpy())
        np.testing.assert_allclose(found, wanted, **case.grad_tolerance, err_msg=f"gradient of {name}")
    assert not by_variable or case.some_gradients_only, "a gradient for every parameter"
    for name, wanted in in_our_names(report, below("after.", recorded)).items():
        if name in names:  # a counter of batches has no counterpart
            wanted = to_keras(names[name], wanted.numpy())
            np.testing.assert_allclose(array(names[name].value), wanted, **case.tolerance, err_msg=name)


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="views are the same code on all backends")
@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CASES])
def test_shows_what_the_module_shows(case: Case, precision: str) -> None:
    module, x = make(case).eval(), case.tensors()["input"]
    layer = from_torch(module, data_format="channels_last", dtype=precision)
    position = tuple(size // 2 for size in x.shape[2:])
    for name, ours, more in (
        ("gates", "gates", ()),
        ("attention", "attention", ()),
        ("weights", "weights_of", ([position],)),
        ("channel_weights", "channel_weights", ([0],)),
        ("covariances", "covariances", ()),
        ("shares", "shares", ()),
    ):
        if not hasattr(module, name):
            continue
        expected, found = getattr(module, name)(x, *more), getattr(layer, ours)(last(x), *more)
        if not isinstance(expected, dict):
            expected, found = {name: expected}, {name: found}
        assert set(found) == set(expected)
        for key, wanted in expected.items():
            np.testing.assert_allclose(array(found[key]), wanted.detach().numpy(), rtol=1e-4, atol=1e-6, err_msg=key)
