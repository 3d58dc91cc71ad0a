"""``saccade bench --framework keras``: both forms of each case agree, and the table has its columns."""

import keras
import numpy as np
import pytest

from saccade.bench import keras as bench
from saccade.errors import InputError
from saccade.keras import layer
from tests.keras.gradients import array


@pytest.mark.parametrize("name", list(bench.CASES))
def test_the_authors_form_is_equal(name):
    mechanism, _, options = bench.CASES[name]
    made = layer(mechanism, **options, data_format="channels_last")
    made.build((None, None, None, 16))
    for variable in made.variables:
        variable.assign(np.random.default_rng(0).uniform(0.1, 0.5, variable.shape))
    x = keras.ops.convert_to_tensor(np.random.default_rng(1).normal(size=(2, 6, 8, 16)).astype("float32"))
    np.testing.assert_allclose(array(bench._as_authors(mechanism, made)(x)), array(made(x)), rtol=1e-3, atol=1e-4)


def test_a_case_is_measured_on_this_backend(monkeypatch):
    monkeypatch.setitem(bench.CASES, "psa", ("psa", (1, 16, 16, 64), {}))
    found = bench.measure(["psa"], None, "small", 1, lambda *_: None)
    (row,) = found["rows"]
    assert row["shape"] == [1, 8, 8, 32]
    assert row["forward_backward"]["saccade"]["ms"] > 0
    assert bench.table(found).row_count == 1


def test_refuses_an_unknown_case_and_another_backend():
    with pytest.raises(InputError, match="no case 'pem'"):
        bench.measure(["pem"], None, "small", 1, lambda *_: None)
    other = "jax" if keras.backend.backend() != "jax" else "torch"
    with pytest.raises(InputError, match=f"not on {other}"):
        bench.measure(["pam"], other, "small", 1, lambda *_: None)
