"""Places: the exact modules, for library networks by name lists and for hand-written ones by construction."""

import re

import pytest
import timm
import torch
import torchvision
from torch import nn

from saccade.insertion.places import Places
from saccade.networks.notes import NotesNet
from tests.insertion import networks

BASIC = {"18": (2, 2, 2, 2), "34": (3, 4, 6, 3)}
DEEP = (3, 4, 6, 3)


def on_meta(make, *args, **options):
    with torch.device("meta"):
        return make(*args, **options)


def places(model, *size):
    return Places(networks.trace_of(model, torch.zeros(1, 3, *size) if size else None))


def names(found):
    return [str(place) for place in found]


def blocks(depths):
    return [f"layer{stage}.{i}" for stage, depth in enumerate(depths, 1) for i in range(depth)]


@pytest.mark.parametrize(
    ("make", "depths", "norm", "conv", "stem"),
    [
        (lambda: timm.create_model("resnet18"), BASIC["18"], "bn2", "conv2", "act1"),
        (lambda: timm.create_model("resnet34"), BASIC["34"], "bn2", "conv2", "act1"),
        (lambda: timm.create_model("resnet50"), DEEP, "bn3", "conv3", "act1"),
        (lambda: timm.create_model("resnext50_32x4d"), DEEP, "bn3", "conv3", "act1"),
        (lambda: timm.create_model("wide_resnet50_2"), DEEP, "bn3", "conv3", "act1"),
        (lambda: timm.create_model("resnet18", features_only=True), BASIC["18"], "bn2", "conv2", "act1"),
        (lambda: timm.create_model("resnet50", output_stride=8), DEEP, "bn3", "conv3", "act1"),
        (lambda: timm.create_model("resnet18", features_only=True, output_stride=8, out_indices=(-1,)), BASIC["18"],
         "bn2", "conv2", "act1"),
        (torchvision.models.resnet18, BASIC["18"], "bn2", "conv2", "relu"),
        (torchvision.models.resnet34, BASIC["34"], "bn2", "conv2", "relu"),
        (torchvision.models.resnet50, DEEP, "bn3", "conv3", "relu"),
        (torchvision.models.resnext50_32x4d, DEEP, "bn3", "conv3", "relu"),
        (torchvision.models.wide_resnet50_2, DEEP, "bn3", "conv3", "relu"),
    ],
)  # fmt: skip
def test_resnets(make, depths, norm, conv, stem):
    found = places(on_meta(make))
    assert names(found.residual) == [f"{block}.{norm}" for block in blocks(depths)]
    assert names(found.inner) == [f"before:{block}.{conv}" for block in blocks(depths)]
    assert names(found.block) == blocks(depths)
    assert names(found.stage) == [stem, *(f"layer{stage}.{depth - 1}" for stage, depth in enumerate(depths, 1))]
    assert [place.stage for place in found.block] == [s for s, depth in enumerate(depths, 1) for _ in range(depth)]


def test_shapes_and_strides_of_a_resnet():
    found = places(timm.create_model("resnet50", features_only=True, output_stride=8), 64, 96)
    assert [(p.channels, p.height, p.width, p.stride) for p in found.stage] == [
        (64, 32, 48, 2), (256, 16, 24, 4), (512, 8, 12, 8), (1024, 8, 12, 8), (2048, 8, 12, 8),
    ]  # fmt: skip
    assert {place.block for place in found.residual} == {"Bottleneck"}
    assert [place.depth for place in found.inner] == list(range(16))


@pytest.mark.full
@pytest.mark.parametrize(
    ("name", "residual", "stage"),
    [
        ("densenet121", 0, ["features.norm0", *(f"before:features.transition{i}.norm" for i in (1, 2, 3)),
                            "features.norm5"]),
        ("mobilenetv2_100", 10, ["bn1", "blocks.1.1", "blocks.2.2", "blocks.4.2", "blocks.6.0"]),
        ("efficientnet_b0", 9, ["bn1", "blocks.1.1", "blocks.2.1", "blocks.4.2", "blocks.6.0"]),
        ("regnety_002", 13, ["stem", "s1.b1", "s2.b1", "s3.b4", "s4.b7"]),
        ("rexnet_100", 11, ["stem", "features.2", "features.4", "features.10", "features.15"]),
        ("convnext_atto", 12, ["stages.0", "stages.1", "stages.2", "stages.3"]),
    ],
)  # fmt: skip
def test_other_families(name, residual, stage):
    found = places(on_meta(timm.create_model, name))
    assert len(found.residual) == residual
    assert names(found.stage) == stage


