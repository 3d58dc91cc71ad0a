"""Networks for key points by name: one table, name to default backbone and head.

B. Xiao, H. Wu, Y. Wei, "Simple Baselines for Human Pose Estimation and Tracking", ECCV 2018, arXiv:1804.06208;
K. Sun et al., "Deep High-Resolution Representation Learning for Human Pose Estimation", CVPR 2019, arXiv:1902.09212;
J. Huang et al., "The Devil is in the Details: Delving into Unbiased Data Processing for Human Pose Estimation", CVPR
2020, arXiv:1911.07524.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from saccade.catalog import name_code
from saccade.errors import InputError, near
from saccade.insertion import insert
from saccade.mechanisms.psa import PolarizedSelfAttention
from saccade.mechanisms.rules import choose, positive
from saccade.networks.backbone_files import build_features
from saccade.networks.heads.keypoints import KeypointHead, OffsetHead
from saccade.networks.options import open_options
from saccade.networks.order import Match

_STD = 0.001  # of convolutions that no trained weights are loaded into
_BASIC_BLOCK = r"stage\d\.\d+\.branches\.\d+\.\d+"
_HEADS = {"gaussian": KeypointHead, "offset": OffsetHead}


class PoseEstimator(nn.Module):
    """Compute heat maps of key points at a quarter of the image's size.

    Args:
        backbone: Returns a list of feature maps, of which the last is used.
        head: Computes heat maps from it.
        multiple: Both sides of an image must be multiples of this.

    Attributes:
        num_keypoints: K.
        maps_per_joint: 1, or 3 for a disc and two offsets.

    Shape: (B, 3, H, W) -> (B, K, H / 4, W / 4), or (B, 3 K, H / 4, W / 4) with offsets.
    """

    def __init__(self, backbone: nn.Module, head: KeypointHead, *, multiple: int = 32) -> None:
        super().__init__()
        self.backbone, self.head, self.multiple = backbone, head, multiple

    @property
    def num_keypoints(self) -> int:
        return self.head.num_keypoints

    @property
    def maps_per_joint(self) -> int:
        return self.head.maps_per_joint

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() != 4 or x.shape[2] % self.multiple or x.shape[3] % self.multiple:
            raise InputError(
                f"pose estimator: expected images (B, 3, H, W) whose sides are multiples of {self.multiple}; received "
                f"shape {tuple(x.shape)}",
                "256 x 192 and 384 x 288 (height x width) are the papers' sizes",
            )
        maps: Tensor = self.head(self.backbone(x)[-1])
        return maps


def pose_estimator(
    name: str,
    num_keypoints: int = 17,
    *,
    backbone: str | None = None,
    mechanism: str | None = None,
    pretrained: bool | str = False,
    match: Match = "names",
    **options: Any,
) -> PoseEstimator:
    """Make a network for key points by name.

    A backbone of timm with the head of a paper, and with the number of parameters of its authors' code. The output are
    heat maps; :func:`saccade.tasks.pose.codec` makes targets for them and points out of them. Weights are random
    unless `pretrained`; :func:`saccade.load_official` loads the authors'.

    Names, and their own options:

    * ``simple_baseline``: transposed convolutions after any backbone, by default resnet50. ``deconv_layers``,
      ``deconv_channels``;
    * ``hrnet``: hrnet_w32 or another HRNet; the map of its finest branch;
    * ``udp_hrnet``: the same with UDP's last fusion, which is four times as wide.

    All have ``head``: "gaussian", or "offset" for the three maps per joint of ``udp_offset``.

    Args:
        name: A name listed above.
        num_keypoints: K, the number of joints.
        backbone: A timm name.
        mechanism: Any name of the catalog with its options, such as ``"psa[variant=sequential]"``. It is placed where
            the authors of PSA have it in their segmentation networks, as their pose networks were never released:
            before the last convolution of every basic block of an HRNet, and of every block of another backbone. It
            starts as in its paper; PSA's weights start as the network's convolutions do.
        pretrained: True for timm's weights, or a file of the backbone's. UDP's last fusion and the head stay random.
        match: ``"order"`` if tensors of a file with other names are those of the backbone in order and shape.
        options: Those of the network.

    Shape: (B, 3, H, W) -> (B, K, H / 4, W / 4), three times the channels with offsets. H and W are multiples of 32.

    Raises:
        InputError: An unknown name or option (with the nearest ones), a backbone that does not fit, or a value out of
            range.
        MissingExtraError: timm is not installed.

    Example:
        >>> import torch, saccade
        >>> net = saccade.pose_estimator("simple_baseline", backbone="resnet18", mechanism="psa")
        >>> net(torch.randn(2, 3, 64, 64)).shape
        torch.Size([2, 17, 16, 16])
    """
    if not isinstance(name, str):
        raise TypeError(f"a network is named by a string; received {name!r}")
    if name not in NETWORKS:
        raise InputError(f"unknown pose network {name!r}", near(name, NETWORKS))
    network = NETWORKS[name]
    name_code(mechanism)
    positive("pose_estimator", num_keypoints=num_keypoints)
    known = tuple(open_options(network.build))
    for option in options:
        if option not in known:
            raise InputError(f"{name}: unknown option {option!r}", near(option, ("backbone", "mechanism", *known)))
    chosen = backbone or network.backbone
    if network.high_resolution and not chosen.startswith("hrnet"):
        raise InputError(
            f"{name}: expected an HRNet as its backbone; received backbone={chosen!r}",
            "hrnet_w32 and hrnet_w48 are the papers'; simple_baseline takes any backbone",
        )
    features = build_features(chosen, pretrained=pretrained, match=match, **network.on_backbone)
    net = network.build(features, num_keypoints, trained=bool(pretrained), **options)
    if mechanism is not None:
        _insert(net.backbone, mechanism, network.high_resolution)
    given = {"num_keypoints": num_keypoints, "backbone": chosen, "mechanism": mechanism, **options}
    net.saccade_network = {"name": name, "options": given}  # type: ignore[assignment]
    return net


def list_pose_estimators() -> tuple[str, ...]:
    """Names of :func:`pose_estimator`.

    Example:
        >>> import saccade
        >>> saccade.list_pose_estimators()
        ('simple_baseline', 'hrnet', 'udp_hrnet')
    """
    return tuple(NETWORKS)


@dataclass(frozen=True)
class NamedPoseEstimator:
    """One row of the table: the network that a name stands for.

    Args:
        build: Builds the network from a feature network and a number of joints; its named arguments are options.
        backbone: Default backbone, a timm name.
        high_resolution: True if the backbone is an HRNet.
        on_backbone: Options of the feature network.
    """

    build: Callable[..., PoseEstimator]
    backbone: str
    high_resolution: bool = True
    on_backbone: Mapping[str, Any] = field(default_factory=lambda: {"fusion": "nearest"})


def _simple_baseline(
    features: Any,
    num_keypoints: int,
    trained: bool,
    *,
    deconv_layers: int = 3,
    deconv_channels: int = 256,
    head: str = "gaussian",
) -> PoseEstimator:
    choose("simple_baseline", "head", head, tuple(_HEADS))
    stride = features.feature_info.reduction()[-1]
    if stride != 32:
        raise InputError(
            f"simple_baseline: expected a backbone whose last map has stride 32; this one has {stride}",
            "choose another backbone, such as resnet50, or one of hrnet's names",
        )
    channels = features.feature_info.channels()[-1]
    made = _HEADS[head](channels, num_keypoints, deconv_layers=deconv_layers, deconv_channels=deconv_channels)
    return PoseEstimator(features, made)


def _hrnet(features: Any, num_keypoints: int, trained: bool, *, head: str = "gaussian") -> PoseEstimator:
    choose("hrnet", "head", head, tuple(_HEADS))
    _keep_finest(features)
    if not trained:
        _start(features)
    return PoseEstimator(features, _HEADS[head](features.feature_info.channels()[0], num_keypoints))


def _udp_hrnet(features: Any, num_keypoints: int, trained: bool, *, head: str = "gaussian") -> PoseEstimator:
    choose("udp_hrnet", "head", head, tuple(_HEADS))
    _keep_finest(features)
    width = 4 * features.feature_info.channels()[0]
    wide = _widened(features.stage4[-1].fuse_layers[0], width)
    features.stage4[-1].fuse_layers[0] = wide
    _start(wide if trained else features)
    return PoseEstimator(features, _HEADS[head](width, num_keypoints))


def _keep_finest(features: Any) -> None:
    """Remove the last fusions of all branches but the finest, which nothing reads."""
    last = features.stage4[-1]
    last.fuse_layers = last.fuse_layers[:1]


def _widened(layers: nn.ModuleList, width: int) -> nn.ModuleList:
    """Return the inputs of UDP's last fusion: every branch gets `width` channels, the finest without a norm."""
    coarser: list[Any] = list(layers)[1:]
    # The finest branch is added to sums of its own width, so its width is that of the layers that are replaced.
    finest = coarser[0][0].out_channels
    found: list[nn.Module] = [nn.Sequential(nn.Conv2d(finest, width, kernel_size=1, bias=False))]
    for convolution, _, upsample in coarser:
        reduce = nn.Conv2d(convolution.in_channels, width, kernel_size=1, bias=False)
        found.append(nn.Sequential(reduce, nn.BatchNorm2d(width), upsample))
    return nn.ModuleList(found)


def _start(module: nn.Module) -> None:
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.normal_(layer.weight, std=_STD)


def _insert(features: nn.Module, mechanism: str, high_resolution: bool) -> None:
    """Insert before the last convolution of every residual branch; in an HRNet only after the stem."""
    inside: Any = "inner"
    if high_resolution:
        inside = [f"before:{path}.conv2" for path, _ in features.named_modules() if re.fullmatch(_BASIC_BLOCK, path)]
    insert(features, mechanism, at=inside, start="paper")
    for module in features.modules():
        if isinstance(module, PolarizedSelfAttention):
            for weight in module.parameters():
                if weight.dim() > 1:
                    nn.init.normal_(weight, std=_STD)


NETWORKS: Mapping[str, NamedPoseEstimator] = {
    "simple_baseline": NamedPoseEstimator(_simple_baseline, "resnet50", False, {"output_stride": 32}),
    "hrnet": NamedPoseEstimator(_hrnet, "hrnet_w32"),
    "udp_hrnet": NamedPoseEstimator(_udp_hrnet, "hrnet_w32"),
}
