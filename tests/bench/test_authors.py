"""The authors' formulations equal our modules, so that what `saccade bench` compares is the same function."""

from __future__ import annotations

import pytest
import torch

from saccade.bench.authors import FORMULATIONS, AsAuthors
from tests.mechanisms.contract import Form, all_forms, marked

# Forms that nobody's baseline stands for: other variants of a gate, parts alone, other fusions.
_OTHER = ("parts", "pools", "circular", "shared", "window", "combine", "final_norm", "pairing", "reconstruct")


def has_one(form: Form) -> bool:
    name, options = form.entry.name, form.options
    if name not in FORMULATIONS or any(option in options for option in _OTHER):
        return False
    if name in ("cbam", "gsop"):
        return "variant" not in options and "stride" not in options
    if name == "psa":
        return not str(options.get("variant", "")).startswith("paper")
    return True


@pytest.mark.parametrize("form", marked(form for form in all_forms() if has_one(form)), ids=str)
def test_is_the_module(form: Form) -> None:
    module = form.awake()
    if form.entry.name == "sagan":
        module.update_u = False
    authors = AsAuthors(form.entry.name, module)
    found = []
    for function in (authors, module):
        x = form.map(batch=2).requires_grad_()
        y = function(x)
        cotangent = torch.randn(y.shape, generator=torch.Generator().manual_seed(0), dtype=y.dtype)
        found.append([y, *torch.autograd.grad(y, [x, *module.parameters()], cotangent)])
    for theirs, ours in zip(*found, strict=True):
        torch.testing.assert_close(theirs, ours, rtol=1e-9, atol=1e-9 * max(1.0, float(ours.detach().abs().max())))


def test_every_formulation_is_tried() -> None:
    assert {form.entry.name for form in all_forms() if has_one(form)} == set(FORMULATIONS)