def test_vgg_has_stages_only():
    found = places(on_meta(torchvision.models.vgg11_bn))
    assert found.residual == ()
    assert names(found.stage) == ["features.6", "features.13", "features.20", "features.27", "features.28"]
    assert names(found.block) == [f"features.{i}" for i in (0, 4, 8, 11, 15, 18, 22, 25)]


def test_the_demo_network():
    found = places(NotesNet(), 96, 96)
    assert [(str(p), p.channels, p.height) for p in found.residual] == [("block1.bn2", 32, 24), ("block2.bn2", 64, 12)]
    assert names(found.inner) == ["before:block1.conv2", "before:block2.conv2"]
    assert (str(found.stage[-1]), found.stage[-1].channels, found.stage[-1].height) == ("block2", 64, 12)
    assert names(found.block) == ["block1", "block2"]


def test_a_flat_network():
    found = places(networks.Flat(), 32, 40)
    # u's output passes an activation that is no module; the mechanism goes before it.
    assert [(str(p), p.note != "") for p in found.residual] == [("u", True), ("w", False)]
    assert names(found.inner) == ["before:u", "before:w"]
    assert names(found.block) == []
    assert "no module that is called once makes or reads this value alone" in found.unused["block 0 in Flat"]


def test_a_nested_network_and_its_head():
    found = places(networks.Holder(), 32, 40)
    assert names(found.residual) == ["parts.0.m.b.1", "parts.1.0.b.1", "parts.1.1.b.1"]
    assert names(found.block) == ["parts.0.m", "parts.1.0", "parts.1.1"]
    assert names(found.stage) == ["parts.0.m", "parts.1.1"]
    assert any("upsampling" in why for why in found.unused.values())


@pytest.mark.parametrize(
    ("part", "expected", "reason"),
    [
        (networks.RunsChildren, ["part.one.b.1", "part.two.b.1"], None),
        (networks.LongSkip, ["part.units.0.b.1", "part.units.1.b.1", "part.units.2.b.1"], "long skip"),
        (networks.Split, ["part.e.1"], "nested"),
        (networks.Folded, [], "linear"),
        (networks.ChannelsLast, ["part.narrow"], None),
        (networks.Hourglass, ["part.unit.b.1"], "long skip"),
        (networks.PoolMixer, ["part.p"], "mixes no positions"),
        (networks.Attends, ["part.o"], None),
    ],
)
def test_what_counts_as_residual(part, expected, reason):
    found = places(networks.Around(part()), 32, 40)
    assert names(found.residual) == expected
    assert any(reason in why for why in found.unused.values()) if reason else not found.unused


def test_channels_last_maps_are_told_by_their_layout():
    (place,) = places(networks.Around(networks.ChannelsLast()), 32, 40).residual
    assert (place.layout, place.channels, place.height, place.width) == ("NHWC", 8, 16, 20)


def test_a_module_that_runs_its_children_is_no_place():
    assert names(places(networks.Around(networks.RunsChildren()), 32, 40).stage) == ["part.two"]


