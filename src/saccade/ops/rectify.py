"""A rectifier whose output may be written to."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from saccade.ops.modes import exported


def rectified(x: Tensor) -> Tensor:
    r"""Return :math:`\max(x, 0)`, with the gradient of relu.

    `relu` keeps its result for the backward pass. As the last operation of a mechanism it cannot be trained in a
    network that adds in place to the mechanism's output, as torchvision's ResNets do. A threshold keeps its input.
    In exported programs, which have no backward pass, it is `relu`, which all runtimes know.
    """
    return F.relu(x) if exported() else F.threshold(x, 0.0, 0.0)
