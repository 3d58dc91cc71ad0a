"""The one table: every mechanism, where it lives, what it attends to, where it goes, what it is held to.

Data, not decorators: nothing is imported until a mechanism is made. A new mechanism is one file and one row here.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from saccade.entry import Cost, Entry, Placement
from saccade.errors import InputError, near
from saccade.mechanisms.base import Mechanism

_RESIDUAL = Placement("residual")
_LAST_STAGE = Placement("stage:-1")

_ENTRIES = (
    Entry(
        "se", "saccade.mechanisms.se:SqueezeExcitation", "gate", "channel", _RESIDUAL, "Squeeze-and-excitation",
        "Hu et al., CVPR 2018, arXiv:1709.01507", "Cadene/pretrained-models.pytorch, moskomule/senet.pytorch",
        aliases=("squeeze_excitation",),
        cost=Cost("none", "relu, sigmoid", "2*C*h + h + C", "2*C*h", where="h = max(1, C//16)"),
    ),
    Entry(
        "se_var1", "saccade.mechanisms.se_var:SEVar1", "gate", "channel", _RESIDUAL, "SE-Var1: the means alone",
        "Wang et al., CVPR 2020, arXiv:1910.03151", "the paper's equation",
        cost=Cost("none", "sigmoid", "0", "0"),
    ),
    Entry(
        "se_var2", "saccade.mechanisms.se_var:SEVar2", "gate", "channel", _RESIDUAL, "SE-Var2: a weight a channel",
        "Wang et al., CVPR 2020, arXiv:1910.03151", "the paper's equation",
        cost=Cost("none", "sigmoid", "C", "0"),
    ),
    Entry(
        "se_var3", "saccade.mechanisms.se_var:SEVar3", "gate", "channel", _RESIDUAL, "SE-Var3: one full matrix",
        "Wang et al., CVPR 2020, arXiv:1910.03151", "the paper's equation",
        cost=Cost("none", "sigmoid", "C**2", "C**2"),
    ),
    Entry(
        "eca", "saccade.mechanisms.eca:EfficientChannelAttention", "gate", "channel", _RESIDUAL,
        "Efficient channel attention", "Wang et al., CVPR 2020, arXiv:1910.03151", "BangguWu/ECANet",
        aliases=("efficient_channel_attention",),
        cost=Cost("none", "sigmoid", "k", "C*k", where="k = 2*(int((log2(C) + 1)/2)//2) + 1"),
    ),
    Entry(
        "cbam", "saccade.mechanisms.cbam:CBAM", "gate", "both", _RESIDUAL, "Convolutional block attention module",
        "Woo et al., ECCV 2018, arXiv:1807.06521", "Jongchan/attention-module",
        aliases=("convolutional_block_attention",),
        cost=Cost("channel none, spatial H x W", "relu, sigmoid", "2*C*h + h + C + 100", "4*C*h + 98*N",
             where="h = max(1, C//16)"),
    ),
    Entry(
        "bam", "saccade.mechanisms.bam:BAM", "gate", "both", Placement("stage:1--2"), "Bottleneck attention module",
        "Park et al., BMVC 2018, arXiv:1807.06514", "Jongchan/attention-module", aliases=("bottleneck_attention",),
        cost=Cost("channel none, spatial H x W", "relu, sigmoid", "3*C*h + C + 18*h**2 + 13*h + 1",
             "2*C*h + (C*h + 18*h**2 + h)*N", where="h = max(1, C//16)"),
    ),
    Entry(
        "sk", "saccade.mechanisms.sk:SelectiveKernel", "gate", "channel", Placement("inner"), "Selective kernels",
        "Li et al., CVPR 2019, arXiv:1903.06586", "implus/SKNet, pppLang/SKNet", aliases=("selective_kernel",),
        cost=Cost("H x W", "relu, softmax", "2*(9*C**2//32 + 2*C) + 3*C*d + 2*d", "18*C**2//32*N + 3*C*d",
             where="d = max(C//16, 32)"),
    ),
    Entry(  # every=100: the last block of each stage
        "gsop", "saccade.mechanisms.gsop:GSoP", "gate", "channel", Placement("residual", every=100),
        "Global second-order pooling", "Gao et al., CVPR 2019, arXiv:1811.12006",
        "ZilinGao/Global-Second-order-Pooling-Convolutional-Networks", aliases=("global_second_order_pooling",),
        cost=Cost("none", "relu, sigmoid", "5*C*d + 4*d**2 + 9*d + C", "C*d*N + d**2*N + 4*d**2 + 4*C*d", "d**2",
             where="d = 128"),
    ),
    Entry(
        "psa", "saccade.mechanisms.psa:PolarizedSelfAttention", "gate", "both", Placement("inner"),
        "Polarized self-attention", "Liu et al., arXiv:2107.00782", "DeLightCMU/PSA", aliases=("polarized",),
        cost=Cost("channel none, spatial H x W", "softmax, sigmoid", "2*C**2 + C", "3*C*N + 2*C**2", "2*N"),
    ),
    Entry(
        "gc", "saccade.mechanisms.gc:GlobalContext", "gather", "spatial", _RESIDUAL, "Global context block",
        "Cao et al., ICCVW 2019, arXiv:1904.11492", "xvjiarui/GCNet", aliases=("global_context",),
        cost=Cost("none", "softmax, relu", "2*C*p + 3*p + 2*C + 1", "2*C*N + 2*C*p", "N",
             where="p = max(1, C//16)"),
        identity=True,
    ),
    Entry(
        "a2", "saccade.mechanisms.a2:DoubleAttention", "gather", "spatial",
        Placement("block", every=2, strides=(8, 16)), "Double attention block",
        "Chen et al., NeurIPS 2018, arXiv:1810.11579", "nguyenvo09/Double-Attention-Network",
        aliases=("double_attention",),
        cost=Cost("H x W", "softmax", "4*C*m + 3*m + C", "N*(4*C*m + m**2) + C*m**2", "2*m*N",
             where="m = max(1, C//2)"),
        identity=True,
    ),
    Entry(
        "simplified_nl", "saccade.mechanisms.simplified_nl:SimplifiedNonLocal", "position", "spatial", _RESIDUAL,
        "Simplified non-local block", "Cao et al., ICCVW 2019, arXiv:1904.11492", "the paper's equation",
        aliases=("simplified_non_local",),
        cost=Cost("none", "softmax", "C**2 + 2*C + 1", "2*C*N + C**2", "N"),
        identity=True,
    ),
    Entry(
        "non_local", "saccade.mechanisms.non_local:NonLocal", "position", "spatial",
        Placement("block", every=2, strides=(8, 16)), "Non-local block", "Wang et al., CVPR 2018, arXiv:1711.07971",
        "facebookresearch/video-nonlocal-net", aliases=("nonlocal", "non_local_network"),
        cost=Cost("H x W", "softmax, maximum", "4*C*d + 3*d + 3*C", "2*C*d*(N + M) + 2*N*M*d", "N*M",
             where="d = max(1, C//2); M = (H//2)*(W//2)"),
        identity=True,
    ),
    Entry(
        "sagan", "saccade.mechanisms.sagan:SelfAttention", "position", "spatial", _LAST_STAGE,
        "Self-attention of SAGAN", "Zhang et al., ICML 2019, arXiv:1805.08318",
        "brain-research/self-attention-gan, heykeetae/Self-Attention-GAN", aliases=("self_attention",),
        cost=Cost("H x W", "softmax, maximum", "2*C*(d + e) + 1", "(2*N*C + N*M + 4*C)*(d + e)", "N*M",
             where="d = max(1, C//8); e = max(1, C//2); M = (H//2)*(W//2)"),
        identity=True,
    ),
    Entry(
        "pam", "saccade.mechanisms.pam:PositionAttention", "position", "spatial", _LAST_STAGE,
        "Position attention module", "Fu et al., CVPR 2019, arXiv:1809.02983", "junfu1115/DANet",
        aliases=("position_attention",),
        cost=Cost("H x W", "softmax", "(C + 1)*(2*d + C) + 1", "N*C*(2*d + C) + N**2*(d + C)", "N**2",
             where="d = max(1, C//8)"),
        identity=True,
    ),
    Entry(
        "cam", "saccade.mechanisms.cam:ChannelAttention", "channel", "channel", _LAST_STAGE,
        "Channel attention module", "Fu et al., CVPR 2019, arXiv:1809.02983", "junfu1115/DANet",
        aliases=("channel_attention",),
        cost=Cost("H x W", "softmax", "1", "2*C**2*N", "C**2"),
        identity=True,
    ),
    Entry(
        "dual", "saccade.mechanisms.dual:DualAttention", "both", "both", _LAST_STAGE, "Dual attention (PAM + CAM)",
        "Fu et al., CVPR 2019, arXiv:1809.02983", "junfu1115/DANet", aliases=("dual_nl", "dual_attention"),
        identity_options={"residual": "once"},
        cost=Cost("H x W", "softmax", "(C + 1)*(2*d + C) + 2", "N*C*(2*d + C) + N**2*(d + C) + 2*C**2*N",
             "N**2 + C**2",
             where="d = max(1, C//8)"),
    ),
    Entry(
        "cs", "saccade.mechanisms.cs:ChannelThenPosition", "both", "both", _LAST_STAGE,
        "Channel, then position attention", "Song et al., AAAI 2022, arXiv:2112.04108", "junfu1115/DANet",
        aliases=("cs_nl",),
        cost=Cost("H x W", "softmax", "(C + 1)*(2*d + C) + 2", "N*C*(2*d + C) + N**2*(d + C) + 2*C**2*N",
             "N**2 + C**2",
             where="d = max(1, C//8)"),
        identity=True,
    ),
    Entry(
        "fla", "saccade.mechanisms.fla:FullyAttentional", "both", "both", _LAST_STAGE, "Fully attentional block",
        "Song et al., AAAI 2022, arXiv:2112.04108", "Ilareina/FullyAttentional", aliases=("fully_attentional",),
        cost=Cost("H x W", "softmax, relu", "11*C**2 + 4*C + 1", "13*C**2*N + C**2*(H + W)", "C**2*(H + W)"),
    ),
    Entry(
        "conv3x3", "saccade.mechanisms.conv3x3:Conv3x3", "control", "spatial", _LAST_STAGE,
        "Zero-started 3x3 convolution", "a control of ours: parameters without attention", "", aliases=("conv",),
        cost=Cost("H x W", "none", "9*C**2 + 2*C", "9*C**2*N"),
        identity=True,
    ),
)  # fmt: skip

CATALOG: Mapping[str, Entry] = {entry.name: entry for entry in _ENTRIES}

PRESETS: Mapping[str, tuple[str, ...]] = {
    "se-ablation": ("se", "se_var1", "se_var2", "se_var3", "eca"),
    "dual": ("pam", "cam", "dual", "cs", "fla"),
    "gates": ("se", "eca", "cbam", "bam"),
    "context": ("non_local", "simplified_nl", "gc", "a2"),
    "polarized": ("psa", "psa[parts=channel]", "psa[parts=spatial]", "dual"),
}
"""The ablations of the literature, as arms of a comparison beside ``none``."""


def list_mechanisms(*, family: str | None = None, attends: str | None = None) -> tuple[str, ...]:
    """Names of the mechanisms, in alphabetical order; controls only when their family is asked for.

    Args:
        family: ``"gate"``, ``"position"``, ``"channel"``, ``"both"``, ``"gather"`` or ``"control"``.
        attends: ``"channel"``, ``"spatial"`` or ``"both"``.

    Example:
        >>> import saccade
        >>> "cbam" in saccade.list_mechanisms(family="gate")
        True
    """
    for option, value in (("family", family), ("attends", attends)):
        known = sorted({getattr(entry, option) for entry in _ENTRIES})
        if value is not None and value not in known:
            raise InputError(f"list_mechanisms: unknown {option}={value!r}", near(value, known))
    return tuple(
        sorted(
            entry.name
            for entry in _ENTRIES
            if entry.family == (family or entry.family)
            and (family == "control" or entry.family != "control")
            and entry.attends == (attends or entry.attends)
        )
    )


def find(name: str) -> Entry:
    """The row called `name`, by key or alias; an unknown name is refused with the near ones."""
    if not isinstance(name, str):
        raise TypeError(f"a mechanism is named by a string; received {name!r}")
    key = name.strip().lower().replace("-", "_")
    for entry in _ENTRIES:
        if key == entry.name or key in entry.aliases:
            return entry
    every_name = [word for entry in _ENTRIES for word in (entry.name, *entry.aliases)]
    starting = [
        entry.name for entry in _ENTRIES if any(w.startswith(key) for w in (entry.name, *entry.aliases)) and key
    ]
    if len(starting) > 1:
        raise InputError(f"ambiguous mechanism {name!r}", f"it could be {', '.join(starting)}")
    raise InputError(f"unknown mechanism {name!r}", near(key, every_name))


def create(name: str, channels: int, **options: Any) -> Mechanism:
    """Make a mechanism for maps of `channels` channels.

    Args:
        name: A key or alias of the catalog, see :func:`list_mechanisms`.
        channels: C of the map it reads and writes.
        options: The mechanism's own options; a misspelt one is refused with the near ones.

    Example:
        >>> import saccade
        >>> saccade.create("cbam", channels=256, reduction=8).channels
        256
    """
    entry = find(name)
    mechanism = entry.load()
    check_options(entry, options)
    return mechanism(channels, **options)


def option_names(entry: Entry) -> tuple[str, ...]:
    """The options a mechanism takes, in the order of its signature."""
    parameters = inspect.signature(entry.load()).parameters
    return tuple(name for name in parameters if name != "channels")


def check_options(entry: Entry, options: Mapping[str, Any]) -> None:
    """Refuse an option that the mechanism does not have."""
    known = option_names(entry)
    for option in options:
        if option not in known:
            raise InputError(
                f"{entry.name}: unknown option {option!r}",
                near(option, known) if known else f"{entry.name} has no options",
            )


@dataclass(frozen=True)
class Spec:
    """A mechanism with its options, as a user writes it: ``psa[variant=sequential]``."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        if not self.options:
            return self.name
        return f"{self.name}[{','.join(f'{k}={_written(v)}' for k, v in self.options.items())}]"


