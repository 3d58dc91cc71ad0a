"""Find the backbone of a network: if a neck or a head follows, its convolutions end no stages."""

from __future__ import annotations

from saccade.insertion.graph import Graph
from saccade.insertion.locate import enclosing
from saccade.insertion.maps import UPSAMPLING
from saccade.insertion.trace import Call

_LEAST = 8  # a stem is not a backbone
_BEHIND = 4  # limit of the ratio between a pyramid's extra levels


def backbone(graph: Graph) -> int:
    """Return the call of the backbone in a larger network; 0, the network itself, if there is none.

    It contains the first convolution and makes feature maps several times smaller than its input. What follows it reads
    several of its maps (a pyramid, a decoder), or works on its last map at that size or larger ones (a segmentation
    head); parts that continue to smaller maps are further stages.
    """
    first = next((op for op in graph.trace.ops if op.spatial), None)
    if first is None:
        return 0
    holders = [call for call in enclosing(graph, first.call) if call.index]
    return next((call.index for call in holders if _is_backbone(graph, call, first.inputs[0])), 0)


def _is_backbone(graph: Graph, call: Call, image: int) -> bool:
    maps = [value for value in call.outputs if graph.is_map(value)]
    if call.end < 0 or not maps or not graph.is_map(image):
        return False
    deepest = min(graph.area(value) for value in maps)
    inside, outside = graph.trace.ops[call.begin : call.end], graph.trace.ops[call.end :]
    if graph.area(image) < _LEAST**2 * deepest:
        return False
    read = {source for op in outside for source in op.inputs}
    grows = any(op.name in UPSAMPLING and graph.is_map(op.outputs[0]) for op in outside)
    if len({graph.area(value) for value in maps if value in read}) > 1:
        made = [graph.area(op.outputs[0]) for op in outside if op.convolution and graph.is_map(op.outputs[0])]
        return bool(made) and (grows or min(made) * _BEHIND**2 >= deepest)
    if any(op.convolution and max(op.convolution.stride) > 1 for op in outside):
        return False
    dense = any(graph.is_map(value) for value in graph.trace.outputs)
    own, others = (sum(op.convolution is not None and op.spatial for op in ops) for ops in (inside, outside))
    return grows or not call.single or (dense and own > others > 0)
