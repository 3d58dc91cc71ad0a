"""The table of Keras layers, by the names of the catalog."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from saccade.catalog import check_options, parse
from saccade.errors import InputError
from saccade.keras.base import Mechanism
from saccade.keras.mechanisms.a2 import DoubleAttention
from saccade.keras.mechanisms.bam import BAM
from saccade.keras.mechanisms.cam import ChannelAttention
from saccade.keras.mechanisms.cbam import CBAM
from saccade.keras.mechanisms.conv3x3 import Conv3x3
from saccade.keras.mechanisms.cs import ChannelThenPosition
from saccade.keras.mechanisms.dual import DualAttention
from saccade.keras.mechanisms.eca import EfficientChannelAttention
from saccade.keras.mechanisms.fla import FullyAttentional
from saccade.keras.mechanisms.gc import GlobalContext
from saccade.keras.mechanisms.gsop import GSoP
from saccade.keras.mechanisms.non_local import NonLocal
from saccade.keras.mechanisms.pam import PositionAttention
from saccade.keras.mechanisms.psa import PolarizedSelfAttention
from saccade.keras.mechanisms.sagan import SelfAttention
from saccade.keras.mechanisms.se import SqueezeExcitation
from saccade.keras.mechanisms.se_var import SEVar1, SEVar2, SEVar3
from saccade.keras.mechanisms.simplified_nl import SimplifiedNonLocal
from saccade.keras.mechanisms.sk import SelectiveKernel

_CLASSES: tuple[type[Mechanism], ...] = (
    DoubleAttention,
    BAM,
    ChannelAttention,
    CBAM,
    Conv3x3,
    ChannelThenPosition,
    DualAttention,
    EfficientChannelAttention,
    FullyAttentional,
    GlobalContext,
    GSoP,
    NonLocal,
    PositionAttention,
    PolarizedSelfAttention,
    SelfAttention,
    SqueezeExcitation,
    SEVar1,
    SEVar2,
    SEVar3,
    SimplifiedNonLocal,
    SelectiveKernel,
)

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
        >>> tuple(attention(keras.ops.ones((2, 7, 9, 64))).shape)
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
