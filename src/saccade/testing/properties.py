"""The properties of the contract, each a function that raises one sentence where its property does not hold."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from saccade.errors import InputError
from saccade.insertion.attach import Attachment
from saccade.insertion.writing import needs_its_output
from saccade.mechanisms.base import Mechanism
from saccade.testing.subject import Subject

TOLERANCES: Mapping[torch.dtype, float] = {torch.float32: 1e-4, torch.float16: 0.05, torch.bfloat16: 0.1}
"""Largest error against float64, as a fraction of the largest output."""
_DRAWS = 8  # a hidden layer of two units is dead in some
_STEP = 1e-6


class Broken(Exception):
    """A property that does not hold; the message says what was expected and what was seen."""


def applies(name: str, module: nn.Module) -> bool:
    """Return whether a property has a meaning for a module."""
    if name == "identity":
        return hasattr(module, "starts_as_identity")
    if name == "state":
        return any(True for _ in module.state_dict())
    return name != "errors" or isinstance(module, Mechanism)


def _shape(subject: Subject) -> None:
    for training in (False, True):
        module, x = subject.awake().train(training), subject.map()
        y = module(x)
        mode = "in training" if training else "in evaluation"
        if not isinstance(y, Tensor):
            raise Broken(f"expected one tensor {mode}; it returned a {type(y).__name__}")
        if y.shape != x.shape:
            raise Broken(f"expected the shape of its input, {_sides(x)}, {mode}; it returned {_sides(y)}")
        if not y.isfinite().all():
            raise Broken(f"expected finite numbers {mode}; it returned infinite ones or NaN")


def _input(subject: Subject) -> None:
    module, x = subject.awake(), subject.map()
    before = x.clone()
    with torch.no_grad():
        module(x)
    if not torch.equal(x, before):
        raise Broken("expected the map to stay as it was given; it writes into it (an operation in place, nn.ReLU?)")


def _sizes(subject: Subject) -> None:
    module = subject.awake()
    for size in (subject.other_size, (1,) * subject.dims):
        x = subject.map(size=size)
        try:
            y = module(x)
        except ValueError as cause:
            if max(size) > 1:
                raise Broken(f"a map of {_by(size)} was refused with {type(cause).__name__}: {_line(cause)}") from cause
            size = (2,) * subject.dims
            x = subject.map(size=size)
            y = module(x)
        except Exception as cause:
            wanted = "the same shape back" if max(size) > 1 else "the same shape back, or a ValueError saying why not"
            raise Broken(
                f"a map of {_by(size)}: expected {wanted}; it raised {type(cause).__name__}: {_line(cause)}"
            ) from cause
        if y.shape != x.shape:
            raise Broken(f"a map of {_by(size)}: expected the shape {_sides(x)} back; it returned {_sides(y)}")
        if not y.isfinite().all():
            raise Broken(f"a map of {_by(size)}: expected finite numbers; it returned infinite ones or NaN")


def _batch(subject: Subject) -> None:
    module, x = subject.awake().train(), subject.map(batch=1).requires_grad_()
    try:
        y = module(x)
    except ValueError:  # as batch norms say that a single number per channel cannot be normalised
        pass
    except Exception as cause:
        raise Broken(
            "one sample in training: expected an output, or a ValueError saying why not; it raised "
            f"{type(cause).__name__}: {_line(cause)}"
        ) from cause
    else:
        if y.requires_grad:
            y.sum().backward()
        finite = y.isfinite().all() and (x.grad is None or x.grad.isfinite().all())
        if y.shape != x.shape or not finite:
            raise Broken("one sample in training: expected a finite output and gradient of its shape; got others")
    none = subject.map(batch=0)
    try:
        y = subject.awake()(none)
    except Exception as cause:
        raise Broken(
            f"a batch of none, {_sides(none)}: expected it back; it raised {type(cause).__name__}: {_line(cause)}"
        ) from cause
    if y.shape != none.shape:
        raise Broken(f"a batch of none: expected the shape {_sides(none)} back; it returned {_sides(y)}")


def _independence(subject: Subject) -> None:
    module, x = subject.awake(), subject.map()
    changed = x.clone()
    changed[1] = -changed[1] * 3
    before, after = module(x), module(changed)
    if not _close(after[[0, 2]], before[[0, 2]]):
        far = _far(after[[0, 2]], before[[0, 2]])
        raise Broken(f"expected samples to be independent; changing one changed the outputs of others by {far:.2g}")
    if torch.allclose(after[1], before[1]):
        raise Broken("expected the output to follow its input; another sample gave the same output")


def _dtypes(subject: Subject) -> None:
    exact = subject.awake()(subject.map())
    if exact.dtype != torch.float64:
        raise Broken(f"expected float64 for float64; it returned {_name(exact.dtype)}")
    for dtype, tolerance in TOLERANCES.items():
        try:
            y = subject.awake(dtype)(subject.map(dtype=dtype))
        except Exception as cause:
            raise Broken(f"{_name(dtype)}: it raised {type(cause).__name__}: {_line(cause)}") from cause
        if y.dtype != dtype:
            raise Broken(f"expected {_name(dtype)} for {_name(dtype)}; it returned {_name(y.dtype)}")
        error = _far(y, exact) / max(1e-12, float(exact.detach().abs().max()))
        if not error <= tolerance:  # NaN is not
            raise Broken(
                f"{_name(dtype)}: expected within {tolerance:g} of float64, as a fraction of the largest output; it is "
                f"{error:.2g} off"
            )


def _autocast(subject: Subject) -> None:
    module = subject.awake(torch.float32)
    for dtype in (torch.float32, torch.bfloat16):
        with torch.autocast("cpu", torch.bfloat16):
            y = module(subject.map(dtype=dtype))
        if not y.isfinite().all():
            raise Broken("expected finite numbers under autocast; it returned infinite ones or NaN")
        if isinstance(module, Mechanism) and y.dtype != dtype:
            raise Broken(f"expected {_name(dtype)} for {_name(dtype)} under autocast; it returned {_name(y.dtype)}")


def _layout(subject: Subject) -> None:
    module, x = subject.awake(), subject.map()
    y = module(x)
    scattered = torch.empty(*x.shape[:-2], x.shape[-1], 2 * x.shape[-2], dtype=x.dtype)[..., ::2].mT
    scattered.copy_(x)
    if not _close(module(scattered), y):
        raise Broken("expected the same numbers for a map that is not contiguous; they differ")
    order = {4: torch.channels_last, 5: torch.channels_last_3d}.get(x.dim())
    if order is None:
        return
    last = module(x.contiguous(memory_format=order))
    if not _close(last, y):
        raise Broken("expected the same numbers for a map with channels last; they differ")
    if not last.is_contiguous(memory_format=order):
        raise Broken(f"expected channels last to stay channels last; it returned the strides {last.stride()}")
    if not y.is_contiguous():
        raise Broken(f"expected a contiguous map for a contiguous one; it returned the strides {y.stride()}")


def _learns(subject: Subject) -> None:
    moved: dict[str, bool] = {}
    for seed in range(_DRAWS):
        module, x = subject.awake(seed=seed), subject.map().requires_grad_()
        y = module(x)
        if not y.requires_grad:
            raise Broken("expected gradients; the output has none (is it detached, or made without autograd?)")
        (y * _direction(y)).sum().backward()
        if x.grad is None or not x.grad.abs().max() > 0:
            raise Broken("expected a gradient for the map; none reaches it")
        parameters = {name: p for name, p in module.named_parameters() if p.requires_grad}
        sizes = {name: 0.0 if p.grad is None else float(p.grad.abs().max()) for name, p in parameters.items()}
        least = 1e-12 * max(1.0, max(sizes.values(), default=0.0))
        moved = {name: moved.get(name, False) or size > least for name, size in sizes.items()}
        if all(moved[name] or name.endswith(subject.idle) for name in moved):
            break
    still = [name for name, has_moved in moved.items() if not has_moved and not name.endswith(subject.idle)]
    if still:
        raise Broken(f"expected a gradient for every parameter; none reaches {', '.join(still)}")
    wrong = [name for name, has_moved in moved.items() if has_moved and name.endswith(subject.idle)]
    if wrong:
        raise Broken(f"expected no gradient for the parameters declared idle; {', '.join(wrong)} has one")


def _gradients(subject: Subject) -> None:
    """Along one random direction of the map and of each parameter, by central differences."""
    module, x = subject.awake(), subject.map(batch=2).requires_grad_()
    y = module(x)
    cotangent = _direction(y)
    (y * cotangent).sum().backward()
    inputs = {"the map": x} | {name: p for name, p in module.named_parameters() if p.requires_grad}
    for name, tensor in inputs.items():
        direction = _direction(tensor)
        analytic = 0.0 if tensor.grad is None else float((tensor.grad * direction).sum())
        start, ends = tensor.detach().clone(), []
        with torch.no_grad():
            for step in (_STEP, -_STEP):
                tensor.copy_(start + step * direction)
                ends.append(float((module(x) * cotangent).sum()))
            tensor.copy_(start)
        numeric = (ends[0] - ends[1]) / (2 * _STEP)
        if not abs(analytic - numeric) <= 1e-6 + 1e-4 * max(abs(analytic), abs(numeric)):
            raise Broken(
                f"expected the gradients of finite differences; along a random direction of {name} they give "
                f"{numeric:.6g}, backward {analytic:.6g}"
            )


def _in_place(subject: Subject) -> None:
    """Train the mechanism as `insert` attaches it with start="paper"."""

    def step(in_place: bool) -> list[Tensor | None]:
        module, x = subject.awake(), subject.map().requires_grad_()
        copied = not isinstance(module, Mechanism) and needs_its_output(module, x.detach())
        attached = Attachment(module, side="after", wrapped=False, copied=copied).train()
        shortcut = 0.5 * x
        y = attached(x * 1.0)  # what a network hands over is not a leaf
        if in_place:
            y += shortcut
            y.relu_()
        else:
            y = (y + shortcut).relu()
        y.square().sum().backward()
        return [x.grad, *(p.grad for p in module.parameters())]

    plain = step(in_place=False)
    try:
        written = step(in_place=True)
    except RuntimeError as cause:
        raise Broken(
            "expected to be trained in a network that adds in place to its output; its backward pass needs the output "
            f"(end in saccade.ops.rectify.rectified in place of relu, or in .clone()): {_line(cause)}"
        ) from cause
    for ours, theirs in zip(written, plain, strict=True):
        if ours is not None and theirs is not None and not _close(ours, theirs):
            raise Broken(
                "expected the gradients of a network that writes to new maps in one that adds in place; they differ by "
                f"{_far(ours, theirs):.2g}"
            )


def _identity(subject: Subject) -> None:
    for dtype, training in itertools.product((torch.float32, torch.float64, torch.bfloat16), (True, False)):
        module, x = subject.fresh().to(dtype).train(training), subject.map(dtype=dtype)
        says = bool(module.starts_as_identity)
        is_so = torch.equal(module(x), x)
        if is_so is not says:
            where = f"in {_name(dtype)}, {'training' if training else 'evaluation'}"
            seen = "returns its input" if is_so else "changes its input"
            raise Broken(f"starts_as_identity is {says}; {where}, a new module {seen}")


def _state(subject: Subject) -> None:
    module, other, x = subject.awake(), subject.fresh().double().eval(), subject.map()
    other.load_state_dict(module.state_dict())
    if not torch.equal(other(x), module(x)):
        raise Broken("expected the same output after load_state_dict; it differs, so something is not in the state")


def _copy(subject: Subject) -> None:
    module, x = subject.awake(), subject.map()
    before = module(x)
    twin = copy.deepcopy(module)
    if not torch.equal(twin(x), before):
        raise Broken("expected the same output from a deep copy; it differs")
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.add_(1.0)
    if not torch.equal(module(x), before):
        raise Broken("expected a deep copy to share nothing; changing its parameters changed the module")
    if torch.equal(twin(x), before) and any(True for _ in twin.parameters()):
        raise Broken("expected a deep copy to run with its own parameters; changing them changed nothing")


def _errors(subject: Subject) -> None:
    module, x = subject.fresh(), subject.map(dtype=torch.float32)
    label = getattr(module, "label", "")
    for wrong in (x[0], x[None], x[:, :-1], torch.cat([x, x], dim=1)):
        try:
            module(wrong)
        except InputError as error:
            told = error.message
            parts = (f"(B, {subject.channels}, ", f"received shape {_sides(wrong)}")
            if not told.startswith(f"{label}: ") or not all(part in told for part in parts):
                raise Broken(
                    f"a map of shape {_sides(wrong)}: expected an InputError that begins with {label!r} and names both "
                    f"shapes (self.check does); it says {told!r}"
                ) from error
        except Exception as cause:
            raise Broken(
                f"a map of shape {_sides(wrong)}: expected an InputError; it raised {type(cause).__name__} (call "
                "self.check(x) first)"
            ) from cause
        else:
            raise Broken(f"a map of shape {_sides(wrong)}: expected an InputError; it was taken")


def _compiles(subject: Subject) -> None:
    torch._dynamo.reset()
    module = subject.awake()
    compiled = torch.compile(module, fullgraph=True, backend=subject.backend)
    _same_at_both_sizes(subject, module, compiled, "torch.compile(fullgraph=True)")


def _exports(subject: Subject) -> None:
    module = subject.awake()
    free = dict.fromkeys((0, *range(2, 2 + subject.dims)), torch.export.Dim.DYNAMIC)
    try:
        exported = torch.export.export(module, (subject.map(),), dynamic_shapes=(free,)).module()
    except Exception as cause:
        raise Broken(
            "expected torch.export to take it with a free batch and free sides (len(x) fixes a batch, x.shape[0] does "
            f"not); it raised {type(cause).__name__}: {_line(cause)}"
        ) from cause
    _same_at_both_sizes(subject, module, exported, "torch.export", other_batch=2)


def _same_at_both_sizes(
    subject: Subject, module: nn.Module, made: Callable[[Tensor], Tensor], by: str, other_batch: int = 3
) -> None:
    for size, batch in ((subject.size, 3), (subject.other_size, other_batch)):
        x = subject.map(batch=batch, size=size)
        expected = module(x)
        try:
            y = made(x)
        except Exception as cause:
            raise Broken(f"a map of {_by(size)}: {by} raised {type(cause).__name__}: {_line(cause)}") from cause
        if not _close(y, expected):
            raise Broken(f"a map of {_by(size)}: expected its output from {by}; it differs by {_far(y, expected):.2g}")


PROPERTIES: Mapping[str, Callable[[Subject], None]] = {
    "shape": _shape,
    "input": _input,
    "sizes": _sizes,
    "batch": _batch,
    "independence": _independence,
    "dtypes": _dtypes,
    "autocast": _autocast,
    "layout": _layout,
    "learns": _learns,
    "gradients": _gradients,
    "in place": _in_place,
    "identity": _identity,
    "state": _state,
    "copy": _copy,
    "errors": _errors,
    "compiles": _compiles,
    "exports": _exports,
}
"""The properties by name, in the order in which they are checked."""


def _close(ours: Tensor, theirs: Tensor) -> bool:
    """Return whether `torch.testing.assert_close` takes the float64 numbers for equal."""
    return ours.shape == theirs.shape and torch.allclose(ours, theirs, rtol=1e-7, atol=1e-7)


def _far(ours: Tensor, theirs: Tensor) -> float:
    return float((ours - theirs).detach().abs().max())


def _direction(y: Tensor) -> Tensor:
    return torch.randn(y.shape, generator=torch.Generator().manual_seed(3), dtype=y.dtype)


def _sides(x: Tensor) -> str:
    return str(tuple(x.shape))


def _by(size: tuple[int, ...]) -> str:
    return " x ".join(map(str, size))


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _line(cause: Exception) -> str:
    return (str(cause).strip().splitlines() or [""])[0][:300]
