"""Plan an insertion: places and costs of mechanisms in a network, before anything is changed."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from saccade.catalog import Entry, NaturalPlace, Spec, check_options, parse_chain
from saccade.catalog.imports import is_installed
from saccade.catalog.registry import option_names
from saccade.catalog.spec import Chain
from saccade.errors import InputError, SaccadeWarning, near
from saccade.insertion.attach import Attachment, check_free
from saccade.insertion.convolutional import check_convolutional
from saccade.insertion.places import Place, Places
from saccade.insertion.probing import adds_nothing
from saccade.insertion.remarks import attention_present, remarks
from saccade.insertion.report import Plan, Step
from saccade.insertion.select import At, select
from saccade.insertion.trace import Trace
from saccade.insertion.tracing import trace
from saccade.insertion.wrappers import unwrapped, with_forward
from saccade.insertion.writing import needs_its_output

STARTS = ("identity", "paper")
Options = Mapping[str, Any] | Callable[[Place], Mapping[str, Any]]
Given = Chain


def plan(
    model: nn.Module,
    mechanism: Given,
    *,
    at: At | None = None,
    within: str | None = None,
    every: int | None = None,
    start: str = "identity",
    options: Options | None = None,
    example_input: Any = None,
) -> Plan:
    """Plan where a mechanism would go in a network and what it would cost, without changing anything.

    One forward pass is traced on the meta device: no weights are read, nothing is computed or copied.

    Args:
        model: Any network with convolutions, on images, volumes, clips or sequences, on any device; in wrappers for
            parallel training, and in a module without a forward of its own, the network inside.
        mechanism: ``"cbam"``, ``"cbam[reduction=8]"`` or ``{"name": "cbam", "reduction": 8}``. Your own: its class, or
            a function that makes it from the number of channels, or an import path,
            ``"my_package.blocks:MyBlock[reduction=8]"``, which is imported. Several that follow each other at each
            place: a list of these, or ``"cam+pam"``.
        at: Places; None means the (first) mechanism's natural places, from the catalog. A network that has none of that
            kind gets the nearest ones, which the plan notes: blocks of several convolutions, else the ends of stages.

            * ``"residual"``: at the end of each residual branch, before the addition;
            * ``"inner"``: before the last convolution (or linear layer) of each residual branch;
            * ``"block"``: after each residual block;
            * ``"stage"``: after each stage, ``"stage:-1"`` the last, ``"stage:1-3"`` those from 1 to 3. They are
              counted from 0, which usually is the stem;
            * a glob of module names, ``"layer3.*.bn2"`` (``*`` is one part of a name, ``**`` several): after these,
              or ``"before:layer3.*.conv2"``: before these. For a container the place is at its last value, for a module
              that returns several maps at the children that make them, for a module that is called several times at the
              readers of its maps;
            * a list of any of these, or a function that takes a :class:`Place` and returns whether to use it.
        within: A glob of module names; only places in these parts are used. Otherwise the words of `at` search the
            backbone if the network has a neck or a head too, else the whole network.
        every: Use every n-th place of a stage only; a shorter stage keeps its last place. None means all places, or
            the catalog's rule if `at` is not given.
        start: ``"identity"``: the network computes exactly what it computed before, until it is trained. ``"paper"``:
            the initialisation of the authors.
        options: Further options of the mechanism, or a function that returns them for a :class:`Place`.
        example_input: A tensor, a list or dict of tensors, or a tuple of the network's arguments; a dict, alone or at
            the end of the tuple, is given as keyword arguments if the names are those of the forward. Only shapes and
            dtypes are used, unless the forward reads numbers: it then runs once. None means an image of the size timm
            states, else of 224 x 288, 224 x 224 or 256 x 256; a volume, a clip or a sequence of several sizes for a
            network whose convolutions have three axes or one.

    Raises:
        InputError: The mechanism, option or place does not exist, the network has no feature maps or cannot be changed,
            the channels do not suit the mechanism, a foreign child is called ``saccade``, or the forward pass fails.
        TypeError: An argument of another kind.

    Example:
        >>> import saccade, torchvision
        >>> print(saccade.plan(torchvision.models.resnet18(), "se").params)
        89088
    """
    model = with_forward(unwrapped(model))
    if start not in STARTS:
        raise InputError(f"unknown start={start!r}", near(str(start), STARTS))
    specs = parse_chain(mechanism)
    if options is not None and len(specs) > 1:
        raise InputError(
            f"options= is for one mechanism; received {len(specs)}", "give each its own: 'se[reduction=8]+cbam'"
        )
    recorded, example = trace(model, example_input, Attachment)
    chooses = partial(_chosen, model, within=within, at=at, natural=specs[0].entry.place, every=every)
    training = False
    try:
        places, chosen = chooses(recorded)
    except InputError:
        found = None if at is None and within is None else _in_training(model, example, recorded)
        if found is None:
            raise
        try:
            places, chosen = chooses(found)
        except InputError:
            found = None
        if found is None:
            raise
        recorded, training = found, True
        places.notes.append("these places run in training only: they change what is learned, not what is predicted")
    for place in chosen:
        check_free(model.get_submodule(place.name), place.name, place.side)
    known: dict[tuple[Any, ...], Step] = {}
    steps = [_step(place, spec, options, start, known) for place in chosen for spec in specs]
    unused = [f"{what}: {why}" for what, why in places.unused.items()]
    if recorded.ended:
        lacking = f"places after the step where the forward pass reads numbers a trace lacks ({recorded.ended})"
        unused.append(lacking)
        warnings.warn(
            f"{type(model).__name__}: not used: {lacking}; give example_input= with values, of a size it takes",
            SaccadeWarning,
            stacklevel=2,
        )
    return Plan(
        type(model).__name__, "+".join(map(str, specs)), at if at is None or isinstance(at, str) else repr(at), start,
        recorded.input_shape, tuple(steps), tuple(unused), attention_present(places.graph),
        (*places.notes, *remarks(places, chosen)),
        example, training,
    )  # fmt: skip


def _chosen(
    model: nn.Module, recorded: Trace, *, within: str | None, at: At | None, natural: NaturalPlace, every: int | None
) -> tuple[Places, tuple[Place, ...]]:
    places = Places(recorded, within)
    check_convolutional(places.graph)
    return places, select(places, at, natural, every)


def _in_training(model: nn.Module, example: tuple[Any, ...], recorded: Trace) -> Trace | None:
    """Return the trace of a pass of training; None if every convolution runs in evaluation too, or if it fails."""
    called = {call.path for call in recorded.calls}
    if all(path in called for path, module in model.named_modules() if isinstance(module, nn.modules.conv._ConvNd)):
        return None
    try:
        return trace(model, example, Attachment, training=True)[0]
    except InputError:
        return None


def _step(place: Place, spec: Spec, options: Options | None, start: str, known: dict[tuple[Any, ...], Step]) -> Step:
    entry = spec.entry
    given = options(place) if callable(options) else options or {}
    own = _options(entry, spec.options, given, start)
    chosen = Spec(entry.name, own if place.dims == 2 else _of_axes(entry, own, place), entry)
    key = (place.channels, place.sides, str(chosen), id(entry))
    if key not in known:
        known[key] = _costs(place, chosen, start)
    step = known[key]
    return Step(place, chosen, step.wrapped, step.added, step.params, step.macs, step.copied)


def _options(entry: Entry, own: Mapping[str, Any], given: Mapping[str, Any], start: str) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        raise TypeError(f"options= takes a dict, or a function that returns one for a place; received {given!r}")
    chosen = {**own, **given}
    check_options(entry, chosen)
    return {**entry.identity_options, **chosen} if start == "identity" else chosen


def _of_axes(entry: Entry, options: dict[str, Any], place: Place) -> dict[str, Any]:
    """Return the options for a map of other than two axes: a mechanism that takes any is made for those of the map."""
    kind = "a sequence" if place.dims == 1 else "a volume or a clip"
    if entry.flat:
        raise InputError(
            f"{place}: {entry.name} takes maps of two axes only ({entry.flat}); this one is {kind}",
            "choose another mechanism, such as pam or cbam",
        )
    return options if "dims" in options or "dims" not in option_names(entry) else {**options, "dims": place.dims}


def _costs(place: Place, chosen: Spec, start: str) -> Step:
    """Determine start, parameters and MACs of a step, by running the mechanism on the meta device."""
    counter = FlopCounterMode(display=False)
    x = torch.empty(1, place.channels, *place.sides, device="meta")
    version = x._version
    try:
        with torch.device("meta"):
            mechanism = chosen.entry.make(place.channels, **chosen.options).eval()
        with torch.no_grad(), counter:
            y = mechanism(x)
    except Exception as cause:  # a mechanism from outside may raise anything
        if not isinstance(cause, (InputError, RuntimeError)) and is_installed(chosen.entry.path):
            raise
        message, hint = (cause.message, cause.hint) if isinstance(cause, InputError) else (_said(cause, chosen), None)
        raise InputError(
            f"{place}, {place.channels} channels: {message}", hint or "choose other options, or other places with at="
        ) from cause
    if not isinstance(y, torch.Tensor) or y.shape != x.shape:
        made = f"a map of shape {tuple(y.shape[1:])}" if isinstance(y, torch.Tensor) else f"a {type(y).__name__}"
        raise InputError(
            f"{place}: {chosen} makes {made} of a map of shape {(place.channels, *place.sides)}; "
            "the network expects a map of that shape",
            "choose options that keep the shape",
        )
    if x._version != version:
        raise InputError(
            f"{place}: {chosen} writes into the map that it is given, which the network and the mixing need unchanged",
            "begin with an operation that is not in place, such as nn.ReLU(inplace=False)",
        )
    added = chosen.entry.added
    wrapped = start == "identity" and (added or getattr(mechanism, "starts_as_identity", False) is not True)
    wrapped = wrapped and (is_installed(chosen.entry.path) or not adds_nothing(place, chosen))
    params = sum(parameter.numel() for parameter in mechanism.parameters())
    copied = not wrapped and not added and needs_its_output(mechanism, x)
    return Step(place, chosen, wrapped, added, params + wrapped, counter.get_total_flops() // 2, copied)


def _said(cause: Exception, chosen: Spec) -> str:
    return str(cause) if is_installed(chosen.entry.path) else f"{chosen} raised {type(cause).__name__}: {cause}"
