"""Networks on volumes, clips and sequences: places, mechanisms made for the axes of their map, and the same bits."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import saccade
from saccade import InputError
from saccade.catalog import CATALOG
from saccade.inspection.arrays import effective_receptive_field, rollout
from saccade.ops.axes import CONV, NORM
from tests.suites import everyday


class Residual(nn.Module):
    def __init__(self, dims: int, channels: int, out: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = CONV[dims](channels, out, 3, stride, 1, bias=False)
        self.norm1 = NORM[dims](out)
        self.conv2 = CONV[dims](out, out, 3, 1, 1, bias=False)
        self.norm2 = NORM[dims](out)
        self.short = CONV[dims](channels, out, 1, stride) if stride > 1 or channels != out else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x))))) + self.short(x))


class Classifier(nn.Module):
    """A stem with a pool, three stages, a mean over positions."""

    def __init__(self, dims: int) -> None:
        super().__init__()
        pool = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}[dims]
        self.stem = nn.Sequential(CONV[dims](3, 8, 3, 1, 1), NORM[dims](8), nn.ReLU(inplace=True), pool(2))
        self.layer1 = nn.Sequential(Residual(dims, 8, 8), Residual(dims, 8, 8))
        self.layer2 = nn.Sequential(Residual(dims, 8, 16, 2))
        self.layer3 = nn.Sequential(Residual(dims, 16, 16, 2))
        self.head = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer3(self.layer2(self.layer1(self.stem(x)))).flatten(2).mean(dim=2))


class UNet(nn.Module):
    """Two levels, joined; enlarged by interpolation and by a transposed convolution."""

    def __init__(self, dims: int) -> None:
        super().__init__()
        pool = {1: nn.AvgPool1d, 2: nn.AvgPool2d, 3: nn.AvgPool3d}[dims]
        grow = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}[dims]
        self.down1 = self.block(dims, 3, 8)
        self.down2 = nn.Sequential(pool(2), self.block(dims, 8, 16))
        self.down3 = nn.Sequential(pool(2), self.block(dims, 16, 16))
        self.grow2 = nn.Upsample(scale_factor=2, mode={1: "linear", 2: "bilinear", 3: "trilinear"}[dims])
        self.up2 = self.block(dims, 32, 8)
        self.grow1 = grow(8, 8, 2, 2)
        self.up1 = self.block(dims, 16, 8)
        self.out = CONV[dims](8, 2, 1)

    def block(self, dims: int, channels: int, out: int) -> nn.Module:
        conv = CONV[dims]
        return nn.Sequential(conv(channels, out, 3, 1, 1), nn.ReLU(), conv(out, out, 3, 1, 1), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        first = self.down1(x)
        second = self.down2(first)
        second = self.up2(torch.cat([self.grow2(self.down3(second)), second], dim=1))
        return self.out(self.up1(torch.cat([self.grow1(second), first], dim=1)))


class Next(nn.Module):
    """Blocks with the channels in the last axis, as ConvNeXt has them; as many tokens as channels at the given size."""

    def __init__(self, dims: int) -> None:
        super().__init__()
        self.stem = CONV[dims](3, 16, 4, 4)
        self.blocks = nn.Sequential(*(Block(dims, 16) for _ in range(2)))
        self.down = CONV[dims](16, 32, 2, 2)
        self.last = Block(dims, 32)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.down(self.blocks(self.stem(x)))).flatten(2).mean(dim=2)


class Block(nn.Module):
    def __init__(self, dims: int, channels: int) -> None:
        super().__init__()
        self.depthwise = CONV[dims](channels, channels, 3, padding=1, groups=channels)
        self.norm = nn.LayerNorm(channels)
        self.wide, self.narrow = nn.Linear(channels, 4 * channels), nn.Linear(4 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        y = self.depthwise(x).movedim(1, -1)
        return x + self.narrow(F.gelu(self.wide(self.norm(y)))).movedim(-1, 1)


SIDES = {1: (64,), 3: (8, 16, 24)}


def input_of(dims: int, batch: int = 2) -> Tensor:
    return torch.randn(batch, 3, *SIDES[dims], generator=torch.Generator().manual_seed(0))


ALIKE = [
    (kind, dims, name)
    for kind in (Classifier, UNet, Next)
    for dims in (1, 3)
    for name in CATALOG
    if not CATALOG[name].flat
]
CHOSEN = [(Classifier, 3, "cbam"), (Classifier, 1, "non_local"), (UNet, 3, "pam"), (Next, 1, "psa"), (Next, 3, "se")]


@pytest.mark.filterwarnings("ignore:(GC|PSA)")
@pytest.mark.parametrize(("kind", "dims", "name"), everyday(CHOSEN, ALIKE), ids=str)
def test_the_outputs_are_the_same_to_the_bit_and_removal_leaves_the_network(kind, dims: int, name: str) -> None:
    torch.manual_seed(0)
    network, x = kind(dims).eval(), input_of(dims)
    keys, before = list(network.state_dict()), network(x)
    saccade.insert(network, {"sk": "sk[groups=4]", "gc": "gc[ratio=1/4]"}.get(name, name))
    assert torch.equal(network(x), before)
    assert {place.dims for place in network.saccade_report.places} == {dims}
    network.train()
    loss = network(x).square().sum()
    loss.backward()
    own = [p.grad for n, p in network.named_parameters() if ".saccade" in n]
    assert not own or any(grad is not None and grad.abs().max() > 0 for grad in own)
    saccade.remove(network.eval())
    assert list(network.state_dict()) == keys


def names(network: nn.Module, at: str) -> list[str]:
    return [str(place) for place in saccade.plan(network, "eca", at=at).places]


@pytest.mark.parametrize("dims", [1, 3])
@pytest.mark.parametrize("kind", [Classifier, UNet, Next])
def test_the_places_are_those_of_the_network_on_images(kind, dims: int) -> None:
    for at in ("stage", "block") if kind is UNet else ("residual", "inner", "stage", "block"):
        assert names(kind(dims), at) == names(kind(2), at)


def test_a_plan_prints_the_sides_of_a_volume_and_of_a_sequence() -> None:
    text = " ".join(str(saccade.plan(Classifier(3), "se", example_input=input_of(3))).split())
    assert "Residual 8 x 4 x 8 x 12 NCDHW 2 se[dims=3]" in text
    text = " ".join(str(saccade.plan(Classifier(1), "se", example_input=input_of(1))).split())
    assert "Residual 8 x 32 NCL 2 se[dims=1]" in text
    (place, *_) = saccade.plan(Classifier(3), "se", example_input=input_of(3)).places
    assert (place.frames, place.height, place.width, place.stride) == ((4,), 8, 12, 2)


@pytest.mark.parametrize("name", ["r3d_18", *everyday([], ["mc3_18", "r2plus1d_18"])])
def test_video_networks_of_torchvision(name: str) -> None:
    from torchvision.models import video

    torch.manual_seed(0)
    network, clip = getattr(video, name)(num_classes=3).eval(), torch.randn(1, 3, 4, 32, 32)
    with torch.no_grad():
        before = network(clip)
        saccade.insert(network, "cbam", example_input=clip)
        saccade.insert(network, "non_local", example_input=clip)
        assert torch.equal(network(clip), before)
    kinds = [step.mechanism.name for step in network.saccade_report.steps]
    assert (kinds.count("cbam"), kinds.count("non_local")) == (8, 2)
    assert {step.place.dims for step in network.saccade_report.steps} == {3}


def test_a_mechanism_of_two_axes_is_refused_with_the_reason() -> None:
    with pytest.raises(InputError, match=r"layer3\.0: fla takes maps of two axes only \(its strips are the columns"):
        saccade.plan(Classifier(3), "fla")
    with pytest.raises(InputError, match=r"fla takes maps of two axes only .* this one is a sequence"):
        saccade.plan(Classifier(1), "fla")
    with pytest.raises(InputError, match="GSoP: variant='spatial' compares positions"):
        saccade.plan(Classifier(3), "gsop[variant=spatial]")
    with pytest.raises(InputError, match=r"PAM: expected a feature map \(B, 16, H, W\)"):
        saccade.plan(Classifier(3), "pam[dims=2]")


class OwnGate(nn.Module):
    """A mechanism of a user's, for volumes alone."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(channels, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.conv(x).sigmoid()


