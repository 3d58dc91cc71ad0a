"""What people do with a network after inserting works as before: export, compile, copies, checkpointing, features."""

import copy

import pytest
import segmentation_models_pytorch as smp
import timm
import torch
import torchvision
from timm.utils import ModelEmaV3
from torch import nn
from torch.optim.swa_utils import AveragedModel

import saccade
from saccade.insertion import attachments
from tests.insertion.test_inserting import lively, run, same
from tests.suites import everyday

SIDE = 64
FAMILIES = {
    "resnet": ("test_resnet", "residual"),
    "efficientnet": ("test_efficientnet", "stage"),
    "convnext, before drop path": ("test_convnext", "residual"),
    "mambaout, channels last": ("test_mambaout", "residual"),
    "nfnet": ("test_nfnet", "inner"),
    "byob": ("test_byobnet", "block"),
    "vovnet": ("ese_vovnet19b_slim_dw", "stage"),
}


def pair(name, at, mechanism="cbam"):
    """A network with random norms, and a copy with the mechanism."""
    plain = lively(timm.create_model(name, num_classes=5))
    for key, parameter in plain.named_parameters():
        if key.endswith("gain"):  # NFNets start the gain at the end of a branch at zero
            nn.init.ones_(parameter)
    return plain, saccade.insert(copy.deepcopy(plain), mechanism, at=at)


EVERYDAY = ("resnet",)


@pytest.fixture(params=everyday(EVERYDAY, FAMILIES), scope="module")
def networks(request):
    return pair(*FAMILIES[request.param])


@pytest.fixture
def x():
    return torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(5))


def awake(model):
    """A copy whose mechanisms have an effect."""
    model = copy.deepcopy(model).eval()
    for attachment in attachments(model).values():
        if attachment.g is not None:
            nn.init.constant_(attachment.g, 0.5)
    return model


def test_equal_in_both_modes_and_loading(networks, x):
    plain, model = networks
    for training in (False, True):
        ours, theirs = copy.deepcopy(model), copy.deepcopy(plain)
        assert same(run(ours, x, training), run(theirs, x, training))
        state = theirs.state_dict()
        assert all(torch.equal(ours.state_dict()[key], value) for key, value in state.items())
    missing, unexpected = copy.deepcopy(model).load_state_dict(plain.state_dict(), strict=False)
    assert not unexpected
    assert all(".saccade" in key for key in missing)
    assert not same(run(awake(model), x, False), run(copy.deepcopy(plain), x, False))


def test_removed_it_is_the_network_it_was(networks, x):
    plain, model = networks
    bare = saccade.remove(copy.deepcopy(model))
    assert list(bare.state_dict()) == list(plain.state_dict())
    assert [type(m) for m in bare.modules()] == [type(m) for m in plain.modules()]
    assert same(run(bare, x, False), run(copy.deepcopy(plain), x, False))


def test_compiles_without_a_break(networks, x):
    model = awake(networks[1])
    torch._dynamo.reset()
    with torch.no_grad():
        compiled = torch.compile(model, fullgraph=True, backend="eager")(x)
        torch.testing.assert_close(compiled, model(x), rtol=1e-5, atol=1e-5)


