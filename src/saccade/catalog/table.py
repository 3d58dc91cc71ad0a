"""The table of mechanisms: class, family, attention, natural place, paper and reference code of each.

Data, not decorators: nothing is imported until a mechanism is made. A new mechanism is one file and one row here.
"""

from __future__ import annotations

from collections.abc import Mapping

from saccade.catalog.entry import Cost, Entry, NaturalPlace
from saccade.catalog.imports import install

_RESIDUAL = NaturalPlace("residual")
_LAST_STAGE = NaturalPlace("stage:-1")

_ENTRIES = (
    Entry(
        "se", "saccade.mechanisms.se:SqueezeExcitation", "gate", "channel", _RESIDUAL, "Squeeze-and-excitation",
        "Hu et al., CVPR 2018, arXiv:1709.01507", "Cadene/pretrained-models.pytorch, moskomule/senet.pytorch",
        aliases=("squeeze_excitation",),
        cost=Cost("none", "relu, sigmoid", "2*C*h + h + C", "2*C*h", where="h = max(1, C//16)"),
        options={"reduction": 16, "bias": True, "variant": "official", "inner_channels": None, "dims": 2},
    ),
    Entry(
        "se_var1", "saccade.mechanisms.se_var:SEVar1", "gate", "channel", _RESIDUAL, "SE-Var1: the means alone",
        "Wang et al., CVPR 2020, arXiv:1910.03151", "the paper's equation",
        cost=Cost("none", "sigmoid", "0", "0"),
        options={"dims": 2},
    ),
    Entry(
        "se_var2", "saccade.mechanisms.se_var:SEVar2", "gate", "channel", _RESIDUAL, "SE-Var2: a weight per channel",
        "Wang et al., CVPR 2020, arXiv:1910.03151", "the paper's equation",
        cost=Cost("none", "sigmoid", "C", "0"),
        options={"dims": 2},
    ),
    Entry(
        "se_var3", "saccade.mechanisms.se_var:SEVar3", "gate", "channel", _RESIDUAL, "SE-Var3: one full matrix",
        "Wang et al., CVPR 2020, arXiv:1910.03151", "the paper's equation",
        cost=Cost("none", "sigmoid", "C**2", "C**2"),
        options={"dims": 2},
    ),
    Entry(
        "eca", "saccade.mechanisms.eca:EfficientChannelAttention", "gate", "channel", _RESIDUAL,
        "Efficient channel attention", "Wang et al., CVPR 2020, arXiv:1910.03151", "BangguWu/ECANet",
        aliases=("efficient_channel_attention",),
        cost=Cost("none", "sigmoid", "k", "C*k", where="k = 2*(int((log2(C) + 1)/2)//2) + 1"),
        options={"k": None, "shared": True, "circular": False, "dims": 2},
    ),
    Entry(
        "cbam", "saccade.mechanisms.cbam:CBAM", "gate", "both", _RESIDUAL, "Convolutional block attention module",
        "Woo et al., ECCV 2018, arXiv:1807.06521", "Jongchan/attention-module",
        aliases=("convolutional_block_attention",),
        cost=Cost("channel none, spatial H x W", "relu, sigmoid", "2*C*h + h + C + 100", "4*C*h + 98*N",
             where="h = max(1, C//16)"),
        options={"variant": "official", "reduction": 16, "pools": ("avg", "max"), "kernel_size": 7, "parts": "both",
                 "spatial": True, "bias": None, "inner_channels": None, "dims": 2},
    ),
    Entry(
        "bam", "saccade.mechanisms.bam:BAM", "gate", "both", NaturalPlace("stage:1--2"), "Bottleneck attention module",
        "Park et al., BMVC 2018, arXiv:1807.06514", "Jongchan/attention-module", aliases=("bottleneck_attention",),
        cost=Cost("channel none, spatial H x W", "relu, sigmoid", "3*C*h + C + 18*h**2 + 13*h + 1",
             "2*C*h + (C*h + 18*h**2 + h)*N", where="h = max(1, C//16)"),
        options={"combine": "product", "window": "whole", "reduction": 16, "dilation": 4, "parts": "both",
                 "num_layers": 1, "num_convs": 2, "final_norm": False, "inner_channels": None, "dims": 2},
    ),
    Entry(
        "sk", "saccade.mechanisms.sk:SelectiveKernel", "gate", "channel", NaturalPlace("inner"), "Selective kernels",
        "Li et al., CVPR 2019, arXiv:1903.06586", "implus/SKNet, pppLang/SKNet", aliases=("selective_kernel",),
        cost=Cost("H x W", "relu, softmax", "2*(9*C**2//32 + 2*C) + 3*C*d + 2*d", "18*C**2//32*N + 3*C*d",
             where="d = max(C//16, 32)"),
        added=True,  # in its authors' networks it takes the place of a convolution; next to a trained one it is added
        options={"groups": None, "branches": 2, "stride": 1, "second": None, "variant": "official", "split": None,
                 "out_channels": None, "inner_channels": None, "dims": 2},
    ),
    Entry(  # every=100: the last block of each stage
        "gsop", "saccade.mechanisms.gsop:GSoP", "gate", "channel", NaturalPlace("residual", every=100),
        "Global second-order pooling", "Gao et al., CVPR 2019, arXiv:1811.12006",
        "ZilinGao/Global-Second-order-Pooling-Convolutional-Networks", aliases=("global_second_order_pooling",),
        cost=Cost("none", "relu, sigmoid", "5*C*d + 4*d**2 + 9*d + C", "C*d*N + d**2*N + 4*d**2 + 4*C*d", "d**2",
             where="d = 128"),
        options={"variant": "channel", "dim": 128, "grid": 8, "stride": 1, "covariance": "released",
                 "fusion_kernel": None, "fusion_groups": None, "dims": 2},
    ),
    Entry(
        "psa", "saccade.mechanisms.psa:PolarizedSelfAttention", "gate", "both", NaturalPlace("inner"),
        "Polarized self-attention", "Liu et al., arXiv:2107.00782", "DeLightCMU/PSA", aliases=("polarized",),
        cost=Cost("channel none, spatial H x W", "softmax, sigmoid", "2*C**2 + C", "3*C*N + 2*C**2", "2*N"),
        options={"variant": "parallel", "parts": "both", "dims": 2},
    ),
    Entry(
        "gc", "saccade.mechanisms.gc:GlobalContext", "gather", "spatial", _RESIDUAL, "Global context block",
        "Cao et al., ICCVW 2019, arXiv:1904.11492", "xvjiarui/GCNet", aliases=("global_context",),
        cost=Cost("none", "softmax, relu", "2*C*p + 3*p + 2*C + 1", "2*C*N + 2*C*p", "N",
             where="p = max(1, C//16)"),
        identity=True,
        options={"ratio": None, "pooling": "att", "fusion": None, "variant": "official", "inner_channels": None,
                 "dims": 2},
    ),
    Entry(
        "a2", "saccade.mechanisms.a2:DoubleAttention", "gather", "spatial",
        NaturalPlace("block", every=2, strides=(8, 16)), "Double attention block",
        "Chen et al., NeurIPS 2018, arXiv:1810.11579", "nguyenvo09/Double-Attention-Network",
        aliases=("double_attention",),
        cost=Cost("H x W", "softmax", "4*C*m + 3*m + C", "N*(4*C*m + m**2) + C*m**2", "2*m*N",
             where="m = max(1, C//2)"),
        identity=True,
        options={"value_channels": None, "key_channels": None, "reconstruct": True, "residual": True, "dims": 2},
    ),
    Entry(
        "simplified_nl", "saccade.mechanisms.simplified_nl:SimplifiedNonLocal", "position", "spatial", _RESIDUAL,
        "Simplified non-local block", "Cao et al., ICCVW 2019, arXiv:1904.11492", "the paper's equation",
        aliases=("simplified_non_local",),
        cost=Cost("none", "softmax", "C**2 + 2*C + 1", "2*C*N + C**2", "N"),
        identity=True,
        options={"dims": 2},
    ),
    Entry(
        "non_local", "saccade.mechanisms.non_local:NonLocal", "position", "spatial",
        NaturalPlace("block", every=2, strides=(8, 16)), "Non-local block", "Wang et al., CVPR 2018, arXiv:1711.07971",
        "facebookresearch/video-nonlocal-net", aliases=("nonlocal", "non_local_network"),
        cost=Cost("H x W", "softmax, maximum", "4*C*d + 3*d + 3*C", "2*C*d*(N + M) + 2*N*M*d", "N*M",
             where="d = max(1, C//2); M = (H//2)*(W//2)"),
        identity=True,
        options={"pairwise": "embedded_gaussian", "variant": "official", "sub_sample": None, "scaled": None,
                 "norm": None, "reduction": None, "inner_channels": None, "dims": 2},
    ),
    Entry(
        "sagan", "saccade.mechanisms.sagan:SelfAttention", "position", "spatial", _LAST_STAGE,
        "Self-attention of SAGAN", "Zhang et al., ICML 2019, arXiv:1805.08318",
        "brain-research/self-attention-gan, heykeetae/Self-Attention-GAN", aliases=("self_attention",),
        cost=Cost("H x W", "softmax, maximum", "2*C*(d + e) + 1", "(2*N*C + N*M + 4*C)*(d + e)", "N*M",
             where="d = max(1, C//8); e = max(1, C//2); M = (H//2)*(W//2)"),
        identity=True,
        options={"variant": "official", "update_u": True, "dims": 2},
    ),
    Entry(
        "pam", "saccade.mechanisms.pam:PositionAttention", "position", "spatial", _LAST_STAGE,
        "Position attention module", "Fu et al., CVPR 2019, arXiv:1809.02983", "junfu1115/DANet",
        aliases=("position_attention",),
        cost=Cost("H x W", "softmax", "(C + 1)*(2*d + C) + 1", "N*C*(2*d + C) + N**2*(d + C)", "N**2",
             where="d = max(1, C//8)"),
        identity=True,
        options={"reduction": 8, "dims": 2},
    ),
    Entry(
        "cam", "saccade.mechanisms.cam:ChannelAttention", "channel", "channel", _LAST_STAGE,
        "Channel attention module", "Fu et al., CVPR 2019, arXiv:1809.02983", "junfu1115/DANet",
        aliases=("channel_attention",),
        cost=Cost("H x W", "softmax", "1", "2*C**2*N", "C**2"),
        identity=True,
        options={"sign": "released", "dims": 2},
    ),
    Entry(
        "dual", "saccade.mechanisms.dual:DualAttention", "both", "both", _LAST_STAGE, "Dual attention (PAM + CAM)",
        "Fu et al., CVPR 2019, arXiv:1809.02983", "junfu1115/DANet", aliases=("dual_nl", "dual_attention"),
        identity_options={"residual": "once"},
        cost=Cost("H x W", "softmax", "(C + 1)*(2*d + C) + 2", "N*C*(2*d + C) + N**2*(d + C) + 2*C**2*N",
             "N**2 + C**2",
             where="d = max(1, C//8)"),
        options={"residual": "twice", "dims": 2},
    ),
    Entry(
        "cs", "saccade.mechanisms.cs:ChannelThenPosition", "both", "both", _LAST_STAGE,
        "Channel, then position attention", "Song et al., AAAI 2022, arXiv:2112.04108", "junfu1115/DANet",
        aliases=("cs_nl",),
        cost=Cost("H x W", "softmax", "(C + 1)*(2*d + C) + 2", "N*C*(2*d + C) + N**2*(d + C) + 2*C**2*N",
             "N**2 + C**2",
             where="d = max(1, C//8)"),
        identity=True,
        options={"dims": 2},
    ),
    Entry(
        "fla", "saccade.mechanisms.fla:FullyAttentional", "both", "both", _LAST_STAGE, "Fully attentional block",
        "Song et al., AAAI 2022, arXiv:2112.04108", "Ilareina/FullyAttentional", aliases=("fully_attentional",),
        cost=Cost("H x W", "softmax, relu", "11*C**2 + 4*C + 1", "13*C**2*N + C**2*(H + W)", "C**2*(H + W)"),
        options={"pairing": "sample", "norm_layer": None, "lean": False},
        flat="its strips are the columns and the rows of a map of two axes",
    ),
    Entry(
        "conv3x3", "saccade.mechanisms.conv3x3:Conv3x3", "control", "spatial", _LAST_STAGE,
        "Zero-started 3x3 convolution", "a control of ours: parameters without attention", "", aliases=("conv",),
        cost=Cost("H x W", "none", "9*C**2 + 2*C", "9*C**2*N"),
        identity=True,
        options={"width": None, "dilation": 1, "dims": 2},
    ),
)  # fmt: skip

CATALOG: Mapping[str, Entry] = {entry.name: entry for entry in _ENTRIES}
"""Rows of saccade's own mechanisms, by name."""

install(entry.path for entry in _ENTRIES)

PRESETS: Mapping[str, tuple[str, ...]] = {
    "se-ablation": ("se", "se_var1", "se_var2", "se_var3", "eca"),
    "dual": ("pam", "cam", "dual", "cs", "fla"),
    "gates": ("se", "eca", "cbam", "bam"),
    "context": ("non_local", "simplified_nl", "gc", "a2"),
    "pose-psa": (
        "psa",
        "psa[variant=sequential]",
        "psa[parts=channel]",
        "psa[parts=spatial]",
        "se",
        "cbam",
        "non_local",
        "conv3x3",
    ),
    "polarized": ("psa", "psa[parts=channel]", "psa[parts=spatial]", "dual"),
}
"""Ablations of the literature, as arms of a comparison next to ``none``."""
