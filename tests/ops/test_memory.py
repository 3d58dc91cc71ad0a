"""What the lean forms need is what their formulas say: in float32, above input, parameters and incoming gradient.

C channels, N positions, d the reduced width; S is the maps of all samples, B C N numbers. Blocks of weights are those
of `saccade.ops.blocks`.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

import saccade
import saccade.ops
from saccade.comparison.costs import height_of
from saccade.ops import blocks

B, C, SIDE = 2, 32, 64
N = SIDE * SIDE
MIB = 4 / 2**20  # of a number
S = B * C * N
BLOCK = N * max(256, blocks.CPU_BYTES // (N * 4))


def heights(module: nn.Module, x: torch.Tensor) -> tuple[float, float]:
    """MiB of a forward pass without gradients, and of forward and backward."""
    with torch.no_grad():
        for parameter in module.parameters():
            if not parameter.any():
                parameter.normal_(std=0.1)
    leaf, grad = x.clone().requires_grad_(), torch.randn_like(x)

    def forward() -> None:
        with torch.no_grad():
            module(leaf)

    def both() -> None:
        module.zero_grad(set_to_none=True)
        leaf.grad = None
        module(leaf).backward(grad)

    for work in (forward, both):  # what is allocated once and kept, such as a plan of a product
        work()
    return height_of(forward, torch.device("cpu")), height_of(both, torch.device("cpu"))


# In numbers: forward, and forward with backward. A block of weights is there twice in the backward pass.
FORMULAS: dict[str, tuple[dict[str, object], Callable[[int], float], Callable[[int], float]]] = {
    "pam": ({}, lambda d: 3 * S + 2 * d * B * N + BLOCK, lambda d: 6 * S + 6 * d * B * N + 2 * BLOCK),
    "non_local": ({"pairwise": "dot_product", "sub_sample": False, "norm": False}, lambda d: 2 * S, lambda d: 4 * S),
    "cam": ({}, lambda d: S, lambda d: 4 * S),
    "psa": ({}, lambda d: 2 * S, lambda d: 4 * S),
    "cbam": ({}, lambda d: 2 * S, lambda d: 6 * S),
    "bam": ({}, lambda d: 2 * S, lambda d: 6 * S),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_needs_what_its_formula_says(name: str) -> None:
    options, of_forward, of_both = FORMULAS[name]
    module = saccade.create(name, C, **options)
    forward, both = heights(module, torch.randn(B, C, SIDE, SIDE))
    slack = 1.1 * MIB
    small = 64 * C * C + 64 * B * N  # matrices over channels, and a few planes
    assert forward <= slack * (of_forward(C // 8) + small)
    assert both <= slack * (of_both(C // 8) + small)
    assert forward < MIB * N * N / 4, "no table of all pairs"
    assert both < MIB * N * N / 2


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("pam", {}),
        ("sagan", {"variant": "popular"}),
        *(("non_local", {"pairwise": pairwise, "sub_sample": False}) for pairwise in
          ("embedded_gaussian", "gaussian", "dot_product", "concatenation")),
        ("a2", {}),
    ],
    ids=str,
)  # fmt: skip
def test_grows_with_the_positions_not_with_their_square(name: str, options: dict[str, object]) -> None:
    module = saccade.create(name, 8, **options)
    (_, once), (_, later) = (heights(module, torch.randn(1, 8, side, side)) for side in (48, 96))
    assert later < 9 * once  # four times the positions: 16 times for a table of pairs


def test_the_definitions_do_store_the_table() -> None:
    """So that the bounds above say something."""
    module = saccade.create("pam", 8)
    with saccade.ops.definitions():
        forward, _ = heights(module, torch.randn(1, 8, SIDE, SIDE))
    assert forward > MIB * N * N
