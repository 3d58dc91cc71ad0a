"""The same validation images through every arm: its predictions, and where its attention went."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from saccade import schema
from saccade.comparison.experiment import Experiment, evidence_of
from saccade.comparison.results import Role, Shown, ShownImage
from saccade.data import Arrays
from saccade.files import replacing, write_json
from saccade.inspection.grids import attention_grid
from saccade.inspection.recording import record
from saccade.inspection.records import Record
from saccade.runs.names import PICTURES
from saccade.tasks.base import Task
from saccade.tasks.trees import mapped, named, taken
from saccade.training.inputs import to_input

GRID = 16
"""Largest number of rows, and of columns, of the query points whose attention a report can show."""
LEAST_GAIN = 0.0005
"""Least difference between two arms on one image that is called one."""


def take(experiment: Experiment, data: Arrays, device: str) -> None:
    """Write ``pictures/``: the images, and the predictions and attention of each arm on them."""
    folder, task = experiment.folder / PICTURES, experiment.task(data)
    evidence = [evidence_of(experiment.run_folder(arm, 0)) for arm in experiment.arms]  # of the seed that is shown
    best = max(range(1, len(evidence)), key=lambda number: task.score(evidence[number]))
    gain = task.image_scores(evidence[best]) - task.image_scores(evidence[0])
    sample = task.pictured(evidence[0])
    chosen = [(int(sample[index]), role) for index, role in choose(gain)]
    gains = dict(zip(sample.tolist(), gain.tolist(), strict=True))
    indices = [index for index, _ in chosen]
    images = data.val.images[indices]
    targets = mapped(lambda array: array[indices], data.val.targets)
    _save(folder / "images.npz", {"images": images} | named("targets", targets))
    place = torch.device(device)
    nets = [experiment.trained(arm, 0, data).to(place).eval() for arm in experiment.arms]
    x = to_input(torch.from_numpy(images).permute(0, 3, 1, 2), place, task.statistics)
    predictions = [_predict(net, x, task) for net in nets]
    middle = images.shape[1] // 2, images.shape[2] // 2
    queries = [
        task.query(taken(targets, i), taken(predictions[0], i), taken(predictions[best], i)) or middle
        for i in range(len(indices))
    ]
    for arm, net, prediction in zip(experiment.arms, nets, predictions, strict=True):
        arrays = attention(net, x, queries) if arm.spec else {}
        _save(folder / f"{arm.folder}.npz", named("predictions", prediction) | arrays)
    listed = tuple(
        ShownImage(index=index, name=data.val.names[index], role=role, query=query, gain=float(gains[index]))
        for (index, role), query in zip(chosen, queries, strict=True)
    )
    shown = Shown(images=listed, size=(images.shape[1], images.shape[2]), best=experiment.arms[best].name)
    write_json(folder / "index.json", schema.to_json(shown))


def choose(gain: NDArray[np.float64]) -> list[tuple[int, Role]]:
    """Choose the images of the report by rule: the two largest gains, the median one, and the largest loss.

    An image without a gain is not called a success, nor one without a loss a failure: both are then called typical, as
    are differences that round to 0.0%.
    """
    gain = np.where(np.abs(gain) < LEAST_GAIN, 0.0, gain)
    order = np.argsort(-gain, kind="stable")
    picks = dict.fromkeys(int(i) for i in (order[0], order[1 % len(order)], order[len(order) // 2], order[-1]))
    middle = int(order[len(order) // 2])
    return [(i, "typical" if i == middle or gain[i] == 0 else "success" if gain[i] > 0 else "failure") for i in picks]


def attention(net: nn.Module, x: torch.Tensor, queries: list[tuple[int, int]]) -> dict[str, NDArray[Any]]:
    """Collect gates and attention of every place on a batch.

    Args:
        net: The network.
        x: Images (n, 3, H, W), normalised.
        queries: Query point (y, x) of each image, in pixels.
    """
    height, width = x.shape[-2:]
    arrays: dict[str, torch.Tensor] = {}
    grids: dict[str, NDArray[Any]] = {}
    with torch.inference_mode(), record(net.eval()) as maps:
        net(x)
        for path, seen in maps.items():
            for kind, gate in seen.gates.items():
                arrays[f"{path}|gate|{kind}"] = gate if kind == "channel" else gate[:, 0]
            if seen.has("weights"):
                rows, columns = seen.input.shape[-2:]
                at = [(y * rows // height, x_ * columns // width) for y, x_ in queries]
                found = seen.weights(queries=at)
                arrays[f"{path}|weights"] = torch.stack([found[i, i] for i in range(len(queries))])
                grids |= _grids(path, seen, len(queries))
            elif seen.has("channel_weights") or seen.has("column_weights"):
                weights = seen.channel_weights()
                if weights.dim() == 4:  # a map for every column and row: too many to keep, so their mean
                    arrays[f"{path}|strip_weights"] = weights.mean(dim=1)
                else:
                    arrays[f"{path}|channel_weights"] = weights
    return grids | {key: value.float().cpu().numpy() for key, value in arrays.items()}


def _grids(path: str, seen: Record, images: int) -> dict[str, NDArray[Any]]:
    """Attention of a grid of query points in each image, for a page that follows the pointer.

    Returned are integers (images, h, w, H', W'), the factor of each row (images, h, w), and the size of the feature map
    (images, 2).
    """
    grids = [attention_grid(seen, image=image, side=GRID) for image in range(images)]
    values = [grid.values.astype(np.int16).reshape(*grid.queries, *grid.sources) for grid in grids]
    return {
        f"{path}|grid": np.stack(values),
        f"{path}|grid_scales": np.stack([grid.scales.reshape(grid.queries) for grid in grids]),
        f"{path}|grid_of": np.array([grid.size for grid in grids]),
    }


def _predict(net: nn.Module, x: torch.Tensor, task: Task) -> Any:
    with torch.inference_mode():
        return mapped(lambda leaf: leaf.cpu().numpy(), task.predict(net(x), (x.shape[2], x.shape[3])))


def _save(path: Path, arrays: dict[str, Any]) -> None:
    with replacing(path) as temporary, temporary.open("wb") as opened:
        np.savez_compressed(opened, **arrays)
