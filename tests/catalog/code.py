"""Code of a user's own, as a file: mechanisms, backbones, and what can be wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest

BLOCKS = '''
import torch
from torch import nn

from saccade.mechanisms.base import Mechanism


class Mixer(nn.Module):
    """No Mechanism of saccade: a depthwise convolution."""

    def __init__(self, channels, kernel_size=3):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, kernel_size, padding="same", groups=channels)

    def forward(self, x):
        return self.conv(x)


class Mean(Mechanism):
    """A gate of its own, which can be looked at."""

    label = "Mean"

    def __init__(self, channels, *, reduction=4):
        super().__init__(channels)
        self.down = nn.Conv2d(channels, max(1, channels // reduction), 1)
        self.up = nn.Conv2d(max(1, channels // reduction), channels, 1)

    def gates(self, x):
        self.check(x)
        mean = torch.relu(self.down(x.mean((2, 3), keepdim=True)))
        return {"channel": self.up(mean).sigmoid().flatten(1)}

    def forward(self, x):
        return x * self.gates(x)["channel"][:, :, None, None]


def make_mixer(channels, kernel_size=3):
    return Mixer(channels, kernel_size)


number = 5
'''

NETS = """
from collections import OrderedDict

import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width)

    def forward(self, x):
        return torch.relu(x + self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x))))))


class Net(nn.Module):
    def __init__(self, width, num_classes, features_only):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, width, 3, 4, 1), nn.BatchNorm2d(width), nn.ReLU())
        self.block = Block(width)
        self.head = None if features_only else nn.Linear(width, num_classes)

    def forward(self, x):
        early = self.stem(x)
        late = self.block(early)
        return [early, late] if self.head is None else self.head(late.mean((2, 3)))


def make(num_classes=10, features_only=False, width=8):
    return Net(width, num_classes, features_only)


def plain():
    return Net(8, 10, False)


def not_a_network(num_classes=10, features_only=False):
    return "network"


def one_map(features_only=False):
    return nn.Conv2d(3, 8, 3)


def broken(num_classes=10):
    raise ValueError("no such depth")
"""


def write_code(folder: Path, package: str = "my_package") -> Path:
    """Write the package; return the folder that holds it."""
    (folder / package).mkdir(parents=True)
    (folder / package / "__init__.py").write_text("")
    (folder / package / "blocks.py").write_text(BLOCKS)
    (folder / package / "nets.py").write_text(NETS)
    (folder / package / "light.py").write_text("class Light:\n    pass\n")
    (folder / package / "failing.py").write_text("raise RuntimeError('not today')\n")
    (folder / package / "needing.py").write_text("import a_package_that_nobody_has\n")
    return folder


@pytest.fixture
def own_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with ``my_package`` that Python finds; nothing of it stays imported or named afterwards."""
    import sys

    from saccade.catalog import imports, registry

    folder = write_code(tmp_path / "code")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(imports, "_named", {})
    monkeypatch.setattr(registry, "_registered", {})
    yield folder  # type: ignore[misc]
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_package"]:
        del sys.modules[name]
