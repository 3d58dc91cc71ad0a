"""Classification networks by name, in their authors' layouts: one table, name to backbone, mechanism and places."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from torch import nn

from saccade.catalog import entries, find, option_names
from saccade.errors import InputError, near, require
from saccade.mechanisms.rules import positive
from saccade.networks import backbones, families
from saccade.networks.bn_inception import BNInception
from saccade.networks.options import open_options

_SET_BY_PLACE = ("stride", "out_channels")  # where SK takes the place of a convolution


@dataclass(frozen=True)
class Classifier:
    """One row of the table: the network that a name stands for.

    Args:
        mechanism: Catalog name of the mechanism.
        backbone: Builds the plain network for a number of classes. Its named arguments are options of the network.
        family: Inserts the mechanism; its named arguments are options of the network too.
        defaults: Default option values that differ from those of the functions or of the mechanism.
        hidden: Options of the mechanism that the family sets itself.
    """

    mechanism: str
    backbone: Callable[..., nn.Module]
    family: Callable[..., nn.Module] = families.gate
    defaults: Mapping[str, Any] = field(default_factory=dict)
    hidden: tuple[str, ...] = ()

    @property
    def option_names(self) -> tuple[str, ...]:
        """All options: the network's, then the mechanism's."""
        own = (*open_options(self.backbone), *open_options(self.family))
        return (*own, *(name for name in option_names(find(self.mechanism)) if name not in (*own, *self.hidden)))

    def build(self, num_classes: int, given: Mapping[str, Any]) -> nn.Module:
        """Build the network; `given` holds checked options."""
        options = {**self.defaults, **given}
        of_backbone = {name: options.pop(name) for name in open_options(self.backbone) if name in options}
        of_family = {name: options.pop(name) for name in open_options(self.family) if name in options}
        net = self.backbone(num_classes, **of_backbone)
        return self.family(net, self.mechanism, options, **of_family)


def classifier(name: str, num_classes: int = 1000, **options: Any) -> nn.Module:
    """Make a classification network with attention, by name.

    A backbone of torchvision or timm with the mechanism where its authors put it, in their form (``start="paper"``)
    and with their number of parameters. Weights are random; :func:`saccade.load_official` loads the authors'.

    Names, for depths of 18, 34, 50, 101 and 152 unless said otherwise, and options in addition to the mechanism's:

    * ``se_resnet50``: ``stride="caffe"``, the layout of the authors' own networks, and ``stem="cifar"``. The most
      copied PyTorch code has ``bias=False``, as have ``se_resnet20`` to ``se_resnet110``, which are for CIFAR;
    * ``se_resnext50_32x4d``, ``se_resnext101_32x4d``, ``senet154``, ``se_bn_inception``;
    * ``se_var1_resnet50``, ``se_var2_resnet50``, ``se_var3_resnet50``: the ablations in the paper of ECA;
    * ``eca_resnet50``: ``kernels="3557"``, one digit per stage, by default those of the released network;
      ``eca_mobilenet_v2``;
    * ``cbam_resnet50``, ``bam_resnet50``: ``stem="cifar"``;
    * ``sknet50``, ``sknet101``: the authors'; ``skresnet18``, 34 and 50, ``skresnext50_32x4d``: timm's;
      ``sk_resnet50``, 101 and 152: the first author's later SK-ResNet*;
    * ``gc_resnet50``, 101 and 152: ``stages="c3-c5"``;
    * ``gsop_net1_resnet50``, ``gsop_net2_resnet50``, 101 and 152;
    * ``a2_resnet50``, ``non_local_resnet50``, and 101;
    * MECHANISM_BACKBONE for any other backbone of timm: the mechanism at its natural places.

    Args:
        name: A name listed above.
        num_classes: Number of classes; 0 gives the pooled features.
        options: Options of the network and of its mechanism, all checked.

    Shape: (B, 3, H, W) -> (B, num_classes).

    Raises:
        InputError: An unknown name or option (with the near ones), or a value out of range.
        MissingExtraError: torchvision or timm is not installed.

    Example:
        >>> import saccade
        >>> net = saccade.classifier("eca_resnet50", kernels="3557")
        >>> sum(p.numel() for p in net.parameters())
        25557112
    """
    if num_classes != 0:
        positive("classifier", num_classes=num_classes)
    network = find_classifier(name)
    known = network.option_names
    for option in options:
        if option not in known:
            raise InputError(f"{name}: unknown option {option!r}", near(option, known))
    made = network.build(num_classes, options)
    made.saccade_network = {"name": name, "options": {"num_classes": num_classes, **options}}  # type: ignore[assignment]
    return made


def list_classifiers() -> tuple[str, ...]:
    """Names of :func:`classifier`, without those of any backbone.

    Example:
        >>> from saccade.networks.classifier import list_classifiers
        >>> "cbam_resnet50" in list_classifiers()
        True
    """
    return tuple(NETWORKS)


def find_classifier(name: str) -> Classifier:
    """Return what a name of :func:`classifier` stands for.

    Raises:
        InputError: An unknown name.
    """
    return NETWORKS.get(name) or _of_any_backbone(name)


def _of_any_backbone(name: str) -> Classifier:
    """Parse MECHANISM_BACKBONE with a network of timm; anything else is refused with the nearest names."""
    if not isinstance(name, str):
        raise TypeError(f"a network is named by a string; received {name!r}")
    for mechanism in sorted(entries(), key=len, reverse=True):
        backbone = name.removeprefix(f"{mechanism}_")
        if backbone != name:
            timm: Any = require("timm", extra="train")
            if timm.is_model(backbone):
                return Classifier(mechanism, partial(backbones.of_timm, backbone), families.natural)
    raise InputError(f"unknown network {name!r}", near(name, NETWORKS))


def _table() -> Iterator[tuple[str, Classifier]]:
    for depth in backbones.BLOCKS:
        yield from _of_depth(depth, partial(backbones.resnet, depth, 1))
    for depth in (50, 101, 152):
        yield from _of_bottlenecks(depth, partial(backbones.resnet, depth, 1))
    for depth in (50, 101):
        resnext = partial(backbones.resnet, depth, 32, stem="imagenet")
        yield f"se_resnext{depth}_32x4d", Classifier("se", resnext, defaults={"stride": "caffe"})
        caffe = partial(resnext, stride="caffe")
        yield f"sknet{depth}", Classifier("sk", caffe, families.selective_kernels, hidden=_SET_BY_PLACE)
    for depth in (20, 32, 44, 56, 110):
        yield (
            f"se_resnet{depth}",
            Classifier("se", partial(backbones.CifarResNet, depth), defaults={"bias": False}),
        )
    yield "senet154", Classifier("se", backbones.senet154)
    yield "se_bn_inception", Classifier("se", BNInception, families.inception)
    yield "eca_mobilenet_v2", Classifier("eca", backbones.mobilenet_v2, families.eca_mobilenet)
    yield from _of_timm()


def _of_depth(depth: int, resnet: Callable[..., nn.Module]) -> Iterator[tuple[str, Classifier]]:
    for mechanism in ("se", "se_var1", "se_var2", "se_var3", "cbam"):
        yield f"{mechanism}_resnet{depth}", Classifier(mechanism, resnet)
    kernels = families.ECA_KERNELS[depth]
    yield f"eca_resnet{depth}", Classifier("eca", resnet, families.eca, {"kernels": kernels})
    yield f"bam_resnet{depth}", Classifier("bam", resnet, families.bam)


def _of_bottlenecks(depth: int, resnet: Callable[..., nn.Module]) -> Iterator[tuple[str, Classifier]]:
    yield f"gc_resnet{depth}", Classifier("gc", resnet, families.gc)
    fixed = partial(resnet, stem="imagenet", stride="torchvision")
    later = {"second": "grouped"}
    yield f"sk_resnet{depth}", Classifier("sk", fixed, families.selective_kernels, later, hidden=_SET_BY_PLACE)
    yield f"gsop_net1_resnet{depth}", Classifier("gsop", fixed, families.gsop)
    yield f"gsop_net2_resnet{depth}", Classifier("gsop", fixed, partial(families.gsop, tail="covariance"))
    if depth < 152:
        yield f"a2_resnet{depth}", Classifier("a2", fixed, families.blocks)
        yield f"non_local_resnet{depth}", Classifier("non_local", fixed, families.blocks)


def _of_timm() -> Iterator[tuple[str, Classifier]]:
    for name, depth, groups, family in (
        ("skresnet18", 18, 1, partial(families.selective_kernels, reduction=8, least=16)),
        ("skresnet34", 34, 1, partial(families.selective_kernels, reduction=8, least=16)),
        ("skresnet50", 50, 1, families.selective_kernels),
        ("skresnext50_32x4d", 50, 32, partial(families.selective_kernels, least=32)),
    ):
        backbone = partial(backbones.resnet, depth, groups, stem="imagenet", stride="torchvision")
        defaults = {"variant": "timm", "split": groups == 1, "groups": groups}
        yield name, Classifier("sk", backbone, family, defaults, hidden=_SET_BY_PLACE)


NETWORKS: Mapping[str, Classifier] = dict(_table())
