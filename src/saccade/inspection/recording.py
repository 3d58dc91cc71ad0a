"""Recording what the mechanisms of a network attend to, without editing the network.

A record keeps a reference to the map a mechanism read; gates and weights are computed from it when asked for, by the
mechanism itself, and only for the positions asked about.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from saccade.errors import InputError, near
from saccade.insertion.attach import Attachment, attachments
from saccade.insertion.groups import gammas
from saccade.mechanisms.base import Mechanism


class Record:
    """What one mechanism read in the last forward, and what it computes from that.

    Views are computed when asked for, with the weights of that moment and in the mode (training or not, autocast) of
    the recorded forward; they leave no trace in the mechanism.

    Attributes:
        name: The place.
        mechanism: The module.
        attachment: What holds it, or None for a part of a mechanism or one that was built into the network.
    """

    def __init__(self, name: str, mechanism: Mechanism, attachment: Attachment | None, *, copy: bool) -> None:
        self.name, self.mechanism, self.attachment = name, mechanism, attachment
        self._copy = copy
        self._input: Tensor | None = None
        self._version: int | None = None
        self._training = False
        self._autocast: dict[str, Any] = {}

    def __repr__(self) -> str:
        shape = "not run" if self._input is None else f"input {tuple(self._input.shape)}"
        return f"Record({self.name!r}, {type(self.mechanism).__name__}, {shape})"

    def keep(self, x: Tensor) -> None:
        """Remember the map the mechanism is about to read."""
        self._input = x.detach().clone() if self._copy else x.detach()
        self._version = None if self._input.is_inference() else self._input._version
        self._training = self.mechanism.training
        device = x.device.type
        if torch.amp.is_autocast_available(device):
            on, dtype = torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)
            self._autocast = {"device_type": device, "enabled": on, "dtype": dtype}

    @property
    def ran(self) -> bool:
        """Whether the mechanism was called while it was recorded."""
        return self._input is not None

    @property
    def input(self) -> Tensor:
        """The map it read last, (B, C, H, W): no copy, detached.

        Raises:
            InputError: It was not called, or the network wrote into the map afterwards.
        """
        if self._input is None:
            raise InputError(f"{self.name}: not called while it was recorded", "run the network inside the with block")
        if self._version is not None and self._input._version != self._version:
            raise InputError(
                f"{self.name}: the network wrote into the recorded map after the mechanism had read it",
                "record copies: record(model, copy=True)",
            )
        return self._input

    @property
    def gates(self) -> dict[str, Tensor]:
        """The factors it multiplied by, ``{"channel": (B, C), "spatial": (B, 1, H, W)}``; empty without gates."""
        gates = getattr(self.mechanism, "gates", None)
        if gates is None:
            return {}
        with self._as_recorded():
            found: dict[str, Tensor] = gates(self.input)
        return found

    @property
    def gate(self) -> Tensor:
        """The only gate.

        Raises:
            InputError: It has none, or two.
        """
        found = self.gates
        if len(found) != 1:
            raise InputError(
                f"{self.name}: expected one gate; {self.mechanism.label} has {' and '.join(found) or 'none'}",
                "use .gates['channel'] or .gates['spatial']" if found else self._offers(),
            )
        return next(iter(found.values()))

    def weights(self, queries: Sequence[tuple[int, int]]) -> Tensor:
        """What chosen positions attend to, computed for these only.

        Args:
            queries: Q positions (y, x) of the recorded map, from 0.

        Returns:
            (B, Q, H', W'); H' and W' are smaller than H and W where the mechanism pools.

        Raises:
            InputError: A position outside the map, or a mechanism that does not weigh positions.
        """
        weights = getattr(self.mechanism, "weights", None)
        if weights is None:
            raise InputError(f"{self.name}: {self.mechanism.label} does not weigh positions", self._offers())
        height, width = self.input.shape[-2:]
        for y, x in queries:
            if not (0 <= y < height and 0 <= x < width):
                raise InputError(
                    f"{self.name}: the query (y, x) = ({y}, {x}) is outside the map of {height} x {width}",
                    f"give 0 <= y < {height} and 0 <= x < {width}: positions of this map, not pixels of the image",
                )
        with self._as_recorded():
            found: Tensor = weights(self.input, list(queries))
        return found

    def channel_weights(self) -> Tensor:
        """What each channel takes from each other, (B, C, C); rows sum to 1.

        FLA has such a map for every column and every row: (B, W + H, C, C), columns first.

        Raises:
            InputError: A mechanism that does not weigh channels.
        """
        attention = getattr(self.mechanism, "attention", None)
        if attention is None or hasattr(self.mechanism, "weights"):
            raise InputError(f"{self.name}: {self.mechanism.label} does not weigh channels", self._offers())
        with self._as_recorded():
            found: Tensor = attention(self.input)
        return found

    @property
    def g(self) -> float | None:
        """How much of the mechanism is mixed in; None where it is not wrapped (see :func:`saccade.insert`)."""
        attachment = self.attachment
        return None if attachment is None or attachment.g is None else float(attachment.g.detach())

    @property
    def gammas(self) -> dict[str, float]:
        """The mechanism's own factors that start at 0, by name."""
        return {name: float(gamma.detach()) for name, gamma in gammas(self.mechanism).items()}

    def _offers(self) -> str:
        mechanism, own = self.mechanism, []
        if hasattr(mechanism, "gates"):
            own.append(".gates")
        if hasattr(mechanism, "weights"):
            own.append(".weights(queries=[(y, x)])")
        elif hasattr(mechanism, "attention"):
            own.append(".channel_weights()")
        parts = [f"{self.name}.{name}" for name, part in mechanism.named_children() if isinstance(part, Mechanism)]
        if own:
            return f"it has {' and '.join(own)}"
        return f"its parts have maps: {', '.join(parts)}" if parts else "it has no maps"

    @contextmanager
    def _as_recorded(self) -> Iterator[None]:
        """The mode of the recorded forward inside; flags and running statistics as they were afterwards."""
        flags = [(module, module.training) for module in self.mechanism.modules()]
        # In training mode a batch norm would follow this second look at the same map.
        buffers = [(buffer, buffer.clone()) for buffer in self.mechanism.buffers()] if self._training else []
        autocast = torch.autocast(**self._autocast) if self._autocast else torch.no_grad()
        try:
            self.mechanism.train(self._training)
            with torch.no_grad(), autocast:
                yield
        finally:
            for module, training in flags:
                module.training = training
            with torch.no_grad():
                for buffer, before in buffers:
                    buffer.copy_(before)


