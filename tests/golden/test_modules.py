"""Every recorded case of the authors' code: the same output, gradients, buffers and maps from our mechanisms."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from saccade.official import load_official
from tests.golden import dense, gates, heads
from tests.golden.cases import Case, below, collected, in_our_names, numbered

# A mechanism's own warning about a degenerate width belongs to some of the recorded cases.
pytestmark = pytest.mark.filterwarnings("ignore::saccade.errors.SaccadeWarning")

MAPPERS = (gates, dense, heads)
CASES = collected(frozenset.union(*(mapper.MECHANISMS for mapper in MAPPERS)))


def close(what: str, ours: Tensor | None, recorded: Tensor, tolerance: dict[str, float]) -> None:
    assert ours is not None, f"{what}: nothing of ours to compare"
    recorded = recorded.reshape(ours.shape)  # a layer's trailing 1x1 axes, a map's spare one
    torch.testing.assert_close(ours, recorded, **tolerance, msg=lambda text: f"{what}: {text}")


def make(case: Case) -> nn.Module:
    for mapper in MAPPERS:
        mechanism: nn.Module | None = mapper.build(case)
        if mechanism is not None:
            return mechanism.to(case.dtype).train(case.training)
    raise LookupError(f"{case.name}: no mapper takes it")


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CASES])
def test_equals_the_authors(case: Case) -> None:
    recorded = case.tensors()
    mechanism = make(case)
    given = below("param.", recorded)
    report = load_official(mechanism, given) if given else None
    assert report is None or not report.kept, "the recorded state is whole"
    inputs = [x.requires_grad_(x.is_floating_point()) for x in numbered("input", recorded)]

    (mapper,) = (mapper for mapper in MAPPERS if case.mechanism in mapper.MECHANISMS)
    outputs = mapper.outputs(case, mechanism, *inputs) if hasattr(mapper, "outputs") else [mechanism(*inputs)]
    for output, expected in zip(outputs, numbered("output", recorded), strict=True):
        close("output", output, expected, case.tolerance)
    torch.autograd.backward(outputs, numbered("cotangent", recorded))
    for x, gradient in zip(inputs, numbered("grad_input", recorded), strict=True):
        close("gradient of the input", x.grad, gradient, case.grad_tolerance)

    gradients = in_our_names(report, below("grad.", recorded)) if report else {}
    parameters = dict(mechanism.named_parameters())
    assert set(gradients) == set(parameters) or case.some_gradients_only, "a gradient for every parameter"
    for name, gradient in gradients.items():
        close(f"gradient of {name}", parameters[name].grad, gradient, case.grad_tolerance)

    buffers = dict(mechanism.named_buffers())
    for name, buffer in (in_our_names(report, below("after.", recorded)) if report else {}).items():
        close(name, buffers[name], buffer, case.tolerance)

    for name, view in mapper.views(case, mechanism, *inputs).items():
        close(name, view, recorded[name], case.tolerance)
