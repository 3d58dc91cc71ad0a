"""Everything a run depends on besides network and data, and what of it makes no sense together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from saccade.errors import InputError, near
from saccade.options import Option
from saccade.training.balance import BalanceOptions
from saccade.training.schedules import SCHEDULES


def _ways() -> dict[str, str]:
    from saccade.ops import chosen  # loads torch, which the command line starts without

    return chosen().to_json()


@dataclass(frozen=True, kw_only=True)
class RecipeOptions(BalanceOptions):
    """The values of a recipe that are asked for and used alike: declared here once, in the order of the help."""

    seed: Annotated[int, Option("Another number draws other initial weights, another order and other crops.")] = 0
    optimizer: Annotated[
        str, Option("The optimizer, a name of timm's factory: `adamw`, `momentum` (SGD), `sgd` (Nesterov's), `lamb`.")
    ] = "adamw"
    momentum: Annotated[float, Option("Momentum of optimizers that have one.")] = 0.9
    weight_decay: Annotated[
        float, Option("Strength of the weight decay of parameters with two or more dimensions.")
    ] = 0.02
    decay_norms: Annotated[bool, Option("Apply weight decay to biases and norms too.", negative=True)] = False
    schedule: Annotated[
        str, Option("How the learning rate changes: `one-cycle`, `cosine`, `poly`, `step` or `constant`.")
    ] = "one-cycle"
    warmup: Annotated[float, Option("Fraction of the steps in which the learning rate rises.")] = 0.2
    decay: Annotated[float, Option("Factor of the learning rate at each stair of the schedule `step`.")] = 0.1
    decay_every: Annotated[
        float,
        Option(
            "Fraction of the steps between two stairs of the schedule `step`.", default="a third, or that of the recipe"
        ),
    ] = 1 / 3
    power: Annotated[float, Option("Exponent of the schedule `poly`.")] = 0.9
    gate_lr_factor: Annotated[
        float, Option("Learning rate of the identity-start factors g and of scalar gammas, relative to the rest.")
    ] = 10.0
    lr_factors: Annotated[
        tuple[tuple[str, float], ...],
        Option(
            'Learning rate of some parameters relative to the rest, as NAMES=FACTOR, such as `"fc.*=10"`; may be '
            "given several times, the first pattern that fits counts (in Python: pairs).",
            typed=tuple[str, ...],
            flag="lr_factor",
        ),
    ] = ()
    label_smoothing: Annotated[float, Option("Fraction of the target that is given to all classes evenly.")] = 0.0
    clip: Annotated[float | None, Option("Largest norm of the gradient of all parameters together.")] = None
    accumulate: Annotated[int, Option("Number of parts that a step is computed in, to save memory.")] = 1
    amp: Annotated[Literal["bf16", "fp16"] | None, Option("Mixed precision: `bf16`, or `fp16` with a loss scaler.")] = (
        None
    )
    ema: Annotated[
        float | None, Option("Decay of a moving average of the weights, such as 0.999, which is then scored and kept.")
    ] = None
    channels_last: Annotated[bool, Option("Lay feature maps channels last in memory.", negative=True)] = True
    compile: Annotated[bool, Option("Compile the network first, which on a CPU needs a C++ compiler.")] = False
    patience: Annotated[
        int, Option("Number of validations without a better score after which training ends.", default="0: never")
    ] = 0
    checkpoint_seconds: Annotated[float, Option("Seconds between two checkpoints.", recorded=False)] = 300.0
    keep: Annotated[int, Option("Number of checkpoints that are kept, the newest ones.", recorded=False)] = 3


@dataclass(frozen=True, kw_only=True)
class Recipe(RecipeOptions):
    """Recipe of a training: everything a run depends on besides network and data.

    Raises:
        InputError: A value out of range, or two that make no sense together.
    """

    steps: int
    """Optimizer steps."""
    batch: int
    """Images per step, over all processes and accumulated parts together."""
    learning_rate: float
    """The largest rate of the schedule."""
    device: Annotated[str, Option("Where it runs.", recorded=False)] = "cpu"
    evaluate_every: int = 0
    """Steps between validations; 0: none."""
    log_every: int = 1
    """Steps per row of the log."""
    ops: Mapping[str, str] = field(default_factory=_ways)
    """Implementations of operations, see :func:`saccade.ops.tune`; others would give other bits."""

    def __post_init__(self) -> None:
        super().__post_init__()
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
            raise InputError("patience counts validations, and evaluate_every=0 makes none")
        if self.schedule == "step" and not self.decay_every:
            raise InputError("schedule 'step' needs decay_every above 0")

    def to_json(self) -> dict[str, Any]:
        """Return all values as plain ones, in the order above."""
        return self.plain()


def _whole(name: str, value: Any, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise InputError(f"{name} must be a whole number of at least {least}; received {value!r}")


def _within(name: str, value: Any, low: float, high: float) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        limits = f"from {low} to {high}" if high < float("inf") else f"at least {low}"
        raise InputError(f"{name} must be {limits}; received {value!r}")
