"""Key points of any images: COCO's results, YOLO's text files, a table, and pictures with skeletons."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from saccade.data.images import UnreadableError, read_image
from saccade.data.layouts import listed
from saccade.errors import InputError
from saccade.outputs import Outputs
from saccade.tasks.pose.boxes import box_rows
from saccade.tasks.pose.drawing import drawn, heat_tiles
from saccade.tasks.pose.marked import LEAST_SIDE, inside
from saccade.tasks.pose.samples import cut, region_of
from saccade.tasks.pose.suppression import rescored, similarity, suppress
from saccade.training.evaluation import predicted
from saccade.training.inputs import to_input

if TYPE_CHECKING:
    from saccade.runs.open import Opened
    from saccade.runs.predict import Options
    from saccade.tasks.pose.task import Pose

TABLE, RESULTS, LABELS = "predictions.csv", "keypoints.json", "labels"
PICTURES, HEAT_MAPS = "pictures", "heatmaps"

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Found:
    """The key points of one object.

    Args:
        box: Left, top, width and height in pixels.
        points: (K, 2) x and y in pixels of the image.
        confidences: (K,) of the joints.
        score: Confidence of the object.
    """

    box: Box
    points: Any
    confidences: Any
    score: float


@dataclass
class Keypoints:
    """Key points of images.

    Args:
        rows: One for each object: image, box, score and the joints by name, each with x, y and score.
        out: Folder with what was written, if one was asked for.
        how: Where objects were looked for, and how, in words.
        failed: Images that could not be read, with the reason.
        images: Number of images.
    """

    rows: list[dict[str, Any]]
    out: Path | None
    how: str
    failed: list[str] = field(default_factory=list)
    images: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {"objects": self.rows, "failed": self.failed, "images": self.images, "how": self.how}

    def __str__(self) -> str:
        lines = []
        for row in self.rows:
            best = sorted(row["joints"].items(), key=lambda one: -one[1]["score"])[:3]
            said = ", ".join(f"{name} ({one['x']:.0f}, {one['y']:.0f})" for name, one in best)
            lines.append(f"{row['image']}  {row['score']:.3f}  {said}, ...")
        lines += self.failed
        lines += ["", f"{len(self.rows)} objects in {self.images} images; {self.how}"]
        return "\n".join(lines + ([f"{self.out / TABLE}"] if self.out else []))


def write_keypoints(task: Pose, opened: Opened, images: Sequence[tuple[Path, Path]], options: Options) -> Keypoints:
    """Find the key points of every object, and write them where a folder was given.

    Objects are those of a file of boxes; without one each image is one object.

    Raises:
        InputError: A file of boxes that fits no image, or an output that another program wrote.
    """
    outputs = None if options.out is None else Outputs(options.out)
    places = _label_places(images) if outputs is not None else []
    if outputs is not None:
        outputs.check([outputs.folder / TABLE, outputs.folder / RESULTS, *(outputs.folder / place for place in places)])
        outputs.check([outputs.folder / picture_of(place) for place in places])
    net, how = task.under(opened.net, options.protocol)
    boxes, where = None, "each image is one object"
    if options.boxes is not None:
        boxes, where = _boxes_by_name(options.boxes, images), f"boxes of {options.boxes.name}"
    done = Keypoints([], options.out, f"{where}; {how}", images=len(images))
    results: list[dict[str, Any]] = []
    for number, (path, _) in enumerate(images):
        try:
            picture = read_image(path, white=task.white)
            asked = None if boxes is None else boxes.get(path, [])
            found = _objects(task, net, picture, asked, options.batch, options.device)
        except UnreadableError as problem:
            done.failed.append(f"{path}: {problem.whole}")
            options.on_progress(number + 1, len(images))
            continue
        done.rows += [_row(task, path, one) for one in found]
        results += [_result(path, number, one) for one in found]
        if outputs is not None:
            with outputs.replacing(outputs.folder / places[number]) as temporary:
                temporary.write_text("".join(_line(one, picture.size) for one in found), encoding="ascii")
            shown = drawn(picture, [(one.points, one.confidences) for one in found], task.joints)
            with outputs.replacing(outputs.folder / picture_of(places[number])) as temporary:
                shown.save(temporary, format="PNG")
            for count, one in enumerate(found if options.heat_maps else (), 1):
                tiles = _heat_maps(task, net, picture, one, options)
                with outputs.replacing(outputs.folder / heat_maps_of(places[number], count)) as temporary:
                    tiles.save(temporary, format="PNG")
        options.on_progress(number + 1, len(images))
    if outputs is not None:
        with outputs.replacing(outputs.folder / RESULTS) as temporary:
            temporary.write_text(json.dumps(results, allow_nan=False), encoding="utf-8")
        _write_table(task, outputs, done)
    return done


def picture_of(labels: Path) -> Path:
    """Return the name of the picture that shows what a file of labels says."""
    return Path(PICTURES, *labels.parts[1:]).with_suffix(".png")


def heat_maps_of(labels: Path, number: int) -> Path:
    """Return the name of the picture with the heat maps of an object, counted from 1."""
    return Path(HEAT_MAPS, *labels.parts[1:-1], f"{labels.stem}-{number}.png")


def _heat_maps(task: Pose, net: Any, picture: Any, one: Found, options: Options) -> Any:
    image = torch.from_numpy(np.array(picture)).permute(2, 0, 1)
    region = region_of(task.codec, one.box, picture.size if options.boxes is None else None)
    crop = cut(image, task.codec.matrix(*region), task.codec)
    with torch.inference_mode():
        maps = net(to_input(crop[None], options.device, task.statistics))[0, :: task.codec.maps_per_joint]
        maps = maps.float().cpu().numpy()
    return heat_tiles(crop.permute(1, 2, 0).numpy(), maps, task.classes)


def _objects(
    task: Pose, net: Any, picture: Any, boxes: list[tuple[Box, float]] | None, batch: int, device: torch.device
) -> list[Found]:
    """Return the objects of one image, repeated ones left out."""
    width, height = picture.size
    chosen: list[tuple[Box, float]] = [((0.0, 0.0, float(width), float(height)), 1.0)] if boxes is None else boxes
    chosen = [one for one in chosen if min(inside(one[0], picture.size)) >= min(LEAST_SIDE, width, height)]
    if not chosen:
        return []
    image = torch.from_numpy(np.array(picture)).permute(2, 0, 1)
    regions = [region_of(task.codec, box, picture.size if boxes is None else None) for box, _ in chosen]
    places, scores = [], []
    for start in range(0, len(regions), batch):
        some = regions[start : start + batch]
        crops = torch.stack([cut(image, task.codec.matrix(*region), task.codec) for region in some])
        with torch.inference_mode():
            found = predicted(net, task, crops, device)
        centers, scales = (torch.cat(parts) for parts in zip(*some, strict=True))
        places.append(task.codec.from_input(found["points"].double().cpu(), centers, scales))
        scores.append(found["scores"].double().cpu())
    points, confidences = torch.cat(places), torch.cat(scores)
    whole = rescored(torch.tensor([score for _, score in chosen], dtype=torch.float64), confidences)
    areas = torch.cat([region.scale.double().prod(dim=1) * 200**2 for region in regions])
    kept = suppress(similarity(points, areas, task.joints.sigmas), whole) if len(points) > 1 else torch.arange(1)
    return [Found(chosen[i][0], points[i].numpy(), confidences[i].numpy(), float(whole[i])) for i in kept.tolist()]


def _boxes_by_name(path: Path, images: Sequence[tuple[Path, Path]]) -> dict[Path, list[tuple[Box, float]]]:
    """Return the boxes of each image, by its name, its name without the end, or the number that its name is.

    Raises:
        InputError: No box is of any of the images, or one may be of two.
    """
    names: dict[str, list[Path]] = {}
    for image, _ in images:
        keys = {image.name, image.stem, *([str(int(image.stem))] if image.stem.isdecimal() else [])}
        for key in keys:
            names.setdefault(key, []).append(image)
    rows = box_rows(path)
    kinds = {kind for kind, *_ in rows}
    if len(kinds) > 1:
        raise InputError(
            f"--boxes {path}: boxes of {len(kinds)} categories: {listed(sorted(map(str, kinds)))}",
            "keep those of the objects with key points",
        )
    found: dict[Path, list[tuple[Box, float]]] = {}
    for _, key, box, score in rows:
        places = names.get(key, [])
        if len(places) > 1:
            raise InputError(
                f"--boxes {path}: image_id {key!r} may be {places[0]} or {places[1]}", "rename one of them"
            )
        if places:
            found.setdefault(places[0], []).append((box, score))
    if not found:
        raise InputError(
            f"--boxes {path}: none of its {len(rows)} boxes is of these images; image_id {rows[0][1]!r} is the first",
            "image_id must be a file name, with or without its end, or the number in it",
        )
    return found


def _row(task: Pose, path: Path, one: Found) -> dict[str, Any]:
    joints = task.row({"points": one.points, "scores": one.confidences})
    return {"image": str(path), "box": [round(side, 3) for side in one.box], "score": one.score, "joints": joints}


def _result(path: Path, number: int, one: Found) -> dict[str, Any]:
    """Return a row of COCO's results; it has no box, which would change the sizes of objects in the scores."""
    rows = np.concatenate([one.points, one.confidences[:, None]], axis=1)
    image = int(path.stem) if path.stem.isdecimal() else number + 1
    keypoints = [round(float(value), 4) for value in rows.reshape(-1)]
    return {"image_id": image, "category_id": 1, "file_name": path.name, "keypoints": keypoints, "score": one.score}


