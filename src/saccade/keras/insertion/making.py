"""Make the layers that an insertion puts into a network."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import keras

from saccade.catalog import CATALOG, Spec, parse_chain
from saccade.catalog.imports import path_of
from saccade.catalog.registry import outside
from saccade.errors import InputError
from saccade.insertion.places import Place
from saccade.insertion.report import Step
from saccade.keras.attachment import Attachment
from saccade.keras.base import Mechanism
from saccade.keras.layers import LAYERS, layer

_FORMATS = {"NHWC": "channels_last", "NCHW": "channels_first"}


def specs_of(given: Any) -> tuple[Spec, ...]:
    """Parse one mechanism or several; a class of Keras layers is made from its options alone.

    Raises:
        InputError: An unknown name or option, or a layer instead of its class.
        TypeError: `given` is of another type.
    """
    several = isinstance(given, Sequence) and not isinstance(given, str)
    parts = [_as_spec(part) for part in (given if several else (given,))]
    return parse_chain(parts if several else parts[0])


def _as_spec(given: Any) -> Any:
    if isinstance(given, keras.layers.Layer):
        raise InputError(
            f"expected the class {type(given).__name__}; received a layer of it, which cannot serve several places",
            f"give the class, {type(given).__name__}, or a function that makes one from the number of channels",
        )
    if not (isinstance(given, type) and issubclass(given, keras.layers.Layer)):
        return given
    if issubclass(given, Mechanism) and LAYERS.get(given.key) is given:
        return given.key
    taken = list(inspect.signature(given).parameters.values())
    named = {p.name: p.default for p in taken if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    row = replace(outside(path_of(given), given), options=named)
    return Spec(row.name, {}, row)


def is_ours(spec: Spec) -> bool:
    """Return whether a mechanism is one of saccade's own."""
    return CATALOG.get(spec.name) is spec.entry


def layout_of(spec: Spec, place: Place) -> str:
    """Return the data format in which a mechanism computes: that of the place, or for others Keras's setting."""
    return _FORMATS[place.layout] if is_ours(spec) else keras.config.image_data_format()


def make_layer(spec: Spec, place: Place, policy: Any) -> keras.layers.Layer:
    """Return a new layer of a mechanism for a place.

    Raises:
        InputError: What was given makes no Keras layer.
    """
    if is_ours(spec):
        return layer(spec.name, **spec.options, data_format=_FORMATS[place.layout], name=spec.name, dtype=policy)
    source = spec.entry.load()
    if isinstance(source, type) and issubclass(source, keras.layers.Layer):
        made = source(**spec.options)
    else:
        made = source(place.channels, **spec.options)
    if not isinstance(made, keras.layers.Layer):
        raise InputError(
            f"{spec.name}: expected a layer of Keras; received {type(made).__module__}.{type(made).__name__}",
            "give a class of keras.layers.Layer, or a function that makes such a layer from the number of channels",
        )
    return made


def make_attachment(step: Step, name: str, policy: Any) -> Attachment:
    """Return the layer that a step puts at its place."""
    spec, place = step.mechanism, step.place
    mechanism = make_layer(spec, place, policy)
    about = {**asdict(place), "mechanism": str(spec)}
    return Attachment(
        mechanism,
        place=about,
        wrapped=step.wrapped,
        added=step.added,
        turned=layout_of(spec, place) != _FORMATS[place.layout],
        name=name,
        dtype=policy,
    )
