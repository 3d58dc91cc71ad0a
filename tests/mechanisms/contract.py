"""The forms of our mechanisms, which `test_contract.py` runs through `saccade.testing` and through what is ours only.

A new row of the catalog is picked up by itself, in its default form; give it further forms, if it has any, in `FORMS`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from saccade.catalog import CATALOG, Entry, Spec
from saccade.mechanisms.base import Mechanism
from saccade.testing import Subject
from saccade.testing.subject import SIZES

CHANNELS = 32

FORMS: Mapping[str, tuple[dict[str, Any], ...]] = {
    "se": ({"bias": False}, {"variant": "timm"}),
    "eca": ({"k": 5}, {"shared": False}, {"circular": True}),
    "cbam": (
        {"variant": "popular"},
        {"variant": "timm"},
        {"pools": ("avg", "max", "lp", "lse")},
        {"parts": "channel"},
        {"parts": "spatial", "kernel_size": 3},
    ),
    "bam": (
        {"combine": "sum"},
        {"combine": "sum", "final_norm": True},
        {"window": "released"},
        {"parts": "channel"},
        {"parts": "spatial"},
    ),
    "sk": (
        {"branches": 3},
        {"second": "5x5", "groups": 8},
        {"second": "grouped", "groups": 8},
        {"variant": "popular"},
        {"variant": "timm"},
        {"variant": "timm", "split": False},
    ),
    "gsop": (
        {"stride": 2},
        {"variant": "spatial", "dim": 16},
        {"variant": "spatial", "covariance": "true"},
        {"variant": "sum", "dim": 16},
        {"variant": "max", "dim": 16},
        {"variant": "concat", "dim": 16, "fusion_kernel": 5, "fusion_groups": 4},
    ),
    "psa": (
        {"variant": "sequential"},
        {"variant": "paper_parallel"},
        {"variant": "paper_sequential"},
        {"parts": "channel"},
        {"parts": "spatial"},
    ),
    "gc": ({"pooling": "avg"}, {"fusion": ("mul",)}, {"fusion": ("add", "mul"), "ratio": 0.25}),
    "pam": ({"reduction": 1},),
    "cam": ({"sign": "printed"},),
    "fla": ({"lean": True},),
    "dual": ({"residual": "once"},),
    "sagan": ({"variant": "popular"}, {"update_u": False}),
    "a2": ({"residual": False}, {"value_channels": 6, "key_channels": 3}),
    "non_local": (
        {"pairwise": "gaussian"},
        {"pairwise": "dot_product"},
        {"pairwise": "concatenation"},
        {"variant": "popular"},
        {"variant": "mmcv"},
        {"variant": "gcnet"},
        {"variant": "timm"},
        {"norm": False, "sub_sample": False},
    ),
    "conv3x3": ({"width": 8},),
}

# Those of other axes that the everyday suite checks; all have the same layers, so one of a kind will do.
OF_OTHER_AXES = ("cbam[dims=3]", "pam[dims=1]", "non_local[dims=3]")

# Parameters that provably do nothing, as in the authors' code: a softmax does not see what all its entries share.
# By the end of the name; the sheets say why for each.
IDLE: Mapping[str, tuple[str, ...]] = {
    "gc": ("mask.bias",),
    "psa": ("channel.query.bias",),
    "pam": ("key.bias",),
    "dual": ("key.bias",),
    "cs": ("key.bias",),
    "sagan": ("key.bias",),
    "simplified_nl": ("mask.bias",),
    "a2": ("gather.bias",),
    "non_local": ("key.bias",),
}
NOT_SUMMING_TO_1 = ("dot_product", "concatenation")
# Forms that cannot normalise one sample of one number in training, as their authors' code cannot.
NEEDS_A_BATCH: frozenset[str] = frozenset(
    {"bam", "bam[combine=sum]", "bam[combine=sum,final_norm=True]", "bam[window=released]", "bam[parts=channel]"}
    | {"sk", "sk[branches=3]", "sk[second=5x5,groups=8]", "sk[second=grouped,groups=8]"}
    | {"sk[variant=timm]", "sk[variant=timm,split=False]"}
    | {f"{name}[dims={dims}]" for name in ("bam", "sk") for dims in (1, 3)}
)


@dataclass(frozen=True)
class Form:
    """A mechanism with the options of one of its forms."""

    entry: Entry
    options: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return str(Spec(self.entry.name, self.options))

    @property
    def dims(self) -> int:
        return int(self.options.get("dims", 2))

    @property
    def size(self) -> tuple[int, ...]:
        return SIZES[self.dims][0]

    @property
    def other_size(self) -> tuple[int, ...]:
        if self.options.get("window") == "released":  # takes H <= W < 2 H only
            return (5, 8)
        return SIZES[self.dims][1]

    @property
    def pools(self) -> bool:
        """Whether keys are pooled by 2, so that a single position is too few."""
        options = {"sub_sample": None, "variant": "official"} | dict(self.options)
        if self.entry.name == "sagan":
            return bool(options["variant"] == "official")
        pools = (
            options["variant"] in ("official", "popular") if options["sub_sample"] is None else options["sub_sample"]
        )
        return self.entry.name == "non_local" and bool(pools)

    @property
    def idle(self) -> tuple[str, ...]:
        return () if self.options.get("pairwise") in NOT_SUMMING_TO_1 else IDLE.get(self.entry.name, ())

    @property
    def rows_sum_to_1(self) -> bool:
        return self.options.get("pairwise") not in NOT_SUMMING_TO_1

    @property
    def subject(self) -> Subject:
        """The form as `saccade.testing` checks it."""
        spec = Spec(self.entry.name, self.options)
        return Subject.of(spec, channels=CHANNELS, size=self.size, other_size=self.other_size, idle=self.idle)

    def fresh(self) -> Mechanism:
        """As a user makes it, the same numbers every time."""
        return self.subject.fresh()

    def awake(self, dtype: torch.dtype = torch.float64) -> Mechanism:
        """In evaluation, with nothing at its start that would hide a fault."""
        return self.subject.awake(dtype)

    def map(self, batch: int = 3, dtype: torch.dtype = torch.float64, size: tuple[int, ...] | None = None) -> Tensor:
        """A feature map, not centred on 0; odd and unequal sides."""
        return self.subject.map(batch, dtype, size)


def default_forms() -> list[Form]:
    """Every row of the catalog, with no options."""
    return [Form(entry) for entry in CATALOG.values()]


def all_forms() -> list[Form]:
    """Every row of the catalog in every form listed here."""
    return [
        Form(entry, options)
        for entry in CATALOG.values()
        for options in ({}, *FORMS.get(entry.name, ()), *([] if entry.flat else [{"dims": 1}, {"dims": 3}]))
    ]


def is_everyday(form: Form) -> bool:
    """Whether the everyday suite checks a form."""
    return form.dims == 2 or str(form) in OF_OTHER_AXES


def marked(forms: Iterable[Form]) -> list[Any]:
    """The forms as cases of a test, those that the everyday suite leaves out marked ``full``."""
    return [form if is_everyday(form) else pytest.param(form, marks=pytest.mark.full) for form in forms]


def forms_with(view: str) -> list[Form]:
    """The forms whose class has a view: ``gates``, ``attention`` or ``weights``."""
    return [form for form in all_forms() if hasattr(form.entry.load(), view)]


class Largest(TorchDispatchMode):
    """Within it, the elements of the largest tensor that any operation returned."""

    elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                self.elements = max(self.elements, tensor.numel())
        return result
