"""Key points of DeepLabCut and SLEAP, read by sleap-io, and of Label Studio, as a plain folder of COCO's form."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from saccade.data import OnProgress
from saccade.data.importing.export import Account, examples
from saccade.data.importing.label_studio import image_of, is_tasks
from saccade.data.importing.source import LookupFailedError, Source, take
from saccade.data.importing.writing import whole
from saccade.errors import InputError, require
from saccade.files import write_json
from saccade.version import __version__

ANNOTATIONS, RECORD = "annotations.json", "import.json"


@dataclass
class ImportedKeyPoints:
    """The result of an import; the same stands in ``import.json``.

    Args:
        folder: Folder that was written.
        format: Name of the format.
        joints: Names of the joints.
        images: Numbers of images found and written, and names of those left out, by reason.
        objects: Numbers of objects, likewise.
    """

    folder: Path
    format: str
    joints: list[str]
    images: dict[str, Any]
    objects: dict[str, Any]
    notes: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return vars(self) | {"folder": self.folder.name, "schema": 1, "saccade": __version__}

    def __str__(self) -> str:
        lines = [
            f"{self.format}: {self.images['written']} of {self.images['found']} images in {self.folder}",
            f"{self.objects['written']} of {self.objects['found']} objects with {len(self.joints)} joints: "
            f"{', '.join(self.joints)}",
        ]
        for what, account in (("images", self.images), ("objects", self.objects)):
            for reason, left in account["left_out"].items():
                lines.append(f"{left['count']} {what} left out: {reason} ({examples(left['names'])})")
        return "\n".join([*lines, *self.notes])


def _sleap(source: Source) -> list[Path]:
    return source.ending(".slp")


def _deeplabcut(source: Source) -> list[Path]:
    return [path for path in source.ending(".csv") if _is_deeplabcut(path)]


def _is_deeplabcut(path: Path) -> bool:
    """Return True for a table whose first rows begin with scorer, bodyparts and coords, perhaps with individuals."""
    try:
        with path.open(newline="", encoding="utf-8") as opened:
            firsts = [row[0].strip().lower() for _, row in zip(range(4), csv.reader(opened), strict=False) if row]
    except (OSError, UnicodeDecodeError, csv.Error):
        return False
    return firsts[:1] == ["scorer"] and "bodyparts" in firsts and "coords" in firsts


def _label_studio(source: Source) -> list[Path]:
    """Return lists of tasks whose regions are key points, perhaps with rectangles around them."""
    found = []
    for path in source.ending(".json"):
        content = source.json(path)
        kinds = {take(one, "type", str) for task in content for one in _regions(task)} if is_tasks(content) else set()
        if "keypointlabels" in kinds and kinds <= {"keypointlabels", "rectanglelabels", "choices", "textarea"}:
            found.append(path)
    return found


KEY_POINTS: dict[str, Callable[[Source], list[Path]]] = {
    "sleap": _sleap,
    "deeplabcut": _deeplabcut,
    "label-studio-keypoints": _label_studio,
}
"""Files of each format."""

_LOADERS: dict[str, tuple[str, dict[str, Any]]] = {
    "sleap": ("load_slp", {"open_videos": False}),
    "deeplabcut": ("load_dlc", {"config": False}),
}
"""The function of sleap-io that reads a format, and its options."""

Object = tuple[Any, tuple[float, float, float, float] | None]
"""Points (K, 2), NaN where a joint has no place, and the box."""
Rows = dict[str, tuple[Path | Callable[[], Any], list[Object]]]
"""Picture and objects by the name of the picture."""


def key_points_in(source: Source) -> str | None:
    """Return the format of key points that files show by themselves; None for any other export."""
    return next((name for name, files in KEY_POINTS.items() if files(source)), None)


def import_key_points(
    source: Source, folder: Path, form: str, *, link: bool = False, on_progress: OnProgress | None = None
) -> ImportedKeyPoints:
    """Write ``images/`` and ``annotations.json``, which every command takes.

    A point without a place has no label; all others are visible. Predictions of the tool are left out, and counted.
    Pictures are copied byte by byte, frames of a video are written as PNG.

    Args:
        source: The export.
        folder: Folder to write; new or empty.
        form: A key of :data:`KEY_POINTS`.
        link: Make hard links to the pictures instead of copies.
        on_progress: Called with (done, total, what).

    Raises:
        InputError: A file cannot be read, skeletons differ, or nothing can be written.
        MissingExtraError: sleap-io is not installed.
    """
    files = KEY_POINTS[form](source)
    if not files:
        raise InputError(f"{source.root} holds no file of {form}", "see --format")
    images, objects = Account("images"), Account("objects")
    read = _read_sleap if form in _LOADERS else _read_label_studio
    rows, category = read(source, files, form, images, objects)
    if not category or not any(found for _, found in rows.values()):
        raise InputError("no key points can be written: " + "; ".join([*images.lines(), *objects.lines()] or ["none"]))
    with whole(folder) as target:
        _write(target, rows, category, images, objects, link, on_progress)
        done = ImportedKeyPoints(folder, form, category["keypoints"], images.to_json(), objects.to_json())
        write_json(target / RECORD, done.to_json())
    return done


def _read_sleap(
    source: Source, files: list[Path], form: str, images: Account, objects: Account
) -> tuple[Rows, dict[str, Any]]:
    """Read files by sleap-io.

    Raises:
        InputError: A file cannot be read, or skeletons differ.
        MissingExtraError: sleap-io is not installed.
    """
    sleap: Any = require("sleap_io", extra="formats")
    load, options = _LOADERS[form]
    rows: Rows = {}
    names: list[str] | None = None
    category: dict[str, Any] = {}
    for path in files:
        try:
            labels = getattr(sleap, load)(str(path), **options)
        except Exception as cause:  # whatever its readers say of a damaged file
            raise InputError(f"{path} cannot be read as {form} ({str(cause)[:200]})", "export it again") from cause
        for skeleton in labels.skeletons:
            if names is not None and names != list(skeleton.node_names):
                raise InputError(
                    f"{path}: its joints are {', '.join(skeleton.node_names)}; before they were {', '.join(names)}",
                    "import files of one skeleton at a time",
                )
            names = list(skeleton.node_names)
            category = category or _category(skeleton)
        for name, place, frame in _frames(sleap, source, labels, path, images):
            found = rows.setdefault(name, (place, []))[1]
            for instance in frame.instances:
                objects.found += 1
                if type(instance).__name__ != "Instance":
                    objects.leave_out("a prediction of the tool", [name])
                elif not np.isfinite(instance.numpy()[:, :2]).all(axis=1).any():
                    objects.leave_out("no joint has a place", [name])
                else:
                    found.append((instance.numpy()[:, :2], None))
    return rows, category


def _regions(task: Any) -> list[Any]:
    """Return the regions of the first person's annotation of a task."""
    done = [one for one in take(task, "annotations", list, []) if not take(one, "was_cancelled", bool)]
    found: list[Any] = take(done[0] if done else None, "result", list, [])
    return found


