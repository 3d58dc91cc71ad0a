"""Attach a mechanism to a module without renaming anything, and detach it again.

The mechanism becomes a child of the module and is run by a hook that is a plain function: it looks the child up on the
module it is called with, so copies, pickles and moving averages of a network run their own mechanism.
"""

# Annotations stay objects here: TorchScript reads those of the hooks.
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from saccade.errors import InputError
from saccade.ops.modes import exported

CHILD = {"after": "saccade", "before": "saccade_before"}
OPENING = 0.1
STEEPNESS = 1e4
_SINCE = ".opening"  # the key that files of older versions lack


class Attachment(nn.Module):
    r"""A mechanism A at a place of a network, and the mechanisms inserted there after it.

    .. math:: y = x + f\,(A(x) - x) \quad\text{or, for a branch added to the map,}\quad y = x + f\,A(x)

    Without `g`, :math:`y = A(x)` or :math:`y = x + A(x)`. With it,

    .. math:: f = g \text{ if } |g| \ge o, \text{ else } f = o \tanh(10^4 g), \quad o = 0.1

    The parameters of A receive a gradient times f. With f = g they would stand still for as long as g is tiny, which is
    long in plain SGD. So the factor opens: once training gives g a sign, f is near o of that sign. The gradient of g is
    that of f, so the steepness makes no step larger.

    Args:
        mechanism: A, for feature maps (B, C, H, W).
        side: ``"after"`` or ``"before"`` the module it is attached to.
        wrapped: If True, there is a `g`, one learned number that starts at 0: the map then passes unchanged, bit by
            bit, as long as A(x) is finite.
        layout: ``"NCHW"``, or ``"NHWC"`` if the network keeps channels in the last axis; as in :class:`Place`.
        added: If True, A(x) is added to the map; otherwise it replaces the map.
        copied: If True, A(x) is copied in training, since its backward pass needs it and the network may write to it.

    Attributes:
        opening: o, a buffer: 0.1, or 0 where a state was loaded that an older version saved, whose factor is g.
        next: The attachment that reads y, at the same place; None for the last.
    """

    def __init__(
        self,
        mechanism: nn.Module,
        *,
        side: str,
        wrapped: bool,
        layout: str = "NCHW",
        added: bool = False,
        copied: bool = False,
    ) -> None:
        super().__init__()
        self.mechanism = mechanism
        self.side, self.layout, self.added, self.copied = side, layout, added, copied
        self.g: nn.Parameter | None
        self.register_parameter("g", nn.Parameter(torch.zeros(1)) if wrapped else None)
        self.opening: Tensor | None
        self.register_buffer("opening", torch.tensor(OPENING) if wrapped else None)
        self.next: Attachment | None
        self.register_module("next", None)

    def forward(self, x: Tensor) -> Tensor:
        across = self.layout[-1] == "C"
        y = self._apply_to(x.movedim(-1, 1)).movedim(1, -1) if across else self._apply_to(x)
        return y if self.next is None else self.next(y)

    def _apply_to(self, x: Tensor) -> Tensor:
        y: Tensor = self.mechanism(x)
        factor = self.factor()
        if factor is None:
            if self.added:
                return x + y
            return y.clone() if self.copied and torch.is_grad_enabled() else y
        # Under autocast a mechanism may return another precision than the map has.
        y, factor = y.to(x.dtype), factor.to(x.dtype)
        if exported():  # runtimes know neither function
            return x + factor * (y if self.added else y - x)
        return torch.addcmul(x, y, factor) if self.added else torch.lerp(x, y, factor)

    def factor(self) -> Tensor | None:
        """Return f, one number; None if the mechanism is not mixed in by a factor."""
        if self.g is None or self.opening is None:
            return None
        g, most = self.g.detach(), self.opening
        return self.g + (most * torch.tanh(g * STEEPNESS) - torch.clamp(g, -most, most))

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        if "opening" not in self._buffers:  # pickled by an older version
            self.register_buffer("opening", None if self.g is None else torch.zeros_like(self.g[0]))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        if self.opening is not None and f"{prefix}g" in state_dict:
            state_dict.setdefault(f"{prefix}opening", torch.zeros_like(self.opening))
        super()._load_from_state_dict(state_dict, prefix, *args)

    def chain(self) -> "list[Attachment]":
        """Return this attachment and the following ones, in the order in which they run."""
        return [self] if self.next is None else [self, *self.next.chain()]

    def extra_repr(self) -> str:
        return f"side={self.side}, layout={self.layout}, wrapped={self.g is not None}, added={self.added}"


