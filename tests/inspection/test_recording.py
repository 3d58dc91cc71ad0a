"""Records equal what the mechanism computes from what it read, and leave nothing behind."""

import copy
import threading

import pytest
import timm
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

import saccade
from saccade.errors import InputError
from saccade.insertion import attachments
from saccade.networks.notes import NotesNet

SIZE = {"example_input": torch.zeros(1, 3, 32, 32)}


def network(mechanism, **options):
    model = saccade.insert(NotesNet(), mechanism, **SIZE, **options).eval()
    generator = torch.Generator().manual_seed(3)
    for parameter in model.parameters():
        parameter.data.normal_(std=0.2, generator=generator)
    return model


def images(batch=2):
    return torch.randn(batch, 3, 32, 32)


def recorded(model, x=None):
    with torch.no_grad(), saccade.record(model) as maps:
        model(images() if x is None else x)
    return maps


def hooked(model):
    return [name for name, module in model.named_modules() if module._forward_pre_hooks]


@pytest.mark.parametrize("mechanism", ["se", "eca", "cbam", "psa"])
def test_the_gate_is_what_the_map_was_multiplied_by(mechanism):
    model = network(mechanism, start="paper")
    maps = recorded(model)
    expected = {"se": {"channel"}, "eca": {"channel"}}.get(mechanism, {"channel", "spatial"})
    assert list(maps) == list(attachments(model))
    for seen in maps.values():
        assert set(seen.gates) == expected
        channels, height, width = seen.input.shape[1:]
        shapes = {"channel": (2, channels), "spatial": (2, 1, height, width)}
        assert {name: tuple(gate.shape) for name, gate in seen.gates.items()} == {
            name: shapes[name] for name in expected
        }
        if expected == {"channel"}:
            with torch.no_grad():
                out = seen.mechanism(seen.input)
            torch.testing.assert_close(out, seen.input * seen.gate[:, :, None, None])


def test_the_input_is_the_map_itself():
    model, read = network("se"), []
    model.block1.bn2.saccade.mechanism.register_forward_pre_hook(lambda module, args: read.append(args[0]))
    with saccade.record(model) as maps:
        model(images())
    seen = maps["block1.bn2"]
    assert seen.input.data_ptr() == read[0].data_ptr()
    assert read[0].requires_grad
    assert not seen.input.requires_grad


@pytest.mark.parametrize("mechanism", ["non_local", "pam"])
def test_weights_are_the_rows_of_the_whole_map(mechanism):
    maps = recorded(network(mechanism, at="block2"))
    seen = maps["block2"]
    queries = [(0, 0), (1, 3), (3, 2)]
    weights = seen.weights(queries=queries)
    width = seen.input.shape[-1]
    with torch.no_grad():
        whole = seen.mechanism.attention(seen.input)
    rows = whole[:, [y * width + x for y, x in queries]]
    torch.testing.assert_close(weights.flatten(2), rows)
    torch.testing.assert_close(weights.sum((2, 3)), torch.ones(2, 3))
    assert seen.gates == {}


def test_parts_of_a_mechanism_have_records_of_their_own():
    maps = recorded(network("dual"))
    assert list(maps) == ["block2", "block2.position", "block2.channel"]
    assert maps["block2.position"].weights([(1, 2)]).shape == (2, 1, 4, 4)
    weights = maps["block2.channel"].channel_weights()
    assert weights.shape == (2, 64, 64)
    torch.testing.assert_close(weights.sum(2), torch.ones(2, 64))
    assert set(maps["block2"].gammas) == {"position.gamma", "channel.gamma"}
    assert maps["block2"].g is None
    with pytest.raises(InputError, match=r"does not weigh positions\nhint: its parts have maps: block2.position"):
        maps["block2"].weights([(0, 0)])
    with pytest.raises(InputError, match=r"PAM does not weigh channels\nhint: it has .weights\(queries="):
        maps["block2.position"].channel_weights()


def test_factors_are_the_learned_numbers():
    model = network("se")
    seen = recorded(model)["block2.bn2"]
    assert seen.g == model.block2.bn2.saccade.g.item()
    assert seen.gammas == {}


def test_a_mechanism_built_into_a_network_is_recorded_under_its_own_path():
    model = nn.Sequential(nn.Conv2d(3, 8, 3), saccade.create("cam", channels=8))
    with saccade.record(model) as maps:
        model(images())
    assert list(maps) == ["1"]
    assert maps["1"].channel_weights().shape == (2, 8, 8)
    alone = saccade.create("se", channels=3)
    with saccade.record(alone) as maps:
        alone(images())
    assert maps[""].gate.shape == (2, 3)


def test_nothing_is_left_even_after_an_exception():
    model, seen = network("cbam"), []

    def fail():
        with saccade.record(model) as maps:
            seen.append(maps)
            model(images())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert hooked(model) == []
    assert seen[0]["block1.bn2"].gates["channel"].shape == (2, 32)


