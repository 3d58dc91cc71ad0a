"""The trace sees every call and leaves nothing behind."""

import copy

import pytest
import torch
from torch import nn

import saccade
from saccade.errors import InputError, SaccadeWarning
from saccade.insertion.attach import Attachment
from saccade.insertion.tracing import record_trace
from tests.insertion import networks


class Odd(nn.Module):
    """Caches a tensor in its forward, holds one that is no buffer, and keeps one part in evaluation mode."""

    def __init__(self):
        super().__init__()
        self.body, self.frozen = networks.conv(3, 4), networks.conv(4, 4).eval()
        self.table = torch.ones(4, 1, 1)
        self.cached = None

    def forward(self, x):
        self.cached = self.body(x) * self.table
        return self.frozen(self.cached)


def test_the_model_is_as_it_was():
    model = Odd().train()
    model.frozen.eval()
    before = copy.deepcopy(model.state_dict())
    found = networks.trace_of(model, torch.zeros(1, 3, 8, 8))
    assert found.shapes[found.outputs[0]] == (1, 4, 8, 8)
    assert model.cached is None
    assert (model.training, model.frozen.training, model.frozen[1].training) == (True, False, False)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert all(not parameter.is_meta for parameter in model.parameters())


def test_a_failed_trace_leaves_nothing_behind():
    model = networks.Flat()
    with pytest.raises(InputError, match=r"failed on inputs of shape 1x5x8x8.*\nhint: give example_input="):
        networks.trace_of(model, torch.zeros(1, 5, 8, 8))
    assert model.training
    assert all(not parameter.is_meta for parameter in model.parameters())
    assert not torch.nn.modules.module._global_forward_hooks
    assert not torch.nn.modules.module._global_forward_pre_hooks


def test_sizes_are_tried_one_after_another():
    class Picky(nn.Module):
        def __init__(self, side):
            super().__init__()
            self.conv, self.side = nn.Conv2d(1, 4, 3), side

        def forward(self, x):
            if x.shape[-1] != self.side:
                raise ValueError(f"wants {self.side}")
            return self.conv(x)

    assert networks.trace_of(Picky(256), None).input_shape == (1, 1, 256, 256)
    with pytest.raises(InputError, match=r"1x1x224x288; 1x1x224x224; 1x1x256x256.*ValueError: wants 100"):
        networks.trace_of(Picky(100), None)


def test_calls_are_counted_and_values_followed_through_writes_in_place():
    found = networks.trace_of(networks.Around(networks.Unit(8, 8)), torch.zeros(1, 3, 16, 16))
    assert found.times_called("part.r") == 2
    assert found.times_called("part.a.0") == 1
    outputs = [call.outputs for call in found.calls if call.path == "part.r"]
    assert outputs[0] != outputs[1]
    addition = next(op for op in found.ops if op.name == "add")
    assert addition.outputs[0] not in addition.inputs


def test_writing_into_a_slice_changes_the_whole():
    class Slices(nn.Module):
        def forward(self, x):
            y = x * 2
            y[:, :1] += x[:, :1]
            return y

    found = networks.trace_of(Slices(), torch.zeros(1, 3, 8, 8))
    assert found.ops[-1].outputs[0] == found.outputs[0] or "written" in [op.name for op in found.ops]
    assert found.producer[found.outputs[0]].name != "mul"


def test_only_tensors_are_examples():
    with pytest.raises(TypeError, match="example_input must be a tensor"):
        networks.trace_of(networks.Flat(), [3, 4])