def run_after(module: nn.Module, args: tuple[Tensor], output: Tensor) -> Tensor:
    """Apply the attachment to the output of `module` (forward hook)."""
    changed: Tensor = module.saccade(output)  # type: ignore[operator]
    return changed


def run_before(module: nn.Module, args: tuple[Tensor]) -> tuple[Tensor, ...]:
    """Apply the attachment to the first argument of `module` (forward pre-hook)."""
    changed: Tensor = module.saccade_before(args[0])  # type: ignore[operator]
    return (changed, *args[1:])


def attachments(model: nn.Module) -> dict[str, Attachment]:
    """Return the attachments of a network by the module they are attached to.

    If a module has one on each side, the one before it is called ``before:NAME``; if several follow each other, the
    second is called ``NAME#2``.
    """
    found: dict[str, Attachment] = {}
    for host, first in heads(model):
        key = f"before:{host}" if host in found else host
        for number, attachment in enumerate(first.chain(), 1):
            found[key if number == 1 else f"{key}#{number}"] = attachment
    return found


def as_now(given: Mapping[str, Tensor], own: Collection[str]) -> dict[str, Tensor]:
    """Return the tensors of a network with those added that older versions did not save, of the keys in `own`."""
    lacking = [key for key in own if key.endswith(_SINCE) and f"{key.removesuffix(_SINCE)}.g" in given]
    return {key: given[f"{key.removesuffix(_SINCE)}.g"].new_zeros(()) for key in lacking if key not in given} | {
        **given
    }


def heads(model: nn.Module) -> Iterator[tuple[str, Attachment]]:
    """Yield the first attachment on each side of each module that has one, with the module's name."""
    for path, module in model.named_modules():
        for child in CHILD.values():
            attachment = module._modules.get(child)
            if isinstance(attachment, Attachment):
                yield path, attachment


def check_free(host: nn.Module, name: str, side: str) -> None:
    """Refuse a module whose attribute of the child's name is not an attachment.

    Raises:
        InputError: The attribute exists.
    """
    child = CHILD[side]
    if not isinstance(getattr(host, child, None), (Attachment, type(None))):
        raise InputError(
            f"{name} ({type(host).__name__}): it already has an attribute {child!r} that saccade did not create",
            "rename that attribute, or choose another place with at=",
        )


def attach(host: nn.Module, attachment: Attachment) -> None:
    """Make `attachment` a child of `host`, run by a hook, or append it to those that exist."""
    child = CHILD[attachment.side]
    present = getattr(host, child, None)
    if isinstance(present, Attachment):
        present.chain()[-1].next = attachment
        return
    host.add_module(child, attachment)
    hook(host, attachment.side)


def hook(host: nn.Module, side: str) -> None:
    """Register the hook of one side."""
    if side == "after":
        host.register_forward_hook(run_after)
    else:
        host.register_forward_pre_hook(run_before)


def hooks(host: nn.Module, side: str) -> int:
    """Return the number of saccade's hooks on one side of a module."""
    registered = host._forward_hooks if side == "after" else host._forward_pre_hooks
    return sum(function in (run_after, run_before) for function in registered.values())


def detach(host: nn.Module, attachment: Attachment) -> None:
    """Remove an attachment and those that follow it; with the first of a place also the hooks."""
    side = attachment.side
    first: Attachment = getattr(host, CHILD[side])
    if first is attachment:
        unhook(host, side)
        delattr(host, CHILD[side])
    else:
        next(link for link in first.chain() if link.next is attachment).next = None


def unhook(host: nn.Module, side: str) -> None:
    """Remove the hooks of one side."""
    registered = host._forward_hooks if side == "after" else host._forward_pre_hooks
    for key in [key for key, function in registered.items() if function in (run_after, run_before)]:
        del registered[key]


def tensor_of(model: nn.Module, path: str) -> Tensor | None:
    """Return a floating-point tensor of the module, or of the nearest one around it that has any."""
    while True:
        module = model.get_submodule(path)
        for tensor in (*module.parameters(), *module.buffers()):
            if tensor.is_floating_point():
                return tensor
        if not path:
            return None
        path = path.rpartition(".")[0]
