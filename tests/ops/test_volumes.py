"""The convolution of slices is the convolution of the volume, to the last gradient."""

import pytest
import torch
from torch import nn

from saccade.ops.volumes import to_one_plane


@pytest.mark.parametrize(("depth", "k"), [(5, 3), (1, 7), (2, 7), (9, 7), (3, 1)])
def test_is_the_convolution(depth: int, k: int) -> None:
    layer = nn.Conv3d(2, 1, k, padding=k // 2, bias=False).double()
    x = torch.randn(2, 2, depth, 6, 5, dtype=torch.float64, requires_grad=True)
    grad = torch.randn(2, 1, depth, 6, 5, dtype=torch.float64)
    found = []
    for y in (to_one_plane(layer, x), layer(x)):
        first = torch.autograd.grad(y, [x, layer.weight], grad, create_graph=True)
        second = torch.autograd.grad(first[0].square().sum(), layer.weight)
        found.append([y, *first, *second])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)
