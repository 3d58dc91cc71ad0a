"""The control is a zero-started convolution, and can be given any number of parameters."""

import pytest
import torch
from torch.nn import functional as F

from saccade import InputError
from saccade.mechanisms.conv3x3 import Conv3x3
from saccade.mechanisms.widths import control_width


def normalised(norm, x):
    shape = (1, -1, 1, 1)
    spread = (norm.running_var.view(shape) + 1e-5).sqrt()
    return (x - norm.running_mean.view(shape)) / spread * norm.weight.view(shape) + norm.bias.view(shape)


@pytest.mark.parametrize("size", [(1, 1), (4, 5)], ids=str)
@pytest.mark.parametrize("width", [None, 3])
def test_is_its_formula(size, width):
    torch.manual_seed(0)
    control, x = Conv3x3(6, width=width).double().eval(), torch.randn(2, 6, *size, dtype=torch.float64)
    for module in control.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for tensor in (module.weight, module.bias, module.running_mean, module.running_var):
                torch.nn.init.uniform_(tensor, 0.5, 1.5)
    layers = list(control.body)
    branch = F.conv2d(x, layers[0].weight, padding=1)
    if width is not None:
        branch = F.conv2d(normalised(layers[1], branch).clamp(min=0), layers[3].weight, padding=1)
    torch.testing.assert_close(control(x), x + normalised(control.norm, branch), rtol=1e-10, atol=1e-12)


def test_learns_from_the_first_step():
    control, x = Conv3x3(8, width=4), torch.randn(4, 8, 5, 5)
    control(x).pow(3).sum().backward()
    assert control.norm.weight.grad.any()
    with torch.no_grad():
        control.norm.weight += control.norm.weight.grad
    control.zero_grad()
    control(x).pow(3).sum().backward()
    assert all(parameter.grad.any() for parameter in control.parameters())


def params(channels, width):
    return sum(parameter.numel() for parameter in Conv3x3(channels, width=width).parameters())


@pytest.mark.parametrize("channels", [1, 8, 24])
def test_its_width_is_the_smallest_that_is_enough(channels):
    plain = params(channels, None)
    assert plain == 9 * channels**2 + 2 * channels
    for wanted in (0, 1, plain - 1, plain, plain + 1, 2 * plain, 3 * plain + 7):
        width = control_width(channels, wanted)
        assert params(channels, width) >= wanted
        assert (width is None) is (plain >= wanted)
        if width is not None and width > 1:
            assert params(channels, width - 1) < wanted


def test_names_what_is_wrong():
    with pytest.raises(InputError, match=r"^Conv3x3: `width` must be .* received width=0"):
        Conv3x3(8, width=0)
