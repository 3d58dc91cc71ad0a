"""Wrappers for parallel training are opened and made anew; what can no longer be changed is refused with the remedy."""

import copy

import pytest
import timm
import torch
import torch.multiprocessing
from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

import saccade
from saccade.errors import InputError
from saccade.insertion import attachments
from saccade.networks.notes import NotesNet
from tests.insertion import two_processes
from tests.insertion.test_inserting import lively

SIZE = {"example_input": torch.zeros(1, 3, 32, 32)}


@pytest.mark.processes
def test_two_processes_train_in_step(tmp_path):
    torch.multiprocessing.spawn(two_processes.train, (str(tmp_path),), nprocs=2)
    for order in two_processes.ORDERS:
        first, second = (torch.load(tmp_path / f"{order} {rank}.pt", weights_only=True) for rank in (0, 1))
        assert all(torch.equal(first[name], second[name]) for name in first)
        assert all(first[f"block{i}.bn2.saccade.g"].item() != 0 for i in (1, 2))


@pytest.fixture
def one_process(tmp_path):
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'meet'}", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def test_removing_from_a_wrapper(one_process):
    plain, x = lively(NotesNet()), torch.randn(2, 3, 32, 32)
    wrapped = saccade.insert(DistributedDataParallel(copy.deepcopy(plain)), "se", **SIZE).eval()
    saccade.remove(wrapped)
    assert not hasattr(wrapped, "saccade_report")
    assert wrapped.module.state_dict().keys() == plain.state_dict().keys()
    assert torch.equal(wrapped(x), plain.eval()(x))
    for _ in range(2):  # with parameters it still waited for, the second would fail
        wrapped.train()(x).sum().backward()


def test_communication_hooks_would_be_lost(one_process):
    wrapped = DistributedDataParallel(NotesNet())
    wrapped.register_comm_hook(None, lambda state, bucket: torch.futures.Future())
    with pytest.raises(InputError, match=r"its communication hooks would be lost.*\nhint: change the network"):
        saccade.insert(wrapped, "se", **SIZE)
    assert not attachments(wrapped)


def test_data_parallel_on_the_cpu():
    wrapped = saccade.insert(DataParallel(NotesNet()), "se", **SIZE)
    assert tuple(attachments(wrapped)) == ("module.block1.bn2", "module.block2.bn2")
    assert len(saccade.plan(wrapped, "se", **SIZE).places) == 2


class Quantised(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = NotesNet()
        self.last = torch.ao.nn.quantized.Conv2d(11, 4, 1)


def compiled_in_place():
    model = NotesNet()
    model.block1.compile(backend="eager")
    return model


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: torch.compile(NotesNet()),
            r"OptimizedModule\): a compiled network.*\nhint: insert first, compile after",
        ),
        (compiled_in_place, r"block1 \(Block\): a compiled network cannot be changed"),
        (
            lambda: torch.jit.trace(NotesNet().eval(), torch.zeros(1, 3, 32, 32)),
            r"a scripted or traced network.*\nhint: in",
        ),
        (
            Quantised,
            r"last \(Conv2d\): a quantised network computes with integers.*\nhint: insert into the network",
        ),
    ],
    ids=["compiled", "compiled in place", "traced", "quantised"],
)
@pytest.mark.filterwarnings("ignore:.*deprecated")
def test_what_cannot_be_changed_is_refused(make, message):
    model = make()
    for action in (saccade.plan, saccade.insert):
        with pytest.raises(InputError, match=message):
            action(model, "se")


def test_other_things_are_no_networks():
    with pytest.raises(TypeError, match=r"must be a torch.nn.Module; received str"):
        saccade.insert("resnet18", "se")


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "mixer_s16_224", "swin_tiny_patch4_window7_224"])
def test_pure_transformers_are_refused(name):
    with torch.device("meta"):
        model = timm.create_model(name)
    with pytest.raises(InputError, match=r"expected a convolutional network.*\nhint: choose a convolutional backbone"):
        saccade.plan(model, "se")


class Holder(nn.Module):
    """Holds networks, and has no forward of its own, as modules for training may."""

    def __init__(self, **parts: nn.Module) -> None:
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)


class Auxiliary(nn.Module):
    """Has a head that runs in training only, with a norm over samples at one position."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1))
        self.aux = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 2, 1))
        self.unused = nn.Conv2d(4, 4, 1)
        self.pooled = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(4))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        x = self.body(x)
        return (x, self.aux(x), self.pooled(x)) if self.training else (x,)


def test_a_module_without_a_forward_gets_it_in_the_network_it_holds():
    held = Holder(net=NotesNet(11), loss=nn.CrossEntropyLoss())
    assert saccade.insert(Holder(inner=held), "se", at="stage:-1") is not None
    held = saccade.insert(Holder(inner=held), "eca", at="stage:-1")
    assert len(saccade.verify(held).present) == 2
    assert len(held.inner.net.saccade_report.steps) == 2
    saccade.remove(held)
    assert not [key for key in held.state_dict() if "saccade" in key]
    for parts, message in (
        ({"generator": NotesNet(2), "critic": NotesNet(2)}, r"no forward of its own, and it holds generator, critic"),
        ({"loss": nn.CrossEntropyLoss()}, "it holds no network with convolutions"),
    ):
        with pytest.raises(saccade.InputError, match=message):
            saccade.plan(Holder(**parts), "se")


def test_a_head_that_runs_in_training_only_is_a_place(tmp_path):
    net, x = Auxiliary().train(), torch.randn(1, 3, 16, 20)
    twin = copy.deepcopy(net)
    saccade.insert(net, "se", at="aux.0", example_input=x)
    assert "run in training only" in str(net.saccade_report)
    assert net.training
    assert saccade.verify(net.eval()).present == ("aux.0",)
    saccade.insert(net, "eca", at="body.0", example_input=x)
    path = saccade.save(net.train(), tmp_path / "net.safetensors")
    again = saccade.load(path, model=twin)
    assert saccade.verify(again).present == ("body.0", "aux.0")
    batch = torch.randn(2, 3, 16, 20)
    assert all(map(torch.equal, again.train()(batch), net(batch)))
    del net.aux[0].saccade
    net.aux[0]._forward_hooks.clear()
    assert saccade.verify(net) == ("aux.0",)
    with pytest.raises(saccade.InputError, match="it is called 0 times"):
        saccade.plan(Auxiliary(), "se", at="unused", example_input=x)
