"""Blocks of queries give what the definition gives: outputs, and gradients of input and weights."""

import keras
import numpy as np
import pytest

from saccade.keras import blocks, definitions, layer
from tests.keras.gradients import differentiate


@pytest.mark.parametrize(
    ("given", "options"),
    [
        ("pam", {}),
        ("sagan", {}),
        ("non_local", {"variant": "mmcv"}),
        ("non_local", {"pairwise": "gaussian"}),
        ("non_local", {"pairwise": "concatenation"}),
        ("fla", {"lean": True}),
    ],
)
def test_blocks_give_what_the_definition_gives(given, options, monkeypatch):
    made = layer(given, **options, data_format="channels_last")
    made.build((None, None, None, 8))
    random = np.random.default_rng(0)
    for variable in made.variables:
        variable.assign(random.uniform(0.2, 0.9, variable.shape))
    x, over = random.normal(size=(2, 2, 12, 14, 8)).astype("float32")

    def run():
        return differentiate(made, lambda x: [made(x)], x, [over])

    with definitions():
        (expected,), of_x, of_weights = run()
    looped = []
    monkeypatch.setattr(blocks, "_ENTRIES", 2**7)
    backend = keras.backend.backend()
    loop = blocks._LOOPS[backend]
    monkeypatch.setitem(blocks._LOOPS, backend, lambda *given: looped.append(given) or loop(*given))
    (found,), found_of_x, found_of_weights = run()

    assert looped, "the map has more than one block"
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found_of_x, of_x, rtol=1e-3, atol=1e-4)
    for one, other in zip(found_of_weights, of_weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-3)
