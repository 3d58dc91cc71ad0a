"""The guarantees: nothing changes until training does, nothing is renamed, everything comes off again."""

import copy
import io
import pickle

import pytest
import timm
import torch
import torchvision
from torch import nn

import saccade
from saccade.catalog import CATALOG
from saccade.errors import InputError
from saccade.insertion import Attachment, attachments
from saccade.networks.notes import NotesNet
from tests.insertion import networks
from tests.suites import everyday

SIZE = {"example_input": torch.zeros(1, 3, 32, 32)}
NETWORKS = {
    "notes": NotesNet,
    "flat": networks.Flat,
    "nested": networks.Holder,
    "channels_last": lambda: networks.Around(networks.ChannelsLast()),
    "timm resnet18": lambda: timm.create_model("resnet18", num_classes=5),
    "features at stride 8": lambda: timm.create_model(
        "resnet18", features_only=True, output_stride=8, out_indices=(-1,)
    ),
    "torchvision resnet50": lambda: torchvision.models.resnet50(num_classes=5),
}


def lively(model, seed=0):
    """Random norms and statistics, so that no branch is dead (timm starts the last norm of a branch at zero)."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor, low, high in (
                (module.weight, 0.75, 1.25), (module.bias, -0.2, 0.2),
                (module.running_mean, -0.2, 0.2), (module.running_var, 0.75, 1.25),
            ):  # fmt: skip
                tensor.data.uniform_(low, high, generator=generator)
    return model


def maps_in(output):
    if isinstance(output, dict):
        output = list(output.values())
    return [part for item in output for part in maps_in(item)] if isinstance(output, list) else [output]


def run(model, x, training):
    torch.manual_seed(7)
    return maps_in(model.train(training)(x))


def same(ours, theirs):
    return len(ours) == len(theirs) and all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


GRID = [(name, mechanism) for name in NETWORKS for mechanism in ("se", "cbam", "psa", "dual", "non_local")]


# Each network once and each mechanism once: how a network is read does not depend on the mechanism.
@pytest.mark.parametrize(
    ("name", "mechanism"), everyday([pair for pair in GRID if "se" in pair or "notes" in pair], GRID)
)
def test_nothing_changes_and_everything_comes_off(name, mechanism):
    plain = lively(NETWORKS[name]())
    x = networks.example()
    model = copy.deepcopy(plain)
    at = "residual" if name == "flat" else None  # its sums pass no module that a hook could use
    assert saccade.insert(model, mechanism, at=at, example_input=x) is model
    original, new = plain.state_dict(), model.state_dict()
    assert all(torch.equal(new[key], value) for key, value in original.items())
    assert all(".saccade." in key or ".saccade_before." in key for key in set(new) - set(original))
    assert list(attachments(model)) == [place.name for place in model.saccade_report.places]
    for training in (False, True):
        assert same(run(model, x, training), run(plain, x, training))
    assert all(torch.equal(model.state_dict()[key], value) for key, value in plain.state_dict().items())  # statistics
    missing, unexpected = model.load_state_dict(original, strict=False)
    assert unexpected == []
    counters = {key for key in new if key.endswith("num_batches_tracked")}  # batch norms fill these in themselves
    assert set(missing) - counters == set(new) - set(original) - counters

    saccade.remove(model)
    assert model.state_dict().keys() == original.keys()
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert not hasattr(model, "saccade_report")
    assert same(run(model.eval(), x, False), run(load(plain, original), x, False))


def load(model, state):
    model.load_state_dict(state)
    return model


@pytest.mark.parametrize("mechanism", sorted(CATALOG))
def test_every_mechanism_starts_as_the_identity_and_learns(mechanism):
    plain = lively(NotesNet())
    model = saccade.insert(copy.deepcopy(plain), mechanism, example_input=torch.zeros(1, 3, 32, 32))
    x = torch.randn(2, 3, 32, 32)
    assert same(run(model, x, False), run(plain, x, False))
    outputs = run(model, x, True)
    assert same(outputs, run(plain, x, True))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        model(x).square().mean().backward()
        assert all(parameter.grad is not None for parameter in model.parameters())
        optimizer.step()
    moved = [a.g for a in attachments(model).values() if a.g is not None]
    assert all(g.item() != 0 for g in moved)
    plain.load_state_dict({key: value for key, value in model.state_dict().items() if "saccade" not in key})
    assert not same(run(model, x, False), run(plain, x, False))


@pytest.mark.full
@pytest.mark.parametrize("mechanism", sorted(CATALOG))
def test_the_authors_start_is_bare(mechanism):
    model = saccade.insert(NotesNet(), mechanism, start="paper", example_input=torch.zeros(1, 3, 32, 32))
    assert all(attachment.g is None for attachment in attachments(model).values())
    model(torch.randn(2, 3, 32, 32)).sum().backward()  # in networks that write in place: test_in_place.py
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_identity_options_yield_to_the_user():
    shape = {"example_input": torch.zeros(1, 3, 32, 32)}
    report = saccade.insert(NotesNet(), "dual", **shape).saccade_report
    assert [(dict(step.mechanism.options), step.wrapped) for step in report.steps] == [({"residual": "once"}, False)]
    asked = saccade.plan(NotesNet(), "dual[residual=twice]", **shape)
    assert [(dict(step.mechanism.options), step.wrapped) for step in asked.steps] == [({"residual": "twice"}, True)]
    paper = saccade.plan(NotesNet(), "dual", start="paper", **shape)
    assert [(dict(step.mechanism.options), step.wrapped) for step in paper.steps] == [({}, False)]


def test_options_by_place():
    model = saccade.insert(NotesNet(), "se", options=lambda place: {"reduction": place.channels // 16})
    assert [a.mechanism.reduce.out_channels for a in attachments(model).values()] == [16, 16]


def test_a_copy_runs_its_own_mechanism():
    model = lively(saccade.insert(NotesNet(), "se", start="paper")).eval()
    twin, x = copy.deepcopy(model), torch.randn(1, 3, 32, 32)
    expected = model(x)
    assert torch.equal(twin(x), expected)
    for attachment in attachments(twin).values():
        nn.init.constant_(attachment.mechanism.expand.bias, -5.0)
    assert torch.equal(model(x), expected)
    assert not torch.equal(twin(x), expected)


def test_pickle_round_trip():
    model = lively(saccade.insert(NotesNet(), "cbam", start="paper")).eval()
    x = torch.randn(1, 3, 32, 32)
    again = pickle.loads(pickle.dumps(model))
    assert torch.equal(again(x), model(x))
    assert str(again.saccade_report) == str(model.saccade_report)
    buffer = io.BytesIO()
    torch.save(model.state_dict(), buffer)
    buffer.seek(0)
    fresh = saccade.insert(NotesNet(), "cbam", start="paper").eval()
    fresh.load_state_dict(torch.load(buffer, weights_only=True))
    assert torch.equal(fresh(x), model(x))


@pytest.mark.full  # whole networks are compiled in test_afterwards.py, every mechanism in its contract
@pytest.mark.parametrize("mechanism", ["se", "non_local"])
def test_compiles_whole(mechanism):
    model = lively(saccade.insert(NotesNet(), mechanism)).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.1)
    x = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        compiled = torch.compile(model, fullgraph=True, backend="aot_eager")(x)
        torch.testing.assert_close(compiled, model(x), rtol=1e-5, atol=1e-6)


def test_autocast_and_half_networks_keep_the_map():
    plain, x = lively(NotesNet()).eval(), torch.randn(1, 3, 32, 32)
    model = saccade.insert(copy.deepcopy(plain), "cbam")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(model(x), plain(x))
    half = saccade.insert(copy.deepcopy(plain).bfloat16(), "se")
    assert {p.dtype for a in attachments(half).values() for p in a.parameters()} == {torch.bfloat16}
    assert torch.equal(half(x.bfloat16()), plain.bfloat16()(x.bfloat16()))


def test_a_mechanism_takes_device_and_mode_of_its_module():
    model = NotesNet().to("meta")
    model.block1.eval()
    found = attachments(saccade.insert(model, "se"))
    assert [attachment.training for attachment in found.values()] == [False, True]
    assert {p.device.type for a in found.values() for p in a.parameters()} == {"meta"}


def test_weights_come_from_the_global_generator():
    def weights(seed):
        torch.manual_seed(seed)
        return saccade.insert(plain, "se").block1.bn2.saccade.mechanism.reduce.weight.detach().clone()

    plain = NotesNet()
    first = weights(1)
    saccade.remove(plain)
    torch.manual_seed(1)
    saccade.plan(plain, "se")  # draws nothing
    again = saccade.insert(plain, "se").block1.bn2.saccade.mechanism.reduce.weight
    assert torch.equal(first, again)
    saccade.remove(plain)
    assert not torch.equal(first, weights(2))


def test_two_insertions_side_by_side():
    plain, x = lively(NotesNet()).eval(), torch.randn(1, 3, 32, 32)
    model = saccade.insert(saccade.insert(copy.deepcopy(plain), "se"), "psa")
    assert list(attachments(model)) == ["block1.conv2", "block1.bn2", "block2.conv2", "block2.bn2"]
    assert len(model.saccade_report.places) == 4
    both = saccade.insert(model, "eca", at="before:block1.bn2")
    assert "before:block1.bn2" in attachments(both)
    assert torch.equal(both(x), plain(x))
    assert saccade.remove(both).state_dict().keys() == plain.state_dict().keys()


class TestChain:
    def test_a_taken_place_gets_the_next_one_behind(self):
        plain, x = lively(NotesNet()).eval(), torch.randn(1, 3, 32, 32)
        first = saccade.insert(copy.deepcopy(plain), "se", start="paper")
        both = saccade.insert(copy.deepcopy(first), "eca", start="paper")
        assert list(attachments(both)) == ["block1.bn2", "block1.bn2#2", "block2.bn2", "block2.bn2#2"]
        assert set(first.state_dict()) < set(both.state_dict())
        assert [type(a.mechanism).__name__ for a in both.block1.bn2.saccade.chain()] == [
            "SqueezeExcitation", "EfficientChannelAttention"
        ]  # fmt: skip
        y = torch.randn(1, 32, 5, 6)
        se, eca = (a.mechanism for a in both.block1.bn2.saccade.chain())
        assert torch.equal(both.block1.bn2.saccade(y), eca(se(y)))
        assert not torch.equal(both(x), first(x))
        assert len(both.saccade_report.places) == 2
        assert len(both.saccade_report.steps) == 4
        assert saccade.verify(both) == ()
        assert torch.equal(saccade.remove(both)(x), plain(x))

    def test_several_at_once_are_the_same_as_one_after_another(self):
        def made(*mechanisms):
            torch.manual_seed(3)
            model = lively(NotesNet())
            for mechanism in mechanisms:
                saccade.insert(model, mechanism, start="paper", at="stage:-1", **SIZE)
            return model.eval()

        x = torch.randn(1, 3, 32, 32)
        at_once, in_turn = made("cam+pam"), made("cam", "pam")
        assert at_once.state_dict().keys() == in_turn.state_dict().keys()
        assert torch.equal(at_once(x), in_turn(x))

    def test_a_failure_takes_off_the_new_one_only(self):
        model = saccade.insert(NotesNet(), "se")
        keys = list(model.state_dict())
        with pytest.raises(InputError, match="`reduction` must be"):
            saccade.insert(model, "eca+se[reduction=0]")
        assert list(model.state_dict()) == keys
        assert len(model.saccade_report.plans) == 1


def test_sk_is_a_branch_beside_the_map():
    model = lively(saccade.insert(NotesNet(), "sk[groups=8]", **SIZE)).eval()
    attachment = attachments(model)["block1.conv2"]
    assert (attachment.side, attachment.added) == ("before", True)
    assert model.saccade_report.steps[0].added
    x = torch.randn(2, 32, 5, 6)
    assert torch.equal(attachment(x), x)
    nn.init.constant_(attachment.g, 0.5)
    torch.testing.assert_close(attachment(x), x + 0.5 * attachment.mechanism(x))
    bare = attachments(saccade.insert(NotesNet(), "sk[groups=8]", start="paper", **SIZE).eval())["block1.conv2"]
    torch.testing.assert_close(bare(x), x + bare.mechanism(x))


def test_a_foreign_child_is_refused():
    foreign = NotesNet()
    foreign.block2.bn2.saccade = nn.Identity()
    with pytest.raises(InputError, match=r"already has an attribute 'saccade' that saccade did not create"):
        saccade.insert(foreign, "se")
    assert not attachments(foreign)


def test_a_mechanism_that_would_run_twice_is_taken_off_again():
    model = networks.Around(networks.HiddenLoop())
    keys = list(model.state_dict())
    with pytest.raises(InputError, match=r"part: the mechanism was called 2 times in one forward"):
        saccade.insert(model, "se", at="part", example_input=networks.example())
    assert list(model.state_dict()) == keys
    assert not any(module._forward_hooks for module in model.modules())


class Widens(nn.Module):
    def forward(self, x):
        return x.float() * 2


def test_a_mechanism_may_answer_in_another_precision():
    x = torch.randn(1, 4, 3, 3).bfloat16()
    mixed = Attachment(Widens(), side="after", wrapped=True)(x)
    assert mixed.dtype == torch.bfloat16
    assert torch.equal(mixed, x)


def test_one_learned_number_mixes_the_mechanism_in():
    model = saccade.insert(NotesNet(), "se").eval()
    attachment, x = model.block1.bn2.saccade, torch.randn(2, 32, 5, 6)
    nn.init.constant_(attachment.g, 0.25)
    torch.testing.assert_close(attachment(x), 0.75 * x + 0.25 * attachment.mechanism(x))
    across = copy.deepcopy(attachment)
    across.layout = "NHWC"
    torch.testing.assert_close(across(x.permute(0, 2, 3, 1)), attachment(x).permute(0, 2, 3, 1))
