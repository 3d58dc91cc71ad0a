"""Record a forward pass while it runs: a dispatch mode for the operations, global hooks for the module calls."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils._python_dispatch import TorchDispatchMode

from saccade.insertion.maps import POOLS
from saccade.insertion.trace import Call, Op, Trace, Window

_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
_OVER_CHILDREN = frozenset(("children", "named_children", "modules", "named_modules", "_modules"))
NORMS = frozenset((torch.ops.aten.native_batch_norm.default,))


class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Number values and record operations and module calls while it is active.

    Args:
        paths: Name of each module, by its `id`.
        transparent: Class of modules whose inside is skipped and whose output counts as their input: earlier
            insertions.
        real: If True, operations run with the tensors given; otherwise all of them on the meta device.
    """

    def __init__(self, paths: Mapping[int, str], transparent: type[nn.Module], *, real: bool = False) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.trace = Trace()
        self._paths, self._transparent, self._real = paths, transparent, real
        self._numbers: dict[int, int] = {}
        self._keep: list[Tensor] = []  # an id identifies a tensor only while the tensor lives
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
        """Return the numbers of the tensors in `tree` that derive from the input, each once."""
        found = (self._numbers.get(id(tensor)) for tensor in tensors_in(tree))
        return tuple(dict.fromkeys(value for value in found if value is not None))

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if not self._real and not _is_constant(func, args, kwargs):
            args, kwargs = on_meta(args), on_meta(kwargs)
        inputs = () if self._hidden else self.values((args, kwargs))
        result = _shapes_of_norm(*args) if func in NORMS and not self._real else func(*args, **kwargs)
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
        # Skip the indices of a pooling.
        made = [t for t in tensors_in(result) if t.is_floating_point() or t.is_complex()]
        first = len(self.trace.shapes)
        op = Op(
            len(self.trace.ops), "conv_transpose" if name == "convolution" and args[6] else name, inputs,
            tuple(range(first, first + len(made))), self._stack[-1], _window(name, args), _dims(name, args),
        )  # fmt: skip
        self.trace.ops.append(op)
        for tensor in made:
            self.number(tensor, op)

    def _write_views(self, written: Tensor) -> None:
        """Give each tensor that shares the written memory a new number, made from old and new."""
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
        if isinstance(module, self._transparent):
            self.trace.attachments.setdefault(self._paths[id(module)], []).append(tuple(args[0].shape))
        if self._hidden or isinstance(module, (self._transparent, nn.RNNBase)):  # a recurrence is thousands of steps
            self._hidden.append(module)
            return
        first = self.values(args[0])[:1] if args and isinstance(args[0], Tensor) else ()
        parent = self._stack[-1] if self._stack else None
        call = Call(
            len(self.trace.calls), self._paths[id(module)], module, parent, self.values(args),
            first[0] if first else None, len(self.trace.ops), iterates=iterates(module),
        )  # fmt: skip
        self.trace.calls.append(call)
        self._stack.append(call.index)

    def _after_call(self, module: nn.Module, args: Any, output: Any) -> None:
        if not self._ours(module):
            return
        if self._hidden:
            self._hidden.pop()
            if not self._hidden and isinstance(module, self._transparent):
                self._name(output, self._numbers[id(args[0])])
            elif not self._hidden:
                self._write("recurrence", (), self.values(args), output)
            return
        call = self.trace.calls[self._stack.pop()]
        call.outputs, call.end = self.values(output), len(self.trace.ops)
        call.single = isinstance(output, Tensor)


def _is_constant(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Return whether an operation derives a tensor from constants of the network alone, and writes to none of them.

    Such a tensor keeps its values, since a forward may read them: the strides of a detector, sizes of windows.
    """
    if func._schema.is_mutable:
        return False
    given = list(tensors_in((args, kwargs)))
    return bool(given) and not any(tensor.is_meta for tensor in given)


def iterates(module: nn.Module) -> bool:
    """Return whether a forward pass runs over all children, so that an additional one would be run too."""
    code = getattr(type(module).forward, "__code__", None)
    return isinstance(module, _CONTAINERS) or bool(_OVER_CHILDREN.intersection(getattr(code, "co_names", ())))


def tensors_in(tree: Any) -> Iterator[Tensor]:
    """Yield the tensors in nested lists, tuples and dicts."""
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, Mapping):
        for part in tree.values():
            yield from tensors_in(part)
    elif isinstance(tree, (list, tuple)):
        for part in tree:
            yield from tensors_in(part)


def on_meta(tree: Any) -> Any:
    """Move every tensor to the meta device (a network may hold tensors that are not buffers)."""
    return mapped(tree, lambda tensor: tensor if tensor.is_meta else torch.empty_like(tensor, device="meta"))


def mapped(tree: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Change every tensor in nested lists, tuples and dicts."""
    if isinstance(tree, Tensor):
        return change(tree)
    if isinstance(tree, (list, tuple)):
        parts = [mapped(part, change) for part in tree]
        return type(tree)(*parts) if hasattr(tree, "_fields") else type(tree)(parts)
    return {name: mapped(part, change) for name, part in tree.items()} if isinstance(tree, dict) else tree


def _shapes_of_norm(x: Tensor, *others: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Return what a batch normalization of a meta tensor returns, whose own rule takes a hundred calls to find it."""
    channels = x.shape[1] if others[4] else 0
    return torch.empty_like(x), x.new_empty(channels), x.new_empty(channels)


def _storage(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def _window(name: str, args: tuple[Any, ...]) -> Window | None:
    if name == "convolution" and not args[6]:
        return Window(tuple(args[1].shape[2:]), tuple(args[3]), tuple(args[5]))
    if name in POOLS:
        axes = args[0].dim() - 2
        kernel = _each(args[1], axes)
        stride = _each(args[2], axes) if len(args) > 2 and args[2] else kernel
        return Window(kernel, stride, (1,) * len(kernel))
    return None


def _each(given: Any, axes: int) -> tuple[int, ...]:
    """Return one number for each axis: torch takes a single one for all."""
    sides = tuple(given) if isinstance(given, (list, tuple)) else (given,)
    return sides * axes if len(sides) == 1 else sides


def _dims(name: str, args: tuple[Any, ...]) -> tuple[int, ...]:
    axes = args[0].dim() if args and isinstance(args[0], Tensor) else 0
    if name == "transpose" and axes == 3:  # of maps with more axes, what it does is read off the shapes
        order = list(range(axes))
        first, second = (int(axis) % axes for axis in args[1:3])
        order[first], order[second] = second, first
        return tuple(order)
    return tuple(int(axis) % axes for axis in args[1]) if name == "permute" else ()
