"""Everything a run depends on besides network and data, and what of it makes no sense together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from saccade.errors import InputError, near
from saccade.ops import chosen
from saccade.training.schedules import SCHEDULES


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a network is trained.

    Raises:
        InputError: A value out of range, or two that make no sense together.
    """

    steps: int
    """Optimiser steps."""
    batch: int
    """Images a step, over all processes and accumulated parts together."""
    learning_rate: float
    """The largest rate of the schedule."""
    seed: int = 0
    """Order of the samples, augmentation and dropout."""
    optimiser: str = "adamw"
    """A name of timm's factory: ``adamw``, ``momentum`` (plain SGD), ``sgd`` (Nesterov's), ``lamb``, ..."""
    momentum: float = 0.9
    """Of optimisers that have one."""
    weight_decay: float = 0.02
    """On tensors of two or more dimensions,"""
    decay_norms: bool = False
    """and also on biases and norms."""
    schedule: str = "one-cycle"
    """``one-cycle``, ``cosine``, ``poly``, ``step`` or ``constant``, see :mod:`saccade.training.schedules`."""
    warmup: float = 0.2
    """Share of the steps in which the rate rises."""
    decay: float = 0.1
    """Of ``step``: the factor,"""
    decay_every: float = 1 / 3
    """and the share of the steps after which it is applied, again and again."""
    power: float = 0.9
    """Of ``poly``."""
    gate_lr_factor: float = 10.0
    """Rate of the identity-start factors g and of scalar gammas, relative to the rest."""
    lr_factors: tuple[tuple[str, float], ...] = ()
    """Rates of some parameters, relative to the rest: (pattern of names, factor); the first that fits counts."""
    label_smoothing: float = 0.0
    """Share of the target given to all classes evenly."""
    clip: float | None = None
    """Largest norm of the gradient of all parameters together."""
    accumulate: int = 1
    """Parts a process computes its images of a step in, one after another."""
    amp: Literal["bf16", "fp16"] | None = None
    """Mixed precision: None, ``"bf16"``, or ``"fp16"`` with a loss scaler."""
    ema: float | None = None
    """Decay of the moving average of the weights, which is then what is scored and kept."""
    channels_last: bool = True
    """Layout of maps in memory."""
    compile: bool = False
    """Through torch.compile."""
    device: str = "cpu"
    """Where it runs."""
    evaluate_every: int = 0
    """Steps between looks at held-out images; 0: none."""
    patience: int = 0
    """Looks without a better score after which training ends; 0: never."""
    log_every: int = 1
    """Steps a row of the log."""
    checkpoint_seconds: float = 20.0
    """Seconds between checkpoints; when one is written changes no result."""
    keep: int = 2
    """Checkpoints kept, the newest ones."""
    ops: Mapping[str, str] = field(default_factory=lambda: chosen().to_json())
    """Which of several equal ways operations take, see :func:`saccade.ops.tune`; others would end in other bits."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "accumulate", "log_every", "keep"):
            _whole(name, getattr(self, name), 1)
        for name in ("seed", "evaluate_every", "patience"):
            _whole(name, getattr(self, name), 0)
        for name in ("learning_rate", "weight_decay", "gate_lr_factor", "checkpoint_seconds", "power"):
            _within(name, getattr(self, name), 0, float("inf"))
        for name in ("momentum", "warmup", "decay", "decay_every", "label_smoothing"):
            _within(name, getattr(self, name), 0, 1)
        if self.schedule not in SCHEDULES:
            raise InputError(f"unknown schedule {self.schedule!r}", near(self.schedule, SCHEDULES))
        if self.amp not in (None, "bf16", "fp16"):
            raise InputError(f"amp must be bf16 or fp16; received {self.amp!r}")
        if self.ema is not None and not 0 < self.ema < 1:
            raise InputError(f"ema must lie between 0 and 1; received {self.ema!r}", "0.999 is usual")
        if self.clip is not None and not self.clip > 0:
            raise InputError(f"clip must be above 0; received {self.clip!r}")
        if self.patience and not self.evaluate_every:
            raise InputError("patience counts looks at held-out images, and evaluate_every=0 takes none")
        if self.schedule == "step" and not self.decay_every:
            raise InputError("schedule 'step' needs decay_every above 0")

    def to_json(self) -> dict[str, Any]:
        """Plain values, in the order above."""
        plain = {field.name: getattr(self, field.name) for field in fields(self)}
        return plain | {"lr_factors": [list(pair) for pair in self.lr_factors]}


def _whole(name: str, value: Any, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise InputError(f"{name} must be a whole number of at least {least}; received {value!r}")


def _within(name: str, value: Any, low: float, high: float) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        limits = f"from {low} to {high}" if high < float("inf") else f"at least {low}"
        raise InputError(f"{name} must be {limits}; received {value!r}")
