"""Segmentation networks by name: the sheets' counts, the places of attention, options, one output or several."""

from __future__ import annotations

import functools
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import saccade
from saccade import InputError
from saccade.mechanisms.psa import PolarizedSelfAttention
from saccade.networks.heads import AttentionHead
from saccade.networks.segmentation import Segmenter
from tests.suites import everyday

SMALL = {"psa": "hrnet_w18_small", "ocr": "hrnet_w18_small", "psa_ocr": "hrnet_w18_small"}
OUTPUTS = {"danet": 3, "flanet": 3, "ocr": 2, "psa_ocr": 2}
every_name = pytest.mark.parametrize("name", saccade.list_segmenters())


def small(name: str, num_classes: int = 4, **options: Any) -> Segmenter:
    torch.manual_seed(0)
    return saccade.segmenter(name, num_classes, **{"backbone": SMALL.get(name, "resnet18"), **options})


@functools.cache
def on_meta(name: str, **options: Any) -> Segmenter:
    """Without memory for its weights; the same one for the same arguments, which no test changes."""
    with torch.device("meta"):
        return saccade.segmenter(name, 19, **options)


def params(net: nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


@pytest.mark.parametrize("name", everyday(["danet", "fcn", "flanet", "gcnet"], saccade.list_segmenters()))
def test_one_map_in_evaluation_several_in_training_all_of_the_image_s_size(name: str) -> None:
    net, x = small(name), torch.randn(2, 3, 50, 70)
    assert net.eval()(x).shape == (2, 4, 50, 70)
    outputs = net.train()(x)
    assert [tuple(y.shape) for y in outputs] == [(2, 4, 50, 70)] * OUTPUTS.get(name, 1)
    targets = torch.randint(0, 4, (2, 50, 70))
    total, count = net.loss(outputs, targets)
    assert count == targets.numel()
    total.backward()
    without = [key for key, parameter in net.named_parameters() if parameter.grad is None]
    assert not without


def test_the_prediction_is_the_first_output() -> None:
    for name in ("danet", "flanet", "ocr"):
        net, x = small(name).eval(), torch.randn(1, 3, 40, 48)
        assert torch.equal(net(x), net.logits(x)[0])


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("flanet", {}, 70_002_810),
        ("danet", {"backbone": "resnet50s"}, 47_586_427),
        ("danet", {"backbone": "resnet101", "multi_grid": (4, 8, 16)}, 66_454_779),
        pytest.param("psa_ocr", {"variant": "sequential"}, 75_757_222, marks=pytest.mark.full),
        pytest.param("psa_ocr", {}, 75_757_222 + 970_656, marks=pytest.mark.full),
        pytest.param("psa_ocr", {"variant": "sequential", "scales": (0.5, 1)}, 77_527_974, marks=pytest.mark.full),
    ],
)
def test_counts_of_the_sheets(name: str, options: dict[str, Any], expected: int) -> None:
    assert params(on_meta(name, **options)) == expected


def test_what_the_heads_add() -> None:
    assert params(on_meta("danet").head) == 23_954_619
    assert params(on_meta("danet")) - params(on_meta("dual_nl")) == 2 * 19 * (512 + 1)


@pytest.mark.full
def test_what_psa_adds() -> None:
    plain = params(on_meta("ocr"))
    assert params(on_meta("psa_ocr")) - plain == 6_355_200
    assert params(on_meta("psa_ocr", variant="sequential")) - plain == 5_384_544


@pytest.mark.parametrize(("name", "mechanism"), [("pam", "pam"), ("cs_nl", "cs"), ("gcnet", "gc"), ("a2", "a2")])
def test_named_heads_are_the_one_head_with_a_mechanism(name: str, mechanism: str) -> None:
    named, spelt = small(name), small("head", mechanism=mechanism)
    assert isinstance(named.head, AttentionHead)
    torch.testing.assert_close(dict(named.state_dict()), dict(spelt.state_dict()), rtol=0, atol=0)


def test_the_mechanism_s_options_reach_it() -> None:
    assert small("non_local", variant="gcnet", pairwise="dot_product").head.attention.variant == "gcnet"
    assert small("head", mechanism="psa[variant=sequential]").head.attention.variant == "sequential"
    assert small("flanet", pairing="released", lean=True).attention.pairing == "released"
    with pytest.raises(InputError, match=r"cam: unknown option 'variant'"):
        small("cam", variant="gcnet")


def test_the_head_is_its_formula() -> None:
    """Against torch's own layers in a row."""
    head = AttentionHead(16, 3, "gc[ratio=1/4]", inner_channels=8).double().eval()
    for module in head.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.running_mean, module.running_var, module.weight.data, module.bias.data):
                assert isinstance(tensor, Tensor)
                tensor.uniform_(0.5, 1.5)
    layers = nn.Sequential(
        head.before.conv, head.before.norm, nn.ReLU(), head.attention,
        head.after.conv, head.after.norm, nn.ReLU(), head.classify,
    )  # fmt: skip
    x = torch.randn(2, 16, 5, 7, dtype=torch.float64)
    torch.testing.assert_close(head(x), layers(x))
    assert isinstance(AttentionHead(16, 3, "none").attention, nn.Identity)


@pytest.mark.full
@every_name
def test_norm_layer_is_taken_everywhere(name: str) -> None:
    options = {"mechanism": "fla"} if name == "head" else {}
    net = small(name, norm_layer=partial(nn.GroupNorm, 1), **options)
    own = [m for m in net.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    # Non-local's norm starts the block as the identity and belongs to the mechanism.
    assert len(own) == (1 if name == "non_local" else 0)
    net.train()(torch.randn(1, 3, 32, 32))


def dilations(net: Segmenter, stage: str) -> list[int]:
    found = net.backbone.get_submodule(stage).modules()
    return [m.dilation[0] for m in found if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)]


