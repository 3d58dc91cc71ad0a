"""The contract of saccade's own mechanisms, for yours: one call, or one test for each property.

>>> from torch import nn
>>> from saccade.testing import check_mechanism
>>> class Depthwise(nn.Module):
...     def __init__(self, channels, kernel_size=3):
...         super().__init__()
...         self.conv = nn.Conv2d(channels, channels, kernel_size, padding="same", groups=channels)
...
...     def forward(self, x):
...         return x + self.conv(x)
>>> check_mechanism(Depthwise, options={"kernel_size": 5}, only=("shape", "sizes", "independence"))

In a test file, where pytest shows each property as a test of its own::

    from saccade.testing import parametrize_mechanism

    @parametrize_mechanism(Depthwise, "se[reduction=4]")
    def test_contract(check):
        check()

================  ======================================================================================
property          what holds
================  ======================================================================================
shape             It returns one tensor of its input's shape, in evaluation and in training.
input             It leaves the map that it is given unchanged.
sizes             It takes other sizes, odd ones, and 1 x 1, or raises a ValueError that says what it needs.
batch             It trains on one sample (or raises a ValueError) and takes a batch of none.
independence      No sample of a batch changes the output of another; its own does.
dtypes            float64, float32, bfloat16 and float16 come back as they are, close to float64.
autocast          Under autocast the output is finite; that of a `Mechanism` has its input's dtype.
layout            Any memory layout gives the same numbers; channels last stays channels last.
learns            Every parameter has a gradient, but those declared idle.
gradients         Gradients are those of finite differences.
in place          A network that adds and rectifies in place can be trained with it.
identity          `starts_as_identity`, where it has that, says the truth in every dtype and mode.
state             Its state dict is all there is: loaded into another one, it gives the same output.
copy              A deep copy gives the same output and shares nothing.
errors            Of a `Mechanism`: a map of another shape is refused with an InputError that names it.
compiles          `torch.compile` takes it whole, and again for another size.
exports           `torch.export` takes it with a free height and width.
================  ======================================================================================
"""

from saccade.testing.contract import Check, ContractError, check_mechanism, checks_of, parametrize_mechanism
from saccade.testing.properties import PROPERTIES
from saccade.testing.subject import Subject

__all__ = [
    "PROPERTIES",
    "Check",
    "ContractError",
    "Subject",
    "check_mechanism",
    "checks_of",
    "parametrize_mechanism",
]
