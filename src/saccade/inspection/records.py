"""The input of one mechanism, and every view the mechanism can compute from it.

A record keeps a reference to the feature map; gates, weights and other views are computed from it on access, by the
mechanism itself, and only for the requested positions and channels.
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
"""View of a mechanism to the expression that reads it from a record."""


class Record:
    """The input of one mechanism in the last forward pass, and the views computed from it.

    Views are computed on access, with the present weights and in the mode (training or not, autocast) of the recorded
    forward pass; they leave no trace in the mechanism. A view that the mechanism does not have is an error that lists
    the views it has.

    Attributes:
        name: Name of the place.
        mechanism: The module; for one that is not a :class:`saccade.mechanisms.base.Mechanism` only its input is known.
        attachment: The module that attaches it; None for a part of a mechanism or one built into the network.
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
        """Remember the feature map that the mechanism is about to read."""
        self._input = x.detach().clone() if self._copy else x.detach()
        self._version = None if self._input.is_inference() else self._input._version
        self._training = self.mechanism.training
        device = x.device.type
        if torch.amp.is_autocast_available(device):
            on, dtype = torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)
            self._autocast = {"device_type": device, "enabled": on, "dtype": dtype}

    @property
    def ran(self) -> bool:
        """True if the mechanism was called while it was recorded."""
        return self._input is not None

    @property
    def input(self) -> Tensor:
        """The feature map it read last, (B, C, H, W) or with one or three sides: detached, not copied.

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
        """True if the mechanism has a view: ``"gates"``, ``"weights"``, ``"channel_weights"``, ``"row_weights"``..."""
        asked = {"branch_weights": "shares"}.get(view, view)
        return isinstance(self.mechanism, Mechanism) and hasattr(self.mechanism, asked)

    @property
    def label(self) -> str:
        """Name of the mechanism in errors."""
        return str(self.mechanism.label) if isinstance(self.mechanism, Mechanism) else type(self.mechanism).__name__

    @property
    def gates(self) -> dict[str, Tensor]:
        """Factors of the multiplication, ``{"channel": (B, C), "spatial": (B, 1, H, W)}``; empty without gates."""
        found: dict[str, Tensor] = self._ask("gates", "") if self.has("gates") else {}
        return found

    @property
    def gate(self) -> Tensor:
        """The only gate.

        Raises:
            InputError: It has no gate, or two.
        """
        found = self.gates
        if len(found) != 1:
            raise InputError(
                f"{self.name}: expected one gate; {self.label} has {' and '.join(found) or 'none'}",
                "use .gates['channel'] or .gates['spatial']" if found else self._offers(),
            )
        return next(iter(found.values()))

    def weights(self, queries: Sequence[tuple[int, ...]]) -> Tensor:
        """Return the attention weights of chosen positions, computed for these only, in O(Q N).

        Args:
            queries: Q positions (y, x) of the recorded feature map (not pixels of the image), from 0; of a volume or a
                clip (z, y, x), of a sequence (t,).

        Returns:
            (B, Q, H', W'), or with one or three sides; H' and W' are smaller than H and W if the mechanism pools.

        Raises:
            InputError: A position is outside the map, or the mechanism does not weigh positions.
        """
        found: Tensor = self._ask("weights", "does not weigh positions", list(queries))
        return found

    def channel_weights(self, channels: Sequence[int] | None = None) -> Tensor:
        """Return the weights of chosen channels over all channels, (B, Q, C); rows sum to 1.

        FLA has such a map for every column and every row: (B, W + H, Q, C), columns first.

        Args:
            channels: Q channels, from 0; None means all.

        Raises:
            InputError: A channel does not exist, or the mechanism does not weigh channels.
        """
        if self.has("column_weights"):
            return torch.cat([self.column_weights(None, channels), self.row_weights(None, channels)], dim=1)
        found: Tensor = self._ask("channel_weights", "does not weigh channels", self._channels(channels))
        return found

    def column_weights(self, columns: Sequence[int] | None = None, channels: Sequence[int] | None = None) -> Tensor:
        """Return FLA's weights between channels in chosen columns (None: all), (B, S, Q, C), for chosen channels."""
        return self._strips("column_weights", 3, columns, channels)

    def row_weights(self, rows: Sequence[int] | None = None, channels: Sequence[int] | None = None) -> Tensor:
        """Return FLA's weights between channels in chosen rows (None: all), (B, S, Q, C), for chosen channels."""
        return self._strips("row_weights", 2, rows, channels)

    @property
    def context_map(self) -> Tensor:
        """The map that all positions share in GC and the simplified non-local block, (B, H, W); it sums to 1."""
        found: Tensor = self._ask("context_map", "has no map that all positions share")
        return found

    @property
    def descriptors(self) -> Tensor:
        """The descriptors that A2 gathered, (B, m, n), one column for each."""
        found: Tensor = self._ask("descriptors", "gathers no descriptors")
        return found

    @property
    def gathered_from(self) -> Tensor:
        """Weights of A2's descriptors over positions, (B, n, H, W); each map sums to 1."""
        found: Tensor = self._ask("gathered_from", "gathers no descriptors")
        return found

    @property
    def distribution(self) -> Tensor:
        """Weights of each position over A2's descriptors, (B, n, H, W); they sum to 1 at each position."""
        found: Tensor = self._ask("distribution", "gathers no descriptors")
        return found

    @property
    def branch_weights(self) -> Tensor:
        """Weights of each channel of SK over the branches, (B, branches, C); the branches sum to 1."""
        found: Tensor = self._ask("shares", "has no branches to select from")
        return found

    @property
    def covariances(self) -> dict[str, Tensor]:
        """GSoP's covariance matrices, ``{"channel": (B, dim, dim), "spatial": (B, P, P)}``, as its variant has."""
        found: dict[str, Tensor] = self._ask("covariances", "computes no covariance")
        return found

    def query_dependence(self, samples: int = 64, measure: str = "moved") -> float:
        """Return the query dependence of the attention: the mean distance between the rows of sampled queries.

        Queries are positions, evenly spaced; if channels are weighed they are channels, and in FLA the same channel in
        different columns or rows. See :func:`saccade.inspection.dependence.mean_distance`.

        Args:
            samples: Number of queries; cost and memory are O(samples N).
            measure: ``"moved"``: the fraction of the weight that lies elsewhere for another query. ``"cosine"``: half
                of 1 - cos, as in GCNet.

        Returns:
            0 (every query has the same row) to 1, the mean over the batch.

        Raises:
            InputError: The mechanism has no queries.
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
        """Learned number of the mixing factor; None if it is not wrapped (see :func:`saccade.insert`)."""
        attachment = self.attachment
        return None if attachment is None or attachment.g is None else float(attachment.g.detach())

    @property
    def factor(self) -> float | None:
        """Factor f by which the mechanism is mixed in: at 0 its gates have no effect yet; None if it is not wrapped."""
        factor = None if self.attachment is None else self.attachment.factor()
        return None if factor is None else float(factor.detach())

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
        """Compute a view of the recorded map."""
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
        """Enter the mode of the recorded forward pass; on exit flags and running statistics are as before."""
        flags = [(module, module.training) for module in self.mechanism.modules()]
        # In training mode a batch norm would update its statistics from the same map twice.
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
    """Records by place, only of mechanisms that were called. Looking up another place lists the known ones."""

    def __missing__(self, name: str) -> Record:
        known = near(name, self) if self else "no mechanism was called: run the network inside the with block"
        raise KeyError(f"no record of {name!r}; {known}")
