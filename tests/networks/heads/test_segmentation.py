"""DANet's, FLANet's and OCR's heads have the authors' sizes and shapes, and say what they cannot take."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from saccade import InputError, load_official
from saccade.networks.heads import DANetHead, FLANetHead, ObjectAttention, OCRHead, SpatialGather
from tests.mechanisms.randomised import random_map

HEADS: dict[str, Any] = {
    "danet": partial(DANetHead, 16, num_classes=5),
    "flanet": partial(FLANetHead, 16, 8, num_classes=5),
    "ocr": partial(OCRHead, 16, num_classes=5, inner_channels=12, key_channels=6),
}
every_head = pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)


def listed(output: Any) -> list[torch.Tensor]:
    return list(output) if isinstance(output, tuple) else [output]


def test_danet_has_the_parameters_of_the_released_head() -> None:
    with torch.device("meta"):
        assert sum(p.numel() for p in DANetHead(2048, 19).parameters()) == 23_954_619


@every_head
def test_norm_layer_is_taken_everywhere(head: Any) -> None:
    made = head(norm_layer=partial(nn.GroupNorm, 2))
    assert not any(isinstance(module, nn.BatchNorm2d) for module in made.modules())
    made.train()(torch.randn(1, 16, 4, 4))
    with pytest.raises(TypeError, match="`norm_layer` must make a norm from a width"):
        head(norm_layer="BatchNorm2d")


@every_head
def test_drops_whole_channels_in_training_only(head: Any) -> None:
    torch.manual_seed(0)
    made, x = head(dropout=0.5, norm_layer=nn.Identity), torch.randn(2, 16, 4, 4)
    assert not torch.equal(listed(made(x))[0], listed(made(x))[0])
    made.eval()
    assert torch.equal(listed(made(x))[0], listed(made(x))[0])
    with pytest.raises(InputError, match=r"`dropout` must be at least 0 and below 1; received dropout=1"):
        head(dropout=1)


@every_head
def test_exports_with_free_height_and_width(head: Any) -> None:
    made, free = head().eval(), torch.export.Dim.DYNAMIC
    exported = torch.export.export(made, (torch.randn(2, 16, 6, 7),), dynamic_shapes=({2: free, 3: free},)).module()
    x = torch.randn(2, 16, 9, 4)
    torch.testing.assert_close(listed(exported(x)), listed(made(x)))


@every_head
def test_names_what_is_wrong(head: Any) -> None:
    label = head.func.label
    for wrong in ((2, 15, 4, 4), (16, 4, 4)):
        with pytest.raises(InputError, match=rf"^{label}: expected a map \(B, 16, H, W\); received shape \({wrong[0]}"):
            head()(torch.zeros(wrong))
    with pytest.raises(InputError, match=rf"^{label}: `num_classes` must be .* received num_classes=0"):
        head(num_classes=0)


@every_head
def test_a_misfit_names_the_options_that_fit_and_changes_nothing(head: Any) -> None:
    made = head()
    before = {name: tensor.clone() for name, tensor in made.state_dict().items()}
    other = head.func(*head.args, **head.keywords | {"num_classes": 7})
    with pytest.raises(InputError, match="misshapen") as error:
        load_official(made, other.state_dict())
    assert "num_classes=7" in str(error.value)
    assert all(torch.equal(tensor, before[name]) for name, tensor in made.state_dict().items())
    head.func(**head.func.fitting(other.state_dict())).load_state_dict(other.state_dict())


def test_flanet_doubles_by_repeating() -> None:
    head, x = FLANetHead(4, 3, 2).eval(), torch.randn(1, 4, 3, 5)
    repeated = x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    torch.testing.assert_close(head(x), head.classify(head.block(repeated)))


def test_gathers_the_mean_of_the_pixels_of_each_class() -> None:
    features, logits = random_map(4, (3, 5)), random_map(2, (3, 5))
    found = SpatialGather(scale=2.0)(features, logits)
    for b in range(2):
        for k in range(2):
            weight = (2 * logits[b, k]).exp()
            expected = (features[b] * weight).sum(dim=(1, 2)) / weight.sum()
            torch.testing.assert_close(found[b, :, k, 0], expected)
    with pytest.raises(InputError, match=r"SpatialGather: expected features .* of one size; received .*\(2, 2, 3"):
        SpatialGather()(features, logits[..., 1:])
    with pytest.raises(InputError, match=r"SpatialGather: `scale` must be a number above 0; received scale=0"):
        SpatialGather(scale=0)


@pytest.mark.parametrize("align_corners", [False, True])
def test_object_attention_pools_the_pixels_and_enlarges_the_result(align_corners: bool) -> None:
    torch.manual_seed(0)
    one, two = (ObjectAttention(8, 4, scale=s, align_corners=align_corners).double().eval() for s in (1, 2))
    two.load_state_dict(one.state_dict())
    features, objects = random_map(8, (5, 7)), random_map(8, (3, 1))
    small = one(F.max_pool2d(features, 2), objects)
    expected = F.interpolate(small, (5, 7), mode="bilinear", align_corners=align_corners)
    torch.testing.assert_close(two(features, objects), expected)
    weights = two.attention(features, objects)
    assert weights.shape == (2, 6, 3)
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(2, 6, dtype=torch.float64))
    with pytest.raises(InputError, match=r"^ObjectAttention: a map of 1 x 7 cannot be pooled by 2"):
        two(features[:, :, :1], objects)


def test_coarse_logits_of_ocr_learn_through_the_gather() -> None:
    head, x = HEADS["ocr"]().double(), random_map(16, (4, 4))
    head(x)[0].sum().backward()
    assert head.coarse.weight.grad.any()
