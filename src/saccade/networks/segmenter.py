"""Segmentation networks by name: one table, name to default backbone and head."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from torch import nn

from saccade.catalog import name_code, option_names, parse
from saccade.errors import InputError, near
from saccade.insertion import insert
from saccade.mechanisms.psa import PolarizedSelfAttention
from saccade.mechanisms.rules import positive
from saccade.networks.backbone_files import build_features
from saccade.networks.features import Norm, widths
from saccade.networks.flanet import FLANet
from saccade.networks.heads import AttentionHead, DANetHead, FCNHead, OCRHead
from saccade.networks.heads.attention import NONE
from saccade.networks.high_resolution import is_high_resolution
from saccade.networks.losses import HardPixels
from saccade.networks.ocrnet import MultiScaleOCRNet, OCRNet
from saccade.networks.options import open_options
from saccade.networks.segmentation import Segmenter

_ON_BACKBONE = ("output_stride", "multi_grid", "pretrained", "match")
_SHARED = ("norm_layer", "ohem", "ohem_pixels")


def segmenter(
    name: str,
    num_classes: int,
    *,
    backbone: str | None = None,
    norm_layer: Norm = nn.BatchNorm2d,
    ohem: float | None = None,
    ohem_pixels: int = 100_000,
    **options: Any,
) -> Segmenter:
    """Make a segmentation network by name.

    A backbone of timm with the head of a paper. In evaluation it returns class logits (B, K, H, W) at the size of the
    image; in training a tuple of them, the prediction first. ``net.loss(outputs, targets)`` weights them as in the
    paper and returns a sum over pixels and their number. Weights are random unless `pretrained`;
    :func:`saccade.load_official` loads the authors' weights of DANet, FLANet, FCN and the OCR networks.

    Names, and their own options:

    * ``fcn``: one convolution; the control. ``dropout``, ``inner_channels``;
    * ``head``: ``mechanism=``, any of the catalog or ``"none"``, between two convolutions; it takes its options too;
    * ``pam``, ``cam``, ``cs_nl``, ``non_local``, ``gcnet``, ``a2``: that head with this mechanism and its options;
    * ``danet``: PAM and CAM in parallel, three outputs; ``dual_nl``: the same with the first output only;
    * ``flanet``: FLA on the last of three maps, three outputs; options of ``fla``;
    * ``psa``: PSA inside the blocks of the backbone; its options;
    * ``ocr``, ``psa_ocr``: ``inner_channels``, ``key_channels``; with ``scales=(0.5, 1)`` several scales of the image
      are weighted pixel by pixel.

    Args:
        name: A name listed above.
        num_classes: K.
        backbone: A timm name, or the import path of your own (:mod:`saccade.networks.own`); by default resnet50,
            resnet101s for ``flanet``, hrnet_w48 for ``psa``, ``ocr`` and ``psa_ocr``.
        norm_layer: Constructor of a norm, called with its width; used everywhere in backbone and head.
        ohem: Train only on pixels whose class has at most this probability; None means all pixels.
        ohem_pixels: Minimum number of pixels per image that `ohem` trains on.
        options: ``output_stride`` (8, 16, 32), ``multi_grid`` (dilations of the blocks of the last stage),
            ``pretrained`` (True for timm's weights, or a file of the backbone's), ``match`` ("order" for a file with
            other names); and those of the network.

    Shape: (B, 3, H, W) -> (B, K, H, W) in evaluation; in training a tuple of such.

    Raises:
        InputError: An unknown name or option (with the nearest ones), or a value out of range.
        MissingExtraError: timm is not installed.

    Example:
        >>> import torch, saccade
        >>> net = saccade.segmenter("danet", num_classes=19, backbone="resnet18")
        >>> [tuple(y.shape) for y in net(torch.randn(2, 3, 65, 97))]
        [(2, 19, 65, 97), (2, 19, 65, 97), (2, 19, 65, 97)]
        >>> net.eval()(torch.randn(2, 3, 65, 97)).shape
        torch.Size([2, 19, 65, 97])
    """
    network = _find(name)
    name_code(backbone)
    positive("segmenter", num_classes=num_classes)
    known = (*_ON_BACKBONE, *_SHARED, *network.option_names(options))
    for option in options:
        if option not in known:
            raise InputError(f"{name}: unknown option {option!r}", near(option, ("backbone", *known)))
    hard = None if ohem is None else HardPixels(ohem, ohem_pixels)
    on_backbone = {option: options[option] for option in _ON_BACKBONE if option in options}
    own = {**network.defaults, **{k: v for k, v in options.items() if k not in on_backbone}}
    features = build_features(backbone or network.backbone, norm_layer=norm_layer, **network.on_backbone, **on_backbone)
    net = network.build(features, num_classes, norm_layer=norm_layer, **own)
    net.hard = hard
    given = {"num_classes": num_classes, "backbone": backbone or network.backbone, **options, "pretrained": False}
    given.pop("match", None)
    given |= {"ohem": ohem, "ohem_pixels": ohem_pixels}
    if norm_layer is nn.BatchNorm2d:  # any other constructor is not a plain value that a file could hold
        net.saccade_network = {"name": name, "options": given}  # type: ignore[assignment]
    return net


def list_segmenters() -> tuple[str, ...]:
    """Names of :func:`segmenter`.

    Example:
        >>> import saccade
        >>> "danet" in saccade.list_segmenters()
        True
    """
    return tuple(NETWORKS)


@dataclass(frozen=True)
class NamedSegmenter:
    """One row of the table: the network that a name stands for.

    Args:
        build: Builds the network from a feature network and a number of classes; its named arguments are options.
        backbone: Default backbone, a timm name.
        mechanism: Catalog name of the mechanism whose options the network takes too.
        defaults: Default option values.
        on_backbone: Options of the feature network.
    """

    build: Callable[..., Segmenter]
    backbone: str = "resnet50"
    mechanism: str = NONE
    defaults: Mapping[str, Any] = field(default_factory=dict)
    on_backbone: Mapping[str, Any] = field(default_factory=dict)

    def option_names(self, given: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the names of the network's own options, then of the mechanism's, which may itself be an option."""
        own = [name for name in open_options(self.build) if name != "norm_layer"]
        mechanism = given.get("mechanism", self.mechanism) if "mechanism" in own else self.mechanism
        if mechanism == NONE:
            return tuple(own)
        return (*own, *(name for name in option_names(parse(mechanism).entry) if name != "norm_layer"))


