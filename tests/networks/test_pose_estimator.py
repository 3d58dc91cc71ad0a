"""Key-point networks by name: the sheet's counts, places of attention, authors' weights, options, and saving."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import saccade
from saccade import InputError
from saccade.mechanisms.psa import PolarizedSelfAttention
from saccade.networks.pose_estimator import PoseEstimator
from tests.golden.pose_networks import authors_names

SMALL = {"simple_baseline": "resnet18", "hrnet": "hrnet_w18_small", "udp_hrnet": "hrnet_w18_small"}


def small(name: str, num_keypoints: int = 5, **options: Any) -> PoseEstimator:
    torch.manual_seed(0)
    return saccade.pose_estimator(name, num_keypoints, **{"backbone": SMALL[name], **options})


@functools.cache
def on_meta(name: str, **options: Any) -> PoseEstimator:
    with torch.device("meta"):
        return saccade.pose_estimator(name, **options)


def params(net: nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


def whole(*case: Any) -> Any:
    """A case whose like is in the everyday suite in a smaller size."""
    return pytest.param(*case, marks=pytest.mark.full)


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("simple_baseline", {"backbone": "resnet50"}, 33_999_697),
        whole("simple_baseline", {"backbone": "resnet101"}, 52_991_825),
        whole("simple_baseline", {"backbone": "resnet152"}, 68_635_473),
        whole("hrnet", {"backbone": "hrnet_w32"}, 28_536_113),
        whole("hrnet", {"backbone": "hrnet_w48"}, 63_595_745),
        whole("udp_hrnet", {"backbone": "hrnet_w32"}, 28_585_425),
        whole("udp_hrnet", {"backbone": "hrnet_w48"}, 63_705_041),
        ("udp_hrnet", {"backbone": "hrnet_w32", "head": "offset"}, 28_589_811),
        whole("udp_hrnet", {"backbone": "hrnet_w48", "head": "offset"}, 63_711_603),
        whole("simple_baseline", {"mechanism": "psa"}, 33_999_697 + 2_518_720),
        whole("simple_baseline", {"mechanism": "psa[variant=sequential]"}, 33_999_697 + 2_130_952),
        whole("hrnet", {"mechanism": "psa"}, 31_363_889),
        whole("hrnet", {"mechanism": "psa[variant=sequential]"}, 30_936_945),
        whole("udp_hrnet", {"backbone": "hrnet_w48", "head": "offset", "mechanism": "psa"}, 70_066_803),
        whole(
            "udp_hrnet", {"backbone": "hrnet_w48", "head": "offset", "mechanism": "psa[variant=sequential]"}, 69_096_147
        ),
    ],
)
def test_counts_of_the_sheet(name: str, options: dict[str, Any], expected: int) -> None:
    assert params(on_meta(name, **options)) == expected


@pytest.mark.parametrize(
    ("name", "options", "maps"),
    [
        ("simple_baseline", {}, 5),
        ("simple_baseline", {"deconv_layers": 1, "deconv_channels": 16}, 5),
        ("hrnet", {}, 5),
        ("udp_hrnet", {}, 5),
        ("udp_hrnet", {"head": "offset"}, 15),
    ],
)
def test_maps_of_a_quarter_of_the_image_and_a_gradient_everywhere(
    name: str, options: dict[str, Any], maps: int
) -> None:
    net = small(name, **options)
    stride = 16 if "deconv_layers" in options else 4
    output = net(torch.randn(2, 3, 64, 96))
    assert output.shape == (2, maps, 64 // stride, 96 // stride)
    assert net.num_keypoints * net.maps_per_joint == maps
    output.square().sum().backward()
    assert not [key for key, parameter in net.named_parameters() if parameter.grad is None]


@pytest.mark.full  # the recorded networks with PSA fix the place as well
def test_psa_is_where_the_authors_have_it() -> None:
    found = [p for p, m in on_meta("hrnet", mechanism="psa").named_modules() if isinstance(m, PolarizedSelfAttention)]
    assert len(found) == 104
    assert all(path.startswith("backbone.stage") and ".conv2.saccade_before." in path for path in found)


def test_a_mechanism_in_every_block_starts_as_the_network_does() -> None:
    net = small("simple_baseline", mechanism="psa[variant=sequential]")
    found = {path: m for path, m in net.named_modules() if isinstance(m, PolarizedSelfAttention)}
    assert [path.removesuffix(".saccade_before.mechanism") for path in found][:2] == [
        "backbone.layer1.0.conv2",
        "backbone.layer1.1.conv2",
    ]
    assert len(found) == 8
    weights = [w.detach().flatten() for m in found.values() for w in m.parameters() if w.dim() > 1]
    assert torch.cat(weights).std().item() == pytest.approx(0.001, rel=0.05)


def test_untrained_convolutions_start_as_the_authors() -> None:
    for name in ("hrnet", "udp_hrnet"):
        net = small(name)
        weights = [m.weight.detach().flatten() for m in net.modules() if isinstance(m, nn.Conv2d)]
        assert torch.cat(weights).std().item() == pytest.approx(0.001, rel=0.05)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("simple_baseline", {"mechanism": "psa"}),
        ("udp_hrnet", {"head": "offset"}),
        whole("hrnet", {"mechanism": "psa"}),
    ],
)
def test_authors_weights_arrive_under_their_names(name: str, options: dict[str, Any]) -> None:
    theirs, ours = small(name, **options), small(name, **options)
    own = theirs.state_dict()
    with torch.no_grad():
        for tensor in own.values():
            if tensor.is_floating_point():
                tensor.uniform_(0.5, 1)
    names = authors_names(theirs)
    report = saccade.load_official(ours, {f"module.{key}": own[name] for key, name in names.items()})
    assert "deep-high-resolution-net" in report.layout.source
    assert len(report.loaded) == len(own)
    torch.testing.assert_close(dict(ours.state_dict()), dict(own), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("name", "options"), [("simple_baseline", {}), whole("udp_hrnet", {"head": "offset"})], ids=["gaussian", "offset"]
)
def test_weights_for_another_number_of_joints_name_the_layer_and_the_number(name: str, options: Any) -> None:
    theirs, ours = small(name, 17, **options), small(name, 14, **options)
    own, before = theirs.state_dict(), {key: tensor.clone() for key, tensor in ours.state_dict().items()}
    with pytest.raises(InputError, match=r"misshapen: final_layer\.weight .* for head\.final\.weight") as caught:
        saccade.load_official(ours, {key: own[name] for key, name in authors_names(theirs).items()})
    assert "made with num_keypoints=17" in str(caught.value.hint)
    torch.testing.assert_close(dict(ours.state_dict()), before, rtol=0, atol=0)


def test_timm_weights_of_an_image_network_start_all_but_the_new_layers(tmp_path: Path) -> None:
    import timm

    given: dict[str, Tensor] = timm.create_model("hrnet_w18_small").state_dict()
    torch.save(given, tmp_path / "hrnet.pth")
    net = small("udp_hrnet", pretrained=str(tmp_path / "hrnet.pth"))
    own = net.backbone.state_dict()
    new = [key for key, tensor in own.items() if not torch.equal(tensor, given.get(key, torch.empty(0)))]
    assert new
    assert all(key.startswith("stage4.") and ".fuse_layers.0." in key for key in new)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("simple_baseline", {"mechanism": "se[reduction=4]", "deconv_channels": 32}),
        whole("udp_hrnet", {"head": "offset"}),
    ],
)
def test_saved_and_loaded_it_is_the_same(name: str, options: dict[str, Any], tmp_path: Path) -> None:
    net, x = small(name, **options).eval(), torch.randn(1, 3, 64, 32)
    again = saccade.load(saccade.save(net, tmp_path / "net.safetensors")).eval()
    assert torch.equal(again(x), net(x))
    assert again.num_keypoints == 5


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: saccade.pose_estimator("hrnett"), r"unknown pose network 'hrnett'\nhint: did you mean hrnet"),
        (lambda: small("hrnet", deconv_layers=2), r"hrnet: unknown option 'deconv_layers'"),
        (lambda: small("udp_hrnet", head="offsets"), r"udp_hrnet: unknown head='offsets'"),
        (
            lambda: small("hrnet", backbone="resnet18"),
            r"expected an HRNet as its backbone; received backbone='resnet18'",
        ),
        (lambda: small("simple_baseline", backbone="resnet19"), r"unknown backbone 'resnet19'"),
        (lambda: small("simple_baseline", deconv_layers=-1), r"`deconv_layers` must be a whole number of at least 1"),
        (lambda: small("simple_baseline", 0), r"`num_keypoints` must be a whole number"),
        (lambda: small("simple_baseline", mechanism="paa"), r"unknown mechanism 'paa'"),
        (
            lambda: small("simple_baseline")(torch.zeros(1, 3, 60, 64)),
            r"sides are multiples of 32; received shape \(1, 3",
        ),
    ],
)
def test_names_what_is_wrong(call: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()


def test_list() -> None:
    assert saccade.list_pose_estimators() == ("simple_baseline", "hrnet", "udp_hrnet")
