"""Check that what was inserted into a Keras network runs, once each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import keras

from saccade.errors import InputError
from saccade.insertion.report import Plan, Report, listed
from saccade.keras.attachment import attachments
from saccade.keras.insertion.tracing import trace

Expected = Plan | Report | int | Iterable[str]


def verify(model: keras.Model, *, expect: Expected | None = None) -> tuple[str, ...]:
    """Check that inserted mechanisms lie on the way to the network's outputs, and return the names of their layers.

    Args:
        model: A functional or Sequential network, as inserted, loaded from a file, cloned or cut.
        expect: Mechanisms that must run: a plan, a report, their number, or the names of their layers.

    Raises:
        InputError: A mechanism is called not exactly once or with another number of channels than it was made for, or
            others are there than expected.

    Example:
        >>> import keras, saccade.keras
        >>> image = keras.Input((16, 16, 3))
        >>> x = keras.layers.Conv2D(8, 3, name="conv")(image)
        >>> model = saccade.keras.insert(keras.Model(image, keras.layers.Conv2D(8, 3)(x)), "se", at="conv")
        >>> saccade.keras.verify(model, expect=1)
        ('conv_saccade',)
    """
    recorded = trace(model, "verify")
    layers = attachments(model)
    for name, layer in layers.items():
        calls = recorded.attachments.get(name, [])
        place = layer.place
        channels = [shape[1 if place.get("layout") == "NCHW" else -1] for shape in calls]
        if channels != [place.get("channels")]:
            raise InputError(
                f"{name}: the mechanism is called {len(calls)} times in one forward, with {channels} channels; "
                f"expected once, with {place.get('channels')}",
                "insert into the network again",
            )
    if expect is not None:
        _check_expected(model, layers, expect)
    return tuple(layers)


def check_called(model: keras.Model, planned: Plan) -> None:
    """Check a network after an insertion.

    Raises:
        InputError: Not every mechanism of the plan is there, once.
    """
    verify(model)
    wanted = Counter((step.place.name, step.place.side, str(step.mechanism)) for step in planned.steps)
    missing = wanted - Counter(_identity(layer) for layer in attachments(model).values())
    if missing:
        names = listed(f"{side} {name}" for name, side, _ in missing)
        raise InputError(
            f"{model.name}: the mechanisms planned {names} were not put in", "choose other places with at="
        )


def _check_expected(model: keras.Model, layers: Any, expect: Expected) -> None:
    if isinstance(expect, bool) or not isinstance(expect, (int, str, Plan, Report, Iterable)):
        raise TypeError(f"expect= takes a plan, a report, a number or names of layers; received {expect!r}")
    there = f"{len(layers)} ({listed(layers) or 'none'})"
    if isinstance(expect, int):
        if len(layers) != expect:
            raise InputError(
                f"verify: {model.name} has {there} inserted mechanisms; expected {expect}",
                "use the network that insert returned, or insert again",
            )
        return
    if isinstance(expect, (Plan, Report)):
        wanted = Counter((step.place.name, step.place.side, str(step.mechanism)) for step in expect.steps)
        lacking = [name for name, *_ in wanted - Counter(_identity(layer) for layer in layers.values())]
    else:
        lacking = [name for name in ([expect] if isinstance(expect, str) else expect) if name not in layers]
    if lacking:
        raise InputError(
            f"verify: {model.name} has {there} inserted mechanisms; those at {listed(lacking)} are missing",
            "use the network that insert returned, or insert again",
        )


def _identity(layer: Any) -> tuple[Any, Any, Any]:
    place = layer.place
    return place.get("name"), place.get("side"), place.get("mechanism")