def _read_label_studio(
    source: Source, files: list[Path], form: str, images: Account, objects: Account
) -> tuple[Rows, dict[str, Any]]:
    """Read tasks: points belong to the rectangle that is their parent; without rectangles an image is one object."""
    tasks = [
        (path, f"{source.name(path)}: task {take(task, 'id', int, number)}", task)
        for path in files
        for number, task in enumerate(source.json(path), start=1)
    ]
    labels = dict.fromkeys(
        label for *_, task in tasks for one in _regions(task) if (label := _label(one, "keypointlabels")) is not None
    )
    places = {label: place for place, label in enumerate(labels)}
    rows: Rows = {}
    for path, name, task in tasks:
        images.found += 1
        grouped = _grouped(_regions(task))
        objects.found += len(grouped)
        try:
            picture = image_of(source, path, take(task, "data", dict, {}))
            if source.name(picture) in rows:
                raise LookupFailedError("another task has the same image")
        except LookupFailedError as reason:
            images.leave_out(str(reason), [name])
            objects.leave_out("their image is left out", [name] * len(grouped))
            continue
        found = rows.setdefault(source.name(picture), (picture, []))[1]
        for box, points in grouped:
            try:
                made = np.full((len(places), 2), np.nan)
                for one in points:
                    label = _label(one, "keypointlabels")
                    if label is None or not np.isnan(made[places[label]]).all():
                        raise ValueError("a joint is there twice, or without a name")
                    made[places[label]] = _scaled(one, "x", "y")
                sides = None if box is None else (*_scaled(box, "x", "y"), *_scaled(box, "width", "height"))
            except (ValueError, TypeError, KeyError) as reason:
                objects.leave_out(str(reason) if isinstance(reason, ValueError) else "damaged numbers", [name])
                continue
            if np.isnan(made).all():
                objects.leave_out("no joint has a place", [name])
            else:
                found.append((made, sides))
    category = {"id": 1, "name": "object", "keypoints": list(places), "skeleton": []}
    return rows, category if places else {}


def _grouped(regions: list[Any]) -> list[tuple[Any, list[Any]]]:
    """Return rectangles with their points; points without a parent are one object of an image without rectangles."""
    boxes = {take(one, "id", str): one for one in regions if take(one, "type", str) == "rectanglelabels"}
    points = [one for one in regions if take(one, "type", str) == "keypointlabels"]
    found = [(box, [one for one in points if take(one, "parentID", str) == key]) for key, box in boxes.items()]
    alone = [one for one in points if take(one, "parentID", str) not in boxes]
    return [*found, (None, alone)] if alone else found


