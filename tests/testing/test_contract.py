"""The shipped contract catches a broken block of each kind with its sentence, and passes a right one."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import saccade
from saccade import InputError
from saccade.mechanisms.base import Mechanism
from saccade.testing import PROPERTIES, ContractError, check_mechanism, checks_of, parametrize_mechanism
from tests.ids import shown

C = 8
QUICK: dict[str, Any] = {"channels": C, "backend": "eager"}


class Plain(nn.Module):
    """A right one, of no class of saccade's: a depthwise convolution added to the map."""

    def __init__(self, channels: int, kernel_size: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, kernel_size, padding="same", groups=channels)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x)


class Gate(Mechanism):
    """A right one of saccade's own kind."""

    label = "Gate"

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.weight = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        self.check(x)
        return x * (self.weight.to(x.dtype) * x.mean(dim=(2, 3))).sigmoid()[:, :, None, None]


class Fewer(Plain):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)[:, :-1]


class Two(Plain):
    def forward(self, x: Tensor) -> Any:
        return super().forward(x), x


class Overwrites(Plain):
    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x, inplace=True) + self.conv(x)


class Halves(Plain):
    """Goes to half the size and back: odd sides are lost."""

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(F.avg_pool2d(x, (2, 1)), scale_factor=(2.0, 1.0)) + 0 * self.conv(x)


class Blurs(Plain):
    """Needs two positions, and says so in a way of its own."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + F.pad(x, (1, 0, 1, 0), mode="reflect")[..., :-1, :-1]


class OneAtLeast(Plain):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + x.amax()


class Leaks(Plain):
    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) + x - x.mean(dim=0, keepdim=True)


class Constant(Plain):
    def forward(self, x: Tensor) -> Tensor:
        return 0 * x + self.conv(torch.ones_like(x))


class Widens(Plain):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).float()


class Rounds(Plain):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x if x.dtype == torch.float64 else x.to(torch.bfloat16).to(x.dtype))


class Overflows(Plain):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * 1e5 / 1e5


class Narrows(Gate):
    """A convolution, which autocast runs in half precision."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.conv = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(super().forward(x))


class Relays(Plain):
    """Reads the memory as if it were contiguous."""

    def forward(self, x: Tensor) -> Tensor:
        order = torch.as_strided(x, x.shape, x.new_empty(x.shape).stride()) if not x.is_contiguous() else x
        return super().forward(order)


class TurnsOver(Plain):
    """Loses channels last."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).contiguous()


class Detached(Plain):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).detach()


class Unused(Plain):
    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.extra = nn.Linear(channels, 1)


class WrongGradient(Plain):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + (x * x).detach()


class ReadsItsOutput(Gate):
    def forward(self, x: Tensor) -> Tensor:
        return F.relu(super().forward(x))


class NotTheIdentity(Gate):
    @property
    def starts_as_identity(self) -> bool:
        return True


class Remembers(Plain):
    """Keeps a number outside its state dict."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        Remembers.made = getattr(Remembers, "made", 0) + 1
        self.number = Remembers.made

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * self.number


class Shares(Plain):
    """A copy runs the parameters of the original."""

    def __deepcopy__(self, memo: Any) -> Shares:
        return self


class Trusting(Gate):
    def forward(self, x: Tensor) -> Tensor:
        return x * (self.weight.to(x.dtype) * x.mean(dim=(2, 3))).sigmoid()[:, :, None, None]


class Branches(Plain):
    """A branch on values."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) if x.mean() > -1e9 else x


class Counts(Plain):
    """The height goes into the program as a number."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + len(range(int(x.shape[2])))


class BreaksTheGraph(Plain):
    def forward(self, x: Tensor) -> Tensor:
        torch._dynamo.graph_break()
        return super().forward(x)


