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
from saccade.ops import blocks, parts
from tests.suites import everyday

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


PART = min(C * N, parts.CPU_BYTES // 4)

# In numbers: forward, and forward with backward. Of a block of weights there are the logits and the softmax, and in the
# backward pass their gradient; of a part of the map a few products.
FORMULAS: dict[str, tuple[dict[str, object], Callable[[int], float], Callable[[int], float]]] = {
    "pam": ({}, lambda d: 2 * S + 3 * d * B * N + 2 * BLOCK, lambda d: 5 * S + 6 * d * B * N + 3 * BLOCK),
    "non_local": ({"pairwise": "dot_product", "sub_sample": False, "norm": False}, lambda d: 2 * S, lambda d: 4 * S),
    "cam": ({}, lambda d: S, lambda d: 4 * S),
    "psa": ({}, lambda d: S + 2 * PART, lambda d: 2 * S + 4 * PART),
    "cbam": ({}, lambda d: S + 2 * PART, lambda d: 2 * S + 4 * PART),
    "bam": ({}, lambda d: S + 2 * PART, lambda d: 2 * S + 5 * PART),
    "se": ({}, lambda d: S, lambda d: 2 * S + PART),
    "eca": ({}, lambda d: S, lambda d: 2 * S + PART),
    "gc": ({}, lambda d: S, lambda d: 2 * S),
    "simplified_nl": ({}, lambda d: S, lambda d: 2 * S),
}


SIDES = {1: (N,), 2: (SIDE, SIDE), 3: (4, SIDE // 2, SIDE // 2)}  # as many positions
FORMS = [(name, dims) for dims in (2, 3, 1) for name in FORMULAS]
CHOSEN = [*((name, 2) for name in FORMULAS), ("pam", 3), ("cbam", 3)]


@pytest.mark.parametrize(("name", "dims"), everyday(CHOSEN, FORMS))
def test_needs_what_its_formula_says(name: str, dims: int) -> None:
    options, of_forward, of_both = FORMULAS[name]
    module = saccade.create(name, C, dims=dims, **options)
    forward, both = heights(module, torch.randn(B, C, *SIDES[dims]))
    slack = 1.1 * MIB
    small = 64 * C * C + 64 * B * N  # matrices over channels, and a few planes
    assert forward <= slack * (of_forward(C // 8) + small)
    assert both <= slack * (of_both(C // 8) + small)
    assert forward < MIB * N * N / 4, "no table of all pairs"
    assert both < MIB * N * N / 2


LEAN: list[tuple[str, dict[str, object]]] = [
    ("pam", {}),
    ("sagan", {"variant": "popular"}),
    *(("non_local", {"pairwise": pairwise, "sub_sample": False}) for pairwise in
      ("embedded_gaussian", "gaussian", "dot_product", "concatenation")),
    ("a2", {}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "options"), everyday([LEAN[0]], LEAN), ids=str)
def test_grows_with_the_positions_not_with_their_square(name: str, options: dict[str, object]) -> None:
    module = saccade.create(name, 8, **options)
    (_, once), (_, later) = (heights(module, torch.randn(1, 8, side, side)) for side in (48, 96))
    assert later < 9 * once  # four times the positions: 16 times for a table of pairs


@pytest.mark.full
def test_the_definitions_do_store_the_table() -> None:
    """So that the bounds above say something."""
    module = saccade.create("pam", 8)
    with saccade.ops.definitions():
        forward, _ = heights(module, torch.randn(1, 8, SIDE, SIDE))
    assert forward > MIB * N * N


@pytest.mark.parametrize(("name", "options"), [("pam", {}), ("fla", {"lean": True})], ids=str)
def test_a_compiler_sees_one_operator(name: str, options: dict[str, object]) -> None:
    """A loop over blocks that it writes out is one whose order it may change: the weights of all would be there."""
    graphs = []

    def keep(graph: torch.fx.GraphModule, inputs: object) -> object:
        graphs.append(graph)
        return graph

    compiled = torch.compile(saccade.create(name, 8, **options), backend=keep, fullgraph=True)
    compiled(torch.randn(2, 8, 64, 64))
    (graph,) = graphs
    called = [str(node.target) for node in graph.graph.nodes if node.op == "call_function"]
    assert sum("saccade" in target for target in called) == 1
    assert not any("softmax" in target for target in called)


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # by the check itself
@pytest.mark.parametrize(
    "layout", everyday([torch.contiguous_format], [torch.contiguous_format, torch.channels_last]), ids=str
)
def test_the_operators_are_registered_as_torch_asks(layout: torch.memory_format) -> None:
    """Schema, shapes without data, derivatives, and the traced program at changing sizes, by PyTorch's own checks."""
    query, key, value = (torch.randn(2, width, 9).mT.requires_grad_() for width in (3, 3, 5))
    torch.library.opcheck(torch.ops.saccade.attention_in_blocks.default, (query, key, value, 0.5))
    x = torch.randn(2, 4, 6, 9).contiguous(memory_format=layout).requires_grad_()
    of_rows, of_columns = torch.randn(2, 1, 6, 4, requires_grad=True), torch.randn(2, 1, 9, 4, requires_grad=True)
    torch.library.opcheck(
        torch.ops.saccade.add_strips.default, (x, of_rows, of_columns, torch.ones(1, requires_grad=True))
    )
