"""Backbones with the weights of a local file, carried as timm carries them, and what cannot be used said plainly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor

from saccade import InputError
from saccade.networks.make import is_classifier, make_network

TASKS = ("classification", "segmentation")


def plain(task: str, backbone: str, num_classes: int, **options: Any) -> Any:
    """The network of a backbone without attention, as a comparison has it."""
    if task == "classification":
        return make_network(backbone, num_classes, **options)
    return make_network("fcn", num_classes, backbone=backbone, **options)


def weights_of(backbone: str, **options: Any) -> dict[str, Tensor]:
    """Values that no initialisation draws, so that what was not loaded is seen."""
    draw = torch.Generator().manual_seed(3)
    state = timm.create_model(backbone, **options).state_dict()
    return {k: torch.rand(v.shape, generator=draw) + 5 if v.is_floating_point() else v + 7 for k, v in state.items()}


def saved(path: Path, state: dict[str, Tensor]) -> str:
    save_file({k: v.contiguous() for k, v in state.items()}, path / "weights.safetensors")
    return str(path / "weights.safetensors")


@pytest.mark.full
@pytest.mark.parametrize(
    "backbone", ["resnet18", "convnext_atto", "efficientnet_b0", "xception41", "cs3darknet_focus_s"]
)  # feature networks of every kind that timm makes at stride 8: by list, flattened, its own, by hook, by getter
def test_a_file_gives_segmentation_what_timm_gives(tmp_path: Path, backbone: str) -> None:
    """The reference: timm's own loading of that file into a feature network."""
    file = saved(tmp_path, weights_of(backbone))
    ours = plain("segmentation", backbone, 5, pretrained=file)
    reference = timm.create_model(
        backbone,
        features_only=True,
        out_indices=(-1,),
        output_stride=8,
        pretrained=True,
        pretrained_cfg_overlay={"file": file, "custom_load": False},
    )
    assert min(v.min() for v in reference.state_dict().values()) >= 5
    torch.testing.assert_close(ours.backbone.state_dict(), reference.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize("backbone", ["resnet18", "convnext_atto"])
@pytest.mark.parametrize("classes", [5, 1000])
def test_classification_takes_all_but_a_classifier_of_another_width(
    tmp_path: Path, backbone: str, classes: int
) -> None:
    given = weights_of(backbone)
    own = plain("classification", backbone, classes, pretrained=saved(tmp_path, given)).state_dict()
    fresh = {k for k, v in own.items() if v.shape != given[k].shape or not torch.equal(v, given[k])}
    classifier = timm.get_pretrained_cfg(backbone).classifier
    assert fresh == (set() if classes == 1000 else {f"{classifier}.weight", f"{classifier}.bias"})


@pytest.mark.parametrize("task", TASKS)
def test_a_classifier_of_any_width_and_wrappings_do_no_harm(tmp_path: Path, task: str) -> None:
    given = weights_of("resnet18", num_classes=7)
    state = {f"module.{k}": v for k, v in given.items() if not k.endswith("num_batches_tracked")}
    torch.save({"model": state, "epoch": 3}, tmp_path / "run.BIN")
    own = plain(task, "resnet18", 5, pretrained=str(tmp_path / "run.BIN")).state_dict()
    prefix = "backbone." if task == "segmentation" else ""
    torch.testing.assert_close(own[f"{prefix}layer4.1.conv2.weight"], given["layer4.1.conv2.weight"], rtol=0, atol=0)


def test_what_the_file_holds_beside_the_network_does_no_harm(tmp_path: Path) -> None:
    given = weights_of("resnet18")
    extra = {"AuxLogits.conv.weight": torch.ones(2), "layer1.0.conv1.index": torch.ones(2)}
    own = plain("classification", "resnet18", 1000, pretrained=saved(tmp_path, given | extra)).state_dict()
    torch.testing.assert_close(dict(own), given, rtol=0, atol=0)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(
    ("other", "backbone", "message"),
    [
        (
            "resnet50",
            "resnet18",
            r"weights of resnet18: \d+ of 122 .* missing or of another shape, .* layer1.0.conv1.w",
        ),
        (
            "resnet18",
            "convnext_atto",
            r"weights of convnext_atto: 126 of 128 tensors .* are stem.0.weight, stem.0.bias",
        ),
        pytest.param(
            "resnet34",
            "resnet18",
            r"weights of resnet18: 80 of 218 tensors .* not its own, .* layer1.2.bn1.bias",
            marks=pytest.mark.full,
        ),
    ],
)
def test_the_file_of_another_network_is_refused(
    tmp_path: Path, task: str, other: str, backbone: str, message: str
) -> None:
    file = saved(tmp_path, weights_of(other))
    with pytest.raises(InputError, match=message):
        plain(task, backbone, 5, pretrained=file)


def test_one_missing_tensor_is_named_as_in_the_file(tmp_path: Path) -> None:
    state = weights_of("convnext_atto")
    del state["stages.1.blocks.0.norm.weight"]
    with pytest.raises(InputError, match=r"1 of \d+ tensors .* stages.1.blocks.0.norm.weight"):
        plain("segmentation", "convnext_atto", 5, pretrained=saved(tmp_path, state))


def test_a_network_with_more_tensors_at_stride_8_is_not_left_half_random(tmp_path: Path) -> None:
    """Its last stage, dilated, needs a shortcut that no file of gernet_m has; timm would leave it random in silence."""
    with pytest.raises(InputError, match=r"gernet_m at stride 8 has \d+ tensors .*shortcut"):
        plain("segmentation", "gernet_m", 5, pretrained=saved(tmp_path, weights_of("gernet_m")))


def test_a_file_does_not_change_what_is_drawn(tmp_path: Path) -> None:
    """The head gets the numbers it gets without a file."""
    heads = []
    for pretrained in (False, saved(tmp_path, weights_of("resnet18"))):
        torch.manual_seed(1)
        heads.append(plain("segmentation", "resnet18", 5, pretrained=pretrained).head.state_dict())
    torch.testing.assert_close(heads[0], heads[1], rtol=0, atol=0)


@pytest.mark.parametrize("backbone", ["densenet121", "vgg11", "inception_v3"])
def test_a_convolutional_backbone_without_stride_8(backbone: str) -> None:
    with pytest.raises(InputError) as caught:
        plain("segmentation", backbone, 5)
    assert caught.value.message == f"{backbone} cannot be used at stride 8, which segmentation needs"
    assert caught.value.hint == "choose another backbone, such as resnet18, resnet50 or regnety_008"


@pytest.mark.parametrize("backbone", ["vit_tiny_patch16_224", "mixer_s16_224", "swin_tiny_patch4_window7_224"])
def test_a_backbone_that_is_not_convolutional(backbone: str) -> None:
    with pytest.raises(InputError) as caught:
        plain("segmentation", backbone, 5)
    assert (
        caught.value.message
        == f"{backbone} cannot be used at stride 8, which segmentation needs: it is not convolutional"
    )
    assert caught.value.hint == "choose another backbone, such as resnet18, resnet50 or regnety_008"


def test_the_backbones_of_the_hint_can() -> None:
    for backbone in ("resnet18", "resnet50", "regnety_008"):
        with torch.device("meta"):
            out = plain("segmentation", backbone, 5).eval()(torch.zeros(1, 3, 32, 32))
        assert out.shape == (1, 5, 32, 32)


def test_an_unknown_backbone() -> None:
    with pytest.raises(InputError, match=r"unknown backbone 'resnet19'\nhint: did you mean .*resnet1"):
        plain("segmentation", "resnet19", 5)


def test_the_demo_has_a_name() -> None:
    net = make_network("notes", 11, mechanism="se", at="block1.bn2")
    assert net(torch.zeros(2, 3, 96, 96)).shape == (2, 11, 24, 24)
    assert len(net.saccade_report.places) == 1


def test_fcn_takes_a_mechanism_where_it_goes() -> None:
    """Places lie in the whole network, and it starts as the identity."""
    made = {}
    for mechanism in (None, "pam"):
        torch.manual_seed(0)
        made[mechanism] = make_network("fcn", 5, backbone="test_resnet", mechanism=mechanism).eval()
    x = torch.randn(2, 3, 40, 48)
    torch.testing.assert_close(made["pam"](x), made[None](x), rtol=0, atol=0)
    at = "head.block, backbone.layer3.*.bn2"
    own = make_network("fcn", 5, backbone="test_resnet", mechanism="se", at=at)
    places = [place.name for place in own.saccade_report.places]
    assert {name.partition(".")[0] for name in places} == {"head", "backbone"}


def test_names_that_are_of_no_network_are_no_classifiers() -> None:
    assert [is_classifier(n) for n in ("se_resnet50[stride=caffe]", "cbam_test_resnet", "resnet18", "nothing")] == [
        True, True, False, False,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("network", "options", "message"),
    [
        ("resnet19", {}, r"unknown network 'resnet19'\nhint: did you mean .*resnet1"),
        ("dannet", {}, r"unknown network 'dannet'\nhint: did you mean danet"),
        ("resnet18", {"backbone": "resnet18"}, "--backbone resnet18: the network resnet18 has no head"),
        ("resnet18", {"at": "stage"}, "--at gives the places of a mechanism, but none was given"),
        ("se_resnet20", {"at": "stage"}, "--at stage: the network se_resnet20 contains its own"),
        ("fcn", {"at": "stage"}, "--at gives the places of a mechanism, but none was given"),
        ("danet", {"at": "stage"}, "--at stage: danet has its mechanism in its head"),
        ("danet", {"mechanism": "se"}, "--mechanism se: the network danet contains its own"),
        ("head", {"mechanism": "se", "at": "stage"}, "--at stage: head has its mechanism in its head"),
        ("notes", {"backbone": "resnet18"}, "--backbone resnet18: the network notes has no head"),
        ("notes", {"pretrained": True}, "notes, a demo's network, has no trained weights"),
    ],
)
def test_what_makes_no_network(network: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_network(network, 5, **options)