def test_strides_and_dilations() -> None:
    x = torch.zeros(1, 3, 64, 96)
    for stride in (8, 16, 32):
        (last,) = small("fcn", output_stride=stride).maps(x)
        assert last.shape[2:] == (64 // stride, 96 // stride)
    net = on_meta("danet")
    assert (dilations(net, "layer3"), dilations(net, "layer4")) == ([1, 2, 2, 2, 2, 2], [2, 4, 4])
    net = on_meta("danet", multi_grid=(4, 8, 16))
    assert (dilations(net, "layer3"), dilations(net, "layer4")) == ([1, 2, 2, 2, 2, 2], [4, 8, 16])
    net = on_meta("flanet", backbone="resnet50s")
    assert (dilations(net, "layer3"), dilations(net, "layer4")) == ([2] * 6, [4] * 3)
    net = on_meta("flanet", backbone="resnet50s", output_stride=16)
    assert (dilations(net, "layer3"), dilations(net, "layer4")) == ([1] * 6, [2] * 3)


@pytest.mark.full
def test_psa_is_where_the_authors_have_it() -> None:
    found = [p for p, m in on_meta("psa").named_modules() if isinstance(m, PolarizedSelfAttention)]
    assert len(found) == 104
    assert all(path.startswith("backbone.stage") and ".conv2.saccade_before." in path for path in found)


def test_psa_is_before_the_last_convolution_of_a_bottleneck() -> None:
    found = [p for p, m in on_meta("psa", backbone="resnet50").named_modules() if isinstance(m, PolarizedSelfAttention)]
    assert found[:2] == [f"backbone.layer1.{i}.conv3.saccade_before.mechanism" for i in (0, 1)]
    assert len(found) == 16


def test_psa_starts_as_in_the_authors_segmentation_network() -> None:
    weights = [
        parameter
        for module in small("psa").modules()
        if isinstance(module, PolarizedSelfAttention)
        for parameter in module.parameters()
        if parameter.dim() > 1
    ]
    assert torch.cat([w.detach().flatten() for w in weights]).std().item() == pytest.approx(0.001, rel=0.05)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: small("danett"), r"unknown segmentation network 'danett'\nhint: did you mean danet"),
        (lambda: small("danet", auxilary=1), r"danet: unknown option 'auxilary'"),
        (lambda: small("head", mechanism="seee"), r"unknown mechanism 'seee'"),
        (lambda: small("head", mechanism="se[reductions=2]"), r"se: unknown option 'reductions'"),
        (lambda: small("danet", backbone="resnet19"), r"unknown backbone 'resnet19'\nhint: did you mean .*resnet1"),
        (lambda: small("danet", backbone="vgg11"), r"vgg11 cannot be used at stride 8"),
        (lambda: small("danet", output_stride=4), r"resnet18: unknown output_stride=4"),
        (lambda: small("danet", multi_grid=(4, 8, 16)), r"`multi_grid` must be 2 dilations.*received multi_grid=\(4"),
        (lambda: small("danet", backbone="convnext_atto", multi_grid=(1,)), r"`multi_grid` is for ResNets"),
        (lambda: small("ocr", output_stride=16), r"hrnet_w18_small keeps stride 4 .* received output_stride=16"),
        (lambda: small("ocr", scales=(0.5, 2)), r"`scales` must be different numbers above 0 with 1 among them"),
        (lambda: small("danet", 0), r"`num_classes` must be a whole number"),
        (lambda: small("danet", ohem=1.5), r"`ohem` must be a probability above 0, at most 1; received ohem=1.5"),
        (lambda: small("danet", ohem=0.7, ohem_pixels=0), r"`ohem_pixels` must be a whole number"),
    ],
)
def test_names_what_is_wrong(call: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()


@pytest.mark.parametrize("name", everyday(["danet", "flanet"], ["danet", "psa", "psa_ocr", "flanet"]))
def test_saved_and_loaded_it_is_the_same(name: str, tmp_path: Path) -> None:
    net, x = small(name, dropout=0.2, ohem=0.7).eval(), torch.randn(1, 3, 40, 56)
    again = saccade.load(saccade.save(net, tmp_path / "net.safetensors")).eval()
    assert torch.equal(again(x), net(x))
    assert again.hard == net.hard
    assert again.train()(x)[0].requires_grad


def test_a_backbone_s_weights_from_a_file(tmp_path: Path) -> None:
    import timm

    given = timm.create_model("resnet18").state_dict()
    torch.save(given, tmp_path / "resnet18.pth")
    net = small("flanet", pretrained=str(tmp_path / "resnet18.pth"))
    own = net.backbone.state_dict()
    assert all(torch.equal(tensor, given[key]) for key, tensor in own.items())


@pytest.mark.full  # the mechanisms and the networks after insertion have it too
def test_exports_in_evaluation() -> None:
    net, x = small("danet").eval(), torch.randn(1, 3, 40, 48)
    free = torch.export.Dim.DYNAMIC
    exported = torch.export.export(net, (x,), dynamic_shapes=({2: free, 3: free},)).module()
    other = torch.randn(1, 3, 56, 40)
    torch.testing.assert_close(exported(other), net(other), rtol=1e-4, atol=1e-4)


@pytest.mark.full
def test_mechanisms_go_into_the_backbone_as_into_any_network() -> None:
    net, x = small("danet").eval(), torch.randn(1, 3, 40, 48)
    before = net(x)
    saccade.insert(net, "se", at="backbone.layer4.*.bn2")
    assert len(net.saccade_report.places) == 2
    assert torch.equal(net(x), before)
    saccade.verify(small("psa_ocr"))
