"""The same held-out images through every arm: what it predicted, and what its attention looked at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from saccade.comparison.experiment import Experiment
from saccade.data import IGNORE, Dataset
from saccade.files import replacing, write_json
from saccade.inspection.grids import attention_grid
from saccade.inspection.recording import record
from saccade.inspection.records import Record
from saccade.segmentation.objects import find_objects, middle_pixel
from saccade.training.loop import WEIGHTS, to_input
from saccade.training.tasks import task_for

FOLDER = "pictures"
GRID = 16
"""Rows and columns of points whose attention a report can show, at most."""


def take(experiment: Experiment, data: Dataset, device: str) -> None:
    """Write ``pictures/``: the images, and for each arm its predictions and attention on them."""
    folder = experiment.folder / FOLDER
    scores = [_image_scores(experiment, number) for number in range(len(experiment.arms))]
    best = max(range(1, len(scores)), key=lambda number: scores[number].mean())
    gain = scores[best] - scores[0]
    chosen = choose(gain)
    indices = [index for index, _ in chosen]
    images, targets = data.val.images[indices], data.val.targets[indices]
    _save(folder / "images.npz", {"images": images, "targets": targets})
    nets = [_trained(experiment, data, number).to(torch.device(device)) for number in range(len(experiment.arms))]
    x = to_input(torch.from_numpy(images).permute(0, 3, 1, 2), torch.device(device))
    task = task_for(data.task, len(data.classes))
    predictions = [_predict(net, x, task) for net in nets]
    queries = [(images.shape[1] // 2, images.shape[2] // 2)] * len(indices)
    if data.task == "segmentation":
        queries = [query_of(targets[i], predictions[0][i], predictions[best][i]) for i in range(len(indices))]
    for arm, net, prediction in zip(experiment.arms, nets, predictions, strict=True):
        arrays = attention(net, x, queries) if arm.spec else {}
        _save(folder / f"{arm.folder}.npz", {"predictions": prediction} | arrays)
    listed = [
        {"index": index, "name": data.val.names[index], "role": role, "query": query, "gain": float(gain[index])}
        for (index, role), query in zip(chosen, queries, strict=True)
    ]
    size = [int(side) for side in images.shape[1:3]]
    write_json(folder / "index.json", {"images": listed, "size": size, "best": experiment.arms[best].name})


def choose(gain: NDArray[np.float64]) -> list[tuple[int, str]]:
    """Images for the page, by rule and not by hand: the two largest gains, the middle one, the largest loss.

    What gained nothing is no success, and what lost nothing is no failure: both are then called typical.
    """
    order = np.argsort(-gain, kind="stable")
    picks = dict.fromkeys(int(i) for i in (order[0], order[1 % len(order)], order[len(order) // 2], order[-1]))
    middle = int(order[len(order) // 2])
    return [(i, "typical" if i == middle or gain[i] == 0 else "success" if gain[i] > 0 else "failure") for i in picks]


def query_of(target: NDArray[Any], control: NDArray[Any], best: NDArray[Any]) -> tuple[int, int]:
    """A pixel worth asking about: in the middle of the largest region where control and best arm disagree.

    Only pixels that one of the two got right count; the middle of the image, if there is no such pixel.
    """
    differs = (control != best) & (target != IGNORE) & ((control == target) | (best == target))
    if not differs.any():
        return target.shape[0] // 2, target.shape[1] // 2
    regions = find_objects(np.where(differs, target.astype(np.int64) + 1, 0)[None])
    sizes = np.where(regions.label > 0, regions.area, 0)
    return middle_pixel(regions.paint(np.arange(len(sizes)) == sizes.argmax()).reshape(target.shape))


def attention(net: nn.Module, x: torch.Tensor, queries: list[tuple[int, int]]) -> dict[str, NDArray[Any]]:
    """Gates and attention rows of every place on a batch; image i is asked about `queries[i]` (pixels, y first)."""
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
            elif seen.has("attention"):
                weights = seen.channel_weights()
                if weights.dim() == 4:  # a map for every column and row: too many to keep, so their mean
                    arrays[f"{path}|strip_weights"] = weights.mean(dim=1)
                else:
                    arrays[f"{path}|channel_weights"] = weights
    return grids | {key: value.float().cpu().numpy() for key, value in arrays.items()}


def _grids(path: str, seen: Record, images: int) -> dict[str, NDArray[Any]]:
    """What a grid of points attends to in each image, for a page that answers to the pointer.

    Whole numbers (images, h, w, H', W'), the factor of each row (images, h, w), and the size of the map (images, 2).
    """
    grids = [attention_grid(seen, image=image, side=GRID) for image in range(images)]
    values = [grid.values.astype(np.int16).reshape(*grid.queries, *grid.sources) for grid in grids]
    return {
        f"{path}|grid": np.stack(values),
        f"{path}|grid_scales": np.stack([grid.scales.reshape(grid.queries) for grid in grids]),
        f"{path}|grid_of": np.array([grid.size for grid in grids]),
    }


def _image_scores(experiment: Experiment, number: int) -> NDArray[np.float64]:
    """Each held-out image's own score, of the first seed: the one whose pictures are shown."""
    counts = np.load(experiment.run_folder(experiment.arms[number], 0) / "counts.npy")
    above, below = counts[..., 0], counts[..., 1]
    ratios: NDArray[np.float64] = np.where(below > 0, above / np.maximum(below, 1), 0.0)
    mean: NDArray[np.float64] = ratios.sum(1) / np.maximum((below > 0).sum(1), 1)
    return mean


def _trained(experiment: Experiment, data: Dataset, number: int) -> nn.Module:
    arm = experiment.arms[number]
    weights = experiment.run_folder(arm, 0) / WEIGHTS
    return experiment.network(arm, experiment.seed(arm, 0), len(data.classes), data.task, weights=weights)


def _predict(net: nn.Module, x: torch.Tensor, task: Any) -> NDArray[Any]:
    with torch.inference_mode():
        found: NDArray[Any] = task.predict(net.eval()(x), (x.shape[2], x.shape[3])).cpu().numpy()
    return found


def _save(path: Path, arrays: dict[str, Any]) -> None:
    with replacing(path) as temporary, temporary.open("wb") as opened:
        np.savez_compressed(opened, **arrays)
