"""Plan an insertion into a Keras network: places and costs, before anything is changed."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from saccade.catalog import Entry, Spec, check_options
from saccade.catalog.spec import Chain
from saccade.errors import InputError, near
from saccade.insertion.convolutional import check_convolutional
from saccade.insertion.places import Place, Places
from saccade.insertion.remarks import attention_present
from saccade.insertion.report import Plan, Step, listed
from saccade.insertion.select import At, select
from saccade.keras.insertion.making import layout_of, make_layer, specs_of
from saccade.keras.insertion.places import LayerPlaces
from saccade.keras.insertion.tracing import trace

STARTS = ("identity", "paper")
Given = Chain
Options = Mapping[str, Any] | Callable[[Place], Mapping[str, Any]]
_PROBED = 16  # largest side of the map that a mechanism is tried on
_NEARLY_ZERO = 1e-3


def plan(
    model: keras.Model,
    mechanism: Given,
    *,
    at: At | None = None,
    within: str | None = None,
    every: int | None = None,
    start: str = "identity",
    options: Options | None = None,
    example_input: Any = None,
) -> Plan:
    """Plan where a mechanism would go in a Keras network and what it would cost, without changing anything.

    The network's graph is read; the network is not run. Each mechanism is made once for each number of channels and
    tried on a small map.

    Args:
        model: A functional or built Sequential network, with or without sub-models.
        mechanism: ``"cbam"``, ``"cbam[reduction=8]"`` or ``{"name": "cbam", "reduction": 8}``. Your own: a class of
            layers, made from its options alone, or a function that makes a layer from the number of channels. Several
            that follow each other at each place: a list of these, or ``"cam+pam"``.
        at: Places, as in :func:`saccade.plan`: ``"residual"``, ``"inner"``, ``"block"``, ``"stage"``, ``"stage:-1"``, a
            glob of names of layers, ``"conv4_block*_out"`` or ``"before:conv4_block*_3_conv"``, a list of any of these,
            or a function of a :class:`saccade.insertion.Place`. The names of layers in sub-models are paths,
            ``"backbone/conv1"``. None means the (first) mechanism's natural places.
        within: A glob of names of sub-models or layers; only places in these parts are used.
        every: Use every n-th place of a stage only; a shorter stage keeps its last place.
        start: ``"identity"``: the network computes exactly what it computed before, until it is trained. ``"paper"``:
            the initialisation of the authors.
        options: Further options of the mechanism, or a function that returns them for a place.
        example_input: An array or a shape, a list of these or a dict by name, whose sizes the plan states; None means
            the sizes the network was made for, else images of 224 x 288.

    Raises:
        InputError: The network is subclassed, not built or not of Keras, the mechanism, option or place does not
            exist, the network has no feature maps, or the channels do not suit the mechanism.
        TypeError: An argument of another kind.

    Example:
        >>> import keras, saccade.keras
        >>> image = keras.Input((32, 32, 3))
        >>> x = keras.layers.Conv2D(16, 3, padding="same", activation="relu", name="first")(image)
        >>> y = keras.layers.Conv2D(16, 3, padding="same", activation="relu", name="second")(x)
        >>> model = keras.Model(image, keras.layers.Add()([x, y]))
        >>> [(place.name, place.channels) for place in saccade.keras.plan(model, "se").places]
        [('second', 16)]
    """
    if start not in STARTS:
        raise InputError(f"unknown start={start!r}", near(str(start), STARTS))
    specs = specs_of(mechanism)
    if options is not None and len(specs) > 1:
        raise InputError(
            f"options= is for one mechanism; received {len(specs)}", "give each its own: 'se[reduction=8]+cbam'"
        )
    recorded = trace(model, "plan", example_input)
    places = LayerPlaces(recorded, within)
    check_convolutional(places.graph)
    chosen = select(places, at, specs[0].entry.place, every)
    _check_dtypes(places, chosen)
    known: dict[tuple[Any, ...], Step] = {}
    steps = [_step(place, spec, options, start, places, known) for place in chosen for spec in specs]
    return Plan(
        model.name, "+".join(map(str, specs)), at if at is None or isinstance(at, str) else repr(at), start,
        recorded.input_shape, tuple(steps), tuple(f"{what}: {why}" for what, why in places.unused.items()),
        attention_present(places.graph), (*places.notes, *_remarks(places)), (recorded.input_shape,),
    )  # fmt: skip


def policy_of(places: Places, place: Place) -> Any:
    """Return the dtype policy of the layer at a place."""
    return getattr(_module(places, place), "dtype_policy", None) or keras.config.dtype_policy()


def _module(places: Places, place: Place) -> Any:
    return next(call.module for call in places.trace.calls if call.path == place.name)


def _check_dtypes(places: Places, chosen: Sequence[Place]) -> None:
    for place in chosen:
        policy = policy_of(places, place)
        if policy.quantization_mode is not None:
            raise InputError(
                f"{place}: its layer is quantised, {policy.name}; attention is made and trained in floating point",
                "insert before model.quantize(...)",
            )
        if policy.compute_dtype == "float64" and not _has_double():
            raise InputError(
                f"{place}: its dtype policy is {policy.name}; {keras.backend.backend()} computes it in float32 here",
                "set jax.config.update('jax_enable_x64', True) at the start, or make the network in float32",
            )


def _has_double() -> bool:
    return str(keras.ops.zeros((1,), dtype="float64").dtype).endswith("float64")


def _step(
    place: Place, spec: Spec, options: Options | None, start: str, places: Places, known: dict[tuple[Any, ...], Step]
) -> Step:
    entry = spec.entry
    given = options(place) if callable(options) else options or {}
    chosen = Spec(entry.name, _options(entry, spec.options, given, start), entry)
    key = (place.channels, place.height, place.width, place.layout, str(chosen), id(entry))
    if key not in known:
        known[key] = _tried(place, chosen, start)
    step = known[key]
    return Step(place, chosen, step.wrapped, step.added, step.params, None)


def _options(entry: Entry, own: Mapping[str, Any], given: Mapping[str, Any], start: str) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        raise TypeError(f"options= takes a dict, or a function that returns one for a place; received {given!r}")
    chosen = {**own, **given}
    check_options(entry, chosen)
    return {**entry.identity_options, **chosen} if start == "identity" else chosen


def _tried(place: Place, chosen: Spec, start: str) -> Step:
    """Determine parameters and start of a mechanism by a call on a small map, and leave Python's random state alone."""
    sides = [max(1, min(side, _PROBED)) for side in (place.height, place.width)]
    first = layout_of(chosen, place) == "channels_first"
    shape = (1, place.channels, *sides) if first else (1, *sides, place.channels)
    x = np.random.default_rng(0).standard_normal(shape).astype("float32")
    before = random.getstate()
    try:
        layer = make_layer(chosen, place, "float32")
        y = layer(keras.ops.convert_to_tensor(x))
        made = tuple(y.shape) if hasattr(y, "shape") else None
        same = made == shape and bool(np.array_equal(keras.ops.convert_to_numpy(y), x))
    except (InputError, TypeError, ValueError) as cause:
        message, hint = (cause.message, cause.hint) if isinstance(cause, InputError) else (str(cause), None)
        raise InputError(
            f"{place}, {place.channels} channels: {message}", hint or "choose other options, or other places with at="
        ) from cause
    finally:
        random.setstate(before)
    if made != shape:
        what = "something that is not a tensor" if made is None else f"a map of shape {made[1:]}"
        raise InputError(
            f"{place}: {chosen} makes {what} of a map of shape {shape[1:]}; the network expects a map of that shape",
            "choose options that keep the shape",
        )
    added = chosen.entry.added
    params = sum(int(np.prod(v.shape)) for v in layer.trainable_variables)
    wrapped = start == "identity" and (added or not same)
    return Step(place, chosen, wrapped, added, params + wrapped, None)


def _remarks(places: Places) -> tuple[str, ...]:
    """Return remarks on branches whose last scale is zero, or nearly."""
    found = []
    for residual in places.residuals:
        for op in residual.region:
            layer = places.trace.calls[op.call].module
            scale = getattr(layer, "gamma", None) if isinstance(layer, keras.layers.Layer) else None
            values = None if scale is None else np.abs(keras.ops.convert_to_numpy(scale))
            if values is not None and values.size and values.max() < _NEARLY_ZERO:
                found.append(places.trace.calls[op.call].path)
    if not found:
        return ()
    named = listed(dict.fromkeys(found))
    return (
        f"branches that start at zero, or nearly: mechanisms in them learn only after the branch has grown: {named}",
    )
