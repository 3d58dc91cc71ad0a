"""What an insertion will do and cost, before anything is changed, and the report of what was done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from saccade.catalog import Spec, check_options, create, find, parse
from saccade.entry import Entry
from saccade.errors import InputError, near
from saccade.insertion.attach import Attachment, check_free
from saccade.insertion.places import Place, Places
from saccade.insertion.select import At, select
from saccade.insertion.trace import Trace, trace

STARTS = ("identity", "paper")
Options = Mapping[str, Any] | Callable[[Place], Mapping[str, Any]]


@dataclass(frozen=True)
class Step:
    """One mechanism at one place.

    Args:
        place: Where.
        mechanism: What, with all options that are not its defaults.
        wrapped: Whether it is mixed in by a learned number g that starts at 0.
        params: Learned numbers added, g included.
        macs: Multiply-adds added for one input of the traced size.
    """

    place: Place
    mechanism: Spec
    wrapped: bool
    params: int
    macs: int


@dataclass(frozen=True)
class Plan:
    """Where a mechanism goes and what it costs. ``print(plan)`` shows it as a table.

    Args:
        network: Class of the network.
        mechanism: As asked for.
        at: As asked for; None: the mechanism's natural places.
        start: ``"identity"`` or ``"paper"``.
        input_shape: Of the input it was traced with; maps and MACs are for this size.
        steps: The places with what goes there, in the order of the forward.
        unused: What was found and not used, and why, one sentence each.
    """

    network: str
    mechanism: Spec
    at: str | None
    start: str
    input_shape: tuple[int, ...]
    steps: tuple[Step, ...]
    unused: tuple[str, ...]

    @property
    def places(self) -> tuple[Place, ...]:
        """The places."""
        return tuple(step.place for step in self.steps)

    @property
    def params(self) -> int:
        """Learned numbers added in all."""
        return sum(step.params for step in self.steps)

    @property
    def macs(self) -> int:
        """Multiply-adds added in all, for one input of `input_shape`."""
        return sum(step.macs for step in self.steps)

    def __str__(self) -> str:
        shape = " x ".join(map(str, self.input_shape))
        count = f"{len(self.steps)} place{'s' if len(self.steps) > 1 else ''}"
        head = f"{self.mechanism} in {self.network}: {count}, start={self.start}, input {shape}"
        rows = [_HEADINGS, *(_row(step) for step in self.steps)]
        rows.append(("total", *[""] * (len(_HEADINGS) - 3), f"{self.params:,}", f"{self.macs:,}"))
        notes = [f"not used: {what}" for what in self.unused]
        return "\n".join([head, "", *_aligned(rows), *([""] if notes else []), *notes])


@dataclass(frozen=True)
class Report:
    """What was inserted into a network, found as ``model.saccade_report``. ``print(report)`` shows it.

    Args:
        plans: Those carried out, in their order. Each mechanism was seen to be called exactly once.
    """

    plans: tuple[Plan, ...]

    @property
    def steps(self) -> tuple[Step, ...]:
        """All places with what is there."""
        return tuple(step for plan in self.plans for step in plan.steps)

    @property
    def places(self) -> tuple[Place, ...]:
        """All places."""
        return tuple(step.place for step in self.steps)

    @property
    def params(self) -> int:
        """Learned numbers added in all."""
        return sum(plan.params for plan in self.plans)

    @property
    def macs(self) -> int:
        """Multiply-adds added in all; every plan for its own input size."""
        return sum(plan.macs for plan in self.plans)

    def __str__(self) -> str:
        return "\n\n".join(f"inserted, each called exactly once per forward:\n{plan}" for plan in self.plans)


def plan(
    model: nn.Module,
    mechanism: str | Mapping[str, Any] | Spec,
    *,
    at: At | None = None,
    start: str = "identity",
    options: Options | None = None,
    example_input: Any = None,
) -> Plan:
    """Find out where a mechanism would go in a network and what it would cost; changes nothing.

    One forward is traced on the meta device: no weights are read, nothing is computed or copied.

    Args:
        model: Any network with convolutions.
        mechanism: ``"cbam"``, ``"cbam[reduction=8]"`` or ``{"name": "cbam", "reduction": 8}``.
        at: Where; None: the mechanism's natural places, from the catalog.

            * ``"residual"``: at the end of each residual branch, before the addition;
            * ``"inner"``: before the last convolution of each residual branch;
            * ``"block"``: behind each residual block;
            * ``"stage"``: behind each stage, ``"stage:-1"`` the last, ``"stage:1-3"`` those from 1 to 3. They are
              counted from 0, which usually is the stem;
            * a glob of module names, ``"layer3.*.bn2"`` (``*`` is one part of a name, ``**`` several): behind these,
              or ``"before:layer3.*.conv2"``: before these. A container stands for its last block;
            * a list of any of these, or a function that takes a :class:`Place` and returns whether to use it.
        start: ``"identity"``: the network computes exactly what it computed before, until it is trained. ``"paper"``:
            as the authors start it.
        options: More options of the mechanism, or a function that gives them for a place.
        example_input: A tensor, or a tuple of tensors, that the network takes; only shape and dtype are used. None: the
            size timm states, else 224 x 288, 224 x 224, 256 x 256.

    Raises:
        InputError: No such mechanism, option or place, a network without feature maps, channels that do not suit the
            mechanism, a place that is taken, or a forward that fails.

    Example:
        >>> import saccade, torchvision
        >>> print(saccade.plan(torchvision.models.resnet18(), "se").params)
        89088
    """
    check_model(model)
    if start not in STARTS:
        raise InputError(f"unknown start={start!r}", near(str(start), STARTS))
    spec = parse(mechanism)
    entry = find(spec.name)
    recorded = trace(model, example_input, Attachment)
    _check_convolutional(model, recorded)
    places = Places(recorded)
    costs: dict[tuple[Any, ...], tuple[bool, int, int]] = {}
    steps = []
    for place in select(places, at, entry.place):
        check_free(model.get_submodule(place.name), place.name, place.side)
        given = options(place) if callable(options) else options or {}
        chosen = Spec(entry.name, _options(entry, spec.options, given, start))
        key = (place.channels, place.height, place.width, str(chosen))
        if key not in costs:
            costs[key] = _costs(chosen, place)
        own_start, params, macs = costs[key]
        wrapped = start == "identity" and not own_start
        steps.append(Step(place, chosen, wrapped, params + wrapped, macs))
    return Plan(
        type(model).__name__, spec, at if at is None or isinstance(at, str) else repr(at), start, recorded.input_shape,
        tuple(steps), tuple(f"{what}: {why}" for what, why in places.unused.items()),
    )  # fmt: skip


def check_model(model: nn.Module) -> None:
    """Refuse what is no network, or one that can no longer be changed.

    Raises:
        TypeError: It is no module.
        InputError: It was compiled, scripted or wrapped for parallel training.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"a network must be a torch.nn.Module; received {type(model).__name__}")
    kind = type(model).__name__
    if isinstance(model, torch.jit.ScriptModule) or kind == "OptimizedModule":
        raise InputError(
            f"{kind}: a compiled or scripted network cannot be changed", "insert first, compile afterwards"
        )
    if isinstance(model, (nn.parallel.DistributedDataParallel, nn.DataParallel)):
        raise InputError(
            f"{kind}: it registered its parameters when it was made; new ones would not be trained in step",
            "insert into the network first, wrap it afterwards",
        )