BROKEN: dict[str, tuple[str, Callable[[int], nn.Module], str]] = {
    "fewer channels": ("shape", Fewer, r"expected the shape of its input, \(3, 8, 6, 7\), .*; it returned \(3, 7, "),
    "two maps": ("shape", Two, "expected one tensor in evaluation; it returned a tuple"),
    "fails": ("shape", lambda channels: nn.Linear(channels, channels), "raised RuntimeError: "),
    "writes into the map": ("input", Overwrites, "expected the map to stay as it was given"),
    "odd sizes": ("sizes", Halves, r"a map of 11 x 4: .*"),
    "one position": ("sizes", Blurs, r"a map of 1 x 1: expected the same shape back, or a ValueError .*; it raised "),
    "no samples": ("batch", OneAtLeast, r"a batch of none, \(0, 8, 6, 7\): expected it back; it raised "),
    "a mean over the batch": ("independence", Leaks, "expected samples to be independent; changing one changed "),
    "a constant": ("independence", Constant, "expected the output to follow its input"),
    "float32 always": ("dtypes", Widens, "expected float64 for float64; it returned float32"),
    "rounds": ("dtypes", Rounds, "float32: expected within 0.0001 of float64, .*; it is .* off"),
    "overflows": ("dtypes", Overflows, "float16: expected within 0.05 of float64"),
    "narrow under autocast": ("autocast", Narrows, "expected float32 for float32 under autocast; it returned bfloat16"),
    "reads raw memory": ("layout", Relays, "expected the same numbers for a map that is not contiguous; they differ"),
    "loses channels last": ("layout", TurnsOver, "expected channels last to stay channels last"),
    "no gradient": ("learns", Detached, "expected gradients; the output has none"),
    "an unused layer": ("learns", Unused, "none reaches extra.weight, extra.bias"),
    "another gradient": ("gradients", WrongGradient, "expected the gradients of finite differences; "),
    "needs its output": ("in place", ReadsItsOutput, "its backward pass needs the output .*rectified"),
    "not the identity": ("identity", NotTheIdentity, "starts_as_identity is True; in float32, .* changes its input"),
    "more than its state": ("state", Remembers, "expected the same output after load_state_dict; it differs"),
    "shared copies": ("copy", Shares, "expected a deep copy to share nothing"),
    "takes any map": ("errors", Trusting, r"a map of shape .*: expected an InputError; it (was taken|raised .*)"),
    "a graph break": ("compiles", BreaksTheGraph, r"a map of 6 x 7: torch.compile\(fullgraph=True\) raised "),
    "a branch on values": ("exports", Branches, "expected torch.export to take it with a free batch and free sides"),
    "a size as a number": ("exports", Counts, "expected torch.export to take it with a free batch and free sides"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_what_is_broken_is_said_in_a_sentence(kind: str) -> None:
    name, mechanism, sentence = BROKEN[kind]
    with pytest.raises(ContractError) as error:
        check_mechanism(mechanism, only=[name], **QUICK)
    assert list(error.value.failures) == [name]
    assert re.search(sentence, error.value.failures[name])
    assert "\n" not in error.value.failures[name]


def test_every_property_has_one_that_breaks_it() -> None:
    assert {name for name, _, _ in BROKEN.values()} == set(PROPERTIES)
    assert all(f"\n{name} " in (saccade.testing.__doc__ or "") for name in PROPERTIES)


@pytest.mark.parametrize("mechanism", [Plain, Gate, "se[reduction=2]", lambda channels: Plain(channels, 5)], ids=shown)
def test_right_ones_pass(mechanism: Any) -> None:
    check_mechanism(mechanism, **QUICK)


def test_others_take_options_and_sequences() -> None:
    check_mechanism(Plain, options={"kernel_size": 5}, only=["shape", "learns"], **QUICK)
    check_mechanism(lambda channels: nn.Conv1d(channels, channels, 3, padding=1), dims=1, **QUICK)
    check_mechanism("a2[dims=3]", channels=C, only=["sizes", "layout"])
    check_mechanism("pam", channels=C, only=["learns"], idle=("key.bias",))


def test_a_block_that_insert_copies_is_trained_in_place() -> None:
    make = lambda channels: nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU())  # noqa: E731
    check_mechanism(make, only=["in place"], **QUICK)


def test_all_failures_are_told_together() -> None:
    class Both(Leaks):
        def __init__(self, channels: int) -> None:
            super().__init__(channels)
            self.extra = nn.Linear(channels, 1)

    with pytest.raises(ContractError, match=r"^Both breaks 2 of 4 properties of the contract") as error:
        check_mechanism(Both, only=["shape", "independence", "learns", "copy"], **QUICK)
    assert [line.split(":")[0] for line in str(error.value).splitlines()[1:]] == ["  independence", "  learns"]


def test_nothing_is_checked_where_the_shape_is_another() -> None:
    with pytest.raises(ContractError, match=r"^Fewer breaks 1 of 1 property"):
        check_mechanism(Fewer, **QUICK)


def test_what_concerns_mechanisms_only_is_left_out_for_others() -> None:
    assert {check.name for check in checks_of(Plain)} == set(PROPERTIES) - {"identity", "errors"}
    assert {check.name for check in checks_of(Gate)} == set(PROPERTIES)
    assert {check.name for check in checks_of("se_var1")} == set(PROPERTIES) - {"state"}


@parametrize_mechanism(Plain, "se[reduction=2]", only=("shape", "copy"), **QUICK)
def test_each_property_is_a_test(check: Any) -> None:
    check()
    assert str(check) in ("Plain-shape", "Plain-copy", "se[reduction=2]-shape", "se[reduction=2]-copy")


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"mechanism": Plain(C)}, "makes its modules itself; received a Plain"),
        ({"mechanism": Plain, "only": ["gradient"]}, "unknown property 'gradient' of mechanisms\nhint: .*gradients"),
        ({"mechanism": "see"}, "unknown mechanism 'see'"),
        ({"mechanism": Plain, "options": {"kernel": 3}}, "unknown option 'kernel'"),
        ({"mechanism": Plain, "dims": 4}, "dims must be 1, 2 or 3"),
        ({"mechanism": Plain, "size": (5,)}, "a size has 2 sides"),
    ],
)
def test_mistakes_are_named(how: dict[str, Any], message: str) -> None:
    with pytest.raises((InputError, TypeError), match=message):
        check_mechanism(**how)
