"""A saved network comes back: the same outputs, report and precision; nothing is unpickled; misfits change nothing."""

import copy
import json
import pickle

import pytest
import segmentation_models_pytorch as smp
import timm
import torch
import torchvision
from safetensors.torch import load_file, save_file
from torch import nn

import saccade
from saccade.errors import InputError
from saccade.insertion import attachments
from saccade.networks.notes import NotesNet
from saccade.saving.recipes import find_recipe
from tests.insertion import networks
from tests.suites import everyday

X = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(3))
SIZE = {"example_input": X}

BUILDABLE = {
    "notes": (lambda: NotesNet(7), "notes"),
    "timm": (lambda: timm.create_model("test_resnet", num_classes=5), "test_resnet"),
    "timm, two channels": (lambda: timm.create_model("test_resnet", in_chans=2, num_classes=3), "test_resnet"),
    "timm, features": (lambda: timm.create_model("resnet18", features_only=True, out_indices=(1, 3)), "resnet18"),
    "timm, dilated features": (
        lambda: timm.create_model("resnet18", features_only=True, out_indices=(-1,), output_stride=8), "resnet18",
    ),
    "timm, headless": (lambda: timm.create_model("mobilenetv3_small_050", num_classes=0), "mobilenetv3_small_050"),
    "saccade": (lambda: saccade.classifier("cbam_resnet18", num_classes=3, reduction=8), "cbam_resnet18"),
    "saccade, bare": (
        lambda: saccade.remove(saccade.classifier("eca_resnet18", num_classes=3)), "eca_resnet18"
    ),
    "torchvision": (lambda: torchvision.models.resnet18(num_classes=4), "resnet18"),
    "torchvision, no meta device": (lambda: torchvision.models.regnet_y_400mf(), "regnet_y_400mf"),
    "torchvision, segmentation": (
        lambda: torchvision.models.get_model(
            "lraspp_mobilenet_v3_large", weights=None, weights_backbone=None, num_classes=6
        ),
        "lraspp_mobilenet_v3_large",
    ),
}  # fmt: skip


def stir(model):
    """Every tensor random, so that each has to come from the file."""
    generator = torch.Generator().manual_seed(9)
    for tensor in model.state_dict().values():
        if tensor.is_floating_point():
            if tensor.dim() > 1:
                tensor.normal_(std=tensor[0].numel() ** -0.5, generator=generator)
            else:
                tensor.uniform_(0.5, 1, generator=generator)
    return model


def run(model, x=X):
    with torch.no_grad():
        found = model.eval()(x)
    found = list(found.values()) if isinstance(found, dict) else found
    return found if isinstance(found, list) else [found]


def same(ours, theirs):
    return all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("name", everyday(["notes", "timm"], BUILDABLE))
def test_a_known_network_is_built_again(name, tmp_path):
    make, called = BUILDABLE[name]
    x = X[:, :2] if "two" in name else X
    model = saccade.insert(make(), "se+cbam[reduction=4,pools=(avg,)]", at="stage", example_input=x)
    saccade.insert(
        stir(model), "eca", at="before:" + model.saccade_report.places[0].name, start="paper", example_input=x
    )
    path = saccade.save(model, tmp_path / "net.safetensors")
    random = torch.get_rng_state()
    again = saccade.load(path)
    assert torch.equal(torch.get_rng_state(), random)
    assert list(again.state_dict()) == list(model.state_dict())
    assert same(run(again, x), run(model, x))
    assert str(again.saccade_report) == str(model.saccade_report)
    assert again.saccade_report == model.saccade_report
    assert saccade.verify(again) == ()
    assert find_recipe(model)["name"] == called
    saccade.insert(again, "se", at="stage", example_input=x)


def test_a_network_without_mechanisms_and_one_in_half_precision(tmp_path):
    plain = stir(timm.create_model("test_resnet"))
    assert same(run(saccade.load(saccade.save(plain, tmp_path / "plain.safetensors"))), run(plain))
    half = saccade.insert(stir(plain), "se").bfloat16()
    again = saccade.load(saccade.save(half, tmp_path / "half.safetensors"))
    assert {p.dtype for p in again.parameters()} == {torch.bfloat16}
    assert same(run(again, X.bfloat16()), run(half, X.bfloat16()))


def test_a_network_of_ones_own_is_given(tmp_path):
    model = stir(saccade.insert(networks.Holder(), "cbam[reduction=2]", **SIZE))
    path = saccade.save(model, tmp_path / "own.safetensors")
    with pytest.raises(InputError, match=r"a Holder that none of timm.*\nhint: .*saccade.load\(path, model=network"):
        saccade.load(path)
    net = networks.Holder()
    assert saccade.load(path, model=net) is net
    assert torch.equal(run(net)[0], run(model)[0])
    assert tuple(attachments(net)) == tuple(attachments(model))


def test_an_insertion_into_a_part(tmp_path):
    model = smp.create_model("unet", "resnet18", encoder_weights=None)
    with pytest.raises(InputError, match="expected a convolutional"):
        saccade.insert(model.segmentation_head[1], "se")
    saccade.insert(stir(model).decoder.blocks[0].conv1, "se", at="0", example_input=torch.zeros(1, 768, 4, 4))
    path = saccade.save(model, tmp_path / "part.safetensors")
    again = saccade.load(path, model=smp.create_model("unet", "resnet18", encoder_weights=None))
    assert same(run(again), run(model))
    assert tuple(attachments(again)) == ("decoder.blocks.0.conv1.0",)


