"""HRNet's branches fused bilinearly, at any size; OCR over several scales."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
from torch import Tensor
from torch.nn import functional as F

import saccade
from saccade.networks.high_resolution import BilinearFusion, joined
from saccade.networks.ocrnet import MultiScaleOCRNet


def bilinear(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, like.shape[2:], mode="bilinear", align_corners=False)


def test_fuses_bilinearly_to_the_size_of_each_branch() -> None:
    torch.manual_seed(0)
    theirs: Any = timm.create_model("hrnet_w18_small", features_only=True, feature_location="").stage3[0].eval()
    widths, sizes = (16, 32, 64), ((13, 19), (7, 10), (4, 5))
    maps = [torch.randn(2, width, *size) for width, size in zip(widths, sizes, strict=True)]
    branches = [branch(x.clone()) for branch, x in zip(theirs.branches, maps, strict=True)]
    expected = []
    for i, row in enumerate(theirs.fuse_layers):
        total = torch.zeros_like(branches[i])
        for j, layer in enumerate(row):
            if j > i:
                total = total + bilinear(layer[1](layer[0](branches[j])), branches[i])
            else:
                total = total + layer(branches[j])
        expected.append(total.relu())
    found = BilinearFusion(theirs)([x.clone() for x in maps])
    for y, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(y, wanted)


def test_names_are_those_of_timm() -> None:
    plain = timm.create_model("hrnet_w18_small", features_only=True, feature_location="")
    ours = saccade.segmenter("ocr", 3, backbone="hrnet_w18_small").backbone
    assert list(ours.state_dict()) == list(plain.state_dict())


def test_joins_all_maps_but_the_stem_s_at_stride_4() -> None:
    net, x = saccade.segmenter("fcn", 3, backbone="hrnet_w18_small").eval(), torch.randn(1, 3, 70, 100)
    (joint,) = net.maps(x)
    assert joint.shape == (1, 16 + 32 + 64 + 128, 18, 25)
    maps = net.backbone(x)
    torch.testing.assert_close(joint[:, -128:], bilinear(maps[3], maps[0]))
    torch.testing.assert_close(joined(maps)[:, :16], maps[0], rtol=0, atol=0)


def multi_scale(scales: tuple[float, ...]) -> MultiScaleOCRNet:
    torch.manual_seed(0)
    net = saccade.segmenter("ocr", 3, backbone="hrnet_w18_small", inner_channels=8, key_channels=4, scales=scales)
    assert isinstance(net, MultiScaleOCRNet)
    return net.double().eval()


def test_scales_are_weighed_from_the_largest_to_the_smallest() -> None:
    net, x = multi_scale((2, 0.5, 1)), torch.randn(1, 3, 33, 47, dtype=torch.float64)
    (p2, _, _), (p1, _, a1), (p05, _, a05) = (net.at_scale(x, scale) for scale in (2, 1, 0.5))
    assert p05.shape[2:] == (16, 23)
    joint = a1 * p1 + (1 - a1) * bilinear(p2, p1)
    joint = bilinear(a05 * p05, p1) + (1 - bilinear(a05, p1)) * joint
    torch.testing.assert_close(net(x), joint)
    net.scales = (1,)
    torch.testing.assert_close(net(x), p1)


def test_coarse_logits_are_weighed_with_the_same_weights() -> None:
    net, x = multi_scale((0.5, 1)), torch.randn(1, 3, 32, 48, dtype=torch.float64)
    (_, c1, _), (_, c05, a05) = (net.at_scale(x, scale) for scale in (1, 0.5))
    expected = bilinear(a05 * c05, c1) + (1 - bilinear(a05, c1)) * c1
    torch.testing.assert_close(net.logits(x)[1], expected)
    net.scales = (0.5, 2)
    with pytest.raises(saccade.InputError, match="with 1 among them"):
        net(x)
