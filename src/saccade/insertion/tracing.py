"""Trace one forward pass on the meta device, or, where a network asks for numbers, with its own weights.

On the meta device nothing is computed or copied: parameters and buffers are replaced by stand-ins with a shape and
without memory, so that a network of any size is traced in a fraction of a second and left as it was. No source is read
and nothing is compiled, so control flow and unusual modules are not an obstacle. A forward pass that reads a number
(a branch on data, a box to choose, a line for a log) would end there: it then runs once for real.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from saccade.errors import InputError
from saccade.insertion.maps import map_dims
from saccade.insertion.recorder import Recorder, mapped, on_meta, tensors_in
from saccade.insertion.trace import Trace
from saccade.ops.axes import CONV

SIZES: Mapping[int, tuple[tuple[int, ...], ...]] = {
    1: ((5760,), (16384,), (4096,), (1024,), (1000,), (256,)),
    2: ((224, 288), (224, 224), (256, 256)),
    3: ((32, 64, 96), (64, 64, 64), (16, 112, 112), (96, 96, 96), (128, 128, 128)),
}
"""Sides of the inputs that are tried, by the number of axes of a network's convolutions."""


def trace(
    model: nn.Module, example_input: Any, transparent: type[nn.Module], *, training: bool = False
) -> tuple[Trace, tuple[Any, ...]]:
    """Trace with `example_input`, or at sizes a network is likely to take; return the inputs that ran as well.

    A forward pass that asks for the numbers of a tensor is run with the network's own weights; if that fails too, it
    is traced up to there.

    Args:
        model: The network.
        example_input: See :func:`saccade.plan`.
        transparent: See :class:`Recorder`.
        training: If True, the pass is one of training, in which auxiliary heads run.

    Raises:
        InputError: The forward pass failed at every size tried.
        TypeError: `example_input` contains no tensor.
    """
    if example_input is not None:
        given = example_input if isinstance(example_input, tuple) else (example_input,)
        if not any(True for _ in tensors_in(given)):
            raise TypeError(
                "example_input must be a tensor, a list or dict of tensors, or a tuple of the network's arguments; "
                f"received {example_input!r}"
            )
        return _first_that_runs(model, [_two_samples(given) if training else given], transparent, training)
    return _first_that_runs(model, list(_likely_inputs(model)), transparent, training)