def _line(one: Found, size: tuple[int, int]) -> str:
    """Return a line of YOLO's labels: class, box, and x, y and confidence of each joint, in fractions of the image."""
    width, height = size
    left, top, wide, high = one.box
    values = [(left + wide / 2) / width, (top + high / 2) / height, wide / width, high / height]
    for (x, y), confidence in zip(one.points, one.confidences, strict=True):
        values += [x / width, y / height, confidence]
    return " ".join(["0", *(f"{value:.6f}" for value in values)]) + "\n"


def _label_places(images: Sequence[tuple[Path, Path]]) -> list[Path]:
    """Return the names of the text files.

    Raises:
        InputError: Two images would have one of the same name.
    """
    taken: dict[Path, Path] = {}
    for path, folder in images:
        place = Path(LABELS) / path.relative_to(folder).with_suffix(".txt")
        if place in taken:
            raise InputError(
                f"{taken[place]} and {path} would both have the labels {place}",
                "rename one, or predict them into different folders",
            )
        taken[place] = path
    return list(taken)


def _write_table(task: Pose, outputs: Outputs, done: Keypoints) -> None:
    joints = [f"{name} {what}" for name in task.classes for what in ("x", "y", "score")]
    with (
        outputs.replacing(outputs.folder / TABLE) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as opened,
    ):
        writer = csv.writer(opened)
        writer.writerow(["image", "left", "top", "width", "height", "score", *joints, "problem"])
        for row in done.rows:
            values = [row["joints"][name][what] for name in task.classes for what in ("x", "y", "score")]
            shown = [f"{value:.3f}" for value in (*row["box"],)]
            writer.writerow([row["image"], *shown, f"{row['score']:.6f}", *(f"{value:.4f}" for value in values), ""])
        for line in done.failed:
            image, _, problem = line.partition(": ")
            writer.writerow([image, *[""] * (5 + len(joints)), problem])
