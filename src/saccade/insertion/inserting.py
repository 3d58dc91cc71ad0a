"""Change a network: insert mechanisms and remove them."""

from __future__ import annotations

from typing import Any

from torch import nn

from saccade.insertion.attach import CHILD, Attachment, attach, check_free, detach, heads, tensor_of, unhook
from saccade.insertion.planning import Given, Options, plan
from saccade.insertion.report import Plan, Report, Step
from saccade.insertion.select import At
from saccade.insertion.verifying import check_called
from saccade.insertion.wrappers import check_renewable, compile_anew, renew, unwrapped, with_forward
from saccade.mechanisms.base import Mechanism


def insert(
    model: nn.Module,
    mechanism: Given,
    *,
    at: At | None = None,
    within: str | None = None,
    every: int | None = None,
    start: str = "identity",
    options: Options | None = None,
    example_input: Any = None,
) -> nn.Module:
    """Insert a mechanism into a network, in place, and return the network.

    With ``start="identity"`` the outputs are the same bit by bit, in evaluation and in training, until training changes
    them. No key of the state dict changes; the new ones are under ``.saccade.`` (or ``.saccade_before.``). A mechanism
    inserted at an occupied place follows the one there. ``model.saccade_report`` lists what is inserted where. After
    attaching, the network is traced again: a mechanism that is not called exactly once is an error, and the network is
    then left as it was.

    The mechanisms' weights are drawn by torch's global generator, place by place in the order of the plan, and get the
    device, dtype and training flag of the module they are attached to. A wrapper for distributed training is rebuilt in
    place, so that the new parameters are synchronised: every rank must insert, and optimizers must be created
    afterwards.

    Args:
        model: Network to change; see :func:`saccade.plan` for all arguments.
        mechanism: Name with options, or your own class, function or import path.
        at: Places.
        within: Parts of the network to search.
        every: Step between used places.
        start: ``"identity"`` or ``"paper"``.
        options: Further options of the mechanism.
        example_input: Input of the trace.

    Raises:
        InputError: See :func:`saccade.plan`; also for a wrapper with communication hooks.

    Example:
        >>> import saccade, torchvision
        >>> model = saccade.insert(torchvision.models.resnet18(), "se")
        >>> model.saccade_report.places[0].name
        'layer1.0.bn2'

        A block of your own is inserted the same way; with ``start="identity"`` its own initialisation does not matter:

        >>> from torch import nn
        >>> class Mixer(nn.Sequential):
        ...     def __init__(self, channels, kernel_size=3):
        ...         super().__init__(nn.Conv2d(channels, channels, kernel_size, padding="same", groups=channels))
        >>> model = saccade.insert(torchvision.models.resnet18(), Mixer, options={"kernel_size": 5})
        >>> len(model.saccade_report.places)
        8
    """
    check_renewable(model)
    wrapped = unwrapped(model)
    network = with_forward(wrapped)
    planned = plan(
        network, mechanism, at=at, within=within, every=every, start=start, options=options, example_input=example_input
    )
    attach_steps(network, planned, example_input)
    if wrapped is not model:
        renew(model)
        if network is wrapped:
            model.saccade_report = network.saccade_report
    return model


def attach_steps(network: nn.Module, planned: Plan, example_input: Any = None) -> None:
    """Carry out a plan and check that each mechanism is called once; an error leaves the network as it was."""
    done: list[tuple[nn.Module, Attachment]] = []
    try:
        for step in planned.steps:
            host = network.get_submodule(step.place.name)
            check_free(host, step.place.name, step.place.side)
            attachment = make(network, step)
            attach(host, attachment)
            done.append((host, attachment))
        example = planned.example if example_input is None else example_input
        check_called(network, planned.steps, example, training=planned.training)
    except BaseException:
        for host, attachment in reversed(done):
            detach(host, attachment)
        raise
    before: Report | None = getattr(network, "saccade_report", None)
    attached = {(path, first.side): first for path, first in heads(network)}
    network.saccade_report = Report((*(before.plans if before else ()), planned), attached)  # type: ignore[assignment]


def remove(model: nn.Module) -> nn.Module:
    """Remove every mechanism from a network, in place, and return it as it was before any insertion."""
    check_renewable(model)
    network = unwrapped(model, compiled=True)
    changed = False
    for module in list(model.modules()):
        for side, child in CHILD.items():
            attachment = getattr(module, child, None)
            if isinstance(attachment, Attachment):
                detach(module, attachment)
                changed = True
            unhook(module, side)
        vars(module).pop("saccade_report", None)
    if changed:
        compile_anew(network)
        if network is not model:
            renew(model)
    return model


def make(network: nn.Module, step: Step) -> Attachment:
    """Return the attachment of a step, with fresh weights, on the device and of the dtype of its module."""
    host = network.get_submodule(step.place.name)
    mechanism = step.mechanism.entry.make(step.place.channels, **step.mechanism.options)
    if step.wrapped and isinstance(mechanism, Mechanism):
        mechanism.start_open()
    attachment = Attachment(
        mechanism,
        side=step.place.side,
        wrapped=step.wrapped,
        layout=step.place.layout,
        added=step.added,
        copied=step.copied,
    )
    like = tensor_of(network, step.place.name)
    if like is not None:
        attachment.to(device=like.device, dtype=like.dtype)
    return attachment.train(host.training)