def test_recordings_nest():
    model, first, second = network("se"), images(1), images(3)
    with saccade.record(model) as outer:
        model(first)
        with saccade.record(model) as inner:
            model(second)
        assert len(inner["block1.bn2"].input) == 3
        model(first)
    assert len(outer["block1.bn2"].input) == 1
    assert len(inner["block1.bn2"].input) == 3
    assert hooked(model) == []


def test_other_threads_are_not_recorded():
    model = network("se")
    with saccade.record(model) as maps:
        worker = threading.Thread(target=lambda: model(images()))
        worker.start()
        worker.join()
        assert maps == {}
        model(images(1))
    assert len(maps["block1.bn2"].input) == 1


def test_looking_changes_nothing_in_training_mode():
    model = network("cbam").train()
    with saccade.record(model) as maps:
        model(images())
    before = {key: value.clone() for key, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    first = maps["block1.bn2"].gates["spatial"]
    model.block1.bn2.saccade.eval()
    assert torch.equal(first, maps["block1.bn2"].gates["spatial"])  # as it was when recorded: in training mode
    model.block1.bn2.saccade.train()
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert [module.training for module in model.modules()] == modes


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad, torch.enable_grad])
def test_works_under_every_gradient_mode(mode):
    model = network("non_local")
    with mode(), saccade.record(model) as maps:
        model(images())
        inside = maps["block2"].weights([(0, 1)])
    assert torch.equal(inside, maps["block2"].weights([(0, 1)]))
    assert not inside.requires_grad


def test_works_under_autocast():
    model = network("se", start="paper")
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad(), saccade.record(model) as maps:
        model(images())
        inside = maps["block1.bn2"].gate
    assert torch.equal(inside, maps["block1.bn2"].gate)


def test_a_map_that_was_overwritten_is_refused_unless_copied():
    class Overwrites(nn.Module):
        def __init__(self):
            super().__init__()
            self.se = saccade.create("se", channels=3)

        def forward(self, x):
            y = x * 2
            out = self.se(y)
            y.zero_()
            return out

    model, x = Overwrites(), images()
    with torch.no_grad():
        expected = model.se.gates(x * 2)["channel"]
        with saccade.record(model) as maps:
            model(x)
        with pytest.raises(InputError, match=r"wrote into the recorded map.*\nhint: record copies"):
            _ = maps["se"].gate
        with saccade.record(model, copy=True) as maps:
            model(x)
    assert torch.equal(maps["se"].gate, expected)


def test_wrong_questions_are_answered_with_the_right_ones():
    maps = recorded(network("cbam"))
    with pytest.raises(KeyError, match=r"no record of 'block1.bn1'; did you mean block1.bn2"):
        maps["block1.bn1"]
    with pytest.raises(InputError, match=r"expected one gate; CBAM has channel and spatial\nhint: use .gates"):
        _ = maps["block1.bn2"].gate
    with pytest.raises(InputError, match=r"CBAM does not weigh positions\nhint: it has .gates"):
        maps["block1.bn2"].weights([(0, 0)])
    maps = recorded(network("pam"))
    with pytest.raises(InputError, match=r"query \(4, 0\) is not a position on the map of 4 x 4\nhint: "):
        maps["block2"].weights([(4, 0)])
    with pytest.raises(InputError, match=r"expected one gate; PAM has none"):
        _ = maps["block2"].gate


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (NotesNet, r"NotesNet contains no mechanism\nhint: insert one first"),
        (lambda: torch.compile(network("se")), r"a compiled network.*\nhint: .*_orig_mod"),
    ],
)
def test_what_cannot_be_recorded(make, message):
    with pytest.raises(InputError, match=message), saccade.record(make()):
        pass


def test_a_network_that_was_not_run_has_no_records():
    with saccade.record(network("se")) as maps, pytest.raises(KeyError, match="run the network inside the with block"):
        maps["block1.bn2"]


def test_every_place_of_a_deeper_network_is_recorded():
    model = saccade.insert(
        timm.create_model("resnet18", num_classes=5), "cbam", example_input=torch.zeros(1, 3, 64, 64)
    )
    maps = recorded(model.eval(), torch.randn(1, 3, 64, 64))
    assert list(maps) == [place.name for place in model.saccade_report.places]
    assert all(seen.g == 0.0 for seen in maps.values())


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda model: AveragedModel(model).module], ids=["deepcopy", "average"]
)
def test_a_copy_made_meanwhile_is_not_recorded_and_carries_nothing_away(copied):
    model, x = network("se"), images()
    with saccade.record(model) as maps:
        twin = copied(model)
        twin(torch.zeros(1, 3, 32, 32))
        assert not maps
        model(x)
    assert torch.equal(twin(x), model(x))
    assert maps["block1.bn2"].input.shape[0] == len(x)
    assert not hooked(twin)
