"""Changing a network: inserting mechanisms, taking them off, and finding out whether they are still there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from saccade.catalog import Spec, create
from saccade.errors import InputError
from saccade.insertion.attach import CHILD, Attachment, attach, attachments, check_free, detach, hook, hooks, unhook
from saccade.insertion.places import Place
from saccade.insertion.planning import Options, Plan, Report, Step, check_model, plan
from saccade.insertion.select import At
from saccade.insertion.trace import trace


def insert(
    model: nn.Module,
    mechanism: str | Mapping[str, Any] | Spec,
    *,
    at: At | None = None,
    start: str = "identity",
    options: Options | None = None,
    example_input: Any = None,
) -> nn.Module:
    """Put a mechanism into a network, in place, and return the network.

    With ``start="identity"`` the outputs are the same bit by bit, in evaluation and in training, until training
    changes them. No key of the state dict changes; the new ones are under ``.saccade.`` (or ``.saccade_before.``).
    ``model.saccade_report`` says what went where. After attaching, the network is traced again: a mechanism that is
    not called exactly once is an error, and the network is then as it was.

    The mechanisms' weights are drawn by torch's global generator, place by place as the plan lists them, and get the
    device, dtype and training flag of the module they are attached to.

    Args:
        model: See :func:`saccade.plan`, as for all that follow.
        mechanism: Which, with its options.
        at: Where.
        start: ``"identity"`` or ``"paper"``.
        options: More options.
        example_input: For the trace.

    Raises:
        InputError: As :func:`saccade.plan`.

    Example:
        >>> import saccade, torchvision
        >>> model = saccade.insert(torchvision.models.resnet18(), "se")
        >>> model.saccade_report.places[0].name
        'layer1.0.bn2'
    """
    planned = plan(model, mechanism, at=at, start=start, options=options, example_input=example_input)
    done: list[tuple[nn.Module, str]] = []
    try:
        for step in planned.steps:
            host = model.get_submodule(step.place.name)
            check_free(host, step.place.name, step.place.side)
            attach(host, _make(model, step))
            done.append((host, step.place.side))
        _check_called_once(model, planned, example_input)
    except BaseException:
        for host, side in done:
            detach(host, side)
        raise
    before: Report | None = getattr(model, "saccade_report", None)
    model.saccade_report = Report((*(before.plans if before else ()), planned))  # type: ignore[assignment]
    return model


def remove(model: nn.Module) -> nn.Module:
    """Take every mechanism off a network, in place, and return it as it was before any insertion."""
    check_model(model)
    for module in list(model.modules()):
        for side, child in CHILD.items():
            if isinstance(getattr(module, child, None), Attachment):
                detach(module, side)
            unhook(module, side)
        vars(module).pop("saccade_report", None)
    return model


def verify(model: nn.Module) -> tuple[str, ...]:
    """Check that every inserted mechanism is still in the network and will be called; repair what can be repaired.

    Conversions replace modules: to synchronised or frozen batch norm, fusing. Some keep the mechanism and drop the hook
    that runs it, so that it is silently off; those hooks are put back.

    Returns:
        The places whose hook was missing and is there again.

    Raises:
        InputError: A mechanism is gone.
    """
    planned = dict(_planned(model))
    found = attachments(model)
    present = {(key.removeprefix("before:"), attachment.side) for key, attachment in found.items()}
    gone = [str(place) for key, place in planned.items() if key not in present]
    if gone:
        raise InputError(
            f"{type(model).__name__}: {len(gone)} of {len(planned)} inserted mechanisms are gone, a conversion "
            f"replaced their modules: {', '.join(gone[:5])}",
            "convert the network first and insert afterwards",
        )
    for path, module in model.named_modules():
        for side in CHILD:
            if (path, side) not in present:
                unhook(module, side)  # a conversion may carry a hook to a module without the mechanism
    repaired = []
    for path, side in present:
        host = model.get_submodule(path)
        if hooks(host, side) != 1:
            unhook(host, side)
            hook(host, side)
            repaired.append(path)
    return tuple(sorted(repaired))


def _planned(model: nn.Module) -> Iterator[tuple[tuple[str, str], Place]]:
    """The places of every report in a network (or in a wrapper of one)."""
    for path, module in model.named_modules():
        report = vars(module).get("saccade_report")
        for place in report.places if isinstance(report, Report) else ():
            yield (f"{path}.{place.name}" if path else place.name, place.side), place


def _make(model: nn.Module, step: Step) -> Attachment:
    host = model.get_submodule(step.place.name)
    mechanism = create(step.mechanism.name, step.place.channels, **step.mechanism.options)
    attachment = Attachment(mechanism, side=step.place.side, wrapped=step.wrapped, layout=step.place.layout)
    like = _tensor_of(model, step.place.name)
    if like is not None:
        attachment.to(device=like.device, dtype=like.dtype)
    return attachment.train(host.training)


def _tensor_of(model: nn.Module, path: str) -> Tensor | None:
    """A floating-point tensor of the module, or of the nearest one around it that has any."""
    while True:
        module = model.get_submodule(path)
        for tensor in (*module.parameters(), *module.buffers()):
            if tensor.is_floating_point():
                return tensor
        if not path:
            return None
        path = path.rpartition(".")[0]


def _check_called_once(model: nn.Module, planned: Plan, example_input: Any) -> None:
    """Trace again: identity start hides a mechanism that is never run, or run twice."""
    shapes = trace(model, example_input, Attachment).attachments
    for place in planned.places:
        seen = shapes.get(f"{place.name}.{CHILD[place.side]}", [])
        channels = [shape[1 if place.layout == "NCHW" else -1] for shape in seen]
        if channels != [place.channels]:
            raise InputError(
                f"{place}: the mechanism was called {len(seen)} times in one forward, with {channels} channels; "
                f"expected once, with {place.channels}. The network is as it was",
                "choose another place with at=",
            )