def test_takes_a_mechanism_of_ones_own_for_volumes() -> None:
    network, x = Classifier(3).eval(), input_of(3)
    before = network(x)
    saccade.insert(network, OwnGate)
    assert torch.equal(network(x), before)
    assert len(network.saccade_report.places) == 4


def test_a_convolution_over_channels_makes_no_network_of_sequences() -> None:
    """A gate's convolution of one axis runs over channels: the maps of the network have two."""
    network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), saccade.create("eca", 8), nn.Conv2d(8, 8, 3, padding=1))
    assert {place.dims for place in saccade.plan(network, "se", at="block").places} == {2}


@pytest.mark.parametrize("dims", [1, 3])
def test_saves_and_loads(tmp_path, dims: int) -> None:
    network, x = saccade.insert(Classifier(dims), "cbam").eval(), input_of(dims)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    saccade.save(network, tmp_path / "network.safetensors")
    again = saccade.load(tmp_path / "network.safetensors", model=Classifier(dims)).eval()
    assert torch.equal(again(x), network(x))


@pytest.mark.parametrize("dims", [1, 3])
def test_what_is_inserted_learns(dims: int) -> None:
    """Every parameter of CBAM moves in a few steps, its spatial convolution too."""
    torch.manual_seed(0)
    network, x = saccade.insert(Classifier(dims), "cbam").train(), input_of(dims, 4)
    before = {name: p.detach().clone() for name, p in network.named_parameters() if "saccade" in name}
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05)
    for _ in range(6):
        optimizer.zero_grad()
        F.cross_entropy(network(x), torch.arange(4)).backward()
        optimizer.step()
    still = [name for name, p in network.named_parameters() if name in before and torch.equal(p, before[name])]
    assert not [name for name in still if not name.endswith("expand.bias")]


@pytest.mark.parametrize("dims", [1, 3])
def test_records_and_follows_attention(dims: int) -> None:
    network, x = saccade.insert(Classifier(dims), "pam", at="stage:1-2").eval(), input_of(dims)
    with saccade.record(network) as maps:
        network(x)
    first, last = maps.values()
    sides = last.input.shape[2:]
    middle = tuple(side // 2 for side in sides)
    assert last.weights([middle]).shape == (2, 1, *sides)
    assert 0 <= last.query_dependence() <= 1
    followed = rollout([first, last], [middle])
    assert followed.shape == (1, *first.input.shape[2:])
    torch.testing.assert_close(followed.sum(), torch.tensor(1.0))
    field = effective_receptive_field(network, x, place="layer1")
    assert field.shape == x.shape[2:]
    torch.testing.assert_close(field.sum(), torch.tensor(1.0))
