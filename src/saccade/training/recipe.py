"""Everything a run depends on besides network and data, and what of it makes no sense together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from saccade.errors import InputError
from saccade.options import Option
from saccade.ranges import SEED, Factors, Number, OneOf, Range, Whole, check
from saccade.training.balance import BalanceOptions
from saccade.training.schedules import SCHEDULES


def _ways() -> dict[str, str]:
    from saccade.ops import chosen  # loads torch, which the command line starts without

    return chosen().to_json()


@dataclass(frozen=True, kw_only=True)
class RecipeOptions(BalanceOptions):
    """The values of a recipe that are asked for and used alike: declared here once, in the order of the help."""

    seed: Annotated[
        int, Option("Another number draws other initial weights, another order and other crops.", Whole(0, SEED))
    ] = 0
    optimizer: Annotated[
        str, Option("The optimizer, a name of timm's factory: `adamw`, `momentum` (SGD), `sgd` (Nesterov's), `lamb`.")
    ] = "adamw"
    momentum: Annotated[float, Option("Momentum of optimizers that have one.", Number(0, 1))] = 0.9
    weight_decay: Annotated[
        float, Option("Strength of the weight decay of parameters with two or more dimensions.", Number(0, 1000))
    ] = 0.02
    decay_norms: Annotated[bool, Option("Apply weight decay to biases and norms too.", negative=True)] = False
    schedule: Annotated[
        str,
        Option("How the learning rate changes: `one-cycle`, `cosine`, `poly`, `step` or `constant`.", OneOf(SCHEDULES)),
    ] = "one-cycle"
    warmup: Annotated[float, Option("Fraction of the steps in which the learning rate rises.", Number(0, 1))] = 0.2
    decay: Annotated[
        float, Option("Factor of the learning rate at each stair of the schedule `step`.", Number(0, 1))
    ] = 0.1
    decay_every: Annotated[
        float,
        Option(
            "Fraction of the steps between two stairs of the schedule `step`.",
            Number(0, 1),
            default="a third, or that of the recipe",
        ),
    ] = 1 / 3
    decay_first: Annotated[
        float | None,
        Option(
            "Fraction of the steps before the first stair of the schedule `step`, where it is another.",
            Number(0, 1),
            default="that between two stairs, or that of the recipe",
        ),
    ] = None
    power: Annotated[float, Option("Exponent of the schedule `poly`.", Number(0, 100))] = 0.9
    gate_lr_factor: Annotated[
        float,
        Option(
            "Learning rate of the identity-start factors g and of scalar gammas, relative to the rest.", Number(0, 1e6)
        ),
    ] = 10.0
    lr_factors: Annotated[
        tuple[tuple[str, float], ...],
        Option(
            'Learning rate of some parameters relative to the rest, as NAMES=FACTOR, such as `"fc.*=10"`; may be '
            "given several times, the first pattern that fits counts (in Python: pairs).",
            Factors(1e6),
            typed=tuple[str, ...],
            flag="lr_factor",
        ),
    ] = ()
    label_smoothing: Annotated[
        float, Option("Fraction of the target that is given to all classes evenly.", Number(0, 1))
    ] = 0.0
    hardest_joints: Annotated[
        int,
        Option(
            "Number of joints of each object, those of the largest loss, that count in training (OHKM; the papers that "
            "use it have 8).",
            Whole(0, 10_000),
            default="0: all",
        ),
    ] = 0
    clip: Annotated[
        float | None, Option("Largest norm of the gradient of all parameters together.", Number(0, 1e12, open=True))
    ] = None
    accumulate: Annotated[
        int, Option("Number of parts that a step is computed in, to save memory.", Whole(1, 65536))
    ] = 1
    amp: Annotated[Literal["bf16", "fp16"] | None, Option("Mixed precision: `bf16`, or `fp16` with a loss scaler.")] = (
        None
    )
    ema: Annotated[
        float | None,
        Option(
            "Decay of a moving average of the weights, such as 0.999, which is then scored and kept.",
            Number(0, 1, open=True, below=True),
        ),
    ] = None
    channels_last: Annotated[bool, Option("Lay feature maps channels last in memory.", negative=True)] = True
    compile: Annotated[bool, Option("Compile the network first, which on a CPU needs a C++ compiler.")] = False
    patience: Annotated[
        int,
        Option(
            "Number of validations without a better score after which training ends.",
            Whole(0, 10**9),
            default="0: never",
        ),
    ] = 0
    checkpoint_seconds: Annotated[float, Option("Seconds between two checkpoints.", Number(0, 1e9), recorded=False)] = (
        300.0
    )
    keep: Annotated[
        int, Option("Number of checkpoints that are kept, the newest ones.", Whole(1, 10**6), recorded=False)
    ] = 3


STEPS, BATCH, RATE = Whole(1, 10**9), Whole(1, 65536), Number(0, 1e9)
_DECIDED: Mapping[str, Range] = {
    "steps": STEPS,
    "batch": BATCH,
    "learning_rate": RATE,
    "log_every": STEPS,
    "evaluate_every": Whole(0, 10**9),
}


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
        for name, within in _DECIDED.items():
            check(name, getattr(self, name), within)
        if self.patience and not self.evaluate_every:
            raise InputError("patience counts validations, and evaluate_every=0 makes none")
        if self.schedule == "step" and not self.decay_every:
            raise InputError("schedule 'step' needs decay_every above 0")

    def to_json(self) -> dict[str, Any]:
        """Return all values as plain ones, in the order above."""
        return self.plain()