def test_a_recurrence_is_one_operation():
    class Rows(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.rnn = nn.Conv2d(3, 4, 3), nn.LSTM(4, 4, batch_first=True)

        def forward(self, x):
            rows = self.conv(x)[:, :, 0].mT
            return self.rnn(rows)[0]

    found = networks.trace_of(Rows(), torch.zeros(1, 3, 16, 16))
    assert [op.name for op in found.ops].count("recurrence") == 1
    assert found.shapes[found.outputs[0]] == (1, 14, 4)


class Chooses(nn.Module):
    """A branch on what was computed; `hooked` reads a number for a log as well."""

    def __init__(self):
        super().__init__()
        self.first, self.then = networks.Unit(3, 8), networks.Unit(8, 8)
        self.register_buffer("seen", torch.zeros(1))

    def forward(self, x):
        y = self.first(x)
        self.seen += 1
        return self.then(y) if y.mean() > 0 else y[y > 0]


def test_a_forward_that_asks_for_numbers_runs_for_real_and_leaves_no_trace():
    model = Chooses().train()
    before, state = {key: t.clone() for key, t in model.state_dict().items()}, torch.get_rng_state()
    planned = saccade.plan(model, "se", example_input=torch.ones(1, 3, 16, 16))
    assert [str(place) for place in planned.places] == ["first.b.1", "then.b.1"]
    assert not any("numbers" in what for what in planned.unused)
    assert all(torch.equal(model.state_dict()[key], tensor) for key, tensor in before.items())
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    saccade.insert(model, "se", example_input=torch.ones(1, 3, 16, 16))
    assert saccade.verify(model, expect=planned) == ()


def test_without_weights_it_is_traced_up_to_there_with_a_warning():
    with torch.device("meta"):
        model = Chooses()
    found = networks.trace_of(model, torch.zeros(1, 3, 16, 16))
    assert found.ended
    assert [call.path for call in found.calls][:2] == ["", "first"]
    with pytest.warns(SaccadeWarning, match="not used: places after the step where the forward pass reads numbers"):
        planned = saccade.plan(model, "se", example_input=torch.zeros(1, 3, 16, 16))
    assert [str(place) for place in planned.places] == ["first.b.1"]
    with pytest.raises(InputError, match=r"then: it is called 0 times in one forward, as far as it could be traced"):
        saccade.plan(model, "se", at="then", example_input=torch.zeros(1, 3, 16, 16))


@pytest.mark.parametrize(
    "read", [lambda y: y.mean().item(), lambda y: y.numpy(), lambda y: y.tolist(), lambda y: f"{y}"]
)
def test_a_hook_that_reads_numbers_costs_no_place(read):
    model = networks.Holder()
    expected = [place.name for place in saccade.plan(model, "se").places]
    read_numbers = []
    model.parts[0]["m"].register_forward_hook(lambda module, args, y: read_numbers.append(read(y)))
    assert [place.name for place in saccade.plan(model, "se").places] == expected
    assert read_numbers


class ByName(nn.Module):
    def __init__(self):
        super().__init__()
        self.unit = networks.Unit(3, 8)

    def forward(self, *, image, scale=1.0):
        return self.unit(image * scale)


class OfDict(ByName):
    def forward(self, batch):
        return self.unit(batch["image"])


class Both(ByName):
    def forward(self, first, *, image):
        return self.unit(first + image)


@pytest.mark.parametrize(
    ("model", "given"),
    [
        (ByName, None),
        (ByName, {"image": torch.zeros(1, 3, 16, 16)}),
        (ByName, {"image": torch.zeros(1, 3, 16, 16), "scale": 2.0}),
        (OfDict, {"image": torch.zeros(1, 3, 16, 16)}),
        (Both, (torch.zeros(1, 3, 16, 16), {"image": torch.zeros(1, 3, 16, 16)})),
    ],
)
def test_arguments_are_given_by_position_by_name_or_as_a_dict(model, given, tmp_path):
    model = saccade.insert(model(), "se", example_input=given)
    assert [place.name for place in model.saccade_report.places] == ["unit.b.1"]
    assert saccade.verify(model, expect=1) == ()
    saccade.save(model, tmp_path / "net.safetensors")
    again = saccade.load(tmp_path / "net.safetensors", model=type(model)())
    assert saccade.verify(again, expect=model.saccade_report) == ()


class Ready(nn.Module):
    """A block prepared for quantisation: its sum is a module."""

    def __init__(self):
        super().__init__()
        self.a, self.b = (
            networks.conv(3, 8, stride=2),
            nn.Sequential(networks.conv(8, 8), nn.ReLU(), networks.conv(8, 8)),
        )
        self.sum = torch.ao.nn.quantized.FloatFunctional()

    def forward(self, x):
        x = torch.relu(self.a(x))
        return self.sum.add_relu(x, self.b(x))


def test_a_network_ready_for_quantisation_is_a_float_network():
    assert [place.name for place in saccade.plan(Ready(), "se").places] == ["b.2.1"]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("affine", [True, False])
def test_a_batch_normalization_has_the_shapes_it_has_when_it_computes(training, affine):
    """On the meta device a rule of ours says them."""
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, affine=affine), nn.BatchNorm2d(4)).train(training)
    inputs = (torch.zeros(2, 3, 8, 8),)
    ruled, computed = (record_trace(model, inputs, Attachment, real=real) for real in (False, True))
    assert ruled.shapes == computed.shapes
    assert [op.name for op in ruled.ops] == [op.name for op in computed.ops]


class ReadsStrides(nn.Module):
    """Reads numbers of a constant, as heads of detectors do, and writes to another."""

    devices = set()  # of the class: what instances hold is restored after a trace

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.strides, self.calls = torch.tensor([2.0, 4.0]), torch.zeros(1)

    def forward(self, x):
        x = self.first(x)
        self.devices.add(x.device.type)
        self.calls.add_(1)
        return self.second(x)[:, :, :: int((self.strides.max() / 2).item())]


def test_numbers_of_constants_are_read_without_a_real_pass():
    net = ReadsStrides()
    planned = saccade.plan(net, "se", at="second", example_input=torch.zeros(1, 3, 16, 20))
    assert [place.name for place in planned.places] == ["second"]
    assert (net.devices, net.calls.item()) == ({"meta"}, 0)
