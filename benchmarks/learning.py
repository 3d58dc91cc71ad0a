"""Movement of inserted mechanisms in a short training, form by form: ``python -m benchmarks.learning [FORM ...]``.

A small residual network on noise whose images differ in their means, 40 steps with 8 images each, all parameters in the
optimizer. Printed for plain SGD at torch's default rate and at 0.05, and for AdamW at its default rate: the number of
parameter tensors that moved, and the least relative change of any weight matrix, which is the norm of the change over
the larger of the norms before and after.

Tensors that stand still are those without an effect on the output, such as a bias that a norm or softmax takes away,
and those behind an authors' own zero that has not grown yet.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import saccade
from saccade.catalog import CATALOG

STEPS, BATCH, WIDTH, SIDE = 40, 8, 16, 6
SMALL = {
    "gsop": "dim=8,grid=2", "gc": "ratio=1/4", "bam": "reduction=4", "se": "reduction=4", "cbam": "reduction=4",
    "sk": "groups=4",
}  # fmt: skip
"""Options that suit a map of 16 channels and 6 x 6 positions."""

FORMS = (
    *(f"{name}[{SMALL[name]}]" if name in SMALL else name for name in CATALOG),
    "cbam[variant=timm]", "cbam[variant=popular]", "cbam[parts=spatial]", "bam[reduction=4,combine=sum]",
    "bam[reduction=4,parts=spatial]", "gsop[variant=spatial,dim=8,grid=2]", "gsop[variant=sum,dim=8,grid=2]",
    "psa[variant=sequential]", "psa[variant=paper_parallel]", "psa[variant=paper_sequential]",
    "gc[fusion=mul,ratio=1/4]", "gc[fusion=(add,mul),ratio=1/4]", "gc[variant=timm,ratio=1/4]",
    "a2[residual=False]", "dual[residual=twice]", "non_local[pairwise=gaussian]", "non_local[pairwise=dot_product]",
    "non_local[pairwise=concatenation]", "sagan[variant=popular]",
)  # fmt: skip
OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "SGD, 0.001": torch.optim.SGD,
    "SGD, 0.05": lambda parameters: torch.optim.SGD(parameters, lr=0.05),
    "AdamW, 0.001": torch.optim.AdamW,
}


class Network(nn.Module):
    """A stem, a residual block and a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, WIDTH, 3, 1, 1), nn.BatchNorm2d(WIDTH)
        self.conv, self.last = nn.Conv2d(WIDTH, WIDTH, 3, 1, 1), nn.BatchNorm2d(WIDTH)
        self.classify = nn.Linear(WIDTH, 5)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (B, 5)."""
        x = F.relu(self.norm(self.stem(x)))
        logits: Tensor = self.classify(F.relu(x + self.last(self.conv(x))).mean((2, 3)))
        return logits


def changes(form: str, make: Callable[..., torch.optim.Optimizer]) -> dict[str, tuple[float, bool]]:
    """Train, and return the relative change of each tensor of the mechanism, and whether it is a weight matrix."""
    torch.manual_seed(0)
    model = saccade.insert(Network(), form, at="last", example_input=torch.zeros(1, 3, SIDE, SIDE))
    own = {name: p for name, p in model.named_parameters() if ".saccade." in name}
    before = {name: p.detach().clone() for name, p in own.items()}
    optimizer, draw = make(model.parameters()), torch.Generator().manual_seed(1)
    for _ in range(STEPS):
        x = torch.randn(BATCH, 3, SIDE, SIDE, generator=draw) + torch.randn(BATCH, 3, 1, 1, generator=draw)
        optimizer.zero_grad()
        F.cross_entropy(model(x), torch.randint(5, (BATCH,), generator=draw)).backward()
        optimizer.step()
    found = {}
    for name, p in own.items():
        larger = max(float(before[name].norm()), float(p.detach().norm()), 1e-30)
        found[name] = float((p.detach() - before[name]).norm()) / larger, p.dim() > 1
    return found


def cell(found: dict[str, tuple[float, bool]]) -> str:
    """Return how many tensors moved, and the least relative change of a weight matrix."""
    moved = sum(change > 0 for change, _ in found.values())
    least = min((change for change, matrix in found.values() if matrix), default=None)
    return f"{moved} of {len(found)}" + ("" if least is None else f", {least:.0e}" if least else ", 0")


def main(forms: list[str]) -> None:
    """Print the table."""
    warnings.simplefilter("ignore")
    print(f"| form | {' | '.join(OPTIMIZERS)} |\n|{' --- |' * (1 + len(OPTIMIZERS))}", flush=True)
    for form in forms:
        cells = [cell(changes(form, make)) for make in OPTIMIZERS.values()]
        print(f"| {form} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:] or list(FORMS))