def _two_samples(inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """Double batches of one, of which norms have no variance in training."""
    made: tuple[Any, ...] = mapped(
        inputs, lambda part: torch.cat([part, part]) if part.dim() > 1 and len(part) == 1 else part
    )
    return made


def record_trace(
    model: nn.Module,
    inputs: tuple[Any, ...],
    transparent: type[nn.Module],
    *,
    real: bool = False,
    training: bool = False,
) -> Trace:
    """Run `model` once, on meta stand-ins of its weights and of `inputs`, or for real.

    Args:
        model: The network.
        inputs: Positional arguments; a dict at the end is taken as keyword arguments if their names are the network's.
        transparent: See :class:`Recorder`.
        real: If True, the network computes, with its own weights; inputs without values get random ones.
        training: If True, the pass is one of training.

    Raises:
        Exception: Any exception of the forward pass.
    """
    recorder = Recorder({id(module): path for path, module in model.named_modules()}, transparent, real=real)
    found = recorder.trace
    args, kwargs = _called_with(model, _with_values(model, inputs) if real else on_meta(inputs))
    own = [] if real else [*model.named_parameters(), *model.named_buffers()]
    stand_ins = {name: torch.empty_like(tensor, device="meta") for name, tensor in own}
    with torch.no_grad(), _untouched(model, real, training), recorder:
        found.inputs = tuple(recorder.number(tensor) for tensor in tensors_in((args, kwargs)))
        found.input_shape = found.shapes[found.inputs[0]]
        try:
            made = model(*args, **kwargs) if real else torch.func.functional_call(model, stand_ins, args, kwargs)
            found.outputs = recorder.values(made)
        except Exception as cause:
            mixes = any(op.window and max(op.window.kernel) > 1 for op in found.ops)
            if real or not mixes or not _wants_numbers(cause):
                raise
            found.ended = f"{type(cause).__name__}: {(str(cause).splitlines() or [''])[0]}"
            read = {value for op in found.ops for value in op.inputs}
            found.outputs = tuple(value for value in range(len(found.shapes)) if value not in read)
    if map_dims(found) == 1:
        found.read_as_sequences()
    return found


def _first_that_runs(
    model: nn.Module, tries: list[tuple[Any, ...]], transparent: type[nn.Module], training: bool
) -> tuple[Trace, tuple[Any, ...]]:
    failures: list[tuple[str, Exception]] = []
    for inputs in tries:
        try:
            found = record_trace(model, inputs, transparent, training=training)
            if found.ended:
                found = _for_real(model, inputs, transparent, training) or found
            return found, on_meta(inputs)
        except Exception as cause:
            found_for_real = _for_real(model, inputs, transparent, training) if _wants_numbers(cause) else None
            if found_for_real is not None:
                return found_for_real, on_meta(inputs)
            shapes = ", ".join("x".join(map(str, tensor.shape)) for tensor in tensors_in(inputs))
            failures.append((shapes, cause))
    shapes, first = failures[0]
    tried = "; ".join(shapes for shapes, _ in failures)
    raise InputError(
        f"{type(model).__name__}: the forward failed on inputs of shape {tried} (meta device); at {shapes}: "
        f"{type(first).__name__}: {(str(first).splitlines() or ['no message'])[0]}",
        "give example_input=, a tensor that the network takes, a tuple of its arguments, or a dict of those by name",
    ) from first


def _for_real(model: nn.Module, inputs: tuple[Any, ...], transparent: type[nn.Module], training: bool) -> Trace | None:
    """Return the trace of a forward pass that computes; None if the network has no weights, or it fails."""
    if any(tensor.is_meta for tensor in (*model.parameters(), *model.buffers())):
        return None
    try:
        return record_trace(model, inputs, transparent, real=True, training=training)
    except Exception:  # a network may raise anything, and the first trace says what is needed
        return None


def _with_values(model: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return inputs on the network's device; those without values get random ones, whole numbers 0."""
    device = next((tensor.device for tensor in (*model.parameters(), *model.buffers())), torch.device("cpu"))
    generator = torch.Generator().manual_seed(0)

    def fill(tensor: Tensor) -> Tensor:
        if not tensor.is_meta:
            return tensor.detach().to(device, copy=True)
        if not tensor.is_floating_point():
            return torch.zeros(tensor.shape, dtype=tensor.dtype, device=device)
        return torch.randn(tensor.shape, generator=generator).to(device, tensor.dtype)

    filled: tuple[Any, ...] = mapped(inputs, fill)
    return filled


def _called_with(model: nn.Module, inputs: tuple[Any, ...]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Split inputs into positional arguments and a last dict of keyword arguments, if it has the network's names."""
    *rest, last = inputs
    if isinstance(last, dict) and last and all(isinstance(name, str) for name in last):
        try:
            inspect.signature(model.forward).bind(*rest, **last)
        except (TypeError, ValueError):
            return inputs, {}
        return tuple(rest), last
    return inputs, {}


def _wants_numbers(cause: Exception) -> bool:
    """Return whether an operation failed for want of values: torch has several wordings for it."""
    text = str(cause).lower()
    wordings = ("meta tensor", "register_meta", "'meta' backend", "meta device", "data-dependent", "meta kernel")
    return isinstance(cause, (RuntimeError, NotImplementedError, TypeError)) and any(
        words in text for words in wordings
    )


def _likely_inputs(model: nn.Module) -> Iterator[tuple[Any, ...]]:
    """Yield inputs of the size timm states, else of several; not square first, to tell NCHW from NHWC."""
    dtype = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.get_default_dtype())
    dims = _axes(model)
    first = next((m.in_channels for m in model.modules() if isinstance(m, CONV[dims])), 3)
    stated = getattr(model, "default_cfg", None)
    sizes = SIZES[dims]
    if isinstance(stated, Mapping) and len(stated.get("input_size") or ()) == 3:
        _, height, width = stated["input_size"]
        sizes = ((height, width), *SIZES[2])
    by_name = _first_keyword(model)
    for channels in dict.fromkeys((first, 3, 1)):
        for sides in dict.fromkeys(sizes):
            image = torch.empty(1, channels, *sides, dtype=dtype, device="meta")
            yield (image if by_name is None else {by_name: image},)


def _axes(model: nn.Module) -> int:
    """Return the number of axes that most of a network's convolutions have; 1 only if no other has more."""
    kinds = Counter(dims for m in model.modules() for dims, conv in CONV.items() if isinstance(m, conv))
    return 3 if kinds[3] > kinds[2] else 2 if kinds[2] or not kinds[1] else 1


def _first_keyword(model: nn.Module) -> str | None:
    """Return the first argument of a forward that takes its arguments by name only."""
    try:
        parameters = list(inspect.signature(model.forward).parameters.values())
    except (TypeError, ValueError):
        return None
    named = [parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY]
    others = [p for p in parameters if p.kind not in (p.KEYWORD_ONLY, p.VAR_KEYWORD)]
    return named[0] if named and not others else None


@contextmanager
def _untouched(model: nn.Module, real: bool, training: bool) -> Iterator[None]:
    """Switch to evaluation or training mode; afterwards restore every attribute of every module, caches included.

    If the network computes, its buffers and the random states are restored too.
    """
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()] if real else []
    attributes = [(vars(module), dict(vars(module))) for module in model.modules()]
    held = [(value, value.copy()) for _, before in attributes for value in before.values() if _is_plain(value)]
    try:
        for own, _ in attributes:
            own["training"] = training
            own["_compiled_call_impl"] = None  # a compiled forward would be run as it is, unseen
        with torch.random.fork_rng(enabled=real):
            yield
    finally:
        for buffer, before_it in buffers:
            buffer.copy_(before_it)
        for own, before in (*attributes, *held):
            own.clear()
            own.update(before) if isinstance(own, dict) else own.extend(before)


def _is_plain(value: Any) -> bool:
    return isinstance(value, (dict, list)) and type(value).__module__ in ("builtins", "collections")
