"""The demo network: its published size, stride and reach."""

import pytest
import torch

from saccade.errors import InputError
from saccade.networks.notes import NotesNet


def test_has_the_published_number_of_parameters():
    assert sum(parameter.numel() for parameter in NotesNet().parameters()) == 94_267


@pytest.mark.parametrize(("size", "expected"), [((96, 96), (24, 24)), ((64, 80), (16, 20)), ((33, 50), (9, 13))])
def test_gives_logits_at_stride_4(size, expected):
    assert NotesNet(7)(torch.zeros(1, 3, *size)).shape == (1, 7, *expected)


def test_sees_no_farther_than_its_receptive_field():
    model = NotesNet().double().eval()
    for module in model.modules():
        if isinstance(module, torch.nn.ReLU):
            module.inplace = False
    x = torch.randn(1, 3, 160, 160, dtype=torch.float64, requires_grad=True)
    model(x)[0, :, 20, 20].sum().backward()
    seen = x.grad[0].abs().sum(0).nonzero()
    height, width = (seen.amax(0) - seen.amin(0) + 1).tolist()
    assert height == width
    assert 47 <= height <= 64


def test_every_parameter_is_used():
    model = NotesNet()
    model(torch.randn(2, 3, 32, 32)).square().mean().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in model.parameters())


def test_a_number_of_classes_is_needed():
    with pytest.raises(InputError, match="`num_classes` must be a whole number"):
        NotesNet(0)