def test_exports(networks, x):
    model = awake(networks[1])
    with torch.no_grad():
        exported = torch.export.export(model, (x,)).module()
        torch.testing.assert_close(exported(x), model(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("average", [lambda m: ModelEmaV3(m, decay=0.5).module, lambda m: AveragedModel(m).module])
def test_moving_averages_run_their_own(average, x):
    model = awake(pair("test_resnet", "residual")[1])
    kept = average(model)
    expected = model(x)
    assert torch.equal(kept.eval()(x), expected)
    for attachment in attachments(model).values():
        nn.init.zeros_(attachment.g)
    assert torch.equal(kept(x), expected)
    assert not torch.equal(model(x), expected)


def test_gradient_checkpointing_has_equal_gradients(x):
    def gradients(checkpointing):
        model = awake(pair("test_resnet", "residual")[1]).train()
        model.set_grad_checkpointing(checkpointing)
        torch.manual_seed(2)
        model(x).square().mean().backward()
        return {name: p.grad for name, p in model.named_parameters()}

    torch.manual_seed(0)
    one = gradients(False)
    torch.manual_seed(0)
    other = gradients(True)
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("name", ["test_resnet", "test_convnext", "mobilenetv3_small_050"])
def test_feature_networks(name, x):
    plain = lively(timm.create_model(name, features_only=True)).eval()
    model = saccade.insert(copy.deepcopy(plain), "se", at="stage", start="paper")
    levels = [p.stride for p in model.saccade_report.places]
    assert len(levels) >= 4
    ours, theirs = model(x), plain(x)
    assert [f.shape for f in ours] == [f.shape for f in theirs]
    assert not torch.equal(ours[-1], theirs[-1])
    saccade.remove(model)
    assert same(model(x), theirs)


SEGMENTERS = {
    "deeplabv3": lambda: torchvision.models.segmentation.deeplabv3_mobilenet_v3_large(
        weights=None, weights_backbone=None, num_classes=4
    ),
    "lraspp": lambda: torchvision.models.segmentation.lraspp_mobilenet_v3_large(weights=None, weights_backbone=None),
    **{
        name: lambda name=name: smp.create_model(name, "resnet18", encoder_weights=None, classes=3)
        for name in ("unet", "unetplusplus", "linknet", "fpn", "pan", "deeplabv3plus")
    },
    "unet on regnet": lambda: smp.create_model("unet", "tu-regnety_002", encoder_weights=None),
}


@pytest.mark.parametrize("name", everyday(["deeplabv3", "unet", "unet on regnet"], SEGMENTERS))
def test_segmenters_get_it_in_the_backbone(name):
    plain = lively(SEGMENTERS[name]())
    model = saccade.insert(copy.deepcopy(plain), "se", at=["residual", "stage"])
    places = model.saccade_report.places
    assert len(places) >= 8
    assert all(place.name.startswith(("backbone.", "encoder.")) for place in places)
    x = torch.randn(2, 3, 128, 160)
    assert same(maps(model, x), maps(plain, x))
    assert list(saccade.remove(model).state_dict()) == list(plain.state_dict())


def maps(model, x):
    with torch.no_grad():
        found = model.eval()(x)
    return list(found.values()) if isinstance(found, dict) else [found]


def detector(name):
    return getattr(torchvision.models.detection, name)(weights=None, weights_backbone=None, num_classes=3)


@pytest.mark.full
@pytest.mark.parametrize(
    ("name", "residual", "stages"),
    [
        ("fasterrcnn_mobilenet_v3_large_320_fpn", 10, 5),
        pytest.param("maskrcnn_resnet50_fpn", 16, 5, marks=pytest.mark.full),
        pytest.param("keypointrcnn_resnet50_fpn", 16, 5, marks=pytest.mark.full),
        pytest.param("retinanet_resnet50_fpn", 16, 5, marks=pytest.mark.full),
        pytest.param("fcos_resnet50_fpn", 16, 5, marks=pytest.mark.full),
        pytest.param("ssd300_vgg16", 0, 9, marks=pytest.mark.full),
        ("ssdlite320_mobilenet_v3_large", 10, 8),
    ],
)
@pytest.mark.filterwarnings("ignore:.*not used. places after the step:saccade.errors.SaccadeWarning")
def test_detectors_are_traced_as_far_as_their_maps_go(name, residual, stages):
    with torch.device("meta"):
        model = detector(name)
    planned = saccade.plan(model, "se", at="stage")
    assert len(planned.places) == stages
    assert any("reads numbers" in reason for reason in planned.unused)
    if residual:
        found = saccade.plan(model, "se").places
        assert len(found) == residual
        assert all(place.name.startswith("backbone.") for place in found)


@pytest.mark.full
def test_a_detector_finds_the_same_boxes():
    plain = lively(detector("fasterrcnn_mobilenet_v3_large_320_fpn")).eval()
    model = saccade.insert(copy.deepcopy(plain), "cbam")
    images = [torch.rand(3, 90, 120), torch.rand(3, 100, 80)]
    with torch.no_grad():
        for ours, theirs in zip(model(images), plain(images), strict=True):
            assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    assert saccade.verify(model) == ()
    listed = saccade.plan(plain, "cbam", example_input=[torch.rand(3, 90, 120)])
    assert [str(p) for p in listed.places] == [str(p) for p in model.saccade_report.places]