class Records(dict[str, Record]):
    """Records by place; only of mechanisms that were called. Look-ups of others say which there are."""

    def __missing__(self, name: str) -> Record:
        known = near(name, self) if self else "no mechanism was called: run the network inside the with block"
        raise KeyError(f"no record of {name!r}; {known}")


@contextmanager
def record(model: nn.Module, *, copy: bool = False) -> Iterator[Records]:
    """Record what every mechanism of a network reads, inserted or built in, until the with block ends.

    The records stay usable behind the block. A mechanism called several times keeps its last input. Forwards of other
    threads are not recorded. Nothing is left in the network, even after an exception.

    Args:
        model: A network with mechanisms.
        copy: Keep copies of the maps. Needed where the network writes into a map after its mechanism has read it;
            reading such a record without a copy is an error.

    Yields:
        Records by place: the module a mechanism is attached to (``"layer4.1.bn2"``), that and the part's name for
        parts of a mechanism (``"layer4.1.position"``), its own path for one that was built into the network.

    Raises:
        InputError: A network without mechanisms, or a compiled one.

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
    maps, thread, handles = Records(), threading.get_ident(), []

    def keep(module: nn.Module, args: tuple[Any, ...]) -> None:
        if threading.get_ident() == thread:
            seen = watched[module]
            seen.keep(args[0])
            maps[seen.name] = seen

    try:
        for module in watched:
            handles.append(module.register_forward_pre_hook(keep))
        yield maps
    finally:
        for handle in handles:
            handle.remove()


def _watched(model: nn.Module, copy: bool) -> dict[nn.Module, Record]:
    """A record for every mechanism and every mechanism inside one."""
    inserted = {id(attachment): key for key, attachment in attachments(model).items()}
    watched: dict[nn.Module, Record] = {}
    bases: list[tuple[str, str]] = []  # path of an attachment's mechanism, and the place it stands for
    for path, module in model.named_modules():
        if isinstance(module, Attachment):
            bases.append((f"{path}.mechanism" if path else "mechanism", inserted[id(module)]))
            if isinstance(module.mechanism, Mechanism):
                watched[module.mechanism] = Record(bases[-1][1], module.mechanism, module, copy=copy)
        elif isinstance(module, Mechanism) and module not in watched:
            name = next((place + path[len(base) :] for base, place in bases if path.startswith(f"{base}.")), path)
            watched[module] = Record(name, module, None, copy=copy)
    return watched