def test_how_to_build_it_can_be_said(tmp_path):
    options = {"drop_path_rate": 0.2, "num_classes": 3}
    model = saccade.insert(timm.create_model("test_resnet", **options), "se")
    with pytest.raises(InputError, match="that none of timm"):
        saccade.load(saccade.save(model, tmp_path / "a.safetensors"))
    said = {"library": "timm", "name": "test_resnet", "options": options}
    again = saccade.load(saccade.save(model, tmp_path / "a.safetensors", network=said))
    assert same(run(again), run(model))
    for wrong, message in (
        ({"library": "timm", "name": "test_resnet"}, "builds another network"),
        ({"library": "timm", "name": "test_resnets"}, "timm has no network called 'test_resnets'"),
        ({"library": "torchvision", "name": "resnet17"}, "torchvision has no network called"),
        ({"library": "keras", "name": "x"}, r"unknown library 'keras'\nhint: known: timm, torchvision, saccade"),
    ):
        with pytest.raises(InputError, match=message):
            saccade.save(model, tmp_path / "a.safetensors", network=wrong)


@pytest.mark.full
def test_a_detector_keeps_its_example(tmp_path):
    model = torchvision.models.detection.fasterrcnn_mobilenet_v3_large_320_fpn(
        weights=None, weights_backbone=None, num_classes=3
    )
    saccade.insert(model, "se", example_input=[torch.rand(3, 90, 120)])
    again = saccade.load(saccade.save(model, tmp_path / "detector.safetensors"))
    images = [torch.rand(3, 90, 120, generator=torch.Generator().manual_seed(1))]
    assert same([run(again, images)[0]["boxes"]], [run(model, images)[0]["boxes"]])


def test_saving_repairs_what_a_conversion_dropped(tmp_path):
    model = saccade.insert(NotesNet(), "se", start="paper", **SIZE)
    expected = run(stir(model))
    model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    path = saccade.save(model, tmp_path / "sync.safetensors")
    assert same(run(model), expected)
    assert same(run(saccade.load(path, model=NotesNet())), expected)


def test_a_file_that_does_not_fit_changes_nothing(tmp_path):
    path = saccade.save(saccade.insert(NotesNet(7), "se", **SIZE), tmp_path / "net.safetensors")
    for net, message in (
        (NotesNet(5), r"saved from another network than this NotesNet: 2 tensors do not fit.*\nhint: give the network"),
        (timm.create_model("test_resnet"), r"another network than this ResNet: .*has no attribute"),
        (
            saccade.insert(NotesNet(7), "eca", **SIZE),
            r"the given NotesNet has mechanisms\nhint: call saccade.remove",
        ),
    ):
        before = copy.deepcopy(net.state_dict())
        with pytest.raises(InputError, match=message):
            saccade.load(path, model=net)
        assert net.state_dict().keys() == before.keys()
        assert all(torch.equal(net.state_dict()[key], value) for key, value in before.items())
        assert ("saccade_report" in vars(net)) == bool(attachments(net))


class Traitor:
    def __reduce__(self):
        return (pytest.fail, ("unpickled",))


def test_other_files_are_refused(tmp_path):
    good = saccade.save(NotesNet(), tmp_path / "net.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(good.read_bytes()[:-100])
    (tmp_path / "pickle.safetensors").write_bytes(pickle.dumps(Traitor()))
    save_file({"x": torch.zeros(1)}, tmp_path / "plain.safetensors")
    header = {"format": 9, "saccade": "9.0", "inserted": [], "network": None}
    save_file({"x": torch.zeros(1)}, tmp_path / "new.safetensors", {"saccade": json.dumps(header)})
    for name, message in (
        ("none", "no such file"),
        ("cut", "cannot be read as safetensors"),
        ("pickle", "cannot be read as safetensors"),
        ("plain", r"not written by saccade.save\nhint: make the network and give it"),
        ("new", "written by saccade 9.0 in format 9"),
    ):
        with pytest.raises(InputError, match=message):
            saccade.load(tmp_path / f"{name}.safetensors")
    assert load_file(good).keys() == NotesNet().state_dict().keys()


def test_what_cannot_be_saved_is_named(tmp_path):
    model = saccade.insert(NotesNet(), "se", **SIZE)
    del model.saccade_report
    with pytest.raises(InputError, match=r"mechanisms but no report.*\nhint: insert with saccade.insert"):
        saccade.save(model, tmp_path / "net.safetensors")
    with pytest.raises(InputError, match="a compiled network"):
        saccade.save(torch.compile(NotesNet()), tmp_path / "net.safetensors")
    odd = saccade.insert(NotesNet(), {"name": "fla", "norm_layer": nn.InstanceNorm2d}, **SIZE)
    with pytest.raises(InputError, match=r"options must be plain values.*\nhint: give numbers, words and tuples"):
        saccade.save(odd, tmp_path / "net.safetensors")
    assert not list(tmp_path.iterdir())


def test_a_sharded_network_is_gathered_and_known_again(tmp_path):
    """FSDP2 on one process: parameters are parts of a whole, and each class is one made for sharding."""
    dist = pytest.importorskip("torch.distributed")
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    torch.manual_seed(0)
    net, x = saccade.insert(NotesNet(5), "se", at="stage:-1").eval(), torch.randn(1, 3, 32, 32)
    expected = net(x)
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        fully_shard(net, mesh=init_device_mesh("cpu", (1,)))
        assert type(net) is not NotesNet
        assert torch.equal(net(x), expected)  # it is set up by its first pass
        assert saccade.verify(net, expect=1) == ()
        path = saccade.save(net, tmp_path / "net.safetensors")
    finally:
        dist.destroy_process_group()
    assert torch.equal(saccade.load(path).eval()(x), expected)
