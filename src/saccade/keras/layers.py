"""The table of Keras layers, by the names of the catalog."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from saccade.catalog import check_options, parse
from saccade.errors import InputError
from saccade.keras.base import Mechanism
from saccade.keras.mechanisms.cbam import CBAM
from saccade.keras.mechanisms.eca import EfficientChannelAttention
from saccade.keras.mechanisms.se import SqueezeExcitation

_CLASSES: tuple[type[Mechanism], ...] = (CBAM, EfficientChannelAttention, SqueezeExcitation)

LAYERS: Mapping[str, type[Mechanism]] = {made.key: made for made in _CLASSES}
"""Layer classes by their key in the catalog."""


def layer(mechanism: str, /, **options: Any) -> Mechanism:
    """Return a Keras layer of a mechanism.

    Args:
        mechanism: Name or alias in the catalog, also with options: ``"cbam[reduction=8]"``.
        options: Its options, by the names of the catalog; also ``data_format``, and the arguments of every Keras
            layer: ``name``, ``dtype``, ``trainable``.

    Raises:
        InputError: An unknown name or option, or a mechanism without a Keras layer.

    Example:
        >>> import keras, saccade.keras
        >>> attention = saccade.keras.layer("cbam", reduction=8)
        >>> attention(keras.ops.ones((2, 7, 9, 64))).shape
        (2, 7, 9, 64)
    """
    spec = parse(mechanism)
    if spec.name not in LAYERS:
        raise InputError(
            f"{spec.name} has no Keras layer", f"a mechanism of saccade's own is one of {', '.join(sorted(LAYERS))}"
        )
    of_keras = {name: options[name] for name in ("data_format", "name", "dtype", "trainable") if name in options}
    own = {name: value for name, value in options.items() if name not in of_keras}
    check_options(spec.entry, own)
    return LAYERS[spec.name](**{**spec.options, **own}, **of_keras)
