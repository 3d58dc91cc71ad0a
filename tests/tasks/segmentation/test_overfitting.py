"""A segmentation network with several losses learns eight scenes of the demo by heart, pixel by pixel."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import saccade
from saccade.data import Split
from saccade.data.notes import load_notes
from saccade.tasks.segmentation.task import Segmentation
from saccade.training.evaluation import collect_arrays
from saccade.training.loop import train
from saccade.training.recipe import Recipe
from saccade.training.sources import ArraySource


def enlarged(split: Split) -> Split:
    """96 pixels shown as 144: a cell of the networks' map, 8 pixels, is then small enough for the notes' edges."""
    places = np.arange(144) * 96 // 144
    return Split(split.images[:, places][:, :, places], split.targets[:, places][:, :, places], split.names)


@pytest.mark.full
def test_eight_scenes_are_learned_by_heart(tmp_path: Path) -> None:
    data = load_notes(tmp_path / "cache", train=8, held_out=1)
    scenes = enlarged(data.train)
    data = replace(data, train=scenes, val=scenes)
    torch.manual_seed(0)
    net = saccade.segmenter("danet", len(data.classes), backbone="test_resnet", inner_channels=96, dropout=0.0)
    task = Segmentation(data.classes).fitted(net)
    train(net, task, ArraySource(data), Recipe(steps=150, batch=8, learning_rate=6e-3), tmp_path / "run")
    found = collect_arrays(net, task, data.val, device=torch.device("cpu"), batch=8)
    assert task.score(found) > 0.95
