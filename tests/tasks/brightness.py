"""A task of somebody's own: one number per image, learned from a table of values. One file, one registration."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from saccade.data.images import UnreadableError, read_image
from saccade.data.layouts import Item
from saccade.data.reading import AS_IT_IS
from saccade.errors import InputError
from saccade.tasks.base import Files, Side, Task, TaskData

TABLE = "values.csv"


class Samples(Dataset):
    """(image, {"value": number}): targets may be any tree."""

    def __init__(self, task, items):
        self.task, self.items = task, items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        item = self.items[index]
        return self.task.input(read_image(item.image)), {"value": torch.tensor(item.target, dtype=torch.float32)}

    def name(self, index):
        return str(self.items[index].image)


class Brightness(Task):
    """Predict a number; the score is the coefficient of determination, which is not a ratio of sums over images."""

    name = "brightness"
    metric = "R2"
    layouts = {"values": "images/*.png and values.csv of name,value rows, split 80/20"}
    compare_batch = 4

    @classmethod
    def recognises(cls, folder, reading=AS_IT_IS):
        return {"values": "a number per image"} if (folder / TABLE).is_file() else {}

    @classmethod
    def files(cls, folder, reading=AS_IT_IS):
        items = []
        with (folder / TABLE).open(newline="", encoding="utf-8") as opened:
            for name, value in csv.reader(opened):
                if not (folder / "images" / name).is_file():
                    raise InputError(f"{folder / TABLE}: there is no image {name}")
                items.append(Item(folder / "images" / name, float(value)))
        held = set(np.random.default_rng(reading.split_seed).permutation(len(items))[: len(items) // 5].tolist())
        train, val = (tuple(item for i, item in enumerate(items) if (i in held) == side) for side in (False, True))
        return Files(("value",), train, val, f"brightness, from {TABLE}, split by seed {reading.split_seed}")

    @classmethod
    def load(cls, spec, on_progress=None):
        folder = Path(spec.data)
        files, task = cls.files(folder, spec), cls(("value",), size=spec.size)
        sides = []
        for items in (files.train, files.val):
            samples = Samples(task, items)
            sides.append(Side(samples, samples.name, [item.image.name for item in items]))
        split = tuple(sides[1].names)
        return TaskData(task, *sides, files.note, (spec.size, spec.size), files.under(folder, cls.name), split)

    @classmethod
    def tally(cls, files, item, size):
        if not 0 <= item.target <= 1:
            raise UnreadableError(f"its value {item.target} lies outside 0 to 1")
        return []

    def loss(self, outputs, targets):
        error = (outputs[:, 0] - targets["value"]).square()
        return error.sum(), torch.tensor(len(error))

    def predict(self, outputs, size):
        return {"value": outputs[:, 0].float()}

    def evidence(self, predictions, targets, *, full=False):
        return {"pairs": torch.stack([predictions["value"], targets["value"]], dim=1).double().cpu().numpy()}

    def scores(self, evidence, weights=None):
        given, true = evidence["pairs"].T
        weights = np.ones(len(true)) if weights is None else weights
        spread = weights @ (true - np.average(true, weights=weights)) ** 2
        left = weights @ (given - true) ** 2
        return {
            self.metric: float(1 - left / spread) if spread > 0 else 0.0,
            "mean square": float(left / weights.sum()),
        }

    def image_scores(self, evidence):
        return -np.abs(evidence["pairs"][:, 0] - evidence["pairs"][:, 1])

    def row(self, prediction):
        return {"value": float(prediction["value"])}

    def draw_truth(self, case, target):
        case.truth_name = f"{float(target['value']):.3f}"
