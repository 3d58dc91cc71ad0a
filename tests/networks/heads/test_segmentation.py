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
from tests.mechanisms.randomised import SIZES, equal, random_map

HEADS: dict[str, Any] = {
    "danet": partial(DANetHead, 16, num_classes=5),
    "flanet": partial(FLANetHead, 16, 8, num_classes=5),
    "ocr": partial(OCRHead, 16, num_classes=5, inner_channels=12, key_channels=6),
}
every_size = pytest.mark.parametrize("size", SIZES, ids=str)
every_head = pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)


def listed(output: Any) -> list[torch.Tensor]:
    return list(output) if isinstance(output, tuple) else [output]


def randomised(head: Any) -> Any:
    """In float64 and evaluation, with statistics and factors that are not those of the start."""
    torch.manual_seed(0)
    for module in head.double().eval().modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.running_mean, module.running_var, module.weight.data, module.bias.data):
                tensor.uniform_(0.5, 1.5)
    return head


def linear(conv: Any, x: torch.Tensor) -> torch.Tensor:
    """A 1x1 convolution, written out."""
    return torch.einsum("oc,bchw->bohw", conv.weight[:, :, 0, 0], x) + conv.bias.view(-1, 1, 1)


def block(made: Any, x: torch.Tensor) -> torch.Tensor:
    """Convolution, batch norm in evaluation, relu, written out but for the windows of the convolution."""
    norm, side = made.norm, made.conv.kernel_size[0]
    windows = F.unfold(x, side, padding=side // 2)
    y = made.conv.weight.flatten(1) @ windows
    y = y if made.conv.bias is None else y + made.conv.bias[:, None]
    y = (y - norm.running_mean[:, None]) / (norm.running_var[:, None] + 1e-5).sqrt()
    return (y * norm.weight[:, None] + norm.bias[:, None]).clamp(min=0).view(len(x), -1, *x.shape[2:])


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


@pytest.mark.full  # the mechanisms and the networks after insertion have it too
@pytest.mark.parametrize("head", [*HEADS.values(), partial(HEADS["ocr"], scale=2)], ids=[*HEADS, "ocr-scale2"])
def test_compiles_whole_and_exports_with_free_height_and_width(head: Any) -> None:
    made, free = head().eval(), torch.export.Dim.DYNAMIC
    exported = torch.export.export(made, (torch.randn(2, 16, 6, 7),), dynamic_shapes=({2: free, 3: free},)).module()
    compiled = torch.compile(made, fullgraph=True, backend="aot_eager", dynamic=True)
    for size in ((6, 7), (9, 4)):
        x = torch.randn(2, 16, *size)
        torch.testing.assert_close(listed(exported(x)), listed(made(x)))
        torch.testing.assert_close(listed(compiled(x)), listed(made(x)))


@every_head
def test_names_what_is_wrong(head: Any) -> None:
    label = head.func.label
    for wrong in ((2, 15, 4, 4), (16, 4, 4)):
        with pytest.raises(
            InputError, match=rf"^{label}: expected a feature map \(B, 16, H, W\); received shape \({wrong[0]}"
        ):
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


@every_size
def test_danet_is_its_formula(size: tuple[int, int]) -> None:
    head, x = randomised(DANetHead(8, 3, inner_channels=4)), random_map(8, size)
    head.position.gamma.data.fill_(0.7)
    head.channel.gamma.data.fill_(-0.6)
    a, c = block(head.position_in, x), block(head.channel_in, x)
    query, key, value = (linear(conv, a) for conv in (head.position.query, head.position.key, head.position.value))
    similar = torch.einsum("bdhw,bdij->bhwij", query, key).exp()
    similar = similar / similar.sum(dim=(3, 4), keepdim=True)
    p = block(head.position_out, 0.7 * torch.einsum("bhwij,bcij->bchw", similar, value) + a)
    energy = (-torch.einsum("bchw,bdhw->bcd", c, c)).softmax(dim=2)
    q = block(head.channel_out, -0.6 * torch.einsum("bcd,bdhw->bchw", energy, c) + c)
    expected = [linear(head.classify, p + q), linear(head.classify_position, p), linear(head.classify_channel, q)]
    for output, wanted in zip(head(x), expected, strict=True):
        equal(output, wanted)


@every_size
def test_flanet_is_its_formula_on_repeated_positions(size: tuple[int, int]) -> None:
    head, x = randomised(FLANetHead(4, 3, 2)), random_map(4, size)
    repeated = x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    equal(head(x), linear(head.classify, block(head.block, repeated)))


@every_size
def test_ocr_is_its_formula(size: tuple[int, int]) -> None:
    head, x = randomised(OCRHead(8, 3, inner_channels=6, key_channels=4)), random_map(8, size)
    features, coarse = block(head.features, x), linear(head.coarse, block(head.coarse_in, x))
    belongs = coarse.exp() / coarse.exp().sum(dim=(2, 3), keepdim=True)
    objects = torch.einsum("bkhw,bchw->bck", belongs, features)[..., None]
    attend = head.attention
    query = block(attend.query[1], block(attend.query[0], features))
    key = block(attend.key[1], block(attend.key[0], objects))[..., 0]
    similar = (torch.einsum("bdhw,bdk->bkhw", query, key) / 2).softmax(dim=1)  # 2: the root of 4 channels
    context = torch.einsum("bkhw,bdk->bdhw", similar, block(attend.value, objects)[..., 0])
    fused = block(head.fuse, torch.cat([block(attend.project, context), features], dim=1))
    for output, wanted in zip(head(x), [linear(head.classify, fused), coarse, fused], strict=True):
        equal(output, wanted)


def test_gathers_the_mean_of_the_pixels_of_each_class() -> None:
    features, logits = random_map(4, (3, 5)), random_map(2, (3, 5))
    found = SpatialGather(scale=2.0)(features, logits)
    for b in range(2):
        for k in range(2):
            weight = (2 * logits[b, k]).exp()
            expected = (features[b] * weight).sum(dim=(1, 2)) / weight.sum()
            torch.testing.assert_close(found[b, :, k, 0], expected)
    with pytest.raises(
        InputError, match=r"SpatialGather: expected features .* of one batch and size; received .*\(2, 2, 3"
    ):
        SpatialGather()(features, logits[..., 1:])
    with pytest.raises(InputError, match=r"SpatialGather: expected features .* of one batch .* received .*\(1, 2, 3"):
        SpatialGather()(features, logits[:1])
    with pytest.raises(InputError, match=r"SpatialGather: `scale` must be a finite number above 0; received scale=0"):
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


@pytest.mark.parametrize("shape", [(1, 8, 3, 1), (2, 7, 3, 1), (2, 8, 3, 2), (2, 8, 3)], ids=str)
def test_object_attention_names_class_vectors_it_cannot_take(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"ObjectAttention.*: expected .*8.* received shape") as error:
        ObjectAttention(8, 4)(torch.zeros(2, 8, 3, 5), torch.zeros(shape))
    assert str(shape) in str(error.value)


def test_ocr_speaks_for_its_attention() -> None:
    for wrong in ({"key_channels": 0}, {"scale": 0}, {"align_corners": "yes"}):
        with pytest.raises(InputError, match=rf"^OCRHead: .*{next(iter(wrong))}"):
            HEADS["ocr"](**wrong)


def test_coarse_logits_of_ocr_learn_through_the_gather() -> None:
    head, x = HEADS["ocr"]().double(), random_map(16, (4, 4))
    head(x)[0].sum().backward()
    assert head.coarse.weight.grad.any()
