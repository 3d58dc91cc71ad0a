"""Whole networks' weights by their authors' names: recognised, converted, or refused with the network as it was."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import saccade
from saccade.official import load_official
from tests.golden import segmenters as segmentation
from tests.golden.networks import authors_names
from tests.suites import everyday

GSOP = "ZilinGao/Global-Second-order-Pooling-Convolutional-Networks"


def made(name: str, num_classes: int = 10, **options: Any) -> nn.Module:
    torch.manual_seed(0)
    return saccade.classifier(name, num_classes, **options)


def on_meta(name: str, num_classes: int = 10, **options: Any) -> nn.Module:
    with torch.device("meta"):
        return saccade.classifier(name, num_classes, **options)


def weights(net: nn.Module, names: str) -> dict[str, Tensor]:
    """The weights of a network as its authors would have saved them."""
    own = net.state_dict()
    return {theirs: own[ours].clone() for theirs, ours in authors_names(net, names).items()}


def snapshot(net: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in net.state_dict().items()}


def whole(*case: Any) -> Any:
    """A case of a network whose like is in the everyday suite in a smaller size."""
    return pytest.param(*case, marks=pytest.mark.full)


@pytest.mark.parametrize(
    ("name", "options", "names", "source"),
    [
        whole("se_resnet34", {"bias": False}, "moskomule", "moskomule/senet.pytorch, implus/PytorchInsight, timm"),
        ("se_resnet20", {}, "moskomule", "moskomule/senet.pytorch, implus/PytorchInsight, timm"),
        whole("se_resnet50", {}, "implus/PytorchInsight", "moskomule/senet.pytorch, implus/PytorchInsight, timm"),
        whole("se_resnet50", {"variant": "timm"}, "timm", "moskomule/senet.pytorch, implus/PytorchInsight, timm"),
        whole("se_resnext50_32x4d", {}, "Cadene", "Cadene/pretrained-models.pytorch"),
        whole("senet154", {}, "Cadene SENet-154", "Cadene/pretrained-models.pytorch (SENet-154)"),
        whole("cbam_resnet34", {}, "Jongchan", "Jongchan/attention-module"),
        ("bam_resnet18", {"stem": "cifar"}, "Jongchan", "Jongchan/attention-module"),
        ("eca_resnet18", {"kernels": "3577"}, "BangguWu", "BangguWu/ECANet"),
        whole("eca_mobilenet_v2", {}, "BangguWu", "BangguWu/ECANet"),
        whole("gsop_net1_resnet50", {"variant": "concat"}, "ZilinGao", GSOP),
        whole("gsop_net2_resnet50", {"variant": "sum"}, "ZilinGao", GSOP),
        whole("gc_resnet50", {"num_classes": 0}, "xvjiarui", "xvjiarui/GCNet, open-mmlab/mmdetection"),
        whole("sk_resnet50", {}, "implus/PytorchInsight SK", "implus/PytorchInsight (SK)"),
        ("skresnet18", {}, "timm SK", "timm (SK)"),
        whole("skresnet50", {}, "timm SK", "timm (SK)"),
        whole("skresnext50_32x4d", {}, "timm SK", "timm (SK)"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_recognises_the_layout(name: str, options: dict[str, Any], names: str, source: str) -> None:
    net = on_meta(name, **options)
    expected = authors_names(net, names)
    report = load_official(net, weights(net, names))
    assert report.layout.source == source
    assert dict(report.loaded) == expected
    assert not report.kept
    assert f"layout of {source}: {len(expected)} tensors loaded" in str(report)


def test_the_weights_arrive() -> None:
    theirs, ours = made("se_resnet20"), saccade.classifier("se_resnet20", 10)
    load_official(ours, weights(theirs, "moskomule"))
    x = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x), rtol=0, atol=0)


def test_our_own_names_and_missing_counters() -> None:
    net = made("se_resnet20")
    state = {name: tensor for name, tensor in net.state_dict().items() if not name.endswith("num_batches_tracked")}
    report = load_official(net, state)
    assert report.layout.source == "saccade"
    assert report.kept
    assert all(name.endswith("num_batches_tracked") for name in report.kept)


def test_takes_off_what_data_parallel_training_puts_round_them(tmp_path: Path) -> None:
    net = made("bam_resnet18")
    state = {f"module.{key}": tensor for key, tensor in weights(net, "Jongchan").items()}
    path = tmp_path / "checkpoint.pth"
    torch.save({"epoch": 3, "best_prec1": 76.0, "state_dict": state}, path)
    report = load_official(net, path)
    assert report.prefix == "module."
    assert set(report.loaded) == set(state)


@pytest.mark.parametrize("prefix", everyday(["module."], ["", "module."]))
def test_a_detector_gives_its_backbone(prefix: str) -> None:
    net = on_meta("gc_resnet50", 0)
    backbone = {f"{prefix}backbone.{key}": tensor for key, tensor in weights(net, "xvjiarui").items()}
    heads = {f"{prefix}neck.convs.0.weight": torch.zeros(3), f"{prefix}bbox_head.fc.bias": torch.zeros(3)}
    report = load_official(net, backbone | heads)
    assert set(report.loaded) == set(backbone)
    assert report.left_out == tuple(heads)
    assert f"{prefix}neck.convs.0.weight left out" in str(report)


MISFITS = [
    pytest.param(
        ("se_resnet20", 10, {"bias": True}),
        ("se_resnet20", 10, {}, "moskomule"),
        r"CifarResNet: the state dict, in the layout of moskomule.*, does not fit; missing: layer1\.0\.bn2\.saccade\.",
        r"it fits SE at layer1\.0\.bn2\.saccade\.mechanism made with .*bias=False",
        id="no biases",
    ),
    pytest.param(
        ("se_resnet20", 10, {}),
        ("se_resnet20", 10, {"bias": True}, "implus/PytorchInsight"),
        r"unexpected: layer1\.0\.se\.",
        r"made with .*bias=True",
        id="biases",
        marks=pytest.mark.full,
    ),
    pytest.param(
        ("se_resnet20", 10, {"reduction": 8}),
        ("se_resnet20", 10, {"reduction": 4}, "moskomule"),
        r"misshapen: layer1\.0\.se\.",
        r"made with .*reduction=4",
        id="reduction",
        marks=pytest.mark.full,
    ),
    pytest.param(
        ("se_resnet20", 100, {}),
        ("se_resnet20", 10, {}, "moskomule"),
        r"misshapen: fc\.weight \(10, 64\) for fc\.weight \(100, 64\)",
        r"its mechanisms fit; the backbone or its number of classes",
        id="classes",
    ),
    pytest.param(
        ("se_resnet20", 10, {}),
        ("se_resnet32", 10, {}, "moskomule"),
        r"unexpected: layer1\.3\.",
        r"its mechanisms fit; the backbone or its number",
        id="depth",
        marks=pytest.mark.full,
    ),
    pytest.param(
        ("eca_resnet18", 10, {"kernels": "3333"}),
        ("eca_resnet18", 10, {"kernels": "3577"}, "BangguWu"),
        r"in the layout of BangguWu/ECANet, does not fit; misshapen: layer2\.0\.eca\.conv\.weight",
        r"it fits ECA at layer2\.0\.bn2\.saccade\.mechanism made with .*k=5",
        id="kernels",
        marks=pytest.mark.full,
    ),
]


@pytest.mark.parametrize(("ours", "theirs", "complaint", "advice"), MISFITS)
def test_refuses_what_does_not_fit(ours: Any, theirs: Any, complaint: str, advice: str) -> None:
    name, num_classes, options = ours
    net = made(name, num_classes, **options)
    before = snapshot(net)
    other, other_classes, other_options, names = theirs
    given = weights(on_meta(other, other_classes, **other_options), names)
    with pytest.raises(saccade.InputError, match=complaint) as caught:
        load_official(net, given)
    assert caught.value.hint is not None
    assert re.search(advice, caught.value.hint), caught.value.hint
    assert len(str(caught.value)) < 4000
    for key, tensor in net.state_dict().items():
        torch.testing.assert_close(tensor, before[key], rtol=0, atol=0)


def test_refuses_another_form_of_the_same_shapes() -> None:
    """The sum of BAM's branches has the released product's tensors, and other numbers."""
    net = on_meta("bam_resnet18", combine="sum")
    with pytest.raises(saccade.InputError, match="the module has combine='sum'") as caught:
        load_official(net, weights(on_meta("bam_resnet18"), "Jongchan"))
    assert "combine='product'" in str(caught.value.hint)


def test_refuses_weights_without_attention() -> None:
    net = on_meta("cbam_resnet18")
    plain = {name: tensor for name, tensor in net.state_dict().items() if ".saccade." not in name}
    with pytest.raises(saccade.InputError, match=r"missing: .*layer1\.0.*and \d+ more"):
        load_official(net, plain)


def segmenter(name: str, **options: Any) -> nn.Module:
    torch.manual_seed(0)
    return saccade.segmenter(name, 4, **options)


@pytest.mark.parametrize(
    ("name", "options", "names", "source"),
    [
        ("danet", {"backbone": "resnet18"}, "junfu1115", "junfu1115/DANet"),
        ("fcn", {"backbone": "resnet18"}, "junfu1115", "junfu1115/DANet"),
        ("flanet", {"backbone": "resnet18"}, "Ilareina", "Ilareina/FullyAttentional"),
        whole("ocr", {"backbone": "hrnet_w18_small"}, "DeLightCMU", "DeLightCMU/PSA"),
        whole("psa_ocr", {"backbone": "hrnet_w18_small"}, "DeLightCMU", "DeLightCMU/PSA"),
        whole(
            "psa_ocr",
            {"backbone": "hrnet_w32", "variant": "sequential", "scales": (0.5, 1)},
            "DeLightCMU",
            "DeLightCMU/PSA",
        ),
    ],
    ids=str,
)
@pytest.mark.parametrize("prefix", everyday(["module."], ["", "module."]))
def test_recognises_segmentation_networks(
    name: str, options: dict[str, Any], names: str, source: str, prefix: str
) -> None:
    with torch.device("meta"):
        net = saccade.segmenter(name, 4, **options)
    expected, own = segmentation.authors_names(net, names), net.state_dict()
    given = {
        f"{prefix}{theirs}": torch.empty(segmentation.authors_shape(theirs, own[ours]), device="meta")
        for theirs, ours in expected.items()
    }
    report = load_official(net, given)
    assert report.layout.source == source
    assert dict(report.loaded) == {f"{prefix}{theirs}": ours for theirs, ours in expected.items()}
    assert (report.kept, report.left_out) == ((), ())


def test_the_weights_of_a_segmentation_network_arrive() -> None:
    theirs, ours = segmenter("danet", backbone="resnet18"), saccade.segmenter("danet", 4, backbone="resnet18")
    own = theirs.state_dict()
    given = {key: own[name] for key, name in segmentation.authors_names(theirs, "junfu1115").items()}
    load_official(ours, given)
    x = torch.randn(1, 3, 40, 48)
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("ours", "theirs", "complaint", "advice"),
    [
        (
            {"name": "danet", "backbone": "resnet18", "inner_channels": 64},
            {"name": "danet", "backbone": "resnet18"},
            r"in the layout of junfu1115/DANet, does not fit; misshapen: .*head\.conv5a\.0\.weight",
            r"it fits DANetHead at head made with .*inner_channels=128",
        ),
        (
            {"name": "danet", "backbone": "resnet34"},
            {"name": "danet", "backbone": "resnet18"},
            r"missing: backbone\.layer1\.2\.",
            r"its mechanisms fit; the backbone or its number",
        ),
        (
            {"name": "fcn", "backbone": "resnet18"},
            {"name": "danet", "backbone": "resnet18"},
            r"does not fit; missing: head\.block\.conv\.weight.*unexpected: head\.conv5a\.",
            r"",
        ),
    ],
    ids=["width", "depth", "network"],
)
def test_refuses_another_segmentation_network(
    ours: dict[str, Any], theirs: dict[str, Any], complaint: str, advice: str
) -> None:
    net, other = segmenter(**ours), segmenter(**theirs)
    before, own = snapshot(net), other.state_dict()
    given = {key: own[name] for key, name in segmentation.authors_names(other, "junfu1115").items()}
    with pytest.raises(saccade.InputError, match=complaint) as caught:
        load_official(net, given)
    assert re.search(advice, str(caught.value.hint)), caught.value.hint
    for key, tensor in net.state_dict().items():
        torch.testing.assert_close(tensor, before[key], rtol=0, atol=0)


@pytest.mark.full
def test_psa_s_two_forms_are_not_mixed_up() -> None:
    net = segmenter("psa_ocr", backbone="hrnet_w18_small")
    other = segmenter("psa_ocr", backbone="hrnet_w18_small", variant="sequential")
    own = other.state_dict()
    given = {key: own[name] for key, name in segmentation.authors_names(other, "DeLightCMU").items()}
    with pytest.raises(saccade.InputError, match="in the layout of DeLightCMU/PSA, does not fit") as caught:
        load_official(net, given)
    assert "variant='sequential'" in str(caught.value.hint)
