"""Remarks on a network before insertion: attention it has, branches at zero, modules that fold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from saccade.insertion.graph import MATRIX, Graph, is_product
from saccade.insertion.places import Place, Places
from saccade.insertion.report import listed
from saccade.insertion.residuals import Residual, is_table
from saccade.insertion.trace import Op

if TYPE_CHECKING:
    from torch import Tensor, nn

_NEARLY_ZERO = 1e-3
_FOLDING = ("fuse", "reparameterize", "switch_to_deploy")


def attention_present(graph: Graph) -> tuple[str, ...]:
    """Describe the attention of a traced network, one sentence for each kind and class of module."""
    found: dict[tuple[str, str], dict[str, None]] = {}
    for op in graph.trace.ops:
        kind = _attention(graph, op)
        if kind:
            call = graph.trace.calls[op.call]
            found.setdefault((kind, type(call.module).__name__), {})[call.path or type(call.module).__name__] = None
    return tuple(f"{kind} in {name}: {listed(paths)}" for (kind, name), paths in found.items())


def _attention(graph: Graph, op: Op) -> str | None:
    """Describe the attention that an operation completes: a learned gate times a map, or a weighting by softmax."""
    if is_table(op):
        weighs = "dot_product" in op.name or any(_is_softmax(graph.gate_of(source)) for source in op.inputs)
        return "weights between positions or channels" if weighs else None
    if not is_product(op) or len(op.inputs) != 2:
        return None
    for gate, of in (op.inputs, op.inputs[::-1]):
        bounded = graph.gate_of(gate)
        if bounded is None or len(graph.trace.shapes[of]) < 2 + graph.dims or not graph.reaches(of, gate):
            continue
        if any(inner.convolution or inner.name in MATRIX for inner in graph.between(of, gate)):
            axes = graph.trace.shapes[bounded.inputs[0]]
            return "a gate on channels" if len(axes) < 2 + graph.dims or 1 in axes[2:] else "a gate on positions"
    return None


def _is_softmax(op: Op | None) -> bool:
    return op is not None and "softmax" in op.name


def remarks(places: Places, chosen: Sequence[Place]) -> tuple[str, ...]:
    """Return remarks: branches whose end starts at zero, and modules that drop their children when folded."""
    at_zero = [
        places.trace.calls[residual.op.call].path or "the network"
        for residual in places.residuals
        if any(_vanishes(tensor) for tensor in _scales(places, residual))
    ]
    found = []
    if at_zero:
        found.append(
            "branches that start at zero, or nearly: mechanisms in them learn only after the branch has grown: "
            f"{listed(dict.fromkeys(at_zero))}"
        )
    folding = [str(place) for place in chosen if _can_be_folded(places, place.name)]
    if folding:
        found.append(f"re-parameterise or fuse first and insert afterwards, it would drop these: {listed(folding)}")
    return tuple(found)


def _scales(places: Places, residual: Residual) -> Iterator[Tensor]:
    """Yield the vectors that a branch's modules, and the module that holds it, scale by, if they have values."""
    begin, end = residual.region[0].index, residual.op.index
    inside = [call for call in places.trace.calls if begin <= call.begin and 0 <= call.end <= end]
    for call in (*inside, places.holder(residual)):
        for name, tensor in call.module.named_parameters(recurse=False):
            if name != "bias" and not tensor.is_meta and tensor.numel() == max(tensor.shape, default=1):
                yield tensor


def _vanishes(tensor: Tensor) -> bool:
    return tensor.numel() > 0 and tensor.is_floating_point() and float(tensor.detach().abs().max()) < _NEARLY_ZERO


def _can_be_folded(places: Places, path: str) -> bool:
    """Return whether the module, or one around it, has a method that folds it into other modules."""
    while path:
        module: nn.Module = places.trace.calls[0].module.get_submodule(path)
        if any(callable(getattr(module, name, None)) for name in _FOLDING):
            return True
        path = path.rpartition(".")[0]
    return False