def _find(name: str) -> NamedSegmenter:
    if not isinstance(name, str):
        raise TypeError(f"a network is named by a string; received {name!r}")
    if name not in NETWORKS:
        raise InputError(f"unknown segmentation network {name!r}", near(name, NETWORKS))
    return NETWORKS[name]


def _fcn(
    features: nn.Module,
    num_classes: int,
    *,
    norm_layer: Norm,
    inner_channels: int | None = None,
    dropout: float = 0.1,
) -> Segmenter:
    head = FCNHead(
        widths(features)[-1], num_classes, inner_channels=inner_channels, norm_layer=norm_layer, dropout=dropout
    )
    return Segmenter(features, head)


def _head(
    features: nn.Module,
    num_classes: int,
    *,
    norm_layer: Norm,
    mechanism: str = NONE,
    inner_channels: int | None = None,
    dropout: float = 0.1,
    **options: Any,
) -> Segmenter:
    head = AttentionHead(
        widths(features)[-1], num_classes, mechanism,
        inner_channels=inner_channels, norm_layer=norm_layer, dropout=dropout, **options,
    )  # fmt: skip
    return Segmenter(features, head)


def _danet(
    features: nn.Module,
    num_classes: int,
    auxiliary: bool = True,
    *,
    norm_layer: Norm,
    inner_channels: int | None = None,
    dropout: float = 0.1,
) -> Segmenter:
    head = DANetHead(
        widths(features)[-1], num_classes, inner_channels=inner_channels, norm_layer=norm_layer, dropout=dropout,
        auxiliary=auxiliary,
    )  # fmt: skip
    return Segmenter(features, head, weights=(1.0, 1.0, 1.0) if auxiliary else (1.0,))


def _psa(features: nn.Module, num_classes: int, *, norm_layer: Norm, dropout: float = 0.1, **options: Any) -> Segmenter:
    _insert_psa(features, options)
    if not is_high_resolution(features):
        return _fcn(features, num_classes, norm_layer=norm_layer, dropout=dropout)
    width = widths(features)[-1]  # HRNetV2's own head
    head = FCNHead(
        width, num_classes, inner_channels=width, kernel_size=1, bias=True, norm_layer=norm_layer, dropout=0.0
    )
    return Segmenter(features, head, align_corners=False)


def _ocr(
    features: nn.Module,
    num_classes: int,
    psa: bool = False,
    *,
    norm_layer: Norm,
    inner_channels: int = 512,
    key_channels: int = 256,
    dropout: float = 0.05,
    scales: Sequence[float] | None = None,
    **options: Any,
) -> Segmenter:
    if psa:
        _insert_psa(features, options)
    head = OCRHead(
        widths(features)[-1], num_classes, inner_channels=inner_channels, key_channels=key_channels, dropout=dropout,
        norm_layer=norm_layer,
    )  # fmt: skip
    if scales is None:
        return OCRNet(features, head)
    return MultiScaleOCRNet(features, head, scales=scales, norm_layer=norm_layer)


def _insert_psa(features: nn.Module, options: Mapping[str, Any]) -> None:
    """Insert before the last convolution of every residual branch; in an HRNet only after the stem."""
    inside: Any = "inner"
    if is_high_resolution(features):
        inside = [f"before:{path}.conv2" for path, _ in features.named_modules() if re.fullmatch(_BASIC_BLOCK, path)]
    insert(features, "psa", at=inside, start="paper", options=options)
    for module in features.modules():
        if isinstance(module, PolarizedSelfAttention):
            for weight in module.parameters():
                if weight.dim() > 1:  # as in all convolutions of the authors' segmentation networks
                    nn.init.normal_(weight, std=0.001)


_BASIC_BLOCK = r"stage\d\.\d+\.branches\.\d+\.\d+"


def _with(mechanism: str) -> NamedSegmenter:
    return NamedSegmenter(partial(_head, mechanism=mechanism), mechanism=mechanism)


NETWORKS: Mapping[str, NamedSegmenter] = {
    "fcn": NamedSegmenter(_fcn),
    "head": NamedSegmenter(_head),
    "pam": _with("pam"),
    "cam": _with("cam"),
    "cs_nl": _with("cs"),
    "dual_nl": NamedSegmenter(partial(_danet, auxiliary=False)),
    "non_local": _with("non_local"),
    "gcnet": _with("gc"),
    "a2": _with("a2"),
    "danet": NamedSegmenter(_danet),
    "flanet": NamedSegmenter(FLANet, "resnet101s", "fla", on_backbone={"last": 3, "first_block": "full"}),
    "psa": NamedSegmenter(_psa, "hrnet_w48", "psa"),
    "ocr": NamedSegmenter(_ocr, "hrnet_w48"),
    "psa_ocr": NamedSegmenter(partial(_ocr, psa=True), "hrnet_w48", "psa"),
}
