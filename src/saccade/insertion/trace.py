"""One forward on the meta device: which modules were called, which operations ran, which tensor came from which.

Nothing is computed and nothing is copied: parameters and buffers are replaced by stand-ins that have a shape and no
memory, so that a network of any size is traced in a fraction of a second and is afterwards as it was. No source is
read and nothing is compiled, so control flow and unusual modules are no obstacle.

Only values that derive from the input are numbered. An operation in place gives its tensor a new number.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils._python_dispatch import TorchDispatchMode

from saccade.errors import InputError

SIZES = ((224, 288), (224, 224), (256, 256))


@dataclass(frozen=True)
class Convolution:
    """What a rule asks of a convolution."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]

    @property
    def spatial(self) -> bool:
        """Whether it mixes positions."""
        return max(self.kernel) > 1

    @property
    def overlapping(self) -> bool:
        """Whether windows share positions: false for 1x1 and for cutting into patches."""
        return any(k > s for k, s in zip(self.kernel, self.stride, strict=True))


@dataclass(frozen=True)
class Op:
    """One tensor operation; `name` without the underscore of an operation in place."""

    index: int
    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    call: int
    convolution: Convolution | None = None
    dims: tuple[int, ...] = ()


@dataclass
class Call:
    """One call of one module.

    Args:
        index: Its number; 0 is the network itself.
        path: The module's name.
        module: The module.
        parent: Number of the call it was made in.
        inputs: Values among its arguments.
        first: The value given as first positional argument, or None.
        begin: Number of the first operation inside it.
        outputs: Values it returned.
        single: Whether it returned one tensor and nothing else.
        end: One more than the number of the last operation inside it.
    """

    index: int
    path: str
    module: nn.Module
    parent: int | None
    inputs: tuple[int, ...]
    first: int | None
    begin: int
    outputs: tuple[int, ...] = ()
    single: bool = False
    end: int = -1