def _check_convolutional(model: nn.Module, recorded: Trace) -> None:
    """Refuse a network that works on tokens: cutting the image into patches is its only convolution."""
    kinds = [op.convolution for op in recorded.ops if op.convolution and len(recorded.shapes[op.outputs[0]]) == 4]
    if any(kind.overlapping or not kind.spatial for kind in kinds):
        return
    cuts = f"one that cuts the image into {kinds[0].kernel[0]} x {kinds[0].kernel[1]} patches" if kinds else "none"
    tokens = Counter(shape for shape in recorded.shapes if len(shape) == 3).most_common(1)
    works = f"; it works on tokens of shape {tokens[0][0]}" if tokens else ""
    raise InputError(
        f"{type(model).__name__}: expected a convolutional network, with feature maps (B, C, H, W); its convolutions: "
        f"{cuts}{works}",
        "choose a convolutional backbone, such as resnet18, resnet50 or regnety_008",
    )


def _options(entry: Entry, own: Mapping[str, Any], given: Mapping[str, Any], start: str) -> dict[str, Any]:
    chosen = {**own, **given}
    check_options(entry, chosen)
    if start == "identity":
        chosen = {**entry.identity_options, **chosen}
    return chosen


def _costs(chosen: Spec, place: Place) -> tuple[bool, int, int]:
    """Whether it starts as the identity, its parameters and its MACs: made and run on the meta device."""
    try:
        with torch.device("meta"):
            mechanism = create(chosen.name, place.channels, **chosen.options).eval()
        counter = FlopCounterMode(display=False)
        with torch.no_grad(), counter:
            mechanism(torch.empty(1, place.channels, place.height, place.width, device="meta"))
    except InputError as cause:
        raise InputError(f"{place}, {place.channels} channels: {cause.message}", cause.hint) from cause
    params = sum(parameter.numel() for parameter in mechanism.parameters())
    return mechanism.starts_as_identity, params, counter.get_total_flops() // 2


_HEADINGS = ("place", "kind", "in", "map", "stride", "mechanism", "start", "params", "MACs")


def _row(step: Step) -> tuple[str, ...]:
    place = step.place
    note = f" ({place.note})" if place.note else ""
    layout = "" if place.layout == "NCHW" else f" {place.layout}"
    return (
        f"{place.side} {place.name}{note}", place.kind, place.block,
        f"{place.channels} x {place.height} x {place.width}{layout}", str(place.stride), str(step.mechanism),
        "g = 0" if step.wrapped else "its own", f"{step.params:,}", f"{step.macs:,}",
    )  # fmt: skip


def _aligned(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(_HEADINGS))]
    right = (*[False] * (len(_HEADINGS) - 2), True, True)
    return [
        "  ".join(cell.rjust(w) if r else cell.ljust(w) for cell, w, r in zip(row, widths, right, strict=True)).rstrip()
        for row in rows
    ]
