"""Every statement of ``docs/from-the-blogs-code.md``, tried: the test has the name of the statement's anchor."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import saccade
import saccade.ops
from saccade.mechanisms.base import Mechanism
from saccade.networks.heads import DANetHead
from tests.mechanisms.randomised import equal, random_map, randomised

DOCS = Path(__file__).parents[2] / "docs"
PAGES = ("from-the-blogs-code.md", "from-the-blogs-code.zh.md")


def differ(one: Tensor, other: Tensor) -> bool:
    return bool((one - other).abs().max() > 1e-3)


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("page", PAGES)
def test_every_statement_has_a_test_and_every_test_a_statement(page: str) -> None:
    anchors = re.findall(r'<a id="([\w-]+)">', (DOCS / page).read_text(encoding="utf-8"))
    tests = {name.removeprefix("test_").replace("_", "-") for name in globals() if name.startswith("test_")}
    assert len(anchors) == len(set(anchors))
    assert set(anchors) == tests - {"every-statement-has-a-test-and-every-test-a-statement"}


def test_cam_sign() -> None:
    x = random_map(6, (3, 4))
    energy = x.flatten(2) @ x.flatten(2).mT
    printed = (energy.amax(dim=-1, keepdim=True) - energy).softmax(dim=-1)
    equal(printed, (-energy).softmax(dim=-1))
    assert differ(printed, energy.softmax(dim=-1))
    equal(saccade.create("cam", 6).attention(x), printed)
    equal(saccade.create("cam", 6, sign="printed").attention(x), energy.softmax(dim=-1))


def test_cam_transpose() -> None:
    cam, x = randomised("cam", 6), random_map(6, (3, 4))
    attention, gathered = cam.attention(x), (cam(x) - x).flatten(2) / cam.gamma
    equal(gathered, attention @ x.flatten(2))
    assert differ(gathered, attention.mT @ x.flatten(2))


def test_pam_width() -> None:
    assert count(saccade.create("pam", 512)) == 328_321
    assert count(saccade.create("pam", 512, reduction=1)) == 787_969


def test_pam_returns_no_map() -> None:
    pam, x = randomised("pam", 8), random_map(8, (3, 4))
    assert pam(x).shape == x.shape
    assert pam.attention(x).shape == (2, 12, 12)


def released_pairing(x: Tensor, descriptors: Tensor) -> Tensor:
    """Columns of the batch sample by sample, descriptors tiled in turn: (B W, C, C)."""
    batch, channels, height, width = x.shape
    strips = x.permute(0, 3, 1, 2).reshape(batch * width, channels, height)
    return (strips @ torch.cat([descriptors] * width)).softmax(dim=-1)


def test_fla_leak() -> None:
    x = random_map(6, (5, 4), batch=3)
    changed = torch.cat([x[:1], -2 * x[1:2], x[2:]])
    right, released = randomised("fla", 6), randomised("fla", 6, pairing="released")
    equal(released.attention(x)[:, :4].flatten(0, 1), released_pairing(x, released.rows(x.mean(dim=3).mT)))
    assert differ(released(x)[0], released(changed)[0])
    equal(right(x)[0], right(changed)[0])


def test_fla_single() -> None:
    x = random_map(6, (5, 4), batch=1)
    equal(randomised("fla", 6)(x), randomised("fla", 6, pairing="released")(x))


def listed_gates(cbam: Mechanism, x: Tensor) -> tuple[Tensor, Tensor]:
    """What the two classes of the listing return, each for the map it is given."""
    first, second = (layer.weight.flatten(1) for layer in (cbam.channel.reduce, cbam.channel.expand))
    pooled = (x.mean(dim=(2, 3)), x.amax(dim=(2, 3)))
    channel = sum(F.relu(p @ first.T) @ second.T for p in pooled).sigmoid()[:, :, None, None]
    scaled = x * channel
    stacked = torch.cat([scaled.mean(dim=1, keepdim=True), scaled.amax(dim=1, keepdim=True)], dim=1)
    # Our convolution reads [max, mean].
    weight = cbam.spatial.conv.weight.flip(1)
    return channel, F.conv2d(stacked, weight, padding=weight.shape[-1] // 2).sigmoid()


def test_cbam_gates_only() -> None:
    cbam, x = randomised("cbam", 16, variant="popular"), random_map(16, (5, 7))
    channel, spatial = listed_gates(cbam, x)
    assert channel.shape != x.shape
    equal(cbam(x), x * channel * spatial)


def test_cbam_parameters() -> None:
    resnet50 = 25_557_032
    blocks = [256] * 3 + [512] * 4 + [1024] * 6 + [2048] * 3
    assert resnet50 + sum(count(saccade.create("cbam", c)) for c in blocks) == 28_089_624
    assert resnet50 + sum(count(saccade.create("cbam", c, variant="popular")) for c in blocks) < 28_080_000
    official, popular = saccade.create("cbam", 32), saccade.create("cbam", 32, variant="popular")
    assert official.channel.reduce.bias is not None
    assert popular.channel.reduce.bias is None
    assert {type(m) for m in official.modules()} - {type(m) for m in popular.modules()} == {nn.BatchNorm2d}


def test_cbam_planes() -> None:
    theirs = torch.randn(1, 2, 7, 7, dtype=torch.float64)
    x = random_map(16, (5, 7))
    ours = saccade.create("cbam", 16, variant="popular", parts="spatial").double()
    saccade.load_official(ours, {"conv.weight": theirs})
    stacked = torch.cat([x.mean(dim=1, keepdim=True), x.amax(dim=1, keepdim=True)], dim=1)
    gate = F.conv2d(stacked, theirs, padding=3).sigmoid()
    equal(ours(x), x * gate)
    assert differ(F.conv2d(stacked.flip(1), theirs, padding=3).sigmoid(), gate)


def test_cbam_kernel() -> None:
    for options in ({}, {"variant": "popular"}):
        assert saccade.create("cbam", 16, **options).spatial.conv.kernel_size == (7, 7)
    assert saccade.create("cbam", 16, variant="popular", kernel_size=3).spatial.conv.kernel_size == (3, 3)


def test_bam_window() -> None:
    square, wide, tall = (random_map(16, size) for size in ((6, 6), (5, 8), (8, 5)))
    equal(F.avg_pool2d(square, 6)[:, :, 0, 0], square.mean(dim=(2, 3)))
    equal(F.avg_pool2d(wide, 5, stride=5)[:, :, 0, 0], wide[..., :5].mean(dim=(2, 3)))
    with pytest.raises(RuntimeError):
        F.avg_pool2d(tall, 8)
    whole, released = randomised("bam", 16), randomised("bam", 16, window="released")
    equal(whole(square), released(square))
    assert differ(whole.gates(wide)["channel"], released.gates(wide)["channel"])
    assert whole(tall).shape == tall.shape


def test_bam_join() -> None:
    x = random_map(16, (5, 7))
    product, added = randomised("bam", 16), randomised("bam", 16, combine="sum")
    assert set(product.state_dict()) == set(added.state_dict())
    channel, spatial = (gate.logit() for gate in product.gates(x).values())
    equal(product(x), x * (1 + (channel[:, :, None, None] * spatial).sigmoid()))
    equal(added(x), x * (1 + (channel[:, :, None, None] + spatial).sigmoid()))


class PlainGamma(nn.Module):
    """As the listing has it."""

    def __init__(self) -> None:
        super().__init__()
        self.value = nn.Conv2d(4, 4, kernel_size=1)
        self.gamma = torch.zeros(1)

    def forward(self, x: Tensor) -> Tensor:
        return self.gamma * self.value(x) + x


class GammaInTheCall(PlainGamma):
    def forward(self, x: Tensor) -> Tensor:
        gamma = nn.Parameter(torch.zeros(1))
        return gamma * self.value(x) + x


@pytest.mark.parametrize("listed", [PlainGamma, GammaInTheCall], ids=["plain", "in the call"])
def test_sagan_gamma(listed: type[nn.Module]) -> None:
    module, x = listed(), torch.randn(2, 4, 3, 3)
    assert not any("gamma" in name for name in [*module.state_dict(), *dict(module.named_parameters())])
    optimizer = torch.optim.SGD(module.parameters(), lr=1.0)
    for _ in range(3):
        optimizer.zero_grad()
        module(x).pow(2).sum().backward()
        optimizer.step()
    assert torch.equal(module(x), x)

    ours, x = saccade.create("sagan", 4, variant="popular"), torch.randn(2, 4, 3, 3)
    optimizer = torch.optim.SGD(ours.parameters(), lr=0.01)
    ours(x).pow(3).sum().backward()
    optimizer.step()
    assert ours.gamma.item() != 0


def test_sagan_tf_gamma() -> None:
    test_sagan_gamma(GammaInTheCall)


def test_sagan_names() -> None:
    theirs = {f"{name}.{kind}": torch.randn(shape) for name, width in (("f", 2), ("g", 2), ("h", 16))
              for kind, shape in (("weight", (width, 16, 1, 1)), ("bias", (width,)))}  # fmt: skip
    ours = saccade.create("sagan", 16, variant="popular")
    saccade.load_official(ours, theirs | {"gamma": torch.ones(1)})
    assert torch.equal(ours.query.weight, theirs["f.weight"])
    assert torch.equal(ours.key.weight, theirs["g.weight"])
    assert torch.equal(ours.value.weight, theirs["h.weight"])


def test_sagan_parallel() -> None:
    sagan, x, read = saccade.create("sagan", 16, variant="popular"), torch.randn(1, 16, 4, 4), []
    for layer in (sagan.query, sagan.key, sagan.value):
        layer.register_forward_pre_hook(lambda _, given: read.append(given[0]))
    with saccade.ops.definitions():  # the lean form puts the matrix of values to averages of the map
        sagan(x)
    assert len(read) == 3
    assert all(given is x for given in read)


def test_sagan_is_pam() -> None:
    x = random_map(16, (4, 6))
    listed, pam = randomised("sagan", 16, variant="popular"), randomised("pam", 16)
    pam.load_state_dict(listed.state_dict())
    equal(listed(x), pam(x))
    official = saccade.create("sagan", 16).double()
    assert official.attention(x).shape == (2, 24, 6)
    assert not any(name.endswith("bias") for name in official.state_dict())


def test_sagan_tf_reshape() -> None:
    x = torch.arange(24.0).view(1, 2, 3, 4)  # (B, H, W, C)
    listed = x.reshape(1, 4, 6)
    right = x.permute(0, 3, 1, 2).reshape(1, 4, 6)
    assert not torch.equal(listed, right)
    assert right[0, 0].tolist() == x[0, :, :, 0].flatten().tolist()  # one channel
    assert listed[0, 0].tolist() == x.flatten()[:6].tolist()  # all of one pixel and half of the next


def test_sagan_tf_map() -> None:
    pam, x = randomised("sagan", 16, variant="popular"), random_map(16, (3, 4))
    query, key = pam.query(x).flatten(2), pam.key(x).flatten(2)
    transposed = (key.mT @ query).softmax(dim=1)  # rows are keys, and columns sum to 1
    equal(transposed.sum(dim=1), torch.ones(2, 12, dtype=torch.float64))
    equal(pam.attention(x), transposed.mT)


def test_psa_softmax() -> None:
    psa, x = randomised("psa", 16, variant="paper_parallel", parts="spatial"), random_map(16, (4, 6))
    query = psa.spatial.query(x.mean(dim=(2, 3)))
    value = psa.spatial.value(x).flatten(2)
    right, listed = (torch.einsum("bc,bcn->bn", q, value).sigmoid() for q in (query.softmax(dim=1), query))
    equal(psa.gates(x)["spatial"].flatten(1), right)
    assert differ(right, listed)


def test_psa_form() -> None:
    assert count(saccade.create("psa", 48)) == 4_656
    assert count(saccade.create("psa", 48, variant="paper_parallel")) == 4_873
    official, paper = saccade.create("psa", 48), saccade.create("psa", 48, variant="paper_parallel")
    assert not any("bias" in name for name in official.state_dict())
    assert not any(isinstance(module, nn.LayerNorm) for module in official.modules())
    for module, other in ((official, paper), (paper, official)):
        with pytest.raises(saccade.InputError):
            saccade.load_official(module, other.state_dict())


def test_psa_product() -> None:
    psa, x = randomised("psa", 16, variant="paper_parallel", parts="channel"), random_map(16, (4, 6))
    attention = psa.channel.query(x).flatten(2).softmax(dim=2)
    value = psa.channel.value(x.flatten(2).mT)  # (B, N, C / 2)
    context = torch.einsum("bnc,bon->bc", value, attention)
    up, norm = psa.channel.up[0], psa.channel.up[1]
    lifted = context @ up.weight.flatten(1).T + up.bias
    equal(psa.gates(x)["channel"], F.layer_norm(lifted, (16,), norm.weight.flatten(), norm.bias.flatten()).sigmoid())


def test_a2_axis() -> None:
    one = torch.randn(1, 3, 5)
    with pytest.warns(UserWarning, match="Implicit dimension choice"):
        weights = F.softmax(one)
    assert torch.equal(weights, torch.ones(1, 3, 5))
    two = torch.randn(2, 3, 5)
    with pytest.warns(UserWarning, match="Implicit dimension choice"):
        torch.testing.assert_close(F.softmax(two), two.softmax(dim=0))
    a2, x = randomised("a2", 6), random_map(6, (3, 4))
    equal(a2(x)[:1], a2(x[:1]))


def test_a2_descriptors() -> None:
    a2, x = randomised("a2", 6, key_channels=3), random_map(6, (3, 4))
    gather, distribute = a2.gather(x).flatten(2).softmax(dim=2), a2.distribute(x).flatten(2).softmax(dim=1)
    mixture = a2.value(x).flatten(2) @ gather.mT @ distribute
    equal(a2(x), x + a2.project(mixture.view(2, -1, 3, 4)))
    over_positions = a2.distribute(x).flatten(2).softmax(dim=2)
    assert differ(distribute, over_positions)


def test_danet_head_norm() -> None:
    """Ours has a default, as every other head of the field."""
    head = DANetHead(32, num_classes=5).eval()
    assert any(isinstance(module, nn.BatchNorm2d) for module in head.modules())
    assert len(head(torch.randn(1, 32, 4, 4))) == 3