def test_the_head_of_a_segmenter_is_no_stage():
    class Segmenter(nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone = timm.create_model("resnet18", features_only=True, output_stride=8, out_indices=(-1,))
            self.head = nn.Sequential(networks.conv(512, 64), nn.ReLU(), nn.Conv2d(64, 5, 1))

        def forward(self, x):
            return self.head(self.backbone(x)[-1])

    assert str(places(Segmenter(), 64, 96).stage[-1]) == "backbone.layer4.1"


@pytest.mark.parametrize("kind", ["levels", "large", "small"])
def test_a_backbone_is_found_by_what_follows_it(kind):
    found = places(networks.Dense(kind), 64, 96)
    assert names(found.stage) == [f"w.s.{i}.2" for i in range(4)]
    assert names(found.residual) == [f"w.s.{i}.2.b.1" for i in range(4)]


def test_what_goes_on_to_smaller_maps_is_no_backbone():
    found = places(nn.Sequential(networks.Trunk(False), networks.conv(16, 16, stride=2), nn.ReLU()), 64, 96)
    assert names(found.stage)[-1] == "2"


def test_a_dilated_convolution_beside_another_makes_no_stage():
    found = places(networks.Around(networks.Reaches()), 32, 40)
    assert names(found.stage) == ["part"]


def test_inner_is_before_the_last_linear_layer_too():
    (place,) = places(networks.Around(networks.ChannelsLast()), 32, 40).inner
    assert (str(place), place.layout, place.channels) == ("before:part.narrow", "NHWC", 16)


@pytest.mark.parametrize(
    ("make", "residual", "inner", "stage"),
    [
        (lambda: timm.create_model("hrnet_w18"), 112, "conv[23]", ["act1", "layer1.3", "final_layer.2"]),
        (lambda: timm.create_model("convnext_atto"), 12, "fc2", ["stages.0", "stages.1", "stages.2", "stages.3"]),
        (torchvision.models.convnext_tiny, 18, "5", ["features.1.2", "features.3.2", "features.5.8", "features.7.2"]),
        (lambda: timm.create_model("regnetx_002"), 13, "conv", ["stem", "s1.b1", "s2.b1", "s3.b4", "s4.b7"]),
        (lambda: timm.create_model("poolformer_s12"), 12, None, ["stem.conv", "stages.1", "stages.2", "stages.3"]),
    ],
)
def test_networks_measured_elsewhere(make, residual, inner, stage):
    found = places(on_meta(make))
    assert len(found.residual) == residual
    assert names(found.stage) == stage
    last = {str(place).rpartition(".")[2] for place in found.inner}
    assert all(re.fullmatch(inner, name) for name in last) if inner else not last
    assert len(found.inner) == (residual if inner else 0)


@pytest.mark.parametrize("kind", ["joined", "listed"])
def test_a_detector_in_one_list_has_the_places_of_its_backbone(kind):
    found = places(networks.Pyramid(kind), 128, 160)
    assert names(found.stage) == ["parts.0.1", "parts.1.2", "parts.2.2", "parts.3.2", "parts.4.2"]
    assert [place.stride for place in found.stage] == [2, 4, 8, 16, 32]
    assert names(found.residual) == [f"parts.{i}.2.b.1" for i in (1, 2, 3, 4)]
    assert names(found.block) == [f"parts.{i}.2" for i in (1, 2, 3, 4)]
    assert found.unused["4 residual additions"] == "in the neck or a head; within= searches there"


def test_the_neck_is_searched_when_it_is_named():
    found = Places(networks.trace_of(networks.Pyramid(), torch.zeros(1, 3, 128, 160)), within="parts.9")
    assert names(found.of("residual")) == ["parts.9.unit.b.1"]


def test_predictions_end_no_stage():
    assert names(places(networks.Levels(), 64, 96).stage) == [f"chain.{i}.1" for i in range(4)]
    assert names(places(networks.TopDown(), 64, 96).stage) == ["w.0.2", "w.1.2", "w.2.2"]


@pytest.mark.parametrize("deep", [False, True])
def test_a_decoder_has_its_blocks_and_not_the_inside_of_their_gates(deep):
    traced = networks.trace_of(networks.Net(deep), torch.zeros(1, 3, 64, 96))
    found = Places(traced, within="decoder")
    assert names(found.of("block")) == ["decoder.blocks.0", "decoder.blocks.1"]
    assert names(found.of("residual")) == []
    assert names(Places(traced).of("residual")) == [f"encoder.steps.{i}.2.b.1" for i in range(3)]


def test_a_sum_that_only_becomes_a_gate_is_no_residual():
    net = nn.Sequential(networks.conv(3, 8, 3), nn.ReLU(), networks.AdditiveGate(8), networks.conv(16, 2, 1))
    found = places(net, 32, 48)
    assert names(found.residual) == []
    assert found.unused["1 addition"] == "the sum only becomes the factors of a gate"
