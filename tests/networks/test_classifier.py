"""The named networks: exactly as many parameters and multiply-adds as their authors', and clear words on bad names."""

from __future__ import annotations

import functools
import re
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

import saccade
from saccade.comparison.costs import macs
from saccade.insertion import attachments
from saccade.mechanisms.base import Mechanism
from saccade.networks.bn_inception import BNInception
from saccade.networks.classifier import list_classifiers
from tests.golden.networks import counts, titled
from tests.suites import everyday

INCEPTION = (256, 320, 576, 576, 576, 608, 608, 1056, 1024, 1024)
FIVE_BLOCKS = (512, 512, 1024, 1024, 1024)
COUNTS = counts()
# A plain one, and one with a mechanism that multiplies matrices and pools, of few blocks.
KINDS_COUNTED = ("se_resnet18 (no FC bias)", "cbam_resnet18")


@functools.cache
def made(name: Any, num_classes: int, options: tuple[tuple[str, Any], ...]) -> nn.Module:
    with torch.device("meta"):
        return saccade.classifier(name, num_classes, **dict(options)).eval()


def on_meta(name: Any, num_classes: int = 1000, **options: Any) -> nn.Module:
    """Without memory for its weights; the same one for the same arguments, which no test changes."""
    return made(name, num_classes, tuple(sorted(options.items())))


def plain_covariance(rows: Tensor) -> Tensor:
    """As GSoP's authors compute it: with a centring matrix in the middle, which the recorded counts have."""
    count = rows.shape[-1]
    centring = torch.eye(count, dtype=rows.dtype, device=rows.device) / count - 1 / count**2
    return rows @ centring @ rows.mT


