"""Key names that published codes give to whole networks: the names of attention and of the backbone.

Our networks are backbones of torchvision or timm with mechanisms inserted. A published code has its own names for the
backbone, and one name under which a block holds its attention; below that name the keys are those of the mechanism
alone, which the mechanism knows (`Published.layouts`).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from saccade.mechanisms.base import Layout, Published

OWN = "saccade"


@dataclass(frozen=True)
class Part:
    """A mechanism in a network.

    Args:
        path: Name of its module; empty for a mechanism by itself.
        mechanism: The mechanism.
        block: The module that holds its place: a residual block, or a stage.
    """

    path: str
    mechanism: Published
    block: str

    @property
    def prefix(self) -> str:
        """Prefix of its own key names."""
        return f"{self.path}." if self.path else ""


@dataclass(frozen=True)
class NetworkLayout:
    """The names one published code gives to the tensors of its networks.

    Args:
        source: Repository of the code.
        attention: Patterns of the keys of attention and of heads. Each has the group ``rest``, the part's own key, and
            the groups that its template uses to name the part's block or path.
        backbone: Patterns of other keys and their replacements; all other keys are as ours.
        inside: Prefix of the network's keys in a larger network, a detector. The other keys of the latter are left out.
    """

    source: str
    attention: tuple[tuple[str, str], ...] = ()
    backbone: tuple[tuple[str, str], ...] = ()
    inside: str = ""

    def attended(self, key: str) -> tuple[str, str] | None:
        """Return the block and the mechanism's own key, if `key` belongs to attention."""
        for pattern, block in self.attention:
            found = re.fullmatch(pattern, key)
            if found:
                return block.format(**found.groupdict("")).rstrip("."), found["rest"]
        return None

    def renamed(self, key: str) -> str:
        """Return our name for a key of the backbone."""
        for pattern, ours in self.backbone:
            key, count = re.subn(f"^(?:{pattern})$", ours, key)
            if count:
                break
        return key


def _child(name: str) -> tuple[str, str]:
    """Return the pattern for attention in a block's child of that name."""
    return rf"(?P<block>(?:.+\.)?){name}\.(?P<rest>.+)", "{block}"


def _members(*names: str) -> tuple[str, str]:
    """Return the pattern for layers that lie in the block itself, next to the convolutions."""
    return rf"(?P<block>(?:.+\.)?)(?P<rest>(?:{'|'.join(names)})\.[^.]+)", "{block}"


_GSOP = _members(
    r"(?:conv_for_DR|bn_for_DR|row_conv_group|fc_adapt_channels)(?:_spatial|_for_spatial)?",
    r"row_bn(?:_for_spatial)?", r"dilate_conv_for_concat[12]", "bn_for_concat",
)  # fmt: skip
KEYPOINTS = (
    "leoxiaobin/deep-high-resolution-net.pytorch, microsoft/human-pose-estimation.pytorch, HuangJunJie2017/UDP-Pose"
)
_CADENE = "Cadene/pretrained-models.pytorch"
_CAFFE_HEAD = (r"last_linear\.(.+)", r"fc.\1")