def parse(given: str | Mapping[str, Any] | Spec) -> Spec:
    """Read ``"psa[variant=sequential]"`` or ``{"name": "psa", "variant": "sequential"}``, and check the names.

    Example:
        >>> from saccade.catalog import parse
        >>> parse("cbam[pools=(avg,max),reduction=8]").options
        {'pools': ('avg', 'max'), 'reduction': 8}
    """
    if isinstance(given, Spec):
        return given
    if isinstance(given, Mapping):
        options = dict(given)
        name = options.pop("name", None)
        if not isinstance(name, str):
            raise InputError(f"a mechanism given as a dict needs a 'name'; received {dict(given)!r}")
    elif isinstance(given, str):
        name, options = name_and_options(given)
    else:
        raise TypeError(f"a mechanism is a string or a dict; received {given!r}")
    entry = find(name)
    check_options(entry, options)
    return Spec(entry.name, options)


def name_and_options(given: str) -> tuple[str, dict[str, Any]]:
    """Take ``name[option=value,option=value]`` apart; of a mechanism or of a network, neither is checked."""
    name, bracket, inside = given.strip().partition("[")
    if bracket and not inside.endswith("]"):
        raise InputError(f"{given!r}: the options are not closed", "write name[option=value,option=value]")
    return name, dict(_option(given, part) for part in split_top(inside[:-1]) if part) if bracket else {}


def split_top(text: str) -> list[str]:
    """Split at the commas that stand in no bracket."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "([") - (letter in ")]")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts]


def _option(given: str, part: str) -> tuple[str, Any]:
    name, equals, value = part.partition("=")
    if not equals:
        raise InputError(f"{given!r}: {part!r} is no option", "write name[option=value,option=value]")
    return name.strip(), _read(value.strip())


def _read(text: str) -> Any:
    """A Python literal; a tuple in parentheses of such; true and false in any case; else the word itself."""
    if text.startswith("(") and text.endswith(")"):
        return tuple(_read(part) for part in split_top(text[1:-1]) if part)
    named = {"true": True, "false": False, "none": None}
    if text.lower() in named:
        return named[text.lower()]
    if "/" in text and all(side.strip().isdigit() for side in text.split("/", 1)):  # a ratio such as 1/16
        above, below = (int(side) for side in text.split("/"))
        return above / below if below else text
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _written(value: Any) -> str:
    return f"({','.join(map(_written, value))})" if isinstance(value, (tuple, list)) else str(value)
