"""Attaching a mechanism to a module without renaming anything, and taking it off again.

The mechanism becomes a child of the module and is run by a hook that is a plain function: it looks the child up on the
module it is called with, so copies, pickles and moving averages of a network run their own mechanism.
"""

# Annotations stay objects here: TorchScript reads those of the hooks.
import torch
from torch import Tensor, nn

from saccade.errors import InputError
from saccade.mechanisms.base import Mechanism

CHILD = {"after": "saccade", "before": "saccade_before"}


class Attachment(nn.Module):
    r"""A mechanism A at a place of a network.

    .. math:: y = x + g\,(A(x) - x)

    Without `g`, :math:`y = A(x)`.

    Args:
        mechanism: A, for maps (B, C, H, W).
        side: ``"after"`` or ``"before"`` the module it is attached to.
        wrapped: Whether there is a `g`, one learned number that starts at 0: then the map passes unchanged, bit by bit,
            as long as A(x) is finite.
        layout: ``"NCHW"``, or ``"NHWC"`` where the network keeps channels in the last axis.
    """

    def __init__(self, mechanism: nn.Module, *, side: str, wrapped: bool, layout: str = "NCHW") -> None:
        super().__init__()
        self.mechanism = mechanism
        self.side, self.layout = side, layout
        self.g: nn.Parameter | None
        self.register_parameter("g", nn.Parameter(torch.zeros(1)) if wrapped else None)

    def forward(self, x: Tensor) -> Tensor:
        if self.layout == "NHWC":
            return self._apply_to(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return self._apply_to(x)

    def _apply_to(self, x: Tensor) -> Tensor:
        y: Tensor = self.mechanism(x)
        if self.g is None:
            return y
        # Under autocast a mechanism may return another precision than the map has.
        return torch.lerp(x, y.to(x.dtype), self.g.to(x.dtype))

    def extra_repr(self) -> str:
        return f"side={self.side}, layout={self.layout}, wrapped={self.g is not None}"


def run_after(module: nn.Module, args: tuple[Tensor], output: Tensor) -> Tensor:
    """Forward hook: the map behind `module` goes through its attachment."""
    changed: Tensor = module.saccade(output)  # type: ignore[operator]
    return changed


def run_before(module: nn.Module, args: tuple[Tensor]) -> tuple[Tensor, ...]:
    """Forward pre-hook: the first argument of `module` goes through its attachment."""
    changed: Tensor = module.saccade_before(args[0])  # type: ignore[operator]
    return (changed, *args[1:])


def attachments(model: nn.Module) -> dict[str, Attachment]:
    """The attachments of a network by the module they are attached to.

    Where a module has one on each side, the one before it is called ``before:NAME``.
    """
    found: dict[str, Attachment] = {}
    for path, module in model.named_modules():
        if isinstance(module, Attachment):
            host = path.rpartition(".")[0]
            found[f"before:{host}" if host in found else host] = module
    return found


def host_of(key: str) -> str:
    """The module's name in a key of :func:`attachments`."""
    return key.removeprefix("before:")


def check_free(host: nn.Module, name: str, side: str) -> None:
    """Refuse a module that already has something under the child's name.

    Raises:
        InputError: An earlier insertion, or an attribute of the network's own.
    """
    child = CHILD[side]
    present = getattr(host, child, None)
    if isinstance(present, Attachment):
        raise InputError(
            f"{name} ({type(host).__name__}): {_title(present)} is already inserted {side} it",
            "call saccade.remove(model) first, or choose another place with at=",
        )
    if present is not None:
        raise InputError(
            f"{name} ({type(host).__name__}): it already has an attribute {child!r} that is not of saccade's making",
            "rename that attribute, or choose another place with at=",
        )


def attach(host: nn.Module, attachment: Attachment) -> None:
    """Make `attachment` a child of `host` and run it by a hook."""
    host.add_module(CHILD[attachment.side], attachment)
    hook(host, attachment.side)


def hook(host: nn.Module, side: str) -> None:
    """Register the hook of one side."""
    if side == "after":
        host.register_forward_hook(run_after)
    else:
        host.register_forward_pre_hook(run_before)


def hooks(host: nn.Module, side: str) -> int:
    """How many hooks of saccade a module has on one side."""
    registered = host._forward_hooks if side == "after" else host._forward_pre_hooks
    return sum(function in (run_after, run_before) for function in registered.values())


def detach(host: nn.Module, side: str) -> None:
    """Take off child and hooks of one side."""
    unhook(host, side)
    delattr(host, CHILD[side])


def unhook(host: nn.Module, side: str) -> None:
    """Take off the hooks of one side."""
    registered = host._forward_hooks if side == "after" else host._forward_pre_hooks
    for key in [key for key, function in registered.items() if function in (run_after, run_before)]:
        del registered[key]


def _title(attachment: Attachment) -> str:
    mechanism = attachment.mechanism
    return mechanism.label if isinstance(mechanism, Mechanism) else type(mechanism).__name__
