"""What one mechanism read, and everything it can say about it.

A record keeps a reference to the map; gates, weights and whatever else there is are computed from it when asked for, by
the mechanism itself, and only for the positions and channels asked about.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from saccade.errors import InputError, near
from saccade.insertion.attach import Attachment
from saccade.insertion.groups import gammas
from saccade.inspection.dependence import grid, mean_distance, spread
from saccade.mechanisms.base import Mechanism

_OFFERS = {
    "gates": ".gates",
    "weights": ".weights(queries=[(y, x)])",
    "channel_weights": ".channel_weights(channels=[c])",
    "column_weights": ".column_weights(columns=[x])",
    "row_weights": ".row_weights(rows=[y])",
    "context_map": ".context_map",
    "descriptors": ".descriptors",
    "distribution": ".distribution",
    "shares": ".branch_weights",
    "covariances": ".covariances",
}
"""What a mechanism has, and how a record is asked for it."""


class Record:
    """What one mechanism read in the last forward, and what it computes from that.

    Views are computed when asked for, with the weights of that moment and in the mode (training or not, autocast) of
    the recorded forward; they leave no trace in the mechanism. Each refuses a mechanism that does not have it, with
    what it has instead.

    Attributes:
        name: The place.
        mechanism: The module; one that is no :class:`saccade.mechanisms.base.Mechanism` has its input and no views.
        attachment: What holds it, or None for a part of a mechanism or one that was built into the network.
    """

    def __init__(self, name: str, mechanism: nn.Module, attachment: Attachment | None, *, copy: bool) -> None:
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

    def has(self, view: str) -> bool:
        """Whether the mechanism has a view: ``"gates"``, ``"weights"``, ``"channel_weights"``, ``"row_weights"``..."""
        asked = {"branch_weights": "shares"}.get(view, view)
        return isinstance(self.mechanism, Mechanism) and hasattr(self.mechanism, asked)

    @property
    def label(self) -> str:
        """What the mechanism is called in errors."""
        return str(self.mechanism.label) if isinstance(self.mechanism, Mechanism) else type(self.mechanism).__name__

    @property
    def gates(self) -> dict[str, Tensor]:
        """The factors it multiplied by, ``{"channel": (B, C), "spatial": (B, 1, H, W)}``; empty without gates."""
        found: dict[str, Tensor] = self._ask("gates", "") if self.has("gates") else {}
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
                f"{self.name}: expected one gate; {self.label} has {' and '.join(found) or 'none'}",
                "use .gates['channel'] or .gates['spatial']" if found else self._offers(),
            )
        return next(iter(found.values()))

    def weights(self, queries: Sequence[tuple[int, ...]]) -> Tensor:
        """What chosen positions attend to, computed for these only, in O(Q N).

        Args:
            queries: Q positions (y, x) of the recorded map (not pixels of the image), from 0.

        Returns:
            (B, Q, H', W'); H' and W' are smaller than H and W where the mechanism pools.

        Raises:
            InputError: A position outside the map, or a mechanism that does not weigh positions.
        """
        found: Tensor = self._ask("weights", "does not weigh positions", list(queries))
        return found

    def channel_weights(self, channels: Sequence[int] | None = None) -> Tensor:
        """What chosen channels take from each channel, (B, Q, C); rows sum to 1.

        FLA has such a map for every column and every row: (B, W + H, Q, C), columns first.

        Args:
            channels: Q channels, from 0; None: all.

        Raises:
            InputError: A channel that is not there, or a mechanism that does not weigh channels.
        """
        if self.has("column_weights"):
            return torch.cat([self.column_weights(None, channels), self.row_weights(None, channels)], dim=1)
        found: Tensor = self._ask("channel_weights", "does not weigh channels", self._channels(channels))
        return found

    def column_weights(self, columns: Sequence[int] | None = None, channels: Sequence[int] | None = None) -> Tensor:
        """FLA's weights between channels in chosen columns (None: all), (B, S, Q, C), for chosen channels."""
        return self._strips("column_weights", 3, columns, channels)

    def row_weights(self, rows: Sequence[int] | None = None, channels: Sequence[int] | None = None) -> Tensor:
        """FLA's weights between channels in chosen rows (None: all), (B, S, Q, C), for chosen channels."""
        return self._strips("row_weights", 2, rows, channels)

    @property
    def context_map(self) -> Tensor:
        """The one map that all positions share in GC and the simplified non-local block, (B, H, W); it sums to 1."""
        found: Tensor = self._ask("context_map", "has no map that all positions share")
        return found

    @property
    def descriptors(self) -> Tensor:
        """What A2 gathered, (B, m, n), a column for each descriptor."""
        found: Tensor = self._ask("descriptors", "gathers no descriptors")
        return found

    @property
    def gathered_from(self) -> Tensor:
        """How much each of A2's descriptors takes from each position, (B, n, H, W); each map sums to 1."""
        found: Tensor = self._ask("gathered_from", "gathers no descriptors")
        return found

    @property
    def distribution(self) -> Tensor:
        """How much each position takes of each of A2's descriptors, (B, n, H, W); they sum to 1 at each position."""
        found: Tensor = self._ask("distribution", "gathers no descriptors")
        return found

    @property
    def branch_weights(self) -> Tensor:
        """How much each channel of SK takes from each branch, (B, branches, C); the branches sum to 1."""
        found: Tensor = self._ask("shares", "has no branches to select from")
        return found

    @property
    def covariances(self) -> dict[str, Tensor]:
        """GSoP's matrices, ``{"channel": (B, dim, dim), "spatial": (B, P, P)}``, those that its variant has."""
        found: dict[str, Tensor] = self._ask("covariances", "computes no covariance")
        return found

    def query_dependence(self, samples: int = 64, measure: str = "moved") -> float:
        """How much the attention depends on who asks: the mean distance between the rows of sampled queries.

        Queries are positions, evenly spread; where channels are weighed they are channels, and in FLA the same channel
        in different columns or rows. See :func:`saccade.inspection.dependence.mean_distance`.

        Args:
            samples: How many queries; cost and memory are O(samples N).
            measure: ``"moved"``: the share of the weight that lies elsewhere for another query. ``"cosine"``: half of
                1 - cos, GCNet's.

        Returns:
            0 (every query sees the same) to 1, the mean over the batch.

        Raises:
            InputError: A mechanism without queries.
        """
        x = self.input
        if self.has("weights"):
            rows = self.weights(grid(x.shape[2:], samples)).flatten(2)
        elif self.has("column_weights"):
            channels = spread(x.shape[1], samples)
            columns = self.column_weights(spread(x.shape[3], samples), channels).transpose(1, 2)
            strips = self.row_weights(spread(x.shape[2], samples), channels).transpose(1, 2)
            halves = [float(mean_distance(rows, measure).mean()) for rows in (columns, strips)]
            return sum(halves) / 2
        else:
            self._require("channel_weights", "has no queries that could differ")
            rows = self.channel_weights(spread(x.shape[1], samples))
        return float(mean_distance(rows, measure).mean())

    @property
    def g(self) -> float | None:
        """How much of the mechanism is mixed in; None where it is not wrapped (see :func:`saccade.insert`)."""
        attachment = self.attachment
        return None if attachment is None or attachment.g is None else float(attachment.g.detach())

    @property
    def gammas(self) -> dict[str, float]:
        """The mechanism's own factors that start at 0, by name."""
        return {name: float(gamma.detach()) for name, gamma in gammas(self.mechanism).items()}

    def _strips(self, view: str, axis: int, chosen: Sequence[int] | None, channels: Sequence[int] | None) -> Tensor:
        self._require(view, "has no weights of columns and rows")
        every = range(self.input.shape[axis])
        found: Tensor = self._ask(view, "", list(every if chosen is None else chosen), self._channels(channels))
        return found

    def _channels(self, channels: Sequence[int] | None) -> list[int]:
        return list(range(self.input.shape[1]) if channels is None else channels)

    def _ask(self, view: str, otherwise: str, *args: Any) -> Any:
        """A view of the recorded map."""
        self._require(view, otherwise)
        with self._as_recorded():
            return getattr(self.mechanism, view)(self.input, *args)

    def _require(self, view: str, otherwise: str) -> None:
        if not self.has(view):
            raise InputError(f"{self.name}: {self.label} {otherwise}", self._offers())

    def _offers(self) -> str:
        mechanism = self.mechanism
        own = [asked for view, asked in _OFFERS.items() if self.has(view)]
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
