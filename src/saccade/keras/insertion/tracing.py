"""Write the graph of a Keras network down as a trace, on which the rules of :mod:`saccade.insertion` find places."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from saccade.errors import InputError
from saccade.insertion.trace import Call, Op, Trace
from saccade.keras.attachment import Attachment
from saccade.keras.insertion.layers import Described, describe, is_known, is_passing
from saccade.keras.insertion.walking import filled, first_argument, graph_of, has_graph, inside_of, nodes_of

_SIZES = ((224, 288), (224, 224), (256, 256), (64, 64))
_NCHW, _NHWC = "NCHW", "NHWC"
_TURNS: dict[tuple[str, tuple[int, ...]], str] = {(_NCHW, (0, 2, 3, 1)): _NHWC, (_NHWC, (0, 3, 1, 2)): _NCHW}
_SIDES = {_NCHW: slice(2, 4), _NHWC: slice(1, 3)}
_TABLES = frozenset(("bmm", "matmul", "mm", "einsum", "scaled_dot_product_attention"))
_RESIZING = ("constant_pad_nd", "slice", "upsample_nearest2d", "upsample_bilinear2d")

Arguments = tuple[tuple[Any, ...], dict[str, Any]]


def trace(model: Any, label: str, example_input: Any = None) -> Trace:
    """Return the trace of a Keras network, without running it.

    Paths of sub-models are joined by ``/``. A sub-model that is called several times is entered at its first call.

    Args:
        model: A functional or built Sequential network.
        label: Name of the caller, for errors.
        example_input: See :func:`saccade.keras.plan`.

    Raises:
        InputError: The network has no graph, or refuses the size of the input.
    """
    graph = graph_of(model, label)
    given = _shapes(graph, example_input, label)
    if given is not None:
        return _Tracer(model, graph, given).trace
    if all(None not in x.shape[1:] for x in graph.inputs):
        return _Tracer(model, graph, [(1, *x.shape[1:]) for x in graph.inputs]).trace
    causes = []
    for sides in _SIZES:
        try:
            return _Tracer(model, graph, [_sized(x, sides) for x in graph.inputs]).trace
        except (ValueError, TypeError) as cause:
            causes.append(cause)
    raise InputError(
        f"{label}: {model.name}: its layers refuse images of {', '.join(f'{h} x {w}' for h, w in _SIZES)}: {causes[0]}",
        "give example_input=, an input or its shape, of a size that the network takes",
    ) from causes[0]


class _Tracer:
    def __init__(self, model: Any, graph: Any, shapes: Sequence[tuple[int, ...]]) -> None:
        self.trace = Trace(layouts=[], flat=True)
        self._entered: set[int] = set()
        self._sides: set[tuple[int, ...]] = set()
        values = [self._value(shape, None) for shape in shapes]
        specs = [keras.KerasTensor(s, x.dtype) for s, x in zip(shapes, graph.inputs, strict=True)]
        self.trace.inputs, self.trace.input_shape = tuple(values), tuple(shapes[0])
        self.trace.calls.append(Call(0, "", model, None, tuple(values), values[0], 0))
        outputs, _ = self._run(graph, values, specs, 0, "")
        self.trace.outputs = tuple(outputs)
        self._end(self.trace.calls[0], outputs)

    def _run(
        self, graph: Any, values: Sequence[int], specs: Sequence[Any], parent: int, prefix: str
    ) -> tuple[list[int], list[Any]]:
        numbers = {id(x): value for x, value in zip(graph.inputs, values, strict=True)}
        shaped = {id(x): spec for x, spec in zip(graph.inputs, specs, strict=True)}
        for node in nodes_of(graph):
            operation = node.operation
            args, kwargs = filled(node, shaped)
            inputs = tuple(dict.fromkeys(numbers[id(x)] for x in node.input_tensors))
            first = first_argument(node)
            start = None if first is None else numbers[id(first)]
            if isinstance(operation, Attachment):  # transparent, as in a traced network of PyTorch
                made, out = [inputs[0]], [shaped[id(node.input_tensors[0])]]
                seen = self.trace.attachments.setdefault(f"{prefix}{operation.name}", [])
                seen.append(self.trace.shapes[inputs[0]])
            elif has_graph(operation) and id(operation) not in self._entered:
                self._entered.add(id(operation))
                call = self._begin(operation, f"{prefix}{operation.name}", parent, inputs, start)
                inner = graph_of(operation, "trace")
                tensors = [numbers[id(x)] for x in node.input_tensors]
                given = [shaped[id(x)] for x in node.input_tensors]
                made, out = self._run(inner, tensors, given, call.index, f"{call.path}/")
                self._end(call, made)
            else:
                out = keras.tree.flatten(operation.compute_output_spec(*args, **kwargs))
                made = self._leaf(operation, f"{prefix}{operation.name}", parent, inputs, start, (args, kwargs), out)
            numbers |= {id(x): value for x, value in zip(node.outputs, made, strict=True)}
            shaped |= {id(x): spec for x, spec in zip(node.outputs, out, strict=True)}
        return [numbers[id(x)] for x in graph.outputs], [shaped[id(x)] for x in graph.outputs]

    def _leaf(
        self,
        operation: Any,
        path: str,
        parent: int,
        inputs: tuple[int, ...],
        first: int | None,
        given: Arguments,
        out: Any,
    ) -> list[int]:
        call = self._begin(operation, path, parent, inputs, first)
        shapes = [tuple(x.shape) for x in out]
        if is_passing(operation) and len(inputs) == 1 and shapes == [self.trace.shapes[inputs[0]]]:
            made = [inputs[0]]
        else:
            made = self._computed(operation, inputs, *given, shapes, call.index)
        self._end(call, made)
        return made

    def _computed(
        self, operation: Any, inputs: tuple[int, ...], args: Any, kwargs: Any, shapes: list[tuple[int, ...]], call: int
    ) -> list[int]:
        """Write what a layer computes: by its class, else by its own call, else by the layers inside it."""
        inside = None if is_known(operation) else inside_of(operation, args, kwargs)
        if inside is None or len(inside.inputs) != len(inputs):
            return self._operations(describe(operation, args), inputs, shapes, call)
        numbers = {id(x): value for x, value in zip(inside.inputs, inputs, strict=True)}
        for node in nodes_of(inside):
            own = tuple(dict.fromkeys(numbers[id(x)] for x in node.input_tensors))
            out = [tuple(x.shape) for x in node.outputs]
            given = node.arguments
            made = self._computed(node.operation, own, given.args, given.kwargs, out, call)
            numbers |= {id(x): value for x, value in zip(node.outputs, made, strict=True)}
        return [numbers[id(x)] for x in inside.outputs]

    def _operations(
        self, steps: Sequence[Described], inputs: tuple[int, ...], shapes: list[tuple[int, ...]], call: int
    ) -> list[int]:
        """Write the steps of one layer, each of which reads the last; sums of several maps are sums of two."""
        first, *rest = steps
        if first.name == "add" and len(inputs) > 2:
            made = [inputs[0]]
            for other in inputs[1:]:
                made = self._write(first, (made[0], other), shapes, call)
        else:
            made = self._write(first, inputs, shapes, call)
        for step in rest:
            made = self._write(step, (made[0],), shapes, call)
        return made

    def _write(self, step: Described, inputs: tuple[int, ...], shapes: list[tuple[int, ...]], call: int) -> list[int]:
        layouts = self.trace.layouts or []
        name = step.name
        made_by = self.trace.producer[inputs[0]] if inputs else None
        if name in ("mul", "div") and len(inputs) == 1 and made_by is not None and made_by.name == "hardtanh":
            name = "hardsigmoid"  # relu6(x + 3) / 6
        begin = len(self.trace.shapes)
        op = Op(
            len(self.trace.ops), name, inputs, tuple(range(begin, begin + len(shapes))), call, step.window, step.dims
        )
        self.trace.ops.append(op)
        for value in inputs:
            if step.layout and len(self.trace.shapes[value]) == 4 and layouts[value] is None:
                layouts[value] = step.layout
        return [self._value(shape, op, self._layout(step, op, shape)) for shape in shapes]

    def _layout(self, step: Described, op: Op, shape: tuple[int, ...]) -> str | None:
        layouts = self.trace.layouts or []
        rank = len(shape)
        if rank != 4 or step.name in _TABLES - {"mm"}:
            return None
        if step.layout:
            return step.layout
        known = [(own, self.trace.shapes[value]) for value in op.inputs if (own := layouts[value])]
        if step.dims:
            return next((_TURNS[own, step.dims] for own, _ in known if (own, step.dims) in _TURNS), None)
        for own, of in known:
            if step.name in _RESIZING or of[_SIDES[own]] == shape[_SIDES[own]]:
                return own
        if step.name == "view":
            return next((own for own in (_NHWC, _NCHW) if shape[_SIDES[own]] in self._sides), None)
        return None

    def _value(self, shape: Sequence[int | None], op: Op | None, layout: str | None = None) -> int:
        sized = tuple(1 if side is None else side for side in shape)
        if layout and min(sized[_SIDES[layout]]) > 1:
            self._sides.add(sized[_SIDES[layout]])
        self.trace.shapes.append(sized)
        self.trace.producer.append(op)
        assert self.trace.layouts is not None
        self.trace.layouts.append(layout)
        return len(self.trace.shapes) - 1

    def _begin(self, module: Any, path: str, parent: int, inputs: tuple[int, ...], first: int | None) -> Call:
        call = Call(len(self.trace.calls), path, module, parent, inputs, first, len(self.trace.ops))
        self.trace.calls.append(call)
        return call

    def _end(self, call: Call, outputs: Sequence[int]) -> None:
        call.outputs, call.end, call.single = tuple(outputs), len(self.trace.ops), len(outputs) == 1


def _shapes(graph: Any, example: Any, label: str) -> list[tuple[int, ...]] | None:
    """Return the shapes of the inputs from `example_input`: arrays or shapes, in the structure of the inputs."""
    if example is None:
        return None
    if isinstance(example, Mapping):
        names = [x.name for x in graph.inputs]
        parts = [example[name] for name in names if name in example]
    elif isinstance(example, (list, tuple)) and not all(isinstance(side, int) for side in example):
        parts = list(example)
    else:
        parts = [example]
    shapes = [tuple(part) if isinstance(part, (list, tuple)) else tuple(part.shape) for part in parts]
    expected = [tuple(x.shape) for x in graph.inputs]
    fits = len(shapes) == len(expected) and all(
        len(own) == len(of) and all(b in (None, a) for a, b in zip(own[1:], of[1:], strict=True))
        for own, of in zip(shapes, expected, strict=True)
    )
    if not fits:
        raise InputError(
            f"{label}: example_input= has the shapes {', '.join(map(str, shapes)) or 'none'}; the network's inputs "
            f"{', '.join(f'{x.name} {tuple(x.shape)}' for x in graph.inputs)}",
            "give one array or shape for each input, in that order, or a dict by their names",
        )
    return [(1, *shape[1:]) for shape in shapes]


def _sized(x: Any, sides: tuple[int, int]) -> tuple[int, ...]:
    """Return the shape of an input with its free sides, the first of which is the height."""
    free = iter(sides)
    return (1, *(next(free, 8) if side is None else side for side in x.shape[1:]))
