"""Backbones of the user's own: called as timm's functions are, for classes and for maps."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import saccade
from saccade.catalog import name_code
from saccade.errors import InputError
from saccade.networks.own import own_classifier, own_features
from tests.catalog.code import own_code

__all__ = ["own_code"]
MAKE = "my_package.nets:make"


@pytest.fixture(autouse=True)
def named(own_code: Path) -> None:
    for name in ("make", "plain", "not_a_network", "one_map", "broken"):
        name_code(f"my_package.nets:{name}")


def test_a_classifier_has_the_classes_and_options_that_were_asked_for() -> None:
    net = own_classifier(f"{MAKE}[width=16]", 5)
    assert net(torch.zeros(2, 3, 32, 32)).shape == (2, 5)
    assert net.stem[0].out_channels == 16


@pytest.mark.parametrize("name", ["fcn", "danet"])
def test_a_segmentation_head_reads_its_last_map(name: str) -> None:
    net = saccade.segmenter(name, 4, backbone=f"{MAKE}[width=16]").eval()
    assert net(torch.zeros(1, 3, 40, 48)).shape == (1, 4, 40, 48)


def test_its_norms_are_replaced_where_that_is_asked_for() -> None:
    features = own_features(MAKE, norm_layer=lambda width: nn.GroupNorm(2, width))
    assert not any(isinstance(module, nn.BatchNorm2d) for module in features.modules())
    assert features.training


def test_a_segmenter_on_it_is_saved_and_loaded(tmp_path: Path) -> None:
    net = saccade.insert(saccade.segmenter("fcn", 4, backbone=MAKE), "se", at="residual")
    path = saccade.save(net, tmp_path / "net.safetensors")
    with pytest.raises(InputError, match=r"my_package.nets:make"):
        saccade.load(path)
    assert saccade.load(path, trust=MAKE).state_dict().keys() == net.state_dict().keys()


def test_a_network_that_a_function_builds_is_saved_with_its_path(tmp_path: Path, own_code: Path) -> None:
    from my_package.nets import make

    net = saccade.insert(make(num_classes=3, width=4), "se", at="residual", example_input=torch.empty(1, 3, 32, 32))
    recipe = {"library": "code", "name": MAKE, "options": {"num_classes": 3, "width": 4}}
    path = saccade.save(net, tmp_path / "net.safetensors", network=recipe)
    assert saccade.load(path, trust=[make]).stem[0].out_channels == 4
    with pytest.raises(InputError, match="builds another network"):
        saccade.save(net, path, network={**recipe, "options": {}})


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        ("plain", {}, r"plain\(num_classes=5\) raised TypeError[\s\S]*called with num_classes= to classify"),
        ("not_a_network", {}, r"returned a str; expected a torch\.nn\.Module"),
        ("broken", {}, r"broken\(num_classes=5\) raised ValueError: no such depth"),
        ("make[depth=3]", {}, r"make\(num_classes=5, depth=3\) raised TypeError"),
        ("make", {"pretrained": True}, r"--pretrained: .* does not take trained weights this way"),
        ("make", {"pretrained": "weights.pth"}, r"--pretrained weights.pth"),
    ],
)
def test_what_a_classifier_gets_wrong_is_said(make: str, options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        own_classifier(f"my_package.nets:{make}", 5, **options)


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        ("one_map", {}, r"must return a list of feature maps .* it returned a tensor of shape \(1, 8, 126, 126\)"),
        ("broken", {}, r"raised TypeError"),
        ("make", {"output_stride": 8}, r"output_stride=8 is for networks of timm"),
        ("make", {"multi_grid": (1, 2)}, r"multi_grid=\(1, 2\) is for networks of timm"),
    ],
)
def test_what_a_feature_network_gets_wrong_is_said(make: str, options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        own_features(f"my_package.nets:{make}", **options)
