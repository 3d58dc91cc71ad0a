"""Every recorded residual block of the authors' code: torchvision's, with our mechanism inserted, is equal to it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from saccade.mechanisms.base import Mechanism
from saccade.mechanisms.gsop import GSoP
from saccade.official import load_official
from tests.golden import blocks
from tests.golden.cases import Case
from tests.golden.test_modules import below, close, in_our_names

# A mechanism's own warning about a degenerate width belongs to some of the recorded cases.
pytestmark = pytest.mark.filterwarnings("ignore::saccade.errors.SaccadeWarning")


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in blocks.cases()])
def test_equals_the_authors(case: Case) -> None:
    recorded = case.tensors()
    block = blocks.build(case).to(case.dtype).train(case.training)
    weights, gradients, after = (below(prefix, recorded) for prefix in ("param.", "grad.", "after."))
    if any(isinstance(module, Mechanism) for module in block.modules()):
        report = load_official(block, weights)
        assert not report.kept, "the recorded state is whole"
        gradients, after = in_our_names(report, gradients), in_our_names(report, after)
    else:
        block.load_state_dict(weights)
    x = recorded["input"].requires_grad_()

    inside: list[Tensor] = []
    for module in block.modules():
        if isinstance(module, Mechanism):
            module.register_forward_hook(lambda _, args, __: inside.append(args[0].detach()))
    output = block(x)
    close("output", output, recorded["output"], case.tolerance)
    output.backward(recorded["cotangent"])
    close("gradient of the input", x.grad, recorded["grad_input"], case.grad_tolerance)

    parameters, buffers = dict(block.named_parameters()), dict(block.named_buffers())
    assert set(gradients) == set(parameters), "a gradient for every parameter"
    for name, gradient in gradients.items():
        close(f"gradient of {name}", parameters[name].grad, gradient, case.grad_tolerance)
    assert not case.training or after, "buffers after the step"
    for name, buffer in after.items():
        close(name, buffers[name], buffer, case.tolerance)

    for name, view in blocks.views(case, block, inside).items():
        close(name, view, recorded[name], case.tolerance)


ECA: dict[str, Any] = {
    "file": "anything.safetensors",
    "mechanism": "eca",
    "repo": "BangguWu/ECANet",
    "path": "models/eca_resnet.py:ECABottleneck",
    "constructor": {"inplanes": 32, "planes": 8},
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"constructor": {"inplanes": 32, "gamma": 2}}, "unknown constructor argument gamma=2; known:"),
        ({"path": "models/eca_resnet.py:ECAInvertedBottleneck"}, "no mapping for"),
    ],
    ids=["argument", "path"],
)
def test_what_the_mapping_does_not_know_is_an_error(change: dict[str, Any], message: str) -> None:
    with pytest.raises(LookupError, match=message):
        blocks.build(Case(ECA | change, Path()))


def test_a_directory_without_blocks_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "index-gates.json").write_text(json.dumps({"cases": [ECA | {"path": "models/eca.py:eca_layer"}]}))
    with pytest.raises(LookupError, match="no golden case of a whole block"):
        blocks.cases(tmp_path)


@pytest.mark.parametrize(("code", "grid", "dim"), [("2", 4, 12), ("+", 5, 16), ("M", 8, 8)])
def test_a_gsop_block_has_the_grid_of_the_case(code: str, grid: int, dim: int, tmp_path: Path) -> None:
    save_file({"input": torch.zeros(1)}, tmp_path / "block.safetensors")
    entry = {
        "file": "block.safetensors",
        "mechanism": "gsop_spatial",
        "repo": "ZilinGao/Global-Second-order-Pooling-Convolutional-Networks",
        "path": "torchvision/models/resnet.py:Bottleneck",
        "constructor": {"inplanes": 32, "planes": 8, "attention": code, "att_dim": dim, "grid": [grid, grid]},
        "dtype": "float64",
        "input_shape": [2, 32, 9, 7],
        "notes": "",
    }
    (gate,) = (m for m in blocks.build(Case(entry, tmp_path)).modules() if isinstance(m, GSoP))
    assert (gate.grid, gate.dim, gate.stride) == (grid, dim, 2)
