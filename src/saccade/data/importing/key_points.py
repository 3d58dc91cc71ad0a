"""Key points of DeepLabCut, SLEAP and Label Studio, read by sleap-io and written as a plain folder of COCO's form."""

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
from saccade.data.importing.source import LookupFailedError, Source
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
    return source.ending(".json")


KEY_POINTS: dict[str, tuple[Callable[[Source], list[Path]], str, dict[str, Any]]] = {
    "sleap": (_sleap, "load_slp", {"open_videos": False}),
    "deeplabcut": (_deeplabcut, "load_dlc", {"config": False}),
    "label-studio-keypoints": (_label_studio, "load_labelstudio", {}),
}
"""Files of each format, the function of sleap-io that reads one, and its options."""


def key_points_in(source: Source) -> str | None:
    """Return the format of key points that files show by themselves; None for any other export."""
    return next((name for name in ("sleap", "deeplabcut") if KEY_POINTS[name][0](source)), None)


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
    sleap: Any = require("sleap_io", extra="formats")
    files, load, options = KEY_POINTS[form][0](source), KEY_POINTS[form][1], KEY_POINTS[form][2]
    if not files:
        raise InputError(f"{source.root} holds no file of {form}", "see --format")
    images, objects = Account("images"), Account("objects")
    rows: dict[str, tuple[Path | Callable[[], Any], list[Any]]] = {}
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
                    found.append(instance.numpy()[:, :2])
    if not rows or names is None or not any(found for _, found in rows.values()):
        raise InputError("no key points can be written: " + "; ".join([*images.lines(), *objects.lines()] or ["none"]))
    with whole(folder) as target:
        _write(target, rows, category, images, objects, link, on_progress)
        done = ImportedKeyPoints(folder, form, names, images.to_json(), objects.to_json())
        write_json(target / RECORD, done.to_json())
    return done


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
        number = labels.videos.index(frame.video) if len(opened[movie]) > 1 else 0
        yield name, _reader(opened[movie][number], frame.frame_idx), frame


def _reader(video: Any, index: int) -> Callable[[], Any]:
    return lambda: np.asarray(video[index])


def _write(
    target: Path,
    rows: dict[str, tuple[Path | Callable[[], Any], list[Any]]],
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
            pil.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(place)
        images.written += 1
        listed.append({"id": number, "file_name": f"images/{name}"})
        for points in found:
            there = np.isfinite(points).all(axis=1)
            values = np.concatenate([np.where(there[:, None], points, 0), 2 * there[:, None]], axis=1)
            annotations.append(
                {
                    "id": len(annotations) + 1, "image_id": number, "category_id": 1, "iscrowd": 0,
                    "keypoints": [round(float(value), 4) for value in values.reshape(-1)],
                    "num_keypoints": int(there.sum()),
                }
            )  # fmt: skip
            objects.written += 1
        if on_progress is not None:
            on_progress(number, len(rows), "writing images")
    for account in (images, objects):
        assert account.balanced, account.to_json()
    content = {"images": listed, "annotations": annotations, "categories": [category]}
    write_json(target / ANNOTATIONS, content)
