"""Check that every inserted mechanism is still in a network and runs exactly once, and repair it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from saccade.errors import InputError
from saccade.insertion.attach import CHILD, Attachment, attach, detach, heads, hook, hooks, tensor_of, unhook
from saccade.insertion.expecting import Expected, check_expected, running
from saccade.insertion.recorder import on_meta, tensors_in
from saccade.insertion.report import Report, Step, listed
from saccade.insertion.tracing import trace
from saccade.insertion.wrappers import compile_anew, unwrapped


class Verified(tuple[str, ...]):
    """Modules whose mechanism or hook was restored; empty if nothing was missing.

    Attributes:
        present: Names of all mechanisms that run in the network; empty if it has none.
    """

    present: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Verified(restored={tuple(self)}, present={self.present})"


def verify(model: nn.Module, *, expect: Expected | None = None, example_input: Any = None) -> Verified:
    """Check that every inserted mechanism is in the network and called exactly once; repair what can be repaired.

    Conversions replace modules: to synchronised or frozen batch norm, fusing, re-parameterising. Some keep the
    mechanism and drop the hook that runs it, some drop both, some move the hook to a module without the mechanism: all
    silently. Hooks and mechanisms are restored if the module of that name still passes the same feature map; the
    network is then traced again.

    Args:
        model: Network with or without mechanisms, or a larger module that contains such networks.
        expect: Mechanisms that must run in the network: the plan or the report of an insertion, their number, or names
            of their modules (to store: ``[str(place) for place in plan.places]``). A library may train or export a
            network of its own making, fused, rewritten by torch.fx or quantised; nothing in it says then that
            anything was inserted.
        example_input: See :func:`saccade.plan`; None means the input that the insertion was traced with.

    Returns:
        The modules whose mechanism or hook was missing and has been restored, as a tuple; its attribute ``present``
        names all mechanisms that run.

    Raises:
        InputError: A mechanism is lost, not called exactly once with its number of channels, or not as expected.

    Example:
        >>> import saccade, torchvision
        >>> model = saccade.insert(torchvision.models.resnet18(), "se", at="layer4.1")
        >>> saccade.verify(model, expect=1).present
        ('layer4.1',)
    """
    if expect is not None and not _changeable(model):
        check_expected(model, expect)
        return _verified((), model)
    model = unwrapped(model, compiled=True)
    repaired = []
    for prefix, network, report in list(reports(model)):
        found = _repair(network, report)
        try:
            example, moved = example_input or _example(network, report), _moved(network, report)
            for training in sorted({plan.training for plan in report.plans}):
                steps = [step for plan in report.plans if plan.training == training for step in plan.steps]
                check_called(network, steps, example, moved, training=training)
        except InputError:
            for host, attachment in found.values():
                if attachment is not None:
                    detach(host, attachment)
            raise
        if found:
            compile_anew(network)
        repaired += [f"{prefix}{path}" for path, _ in found]
    if expect is not None:
        check_expected(model, expect)
    return _verified(sorted(repaired), model)


def _verified(restored: Sequence[str], model: nn.Module) -> Verified:
    found = Verified(restored)
    found.present = running(model)
    return found


def _changeable(model: nn.Module) -> bool:
    try:
        unwrapped(model, compiled=True)
    except InputError:
        return False
    return True


def check_called(
    network: nn.Module,
    steps: Sequence[Step],
    example: Any,
    moved: Mapping[tuple[str, str], str] | None = None,
    *,
    training: bool = False,
) -> None:
    """Trace again, since an identity start hides a mechanism that is never run, or run twice.

    Args:
        network: The network.
        steps: Mechanisms with their places.
        example: See :func:`saccade.plan`.
        moved: Present names of modules that a library wrapped after the insertion.
        training: If True, a pass of training is traced.

    Raises:
        InputError: A mechanism is not run exactly once, or with another number of channels.
    """
    shapes = trace(network, example, Attachment, training=training)[0].attachments
    for step in steps:
        place = step.place
        host = (moved or {}).get((place.name, place.side), place.name)
        head = f"{host}.{CHILD[place.side]}"
        # Those that follow each other at a place are each other's child `next`.
        for path in (head, *(path for path in shapes if path.startswith(f"{head}.next"))):
            seen = shapes.get(path, [])
            channels = [shape[place.layout.index("C")] for shape in seen]
            if channels != [place.channels]:
                raise InputError(
                    f"{place}: the mechanism was called {len(seen)} times in one forward, with {channels} channels; "
                    f"expected once, with {place.channels}. Nothing was attached",
                    "choose another place with at=; if the network was converted, convert it first and insert then",
                )


def reports(model: nn.Module) -> Iterator[tuple[str, nn.Module, Report]]:
    """Yield the networks in a module that have insertions."""
    for path, module in model.named_modules():
        report = vars(module).get("saccade_report")
        if isinstance(report, Report):
            inner = unwrapped(module, compiled=True)
            yield (f"{path}." if path else ""), inner, report


def _repair(network: nn.Module, report: Report) -> dict[tuple[str, str], tuple[nn.Module, Attachment | None]]:
    """Restore attachments and hooks; return the repairs, with the attachment if that was missing too."""
    modules = dict(network.named_modules())
    moved = _moved(network, report)
    lost = [(path, side) for path, side in report.attached if (path, side) not in moved]
    gone = [path for path, side in lost if not _can_return(modules, report, path, side)]
    if gone:
        raise InputError(
            f"{type(network).__name__}: {len(gone)} of {len(report.attached)} inserted mechanisms are lost, as a "
            f"conversion replaced their modules: {listed(gone)}",
            "convert the network first and insert afterwards",
        )
    present = {(path, first.side) for path, first in heads(network)}
    done: dict[tuple[str, str], tuple[nn.Module, Attachment | None]] = {}
    for path, module in modules.items():
        for side in CHILD:
            attachment = None if (path, side) in moved else report.attached.get((path, side))
            if (path, side) not in present:
                unhook(module, side)  # a conversion may carry a hook to a module without the mechanism
                if attachment is not None:
                    like = tensor_of(network, path)
                    attach(module, attachment if like is None else attachment.to(like.device))
                    done[path, side] = (module, attachment)
            elif hooks(module, side) != 1:
                unhook(module, side)
                hook(module, side)
                done[path, side] = (module, None)
    return done


def _moved(network: nn.Module, report: Report) -> dict[tuple[str, str], str]:
    """Return the present names of modules that hold their mechanism elsewhere, such as inside an adapter."""
    now = {id(first): path for path, first in heads(network)}
    found = {place: now[id(first)] for place, first in report.attached.items() if id(first) in now}
    return {(path, side): other for (path, side), other in found.items() if other != path}


def _can_return(modules: dict[str, nn.Module], report: Report, path: str, side: str) -> bool:
    module = modules.get(path)
    return module is not None and isinstance(getattr(module, CHILD[side], report.attached[path, side]), Attachment)


def _example(network: nn.Module, report: Report) -> tuple[Any, ...]:
    """Return the input of the last insertion, of the dtype the network has now."""
    example = report.plans[-1].example
    now = next((p.dtype for p in network.parameters() if p.is_floating_point()), None)
    then = next((t.dtype for t in tensors_in(example) if t.is_floating_point()), None)
    if now == then or now is None:
        return example
    return tuple(_cast(part, now) for part in on_meta(example))


def _cast(tree: Any, dtype: torch.dtype) -> Any:
    if isinstance(tree, Tensor):
        return tree.to(dtype) if tree.is_floating_point() else tree
    if isinstance(tree, (list, tuple)):
        return type(tree)(_cast(part, dtype) for part in tree)
    return {name: _cast(part, dtype) for name, part in tree.items()} if isinstance(tree, dict) else tree