LAYOUTS = (
    NetworkLayout(OWN),
    NetworkLayout(
        "Jongchan/attention-module",
        (_child("cbam"), (r"bam(?P<stage>\d)\.(?P<rest>.+)", "layer{stage}")),
    ),
    NetworkLayout("moskomule/senet.pytorch, implus/PytorchInsight, timm", (_child("se"),)),
    NetworkLayout(_CADENE, (_child("se_module"),), ((r"layer0\.(.+)", r"\1"), _CAFFE_HEAD)),
    NetworkLayout(
        f"{_CADENE} (SENet-154)",
        (_child("se_module"),),
        (
            (r"layer0\.conv1\.(.+)", r"conv1.0.\1"), (r"layer0\.bn1\.(.+)", r"conv1.1.\1"),
            (r"layer0\.conv2\.(.+)", r"conv1.3.\1"), (r"layer0\.bn2\.(.+)", r"conv1.4.\1"),
            (r"layer0\.conv3\.(.+)", r"conv1.6.\1"), (r"layer0\.bn3\.(.+)", r"bn1.\1"), _CAFFE_HEAD,
        ),
    ),
    NetworkLayout(
        "BangguWu/ECANet",
        (_child("eca"), (r"(?P<block>features\.\d+\.conv)\.\d+\.(?P<rest>conv\.weight)", "{block}")),
    ),
    NetworkLayout(
        "ZilinGao/Global-Second-order-Pooling-Convolutional-Networks",
        (_GSOP, (r"(?P<rest>layer_reduce(?:_bn)?\..+)", "")),
    ),
    NetworkLayout("xvjiarui/GCNet, open-mmlab/mmdetection", (_child("context_block"),)),
    NetworkLayout("xvjiarui/GCNet, open-mmlab/mmdetection (detector)", (_child("context_block"),), inside="backbone."),
    NetworkLayout("implus/PytorchInsight (SK)", (_members("conv2g?", "bn2g?", "conv_fc[12]", "bn_fc1"),)),
    NetworkLayout(
        "timm (SK)",
        ((r"(?P<block>(?:.+\.)?)conv\d\.(?P<rest>(?:paths|attn)\..+)", "{block}"),),
        ((r"(.+\.)conv(\d)\.conv\.(.+)", r"\1conv\2.\3"), (r"(.+\.)conv(\d)\.bn\.(.+)", r"\1bn\2.\3")),
    ),
    NetworkLayout(
        "DeLightCMU/PSA",
        (_child("deattn"), (r"ocr\.(?P<rest>.+)", "head"), (r"scale_attn\.(?P<rest>.+)", "scale_weights")),
    ),
    NetworkLayout(
        KEYPOINTS,
        (
            (r"(?P<block>(?:stage|layer)\d.+)\.deattn\.(?P<rest>.+)", "backbone.{block}"),
            (r"(?P<rest>(?:deconv_layers|final_layer)\..+)", "head"),
        ),
        ((r"((?:conv|bn|layer|transition|stage)\d.+)", r"backbone.\1"),),
    ),
    NetworkLayout(
        "junfu1115/DANet",
        ((r"head\.(?P<rest>.+)", "head"),),
        ((r"pretrained\.(.+)", r"backbone.\1"),),
    ),
    NetworkLayout(
        "Ilareina/FullyAttentional",
        (
            (r"fully\.(?P<rest>.+)", "attention"), (r"conv_out1\.(?P<rest>.+)", "head"),
            (r"conv_out2\.(?P<rest>.+)", "auxiliary.0"), (r"conv_out3\.(?P<rest>.+)", "auxiliary.1"),
        ),
        (
            (r"conv\.0\.(.+)", r"reduce.0.conv.\1"), (r"conv\.1\.(.+)", r"reduce.0.norm.\1"),
            (r"conv\.3\.(.+)", r"reduce.1.conv.\1"), (r"conv\.4\.(.+)", r"reduce.1.norm.\1"),
        ),
    ),
)  # fmt: skip


def parts_of(module: nn.Module) -> tuple[Part, ...]:
    """Return the mechanisms of a network, outermost only; a mechanism is its own part."""
    found: list[Part] = []
    for path, child in module.named_modules():
        inside = any(not part.path or path.startswith(part.prefix) for part in found)
        if isinstance(child, Published) and not inside:
            host = re.sub(r"\.saccade(_before)?\.mechanism$", "", path)
            found.append(Part(path, child, host.rpartition(".")[0]))
    return tuple(found)


def expanded(
    published: NetworkLayout, network: nn.Module, parts: Iterable[Part], given: Mapping[str, Tensor]
) -> Layout:
    """Write out the names of a published code for one network: every key of `given` to ours.

    Keys of attention without a counterpart in the network keep their names, and so match nothing.
    """
    parts = list(parts)
    by_block = {part.block: part for part in parts} | {part.path: part for part in parts}  # a head is its own block
    names = {key: published.renamed(key) for key in given}
    own_keys: dict[str, dict[str, str]] = defaultdict(dict)  # block: its key to the mechanism's
    for key in given:
        attended = published.attended(key)
        if attended and attended[0] in by_block:
            own_keys[attended[0]][key] = attended[1]
    chosen: dict[frozenset[str], Layout] = {}  # blocks with the same keys have the same layout
    converts: dict[str, tuple[Callable[[str, Tensor], Tensor], str]] = {}
    needs: dict[str, Any] = {}
    for block, keys in own_keys.items():
        part, found = by_block[block], frozenset(keys.values())
        if found not in chosen:
            chosen[found] = _mechanism_layout(part.mechanism, found)
        layout = chosen[found]
        needs |= layout.needs
        for key, rest in keys.items():
            inner = layout.rename(rest)
            names[key] = f"{part.prefix}{inner}" if inner else key
            if inner and layout.convert:
                converts[names[key]] = layout.convert, inner

    def convert(ours: str, tensor: Tensor) -> Tensor:
        if ours not in converts:
            return tensor
        change, inner = converts[ours]
        return change(inner, tensor)

    return Layout(published.source, names, convert=convert, needs=needs)


def _mechanism_layout(mechanism: Published, keys: frozenset[str]) -> Layout:
    """Return the mechanism's layout with most of the keys; of several, one whose requirements it meets."""
    own = Layout(OWN, {name: name for name in mechanism.state_dict()})

    def badness(layout: Layout) -> tuple[int, int]:
        unmet = sum(getattr(mechanism, name, None) != value for name, value in layout.needs.items())
        return sum(layout.rename(key) is None for key in keys), unmet

    return min((*mechanism.layouts, own), key=badness)
