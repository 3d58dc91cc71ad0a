"""What is inserted learns: after a few steps of plain training every parameter with an effect has moved."""

import pickle

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import saccade
from saccade.catalog import CATALOG
from saccade.insertion import attachments
from saccade.insertion.attach import OPENING
from tests.suites import everyday

STEPS = 40
# A bias that a norm or a softmax takes away again has no effect; neither has a factor that a norm divides by.
WITHOUT_EFFECT = {
    "gsop": {"channel.reduce.bias", "spatial.reduce.bias"},
    "psa": {"channel.query.bias"},
    "gc": {"mask.bias"},
    "simplified_nl": {"mask.bias"},
    "a2": {"gather.bias"},
    "sagan": {"key.bias"},
    "pam": {"key.bias"},
    "cs": {"position.key.bias"},
    "dual": {"position.key.bias"},
    "bam": {"channel.layers.0.bias", "spatial.reduce.bias", "spatial.convs.0.bias", "spatial.convs.1.bias"},
}
SMALL = {
    "gsop": "dim=8,grid=2", "gc": "ratio=1/4", "bam": "reduction=4", "se": "reduction=4", "cbam": "reduction=4",
    "sk": "groups=4",
}  # fmt: skip
FORMS = [
    *(f"{name}[{SMALL[name]}]" if name in SMALL else name for name in CATALOG),
    "cbam[variant=timm]", "cbam[variant=popular]", "cbam[parts=spatial]", "bam[reduction=4,combine=sum]",
    "bam[reduction=4,parts=spatial]", "gsop[variant=spatial,dim=8,grid=2]", "gsop[variant=sum,dim=8,grid=2]",
    "psa[variant=sequential]", "psa[variant=paper_parallel]", "psa[variant=paper_sequential]",
    "gc[fusion=mul,ratio=1/4]", "gc[fusion=(add,mul),ratio=1/4]", "gc[variant=timm,ratio=1/4]",
    "gc[variant=timm,fusion=add,ratio=1/4]", "a2[residual=False]", "dual[residual=twice]",
    "non_local[pairwise=gaussian]", "non_local[pairwise=dot_product]", "non_local[pairwise=concatenation]",
    "sagan[variant=popular]", "cbam[reduction=4]+psa",
]  # fmt: skip
# The authors' own start holds these back, a gamma or a last layer at 0, in SK small weights before the softmax:
# at SGD's default rate the changes behind it are smaller than a float32 resolves.
HELD_BACK = ("a2", "cam", "conv3x3", "cs", "dual", "gc[ratio", "non_local", "pam", "sagan", "simplified_nl")
CHOSEN = ["cbam[reduction=4]", "psa", "fla", "gsop[dim=8,grid=2]", "gc[fusion=mul,ratio=1/4]", "dual[residual=twice]"]


