"""Trace one forward pass on the meta device.

Nothing is computed or copied: parameters and buffers are replaced by stand-ins with a shape and without memory, so
that a network of any size is traced in a fraction of a second and left as it was. No source is read and nothing is
compiled, so control flow and unusual modules are not an obstacle.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from saccade.errors import InputError
from saccade.insertion.recorder import Recorder, on_meta, tensors_in
from saccade.insertion.trace import Trace

SIZES = ((224, 288), (224, 224), (256, 256))


def trace(model: nn.Module, example_input: Any, transparent: type[nn.Module]) -> tuple[Trace, tuple[Any, ...]]:
    """Trace with `example_input`, or at sizes a network is likely to take; return the inputs that ran as well.

    A forward pass that asks for the numbers of a tensor, as detectors do when they choose boxes, is traced up to there.

    Raises:
        InputError: The forward pass failed at every size tried.
        TypeError: `example_input` contains no tensor.
    """
    if example_input is not None:
        given = example_input if isinstance(example_input, tuple) else (example_input,)
        if not any(True for _ in tensors_in(given)):
            raise TypeError(
                "example_input must be a tensor, a list of tensors, or a tuple of the network's arguments; received "
                f"{example_input!r}"
            )
        return _first_that_runs(model, [given], transparent)
    return _first_that_runs(model, [(tensor,) for tensor in _likely_inputs(model)], transparent)


def record_trace(model: nn.Module, inputs: tuple[Any, ...], transparent: type[nn.Module]) -> Trace:
    """Run `model` once on meta stand-ins of its weights and of `inputs`.

    Raises:
        Exception: Any exception of the forward pass.
    """
    recorder = Recorder({id(module): path for path, module in model.named_modules()}, transparent)
    found = recorder.trace
    own = [*model.named_parameters(), *model.named_buffers()]
    stand_ins = {name: torch.empty_like(tensor, device="meta") for name, tensor in own}
    given = on_meta(inputs)
    with torch.no_grad(), _untouched(model), recorder:
        found.inputs = tuple(recorder.number(tensor) for tensor in tensors_in(given))
        found.input_shape = found.shapes[found.inputs[0]]
        try:
            found.outputs = recorder.values(torch.func.functional_call(model, stand_ins, given))
        except (NotImplementedError, RuntimeError) as cause:
            if not _wants_numbers(cause) or not any(op.spatial for op in found.ops):
                raise
            found.ended = f"{type(cause).__name__}: {str(cause).splitlines()[0]}"
            read = {value for op in found.ops for value in op.inputs}
            found.outputs = tuple(value for value in range(len(found.shapes)) if value not in read)
    return found


def _first_that_runs(
    model: nn.Module, tries: list[tuple[Any, ...]], transparent: type[nn.Module]
) -> tuple[Trace, tuple[Any, ...]]:
    failures: list[tuple[str, Exception]] = []
    for inputs in tries:
        try:
            return record_trace(model, inputs, transparent), on_meta(inputs)
        except Exception as cause:
            shapes = ", ".join("x".join(map(str, tensor.shape)) for tensor in tensors_in(inputs))
            failures.append((shapes, cause))
    shapes, first = failures[0]
    tried = "; ".join(shapes for shapes, _ in failures)
    raise InputError(
        f"{type(model).__name__}: the forward failed on inputs of shape {tried} (meta device); at {shapes}: "
        f"{type(first).__name__}: {(str(first).splitlines() or ['no message'])[0]}",
        "give example_input=, a tensor (or a tuple of the network's arguments) that the network takes",
    ) from first


def _wants_numbers(cause: Exception) -> bool:
    """Return whether an operation failed for want of values: torch has several wordings for it."""
    text = str(cause).lower()
    return any(words in text for words in ("meta tensor", "register_meta", "'meta' backend"))


def _likely_inputs(model: nn.Module) -> Iterator[Tensor]:
    """Yield inputs of the size timm states, else of several; not square first, to tell NCHW from NHWC."""
    dtype = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.get_default_dtype())
    first = next((m.in_channels for m in model.modules() if isinstance(m, nn.Conv2d)), 3)
    stated = getattr(model, "default_cfg", None)
    sizes: tuple[tuple[int, int], ...] = SIZES
    if isinstance(stated, Mapping) and len(stated.get("input_size") or ()) == 3:
        _, height, width = stated["input_size"]
        sizes = ((height, width), *SIZES)
    for channels in dict.fromkeys((first, 3, 1)):
        for height, width in dict.fromkeys(sizes):
            yield torch.empty(1, channels, height, width, dtype=dtype, device="meta")


@contextmanager
def _untouched(model: nn.Module) -> Iterator[None]:
    """Switch to evaluation mode; afterwards restore every attribute of every module, caches included."""
    attributes = [(vars(module), dict(vars(module))) for module in model.modules()]
    held = [(value, value.copy()) for _, before in attributes for value in before.values() if _is_plain(value)]
    try:
        for own, _ in attributes:
            own["training"] = False
        yield
    finally:
        for own, before in (*attributes, *held):
            own.clear()
            own.update(before) if isinstance(own, dict) else own.extend(before)


def _is_plain(value: Any) -> bool:
    return isinstance(value, (dict, list)) and type(value).__module__ in ("builtins", "collections")