def _label(one: Any, kind: str) -> str | None:
    labels = take(take(one, "value", dict, {}), kind, list, [])
    return " ".join(str(labels[0]).split()) if take(one, "type", str) == kind and len(labels) == 1 else None


def _scaled(one: Any, across: str, down: str) -> tuple[float, float]:
    """Return two numbers of a region, which are percent of the image, in pixels."""
    value = one["value"]
    found = float(value[across]) * one["original_width"] / 100, float(value[down]) * one["original_height"] / 100
    if not np.isfinite(found).all():
        raise ValueError("coordinates that are not finite")
    return found


def _category(skeleton: Any) -> dict[str, Any]:
    names = list(skeleton.node_names)
    found = {
        "id": 1,
        "name": str(skeleton.name or "object"),
        "keypoints": names,
        "skeleton": [[int(one) + 1, int(other) + 1] for one, other in skeleton.edge_inds],
    }
    pairs = [sorted(map(int, pair)) for pair in skeleton.symmetry_inds]
    return found | ({"flip_pairs": pairs} if pairs else {})


def _frames(
    sleap: Any, source: Source, labels: Any, path: Path, images: Account
) -> Iterator[tuple[str, Path | Callable[[], Any], Any]]:
    """Yield name, picture and labels of every frame whose picture is there; others are left out."""
    opened: dict[Path, Any] = {}
    for frame in labels.labeled_frames:
        images.found += 1
        given = frame.video.filename
        if isinstance(given, list):
            try:
                picture = source.image(str(given[frame.frame_idx]))
            except (LookupFailedError, IndexError) as reason:
                images.leave_out(str(reason), [str(given[frame.frame_idx : frame.frame_idx + 1])])
                continue
            yield source.name(picture), picture, frame
            continue
        tail = str(given).replace("\\", "/").rpartition("/")[2]
        movie = next((file for file in source.files if file.name == tail), None)
        name = f"{Path(tail).stem}_{frame.frame_idx:06}.png"
        if movie is None:
            images.leave_out("the video is not there", [f"{tail}, frame {frame.frame_idx}"])
            continue
        if movie not in opened:
            inside = movie.suffix.lower() == ".slp"
            opened[movie] = sleap.load_slp(str(movie)).videos if inside else [sleap.Video.from_filename(str(movie))]
            for video in opened[movie]:  # by itself it takes a first frame without red and blue for grey, and gives 0
                video.grayscale = False
        number = labels.videos.index(frame.video) if len(opened[movie]) > 1 else 0
        yield name, _reader(opened[movie][number], frame.frame_idx), frame


def _reader(video: Any, index: int) -> Callable[[], Any]:
    return lambda: np.asarray(video[index])


def _write(
    target: Path,
    rows: Rows,
    category: dict[str, Any],
    images: Account,
    objects: Account,
    link: bool,
    on_progress: OnProgress | None,
) -> None:
    pil: Any = require("PIL.Image", extra="train")
    listed: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, (name, (picture, found)) in enumerate(rows.items(), start=1):
        place = target / "images" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(picture, Path):
            if link:
                place.hardlink_to(picture)
            else:
                shutil.copyfile(picture, place)
        else:
            try:
                pixels = picture()
            except Exception as cause:  # of any decoder
                images.leave_out(f"the frame cannot be decoded ({str(cause)[:80]})", [name])
                objects.leave_out("their image is left out", [name] * len(found))
                continue
            grey = bool((pixels == pixels[..., :1]).all())
            pil.fromarray(pixels[..., 0] if grey else pixels).save(place)
        images.written += 1
        listed.append({"id": number, "file_name": f"images/{name}"})
        for points, box in found:
            there = np.isfinite(points).all(axis=1)
            values = np.concatenate([np.where(there[:, None], points, 0), 2 * there[:, None]], axis=1)
            annotations.append(
                {
                    "id": len(annotations) + 1, "image_id": number, "category_id": 1, "iscrowd": 0,
                    "keypoints": [round(float(value), 4) for value in values.reshape(-1)],
                    "num_keypoints": int(there.sum()), **({} if box is None else {"bbox": list(box)}),
                }
            )  # fmt: skip
            objects.written += 1
        if on_progress is not None:
            on_progress(number, len(rows), "writing images")
    for account in (images, objects):
        assert account.balanced, account.to_json()
    content = {"images": listed, "annotations": annotations, "categories": [category]}
    write_json(target / ANNOTATIONS, content)
