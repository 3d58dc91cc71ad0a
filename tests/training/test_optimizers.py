"""Optimizers that cannot work here are refused before a training begins."""

import pytest
from torch import nn

from saccade.errors import InputError
from saccade.training import optimizers
from saccade.training.optimizers import optimizer_for
from saccade.training.recipe import Recipe


@pytest.mark.filterwarnings("ignore:.*opt_einsum")
@pytest.mark.parametrize("compiler", [True, False])
def test_one_that_compiles_its_steps_needs_a_compiler(monkeypatch, compiler):
    monkeypatch.setattr(optimizers, "has_compiler", lambda device: compiler)
    recipe = Recipe(steps=1, batch=1, learning_rate=1e-3, optimizer="kron")
    if compiler:
        assert optimizer_for(nn.Linear(2, 2), recipe)
        return
    with pytest.raises(InputError, match=r"'kron' compiles its steps: torch needs a C\+\+ compiler"):
        optimizer_for(nn.Linear(2, 2), recipe)
    assert optimizer_for(nn.Linear(2, 2), Recipe(steps=1, batch=1, learning_rate=1e-3, optimizer="lion"))
