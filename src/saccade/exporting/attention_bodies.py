"""The body of a softmax attention node, for each runtime the one that was measured to need no table of pairs."""

from __future__ import annotations

from typing import Any

from saccade.errors import require

# Queries go through in blocks of at most 256 rows, all equally long, so that little is padded.
_IN_BLOCKS = """
<domain: "saccade", opset_import: ["" : 18]>
SoftmaxAttention <scale> (query, key, value) => (y)
{
    one = Constant <value = int64[1] {1}> ()
    zero = Constant <value = int64[1] {0}> ()
    none = Constant <value = int64[4] {0, 0, 0, 0}> ()
    every = Constant <value = int64[1] {-1}> ()
    most = Constant <value = int64[1] {256}> ()
    factor = Constant <value_float: float = @scale> ()
    factor_like = CastLike (factor, query)
    scaled = Mul (query, factor_like)
    keys = Identity (key)
    values = Identity (value)
    columns = Transpose <perm = [0, 2, 1]> (keys)
    batch = Shape <start = 0, end = 1> (query)
    rows = Shape <start = 1, end = 2> (query)
    width = Shape <start = 2, end = 3> (query)
    carried = Shape <start = 2, end = 3> (value)
    above = Add (rows, most)
    last = Sub (above, one)
    blocks = Div (last, most)
    sum = Add (rows, blocks)
    less = Sub (sum, one)
    height = Div (less, blocks)
    all = Mul (blocks, height)
    missing = Sub (all, rows)
    pads = Concat <axis = 0> (none, missing, zero)
    padded = Pad (scaled, pads)
    shape = Concat <axis = 0> (batch, blocks, height, width)
    cut = Reshape (padded, shape)
    stacked = Transpose <perm = [1, 0, 2, 3]> (cut)
    found = Scan <num_scan_inputs = 1, body = one_block (block) => (average) {
        logits = MatMul (block, columns)
        weights = Softmax <axis = -1> (logits)
        weights_like = CastLike (weights, values)
        average = MatMul (weights_like, values)
    }> (stacked)
    back = Transpose <perm = [1, 0, 2, 3]> (found)
    long = Concat <axis = 0> (batch, every, carried)
    joined = Reshape (back, long)
    y = Slice (joined, zero, rows, one)
}
"""

# A concatenation of one part keeps ONNX Runtime from moving the steps of 8 bits into the loop, which ends the process;
# it costs a copy of keys and values.
_IN_BLOCKS_OF_8_BITS = _IN_BLOCKS.replace("Identity (", "Concat <axis = 0> (")

_AS_ATTENTION = """
<domain: "saccade", opset_import: ["" : 23]>
SoftmaxAttention <scale> (query, key, value) => (y)
{
    one = Constant <value = int64[1] {1}> ()
    q = Unsqueeze (query, one)
    k = Unsqueeze (key, one)
    v = Unsqueeze (value, one)
    v_like = CastLike (v, q)
    found = Attention <scale: float = @scale> (q, k, v_like)
    squeezed = Squeeze (found, one)
    y = CastLike (squeezed, value)
}
"""

BODIES = {"blocks": (_IN_BLOCKS, 18), "blocks, 8 bits": (_IN_BLOCKS_OF_8_BITS, 18), "attention": (_AS_ATTENTION, 23)}
"""Name of a body to its text and the first opset that has its operators."""


def has_nodes(model: Any) -> bool:
    """Return whether an ONNX model has softmax attention nodes that have no body yet."""
    return any(node.domain == "saccade" for node in model.graph.node)


def with_bodies(model: Any, body: str) -> Any:
    """Return an ONNX model in which every softmax attention node is replaced by a body.

    Args:
        model: The model; its nodes of the domain ``saccade`` have no body.
        body: Name of the body in :data:`BODIES`.
    """
    onnx: Any = require("onnx", extra="onnx")
    require("onnx.inliner", extra="onnx")
    require("onnx.parser", extra="onnx")
    if not has_nodes(model):
        return model
    function = onnx.parser.parse_function(BODIES[body][0])
    opset = next(one.version for one in model.opset_import if one.domain in ("", "ai.onnx"))
    function.opset_import[0].version = opset
    model.functions.append(function)
    inlined = onnx.inliner.inline_local_functions(model)
    for index in reversed([i for i, one in enumerate(inlined.opset_import) if one.domain == "saccade"]):
        del inlined.opset_import[index]
    return inlined
