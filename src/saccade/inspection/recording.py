"""Record what the mechanisms of a network attend to, without editing the network."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook

from saccade.errors import InputError
from saccade.insertion.attach import Attachment, attachments
from saccade.inspection.records import Record, Records
from saccade.mechanisms.base import Mechanism


@contextmanager
def record(model: nn.Module, *, copy: bool = False) -> Iterator[Records]:
    """Record the input of every mechanism of a network, inserted or built in, until the with block ends.

    The records stay usable after the block. A mechanism called several times keeps its last input. Forward passes of
    other threads are not recorded. The network is left as it was, even after an exception.

    Args:
        model: A network with mechanisms.
        copy: Keep copies of the feature maps. Needed if the network writes into a map after its mechanism has read it;
            reading such a record without a copy is an error.

    Yields:
        Records by place: the module a mechanism is attached to (``"layer4.1.bn2"``); for parts of a mechanism, that
            name and the part's (``"layer4.1.position"``); for a mechanism built into the network, its own path.

    Raises:
        InputError: The network has no mechanism, or is compiled.

    Example:
        >>> import torch, saccade, torchvision
        >>> model = saccade.insert(torchvision.models.resnet18(), "se").eval()
        >>> with torch.no_grad(), saccade.record(model) as maps:
        ...     _ = model(torch.zeros(1, 3, 64, 64))
        >>> maps["layer1.0.bn2"].gate.shape
        torch.Size([1, 64])
    """
    if type(model).__name__ == "OptimizedModule":
        raise InputError(
            "record: a compiled network does not run the hooks that record",
            "record the network that was given to torch.compile, and run that: model._orig_mod",
        )
    watched = _watched(model, copy)
    if not watched:
        raise InputError(
            f"record: {type(model).__name__} contains no mechanism",
            "insert one first: saccade.plan(model, 'cbam') shows where it would go",
        )
    maps, thread = Records(), threading.get_ident()

    def keep(module: nn.Module, args: tuple[Any, ...]) -> None:
        seen = watched.get(module)
        if seen is not None and threading.get_ident() == thread:
            seen.keep(args[0])
            maps[seen.name] = seen

    # A hook of all modules: one on each mechanism would stay in every copy of the network that is made meanwhile.
    handle = register_module_forward_pre_hook(keep)
    try:
        yield maps
    finally:
        handle.remove()


def _watched(model: nn.Module, copy: bool) -> dict[nn.Module, Record]:
    """Create a record for every mechanism and every mechanism inside one."""
    inserted = {id(attachment): key for key, attachment in attachments(model).items()}
    watched: dict[nn.Module, Record] = {}
    bases: list[tuple[str, str]] = []  # path of an attachment's mechanism, and the place it is attached to
    for path, module in model.named_modules():
        if isinstance(module, Attachment):
            bases.append((f"{path}.mechanism" if path else "mechanism", inserted[id(module)]))
            watched[module.mechanism] = Record(bases[-1][1], module.mechanism, module, copy=copy)
        elif isinstance(module, Mechanism) and module not in watched:
            name = next((place + path[len(base) :] for base, place in bases if path.startswith(f"{base}.")), path)
            watched[module] = Record(name, module, None, copy=copy)
    return watched
