"""The mechanisms as layers of Keras 3, for TensorFlow, JAX and PyTorch: the same names, options and numbers.

Needs the extra ``keras`` and one backend; which one runs is decided by Keras, through ``KERAS_BACKEND``. Importing this
package registers the layers, so that ``.keras`` files that contain them load.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from saccade.errors import require

require("keras", extra="keras")

from saccade.keras.attachment import Attachment, attachments  # noqa: E402  # after the check that there is a Keras
from saccade.keras.layers import LAYERS, layer  # noqa: E402
from saccade.keras.mechanisms.a2 import DoubleAttention  # noqa: E402
from saccade.keras.mechanisms.bam import BAM  # noqa: E402
from saccade.keras.mechanisms.cam import ChannelAttention  # noqa: E402
from saccade.keras.mechanisms.cbam import CBAM  # noqa: E402
from saccade.keras.mechanisms.conv3x3 import Conv3x3  # noqa: E402
from saccade.keras.mechanisms.cs import ChannelThenPosition  # noqa: E402
from saccade.keras.mechanisms.dual import DualAttention  # noqa: E402
from saccade.keras.mechanisms.eca import EfficientChannelAttention  # noqa: E402
from saccade.keras.mechanisms.fla import FullyAttentional  # noqa: E402
from saccade.keras.mechanisms.gc import GlobalContext  # noqa: E402
from saccade.keras.mechanisms.gsop import GSoP  # noqa: E402
from saccade.keras.mechanisms.non_local import NonLocal  # noqa: E402
from saccade.keras.mechanisms.pam import PositionAttention  # noqa: E402
from saccade.keras.mechanisms.psa import PolarizedSelfAttention  # noqa: E402
from saccade.keras.mechanisms.sagan import SelfAttention  # noqa: E402
from saccade.keras.mechanisms.se import SqueezeExcitation  # noqa: E402
from saccade.keras.mechanisms.se_var import SEVar1, SEVar2, SEVar3  # noqa: E402
from saccade.keras.mechanisms.simplified_nl import SimplifiedNonLocal  # noqa: E402
from saccade.keras.mechanisms.sk import SelectiveKernel  # noqa: E402
from saccade.keras.modes import definitions  # noqa: E402

if TYPE_CHECKING:
    from saccade.keras.exporting import export
    from saccade.keras.insertion import insert, plan, remove, save, verify
    from saccade.keras.recording import record
    from saccade.keras.weights import from_torch, load_official, to_torch

_HOMES = {
    "export": "saccade.keras.exporting",
    "from_torch": "saccade.keras.weights",
    "insert": "saccade.keras.insertion",
    "load_official": "saccade.keras.weights",
    "plan": "saccade.keras.insertion",
    "record": "saccade.keras.recording",
    "remove": "saccade.keras.insertion",
    "save": "saccade.keras.insertion",
    "to_torch": "saccade.keras.weights",
    "verify": "saccade.keras.insertion",
}

__all__ = [
    "BAM",
    "CBAM",
    "LAYERS",
    "Attachment",
    "ChannelAttention",
    "ChannelThenPosition",
    "Conv3x3",
    "DoubleAttention",
    "DualAttention",
    "EfficientChannelAttention",
    "FullyAttentional",
    "GSoP",
    "GlobalContext",
    "NonLocal",
    "PolarizedSelfAttention",
    "PositionAttention",
    "SEVar1",
    "SEVar2",
    "SEVar3",
    "SelectiveKernel",
    "SelfAttention",
    "SimplifiedNonLocal",
    "SqueezeExcitation",
    "attachments",
    "definitions",
    "export",
    "from_torch",
    "insert",
    "layer",
    "load_official",
    "plan",
    "record",
    "remove",
    "save",
    "to_torch",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, own = _HOMES[name].partition(":")
    return getattr(importlib.import_module(module), own or name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
