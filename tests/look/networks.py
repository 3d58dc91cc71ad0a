"""Small networks and pictures for the tests of pages."""

import numpy as np
import torch
from PIL import Image

import saccade
from saccade.networks.notes import NotesNet

EXAMPLE = {"example_input": torch.zeros(1, 3, 96, 96)}


def saved(path, *mechanisms, **options):
    """A network with random weights that are far from their start, saved as a trained one would be."""
    torch.manual_seed(5)
    net = NotesNet()
    for mechanism, at in mechanisms:
        saccade.insert(net, mechanism, at=at, **EXAMPLE, **options)
    generator = torch.Generator().manual_seed(3)
    for name, parameter in net.named_parameters():
        if name.endswith(("query.weight", "key.weight")):
            parameter.data.normal_(std=0.6, generator=generator)
        elif name.endswith(("gamma", ".g")):
            parameter.data.fill_(0.5)
    return saccade.save(net, path / "net.safetensors")


def picture(path, height=60, width=80, name="scene.png"):
    """Smooth colours, so that points differ."""
    y, x = np.mgrid[:height, :width]
    pixels = np.stack([3 * x % 256, 4 * y % 256, (x * y) % 256], axis=2).astype(np.uint8)
    Image.fromarray(pixels).save(path / name)
    return path / name
