"""Refuse networks without feature maps, into which nothing can be inserted."""

from __future__ import annotations

from collections import Counter

from saccade.errors import InputError
from saccade.insertion.graph import Graph
from saccade.insertion.residuals import is_table


def check_convolutional(graph: Graph) -> None:
    """Refuse a network that works on tokens: its only convolution makes them of the image."""
    trace = graph.trace
    network = type(trace.calls[0].module).__name__
    kinds = [
        op.convolution for op in trace.ops if op.convolution and len(trace.shapes[op.outputs[0]]) == 2 + graph.dims
    ]
    first = next((op.index for op in trace.ops if is_table(op)), len(trace.ops))
    maps_behind = any(graph.is_map(op.outputs[0]) for op in trace.ops[first:] if op.outputs)
    windows = [op for op in trace.ops if op.window and op.window.spatial and op.window.overlapping]
    if len(windows) > 1 or (windows and (maps_behind or first == len(trace.ops))):
        return
    if not windows and any(not kind.spatial for kind in kinds):
        return
    patch = " x ".join(map(str, kinds[0].kernel)) if kinds else ""
    cuts = f"one that cuts the image into {patch} patches" if kinds else "none"
    maps = {1: "(B, C, L)", 2: "(B, C, H, W)", 3: "(B, C, D, H, W)"}[graph.dims]
    tokens = Counter(shape for shape in trace.shapes if len(shape) == 3).most_common(1)
    works = f"; it works on tokens of shape {tokens[0][0]}" if tokens else ""
    raise InputError(
        f"{network}: expected a convolutional network, with feature maps {maps}; its convolutions: {cuts}{works}",
        "choose a convolutional backbone, such as resnet18, resnet50 or regnety_008",
    )
