"""Conversions drop hooks, mechanisms or whole modules; verify puts back what it can and names the rest."""

import copy

import pytest
import timm
import torch
from timm.layers import freeze_batch_norm_2d
from timm.utils.model import reparameterize_model
from torch import nn
from torch.nn.utils import fusion

import saccade
from saccade.errors import InputError
from saccade.insertion import attachments
from saccade.insertion.attach import run_after
from saccade.networks.notes import NotesNet
from tests.insertion import networks
from tests.insertion.test_inserting import lively
from tests.suites import everyday

PLACES = ("block1.bn2", "block2.bn2")


def fuse(model):
    """As torch's fusing does: each norm of a block folded into its convolution, an identity in its place."""
    for block in (model.block1, model.block2):
        bn, hooks = block.bn2, block.bn2._forward_hooks
        block.conv2 = fusion.fuse_conv_bn_eval(block.conv2, bn)
        block.conv2._forward_hooks.update(hooks)  # to a module without the mechanism: it fails when it runs
        block.bn2 = nn.Identity()
    return model


@pytest.mark.parametrize(
    "convert", [nn.SyncBatchNorm.convert_sync_batchnorm, freeze_batch_norm_2d, fuse], ids=["sync", "frozen", "fused"]
)
def test_a_conversion_is_repaired(convert):
    model = lively(saccade.insert(NotesNet(), "se", start="paper")).eval()
    x = torch.randn(1, 3, 32, 32)
    expected = model(x)
    assert saccade.verify(model) == ()
    converted = convert(copy.deepcopy(model))
    assert saccade.verify(converted) == PLACES
    torch.testing.assert_close(converted(x), expected, rtol=1e-4, atol=1e-5)
    assert saccade.verify(converted) == ()
    assert tuple(attachments(converted)) == PLACES


def test_without_verify_a_mechanism_is_silently_off():
    plain = lively(NotesNet()).eval()
    model = saccade.insert(copy.deepcopy(plain), "se", start="paper")
    x = torch.randn(1, 3, 32, 32)
    assert torch.equal(nn.SyncBatchNorm.convert_sync_batchnorm(model)(x), plain(x))


def test_a_repaired_mechanism_keeps_its_weights_and_a_copy_its_own():
    model = saccade.insert(NotesNet(), "se")
    twin = freeze_batch_norm_2d(copy.deepcopy(model))
    saccade.verify(twin)
    theirs = attachments(twin)["block1.bn2"]
    assert theirs is not attachments(model)["block1.bn2"]
    assert torch.equal(theirs.mechanism.reduce.weight, attachments(model)["block1.bn2"].mechanism.reduce.weight)