class Tiny(nn.Module):
    """A stem, a residual block and a classifier."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, width, 3, 1, 1), nn.BatchNorm2d(width)
        self.conv, self.last = nn.Conv2d(width, width, 3, 1, 1), nn.BatchNorm2d(width)
        self.classify = nn.Linear(width, 5)

    def forward(self, x):
        x = F.relu(self.norm(self.stem(x)))
        return self.classify(F.relu(x + self.last(self.conv(x))).mean((2, 3)))


def tiny(form):
    torch.manual_seed(0)
    return saccade.insert(Tiny(), form, at="last", example_input=torch.zeros(1, 3, 6, 6))


def moved(model, optimizer, steps=STEPS):
    """Train on noise that differs in its mean too; return how far each tensor has moved, relative to its size."""
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        x = torch.randn(8, 3, 6, 6, generator=generator) + torch.randn(8, 3, 1, 1, generator=generator)
        optimizer.zero_grad()
        F.cross_entropy(model(x), torch.randint(5, (8,), generator=generator)).backward()
        optimizer.step()
    now = {name: p.detach() for name, p in model.named_parameters()}
    return {
        name.split("saccade.", 1)[1]: float((now[name] - p).norm() / torch.stack([p.norm(), now[name].norm()]).max())
        for name, p in before.items()
        if "saccade." in name
    }


def without_effect(form, names):
    known = set().union(*(WITHOUT_EFFECT.get(part.partition("[")[0], set()) for part in form.split("+")))
    return {name for name in names if name.partition("mechanism.")[2] in known}


@pytest.mark.filterwarnings("ignore::saccade.errors.SaccadeWarning")
@pytest.mark.parametrize("form", everyday(CHOSEN, FORMS))
def test_every_parameter_moves(form):
    held_back = form.startswith("sk") or (form.startswith(HELD_BACK) and attachments(tiny(form))["last"].g is None)
    for make in (torch.optim.SGD, torch.optim.AdamW):
        model = tiny(form)
        rate = {"lr": 0.05} if held_back and make is torch.optim.SGD else {}
        far = moved(model, make(model.parameters(), **rate))
        still = {name for name, distance in far.items() if distance == 0}
        assert still <= without_effect(form, far), (make.__name__, far)


def test_the_factor_opens_at_once_and_is_g_beyond_the_opening():
    model = tiny("se")
    attachment = attachments(model)["last"]
    x = torch.randn(2, 16, 6, 6)
    assert torch.equal(attachment(x), x)
    for g, factor in ((1e-3, OPENING), (-1e-3, -OPENING), (0.05, OPENING), (0.5, 0.5), (-2.0, -2.0), (1e-6, 1e-3)):
        nn.init.constant_(attachment.g, g)
        assert attachment.factor().item() == pytest.approx(factor, rel=1e-3)
    attachment(x).sum().backward()
    slope = (attachment.mechanism(x) - x).sum()
    torch.testing.assert_close(attachment.g.grad, slope[None])


@pytest.mark.parametrize("form", ["se", "sk[groups=4]"])
def test_a_state_of_an_older_version_keeps_its_factor(form, tmp_path):
    model = tiny(form).eval()
    nn.init.constant_(attachments(model)["last"].g, 0.02)
    old = {key: tensor for key, tensor in model.state_dict().items() if not key.endswith(".opening")}
    again = tiny(form).eval()
    again.load_state_dict(old)
    assert attachments(again)["last"].factor().item() == pytest.approx(0.02, rel=1e-6)
    third = tiny(form).eval()
    third.load_state_dict(again.state_dict())
    x = torch.randn(2, 3, 6, 6)
    assert torch.equal(third(x), again(x))
    assert not torch.equal(again(x), model(x))


def test_a_pickle_of_an_older_version_keeps_its_factor():
    model = tiny("se")
    attachment = attachments(model)["last"]
    nn.init.constant_(attachment.g, 0.02)
    del attachment._buffers["opening"]
    again = pickle.loads(pickle.dumps(model))
    assert attachments(again)["last"].factor().item() == pytest.approx(0.02, rel=1e-6)


class Rezero(nn.Module):
    """A branch scaled by a gamma that starts at 0, as people write their own."""

    def __init__(self, channels, added=False):
        super().__init__()
        self.mix, self.gamma, self.added = nn.Conv2d(channels, channels, 1), nn.Parameter(torch.zeros(1)), added

    def forward(self, x):
        branch = self.gamma * self.mix(x)
        return branch if self.added else x + branch


@pytest.mark.parametrize("added", [False, True])
def test_a_block_of_the_users_own_that_starts_at_zero_gets_no_second_zero(added):
    entry = saccade.register("rezero", Rezero, added=added)
    try:
        state = torch.get_rng_state()
        planned = saccade.plan(Tiny(), f"rezero[added={added}]", at="last", example_input=torch.zeros(1, 3, 6, 6))
        assert not planned.steps[0].wrapped
        torch.set_rng_state(state)
        model = tiny(f"rezero[added={added}]")
        x = torch.randn(2, 3, 6, 6)
        plain = saccade.remove(pickle.loads(pickle.dumps(model)))
        assert torch.equal(model.eval()(x), plain.eval()(x))
        assert all(moved(model.train(), torch.optim.SGD(model.parameters(), lr=0.05)).values())
    finally:
        saccade.catalog.unregister(entry.name)