@pytest.mark.parametrize("title", everyday(KINDS_COUNTED, COUNTS))
def test_costs_what_is_recorded(title: str, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded, ours = COUNTS[title], titled(title)
    num_classes = 1000 if ours.num_classes is None else ours.num_classes
    net = on_meta(ours.name, num_classes, **ours.options)
    assert sum(parameter.numel() for parameter in net.parameters()) == recorded["params"]
    assert sum(buffer.numel() for buffer in net.buffers()) == recorded.get("buffers", 0) or "buffers" not in recorded
    if recorded["macs_conv_mm"] is None:
        return
    for home in ("saccade.mechanisms.gsop", "saccade.networks.heads.covariance"):
        monkeypatch.setattr(f"{home}.covariance", plain_covariance)
    image = torch.zeros(recorded["input"], device="meta")
    assert macs(net, image) == pytest.approx(recorded["macs_conv_mm"], rel=1e-3)


def bn_inception(conv_biases: bool) -> int:
    net = BNInception(1000)
    biases = sum(layer.out_channels for layer in net.modules() if isinstance(layer, nn.Conv2d))
    return sum(parameter.numel() for parameter in net.parameters()) + conv_biases * biases


# By formula from the plain networks' counts, by timm's own copies, or as printed in the papers.
@pytest.mark.full
@pytest.mark.parametrize(
    ("name", "options", "params"),
    [
        ("se_var3_resnet50", {}, 25_557_032 + 3 * 256**2 + 4 * 512**2 + 6 * 1024**2 + 3 * 2048**2),
        ("eca_resnet34", {}, 21_797_672 + 3 * 3 + 4 * 3 + 6 * 5 + 3 * 7),
        ("eca_resnet50", {"k": None}, 25_557_032 + 3 * 5 + 4 * 5 + 6 * 5 + 3 * 7),
        ("se_resnet56", {"num_classes": 10}, 853_018 + 9 * (2 * 16 * 1 + 2 * 32 * 2 + 2 * 64 * 4) + 2_752),
        ("a2_resnet50", {}, 25_557_032 + sum(2 * c * c + 3 * c // 2 + c for c in FIVE_BLOCKS)),
        pytest.param(
            "a2_resnet101",
            {},
            44_549_160 + sum(2 * c * c + 3 * c // 2 + c for c in FIVE_BLOCKS),
            marks=pytest.mark.full,
        ),
        ("non_local_resnet50", {}, 25_557_032 + sum(2 * c * c + 3 * c // 2 + 3 * c for c in FIVE_BLOCKS)),
        ("se_bn_inception", {}, bn_inception(False) + sum(c * (c // 16) * 2 + c // 16 + c for c in INCEPTION)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_counts_by_formula(name: str, options: dict[str, Any], params: int) -> None:
    assert sum(parameter.numel() for parameter in on_meta(name, **options).parameters()) == params


@pytest.mark.parametrize(
    ("name", "options", "of_timm"),
    [
        pytest.param("senet154", {}, "legacy_senet154", marks=pytest.mark.full),
        pytest.param("se_resnext101_32x4d", {}, "legacy_seresnext101_32x4d", marks=pytest.mark.full),
        pytest.param("se_resnet152", {"stride": "caffe"}, "legacy_seresnet152", marks=pytest.mark.full),
        ("se_resnet34", {"variant": "timm"}, "seresnet34"),
        pytest.param("skresnet18", {}, "skresnet18", marks=pytest.mark.full),
        pytest.param("skresnet50", {}, "skresnet50", marks=pytest.mark.full),
    ],
)
def test_counts_like_timms_copies(name: str, options: dict[str, Any], of_timm: str) -> None:
    with torch.device("meta"):
        theirs = timm.create_model(of_timm)
    ours, image = on_meta(name, **options), torch.zeros(1, 3, 224, 224, device="meta")
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters())
    assert macs(ours, image) == macs(theirs.eval(), image)


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        ("cbam_resnet34", 21.96),
        pytest.param("cbam_resnet101", 49.33, marks=pytest.mark.full),
        pytest.param("bam_resnet34", 21.82, marks=pytest.mark.full),
        pytest.param("bam_resnet101", 44.91, marks=pytest.mark.full),
    ],
)
def test_counts_as_printed(name: str, millions: float) -> None:
    assert round(sum(parameter.numel() for parameter in on_meta(name).parameters()) / 1e6, 2) == millions


def test_bn_inception_is_the_plain_network_of_its_paper() -> None:
    assert bn_inception(True) == 11_295_240  # of the published copy, whose convolutions have biases


@pytest.mark.parametrize(
    ("name", "options", "places"),
    [
        ("cbam_resnet18", {}, [f"layer{i}.{j}.bn2" for i in (1, 2, 3, 4) for j in (0, 1)]),
        pytest.param("bam_resnet50", {}, ["layer1.2", "layer2.3", "layer3.5"], marks=pytest.mark.full),
        pytest.param("gc_resnet50", {"stages": "c5"}, [f"layer4.{j}.bn3" for j in range(3)], marks=pytest.mark.full),
        pytest.param(
            "gsop_net1_resnet50",
            {},
            ["layer1.2.bn3", "layer2.3.bn3", "layer3.5.bn3", "layer4.2.bn3"],
            marks=pytest.mark.full,
        ),
        pytest.param(
            "gsop_net2_resnet50", {}, ["layer1.2.bn3", "layer2.3.bn3", "layer3.5.bn3"], marks=pytest.mark.full
        ),
        pytest.param(
            "non_local_resnet50",
            {},
            ["layer2.1", "layer2.3", "layer3.1", "layer3.3", "layer3.5"],
            marks=pytest.mark.full,
        ),
        pytest.param(
            "non_local_resnet101",
            {},
            ["layer2.1", "layer2.3", "layer3.6", "layer3.13", "layer3.20"],
            marks=pytest.mark.full,
        ),
        ("se_resnet20", {}, [f"layer{i}.{j}.bn2" for i in (1, 2, 3) for j in (0, 1, 2)]),
        ("psa_resnet18", {}, [f"layer{i}.{j}.conv2" for i in (1, 2, 3, 4) for j in (0, 1)]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_where_the_attention_is(name: str, options: dict[str, Any], places: list[str]) -> None:
    assert list(attachments(on_meta(name, **options))) == places


def test_mobilenet_has_it_behind_every_projection() -> None:
    found = attachments(on_meta("eca_mobilenet_v2"))
    assert list(found) == ["features.1.conv.2", *(f"features.{i}.conv.3" for i in range(2, 18))]
    assert [a.mechanism.k for a in found.values()] == [1] * 10 + [3] * 7


def test_selective_kernels_take_the_place_of_the_3x3_convolutions() -> None:
    net = on_meta("sknet50")
    found = [name for name, module in net.named_modules() if isinstance(module, Mechanism)]
    assert len(found) == 16
    assert all(name.endswith(".conv2") for name in found)


# One of each kind whose costs are not recorded: the other depths differ in their number of blocks.
RECORDED = {titled(title).name for title in COUNTS}
KINDS = [n for n in list_classifiers() if n not in RECORDED and not re.search(r"resnet(34|101|152|44|56|110)", n)]


@pytest.mark.parametrize("name", everyday(("se_var3_resnet18", "skresnet18"), KINDS))
def test_every_kind_makes_a_network(name: str) -> None:
    net = on_meta(name)
    assert net(torch.zeros(2, 3, 64, 64, device="meta")).shape == (2, 1000)
    assert any(isinstance(module, Mechanism) for module in net.modules())


@pytest.mark.full
@pytest.mark.parametrize(
    ("name", "width"),
    [
        ("se_resnet18", 512),
        ("se_resnet20", 64),
        pytest.param("senet154", 2048, marks=pytest.mark.full),
        ("eca_mobilenet_v2", 1280),
        ("se_bn_inception", 1024),
        ("gsop_net2_resnet50", 32_896),
    ],
)
def test_without_classes_it_gives_the_pooled_features(name: str, width: int) -> None:
    assert on_meta(name, 0)(torch.zeros(1, 3, 64, 64, device="meta")).shape == (1, width)


def test_it_knows_how_to_make_it_again() -> None:
    made = on_meta("eca_resnet18", 7, kernels="3333").saccade_network
    assert made == {"name": "eca_resnet18", "options": {"num_classes": 7, "kernels": "3333"}}


def test_a_real_one_trains_one_step() -> None:
    torch.manual_seed(0)
    net = saccade.classifier("cbam_resnet18", 5, stem="cifar")
    net(torch.randn(2, 3, 32, 32)).square().sum().backward()
    assert all(parameter.grad is not None for parameter in net.parameters())


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("cbam_resnet51", {}, r"unknown network 'cbam_resnet51'\nhint: did you mean cbam_resnet50"),
        ("squeeze", {}, "unknown network 'squeeze'"),
        ("gc_resnet18_x", {}, "unknown network 'gc_resnet18_x'"),
        ("se_resnet50", {"bais": False}, r"se_resnet50: unknown option 'bais'\nhint: did you mean bias"),
        ("se_resnet50", {"stride": "cafe"}, r"ResNet-50: unknown stride='cafe'\nhint: did you mean caffe"),
        ("cbam_resnet18", {"stem": 3}, "ResNet-18: unknown stem=3"),
        ("cbam_resnet18", {"reduction": 0}, "`reduction` must be a whole number of at least 1"),
        ("eca_resnet50", {"kernels": "355"}, "`kernels` must be four odd digits, one per stage; received"),
        ("eca_resnet50", {"kernels": "3456"}, "`kernels` must be four odd digits"),
        ("eca_resnet50", {"kernels": 3557}, "`kernels` must be four odd digits"),
        ("gc_resnet50", {"stages": "c5-c3"}, "`stages` must be like 'c3-c5', from c2 to c5; received stages='c5-c3'"),
        ("gc_resnet50", {"stages": (3, 4)}, "`stages` must be like"),
        ("sknet50", {"stride": 2}, "sknet50: unknown option 'stride'"),
        ("gsop_net1_resnet50", {"tail": "covariance"}, "gsop_net1_resnet50: unknown option 'tail'"),
        ("se_resnext50_32x4d", {"groups": 8}, "unknown option 'groups'"),
        ("se_resnet18", {"num_classes": -1}, "`num_classes` must be a whole number of at least 1"),
    ],
    ids=str,
)
def test_names_what_is_wrong(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(saccade.InputError, match=message):
        on_meta(name, **options)


def test_a_name_is_a_string() -> None:
    with pytest.raises(TypeError, match="a network is named by a string; received 50"):
        saccade.classifier(50)  # type: ignore[arg-type]


def test_a_title_nobody_maps_is_an_error() -> None:
    with pytest.raises(LookupError, match="counted network without a mapping: 'se_telepathy'"):
        titled("se_telepathy")