@dataclass
class Trace:
    """A recorded forward.

    Args:
        ops: In the order they ran; a value's number is larger than those it was made from.
        calls: In the order they began.
        shapes: Of every value.
        producer: The operation that made each value; None for the input.
        inputs: Values given to the network.
        outputs: Values it returned.
        input_shape: Of the first input, as run.
        attachments: For each attachment by path, the shapes it was called with.
    """

    ops: list[Op] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    shapes: list[tuple[int, ...]] = field(default_factory=list)
    producer: list[Op | None] = field(default_factory=list)
    inputs: tuple[int, ...] = ()
    outputs: tuple[int, ...] = ()
    input_shape: tuple[int, ...] = ()
    attachments: dict[str, list[tuple[int, ...]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._times: Counter[str] = Counter()

    def times_called(self, path: str) -> int:
        """How often a module ran."""
        if not self._times:
            self._times.update(call.path for call in self.calls)
        return self._times[path]

    def inside(self, inner: int | None, outer: int) -> bool:
        """Whether a call was made, directly or not, in another (or is it)."""
        while inner is not None and inner != outer:
            inner = self.calls[inner].parent
        return inner is not None


def tensors_in(tree: Any) -> Iterator[Tensor]:
    """The tensors in nested lists, tuples and dicts."""
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, Mapping):
        for part in tree.values():
            yield from tensors_in(part)
    elif isinstance(tree, (list, tuple)):
        for part in tree:
            yield from tensors_in(part)


class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Numbers values and writes down operations and module calls while it is active.

    Args:
        paths: Name of each module, by identity.
        transparent: Modules whose insides are left out and whose output counts as their input: earlier insertions.
    """

    def __init__(self, paths: Mapping[int, str], transparent: type[nn.Module]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.trace = Trace()
        self._paths, self._transparent = paths, transparent
        self._numbers: dict[int, int] = {}
        self._keep: list[Tensor] = []  # an id is a name only while its tensor lives
        self._aliases: dict[int, list[Tensor]] = {}
        self._stack: list[int] = []
        self._hidden: list[nn.Module] = []
        self._thread = threading.get_ident()
        self._handles: list[Any] = []

    def __enter__(self) -> Self:
        self._handles = [
            register_module_forward_pre_hook(self._before_call),
            register_module_forward_hook(self._after_call),
        ]
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for handle in self._handles:
            handle.remove()
        super().__exit__(kind, error, traceback)  # type: ignore[no-untyped-call]

    def number(self, tensor: Tensor, producer: Op | None = None) -> int:
        """Give a tensor a new number."""
        value = len(self.trace.shapes)
        self.trace.shapes.append(tuple(tensor.shape))
        self.trace.producer.append(producer)
        self._name(tensor, value)
        return value

    def _name(self, tensor: Tensor, value: int) -> None:
        self._numbers[id(tensor)] = value
        self._keep.append(tensor)

    def values(self, tree: Any) -> tuple[int, ...]:
        """Numbers of the tensors in `tree` that derive from the input, each once."""
        found = (self._numbers.get(id(tensor)) for tensor in tensors_in(tree))
        return tuple(dict.fromkeys(value for value in found if value is not None))

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        args, kwargs = _on_meta(args), _on_meta(kwargs or {})
        inputs = () if self._hidden else self.values((args, kwargs))
        result = func(*args, **kwargs)
        if self._hidden:
            return result
        name = func.overloadpacket.__name__
        written = args[0] if name.endswith("_") and args and isinstance(args[0], Tensor) else None
        if inputs:
            self._write(name.rstrip("_"), args, inputs, result)
        for tensor in tensors_in(result):
            self._keep.append(tensor)
            self._aliases.setdefault(_storage(tensor), []).append(tensor)
        if inputs and written is not None:
            self._write_views(written)
        return result

    def _write(self, name: str, args: tuple[Any, ...], inputs: tuple[int, ...], result: Any) -> None:
        made = [tensor for tensor in tensors_in(result) if tensor.is_floating_point()]  # not the indices of a pooling
        first = len(self.trace.shapes)
        op = Op(
            len(self.trace.ops), name, inputs, tuple(range(first, first + len(made))), self._stack[-1],
            _convolution(name, args), _dims(name, args),
        )  # fmt: skip
        self.trace.ops.append(op)
        for tensor in made:
            self.number(tensor, op)

    def _write_views(self, written: Tensor) -> None:
        """Writing into a tensor changes all that share its memory: each gets a number made from old and new."""
        new = self._numbers.get(id(written))
        others = {id(tensor): tensor for tensor in self._aliases.get(_storage(written), ()) if tensor is not written}
        for other in others.values():
            old = self._numbers.get(id(other))
            inputs = tuple(value for value in (old, new) if value is not None)
            op = Op(len(self.trace.ops), "written", inputs, (len(self.trace.shapes),), self._stack[-1])
            self.trace.ops.append(op)
            self.number(other, op)

    def _ours(self, module: nn.Module) -> bool:
        return threading.get_ident() == self._thread and id(module) in self._paths

    def _before_call(self, module: nn.Module, args: Any) -> None:
        if not self._ours(module):
            return
        if self._hidden or isinstance(module, self._transparent):
            self._hidden.append(module)
            return
        first = self.values(args[0])[:1] if args and isinstance(args[0], Tensor) else ()
        parent = self._stack[-1] if self._stack else None
        call = Call(
            len(self.trace.calls), self._paths[id(module)], module, parent, self.values(args),
            first[0] if first else None, len(self.trace.ops),
        )  # fmt: skip
        self.trace.calls.append(call)
        self._stack.append(call.index)

    def _after_call(self, module: nn.Module, args: Any, output: Any) -> None:
        if not self._ours(module):
            return
        if self._hidden:
            self._hidden.pop()
            if not self._hidden:
                path = self._paths[id(module)]
                self.trace.attachments.setdefault(path, []).append(tuple(args[0].shape))
                self._name(output, self._numbers[id(args[0])])
            return
        call = self.trace.calls[self._stack.pop()]
        call.outputs, call.end = self.values(output), len(self.trace.ops)
        call.single = isinstance(output, Tensor)


def _on_meta(tree: Any) -> Any:
    """The same arguments with every tensor on the meta device (a network may hold tensors that are no buffers)."""
    if isinstance(tree, Tensor):
        return tree if tree.is_meta else torch.empty_like(tree, device="meta")
    if isinstance(tree, (list, tuple)):
        return type(tree)(_on_meta(part) for part in tree)
    return {name: _on_meta(part) for name, part in tree.items()} if isinstance(tree, dict) else tree


def _storage(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def _convolution(name: str, args: tuple[Any, ...]) -> Convolution | None:
    if name != "convolution" or args[6]:  # transposed ones are not what a rule looks for
        return None
    return Convolution(tuple(args[1].shape[2:]), tuple(args[3]), tuple(args[5]))


def _dims(name: str, args: tuple[Any, ...]) -> tuple[int, ...]:
    return tuple(int(axis) % args[0].dim() for axis in args[1]) if name == "permute" else ()


@contextmanager
def _untouched(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside; afterwards every module has the attributes it had, caches of a forward included."""
    before = [(module, dict(vars(module))) for module in model.modules()]
    try:
        for module, _ in before:
            module.training = False
        yield
    finally:
        for module, attributes in before:
            vars(module).clear()
            vars(module).update(attributes)


def record_trace(model: nn.Module, inputs: tuple[Tensor, ...], transparent: type[nn.Module]) -> Trace:
    """Run `model` once on meta stand-ins of its weights and of `inputs`.

    Raises:
        Exception: Whatever the forward raises.
    """
    recorder = Recorder({id(module): path for path, module in model.named_modules()}, transparent)
    own = [*model.named_parameters(), *model.named_buffers()]
    stand_ins = {name: torch.empty_like(tensor, device="meta") for name, tensor in own}
    given = tuple(torch.empty_like(tensor, device="meta") for tensor in inputs)
    with torch.no_grad(), _untouched(model), recorder:
        recorder.trace.inputs = tuple(recorder.number(tensor) for tensor in given)
        output = torch.func.functional_call(model, stand_ins, given)
        recorder.trace.outputs = recorder.values(output)
    recorder.trace.input_shape = tuple(given[0].shape)
    return recorder.trace


def trace(model: nn.Module, example_input: Any, transparent: type[nn.Module]) -> Trace:
    """Trace with `example_input`, or at the sizes a network is likely to take.

    Raises:
        InputError: The forward failed at every size that was tried.
        TypeError: `example_input` is neither a tensor nor a tuple of tensors.
    """
    if example_input is not None:
        given = example_input if isinstance(example_input, tuple) else (example_input,)
        if not given or not all(isinstance(tensor, Tensor) for tensor in given):
            raise TypeError(f"example_input must be a tensor or a tuple of tensors; received {example_input!r}")
        return _first_that_runs(model, [given], transparent)
    return _first_that_runs(model, [(tensor,) for tensor in _likely_inputs(model)], transparent)


def _first_that_runs(model: nn.Module, tries: list[tuple[Tensor, ...]], transparent: type[nn.Module]) -> Trace:
    failures: list[tuple[str, Exception]] = []
    for inputs in tries:
        try:
            return record_trace(model, inputs, transparent)
        except Exception as cause:
            shapes = ", ".join("x".join(map(str, tensor.shape)) for tensor in inputs)
            failures.append((shapes, cause))
    shapes, first = failures[0]
    tried = "; ".join(shapes for shapes, _ in failures)
    raise InputError(
        f"{type(model).__name__}: the forward failed on inputs of shape {tried} (meta device); at {shapes}: "
        f"{type(first).__name__}: {(str(first).splitlines() or ['no message'])[0]}",
        "give example_input=, a tensor (or tuple of tensors) that the network takes",
    ) from first


def _likely_inputs(model: nn.Module) -> Iterator[Tensor]:
    """At the size timm states, else at several; not square first, to tell (B, C, H, W) from (B, H, W, C)."""
    dtype = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.get_default_dtype())
    first = next((m.in_channels for m in model.modules() if isinstance(m, nn.Conv2d)), 3)
    stated = getattr(model, "default_cfg", None)
    sizes: tuple[tuple[int, int], ...] = SIZES
    if isinstance(stated, Mapping) and len(stated.get("input_size") or ()) == 3:
        _, height, width = stated["input_size"]
        sizes = ((height, width), *SIZES)
    for channels in dict.fromkeys((first, 3)):
        for height, width in dict.fromkeys(sizes):
            yield torch.empty(1, channels, height, width, dtype=dtype, device="meta")