@pytest.mark.parametrize("name", everyday(["fastvit_t8"], ["repvit_m0_9", "mobileone_s0", "fastvit_t8"]))
def test_reparameterised_networks_keep_block_ends(name):
    model = timm.create_model(name, num_classes=5).eval()
    size = (1, 3, 64, 64)
    saccade.insert(model, "se", at="stage", start="paper", example_input=torch.zeros(size))
    x = torch.randn(size)
    with torch.no_grad():
        expected = model(x)
        folded = reparameterize_model(model)
        saccade.verify(folded)
        torch.testing.assert_close(folded(x), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.full
def test_what_was_folded_away_is_named():
    model = timm.create_model("repvit_m0_9", num_classes=5).eval()
    size = torch.zeros(1, 3, 64, 64)
    planned = saccade.plan(model, "se", at="stages.0.blocks.0.token_mixer.conv.bn", example_input=size)
    assert any("re-parameterise or fuse first" in remark for remark in planned.remarks)
    saccade.insert(model, "se", at="stages.0.blocks.0.token_mixer.conv.bn", example_input=size)
    folded = reparameterize_model(model)
    expected = r"1 of 1 inserted mechanisms are lost.*token_mixer.conv.bn\nhint: convert the network first"
    with pytest.raises(InputError, match=expected):
        saccade.verify(folded)


def test_a_module_that_is_called_no_more_is_named_and_left_alone():
    class Skips(networks.Unit):
        skip = False

        def forward(self, x):
            return x if self.skip else super().forward(x)

    model = networks.Around(Skips(8, 8))
    saccade.insert(model, "se", at="residual", example_input=networks.example())
    model.part.skip = True
    with pytest.raises(InputError, match=r"part.b.1: the mechanism was called 0 times in one forward"):
        saccade.verify(model)
    assert tuple(attachments(model)) == ("part.b.1",)


def test_a_second_call_is_noticed():
    model = networks.Around(networks.Unit(8, 8))
    saccade.insert(model, "se", at="part", example_input=networks.example())
    model.forward = lambda x: model.part(model.part(model.stem(x)))
    with pytest.raises(InputError, match=r"part: the mechanism was called 2 times"):
        saccade.verify(model)


def test_a_hook_without_its_mechanism_is_taken_off():
    model = saccade.insert(NotesNet(), "se").eval()
    model.block1.act1.register_forward_hook(run_after)
    with pytest.raises(AttributeError):
        model(torch.randn(1, 3, 32, 32))
    saccade.verify(model)
    model(torch.randn(1, 3, 32, 32))


def test_inside_a_larger_module_and_in_another_precision():
    wrapper = nn.Sequential(saccade.insert(NotesNet(), "se")).bfloat16()
    wrapper[0].block1.bn2._forward_hooks.clear()
    assert saccade.verify(wrapper) == ("0.block1.bn2",)


def test_a_network_without_mechanisms_has_nothing_to_verify():
    assert saccade.verify(NotesNet()) == ()


def test_nothing_there_and_all_there_are_told_apart():
    model = saccade.insert(NotesNet(), "se+cbam")
    assert saccade.verify(model).present == ("block1.bn2", "block1.bn2#2", "block2.bn2", "block2.bn2#2")
    assert saccade.verify(NotesNet()).present == ()
    stored = [str(place) for place in model.saccade_report.places for _ in range(2)]
    for expect in (4, model.saccade_report, model.saccade_report.plans[0], stored):
        assert saccade.verify(model, expect=expect) == ()
        assert saccade.verify(nn.Sequential(model), expect=expect) == ()
        with pytest.raises(InputError, match=r"NotesNet, built anew or converted.*expected"):
            saccade.verify(NotesNet(), expect=expect)
    with pytest.raises(InputError, match="2 mechanisms run in it that are not expected"):
        saccade.verify(model, expect=["block1.bn2", "block2.bn2"])
    with pytest.raises(TypeError, match="expect= takes"):
        saccade.verify(model, expect="block1.bn2")


def test_an_expectation_is_met_after_a_repair():
    model = nn.SyncBatchNorm.convert_sync_batchnorm(saccade.insert(NotesNet(), "se"))
    assert saccade.verify(model, expect=2) == PLACES


def test_a_rewritten_copy_runs_what_its_graph_reads():
    model = saccade.insert(NotesNet(), "se").eval()
    assert saccade.verify(torch.fx.symbolic_trace(model), expect=model.saccade_report).present == PLACES
    without = torch.fx.symbolic_trace(NotesNet().eval())
    with pytest.raises(InputError, match=r"NotesNet, rewritten by torch\.fx: 2 of 2 expected mechanisms"):
        saccade.verify(without, expect=model.saccade_report)


def test_a_quantised_copy_without_its_mechanisms_is_named():
    plan = saccade.plan(NotesNet(), "se")
    quantised = nn.Sequential(nn.Conv2d(3, 4, 1), torch.ao.nn.quantized.ReLU6())
    with pytest.raises(InputError, match="a quantised copy: 2 of 2 expected mechanisms do not run"):
        saccade.verify(quantised, expect=plan)


def test_a_fused_copy_without_its_mechanisms_is_named():
    model = saccade.insert(NotesNet(), "se")
    bare = fuse(saccade.remove(copy.deepcopy(model)).eval())
    for path, module in list(bare.named_modules()):
        if isinstance(module, nn.BatchNorm2d):
            parent, _, name = path.rpartition(".")
            setattr(bare.get_submodule(parent), name, nn.Identity())
    with pytest.raises(InputError, match="fused"):
        saccade.verify(bare, expect=model.saccade_report)


class Adapter(nn.Module):
    """A layer inside another, as libraries for fine-tuning by few parameters put it."""

    def __init__(self, layer):
        super().__init__()
        self.base_layer, self.scale = layer, nn.Parameter(torch.ones(1))

    def forward(self, x):
        return self.scale * self.base_layer(x)


def test_an_adapter_around_the_module_keeps_the_mechanism():
    model = saccade.insert(NotesNet(), "se")
    model.block1.bn2 = Adapter(model.block1.bn2)
    verified = saccade.verify(model, expect=model.saccade_report)
    assert verified == ()
    assert verified.present == ("block1.bn2.base_layer", "block2.bn2")
    wrapped = copy.deepcopy(nn.Sequential(model))
    wrapped[0].block1.bn2.base_layer._forward_hooks.clear()
    assert saccade.verify(wrapped) == ("0.block1.bn2.base_layer",)


def test_an_average_and_its_copies_are_verified():
    model = saccade.insert(NotesNet(), "se")
    average = torch.optim.swa_utils.AveragedModel(model)
    average.update_parameters(model)
    assert saccade.verify(average, expect=2) == ()


def test_a_network_compiled_in_place_is_saved_verified_and_restored(tmp_path):
    plain = lively(NotesNet()).eval()
    model = saccade.insert(copy.deepcopy(plain), "se", start="paper").eval()
    x = torch.randn(1, 3, 32, 32)
    expected = model(x)
    model.compile(backend="eager")
    torch.testing.assert_close(model(x), expected)
    assert saccade.verify(model, expect=2) == ()
    again = saccade.load(saccade.save(model, tmp_path / "net.safetensors"), model=NotesNet()).eval()
    torch.testing.assert_close(again(x), expected)
    with pytest.raises(InputError, match="a compiled network cannot be changed"):
        saccade.insert(model, "eca")
    torch.testing.assert_close(saccade.remove(model)(x), plain(x))
