"""Shim until the network door lands."""

from __future__ import annotations

from typing import Any

from torch import nn

from saccade.networks.build import DEMO as DEMO
from saccade.networks.named import _is_classifier
from saccade.networks.named import classification_network as classification_network
from saccade.networks.named import is_segmenter as is_segmenter
from saccade.networks.named import segmentation_network as _seg


def is_classifier(name: str) -> bool:
    try:
        return _is_classifier(name.partition("[")[0])
    except Exception:
        return False


def demo_network(num_classes: int) -> nn.Module:
    from saccade.networks.notes import NotesNet

    return NotesNet(num_classes)


def segmentation_network(*args: Any, at: Any = None, **kwargs: Any) -> nn.Module:
    return _seg(*args, **kwargs)
