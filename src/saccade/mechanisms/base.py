"""Base of every mechanism: a function of a feature map that can also report its attention."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import Tensor, nn

from saccade.errors import InputError
from saccade.mechanisms.rules import choose


@dataclass(frozen=True)
class Layout:
    """Key names that one published code gives to the tensors of a mechanism.

    Args:
        source: Repository or listing that the names come from.
        names: Authors' key, or prefix of keys ending in a dot, to ours.
        options: Constructor options a module needs to hold this layout; named when a checkpoint does not fit.
        convert: Converts a tensor on loading (our key, their tensor), if a rename and a reshape are not enough. Linear,
            so that it converts their gradients as well.
        needs: Attributes a module must have for these numbers to mean the same, if shapes cannot tell:
            ``{"variant": "timm"}``. A module without them is refused.
    """

    source: str
    names: Mapping[str, str]
    options: str = ""
    convert: Callable[[str, Tensor], Tensor] | None = field(default=None, compare=False)
    needs: Mapping[str, Any] = field(default_factory=dict)

    def rename(self, key: str) -> str | None:
        """Return our name of the authors' `key`; None if it is not one of theirs."""
        if key in self.names:
            return self.names[key]
        for theirs in sorted(self.names, key=len, reverse=True):
            if key == theirs or (theirs.endswith(".") and key.startswith(theirs)):
                return self.names[theirs] + key.removeprefix(theirs)
        return None


class Published(nn.Module):
    """A published module, which can therefore load checkpoints with its authors' key names.

    Attributes:
        label: Prefix of its error messages.
        layouts: The key names of each published code.
    """

    label: ClassVar[str]
    layouts: ClassVar[tuple[Layout, ...]] = ()

    @classmethod
    def fitting(cls, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
        """Return the options of a module that would hold `tensors` (by our names), as far as names and shapes tell."""
        return {}


class Mechanism(Published):
    """A feature map in, a feature map of the same shape out.

    Subclasses implement `forward`, and those of these views that apply to them:

    * ``gates(x)``: the factors of the multiplication, ``{"channel": (B, C), "spatial": (B, 1, H, W)}``;
    * ``attention(x)``: the whole map, rows are queries and sum to 1: (B, N, M) over positions, (B, C, C) over channels;
    * ``weights(x, queries)``: the rows of ``attention`` for chosen positions only, (B, Q, H', W');
    * ``channel_weights(x, channels)``: the same for chosen channels, (B, Q, C).
    """

    def __init__(self, channels: int, *, dims: int = 2) -> None:
        super().__init__()
        choose(self.label, "dims", dims, (1, 2, 3))
        if not isinstance(channels, int) or isinstance(channels, bool) or channels < 1:
            raise InputError(f"{self.label}: `channels` must be a whole number of at least 1; received {channels=}")
        self.channels = channels
        self.dims = dims

    @property
    def starts_as_identity(self) -> bool:
        """True if a newly made module returns its input exactly (a branch that starts at zero)."""
        return False

    def start_open(self) -> None:
        """Give the parameters that start at zero the value they have in a layer of its own.

        Insertion calls it for a mechanism that it mixes in by a factor that starts at 0. Two zeros in series would hold
        each other back: the gradient of each is a multiple of the other.
        """

    def check(self, x: Tensor) -> None:
        """Refuse anything but ``(B, C, *)`` with this module's C and number of map axes."""
        if x.dim() != 2 + self.dims or x.shape[1] != self.channels:
            axes = {1: "T", 2: "H, W", 3: "T, H, W"}[self.dims]
            raise InputError(
                f"{self.label}: expected a feature map (B, {self.channels}, {axes}); received shape {tuple(x.shape)}",
                "make the mechanism with the channels of the map it is to read" if x.dim() == 2 + self.dims else None,
            )
