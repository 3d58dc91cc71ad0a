"""Small valid exports of labelling tools, written from the formats' descriptions; the pixels they mean are known.

No reader shares code with this file: polygons are rectilinear, with corners between pixels, so that their pixels are
slices of arrays.
"""

from __future__ import annotations

import base64
import io
import itertools
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 32, 24
NAMES = ("background", "cat", "dog")
CAT, DOG = 1, 2
SIDES = {"a": "train", "b": "train", "c": "val", "d": "val"}
SUFFIX = {"a": ".png", "b": ".jpg", "c": ".png", "d": ".png"}

# In the order of drawing: class, and the corners of every part. The dog of a lies over its cat; d has no object.
OBJECTS: dict[str, list[tuple[int, list[list[tuple[int, int]]]]]] = {
    "a": [
        (CAT, [[(4, 2), (14, 2), (14, 8), (9, 8), (9, 16), (4, 16)]]),
        (DOG, [[(10, 6), (20, 6), (20, 12), (10, 12)]]),
    ],
    "b": [
        (DOG, [[(1, 1), (5, 1), (5, 5), (1, 5)], [(20, 10), (28, 10), (28, 20), (20, 20)]]),
        (CAT, [[(2, 12), (9, 12), (9, 21), (2, 21)]]),
    ],
    "c": [(CAT, [[(0, 0), (32, 0), (32, 3), (0, 3)]])],
    "d": [],
}


def truth(name: str) -> np.ndarray:
    """The class of every pixel of an image."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    if name == "a":
        mask[2:8, 4:14] = CAT
        mask[8:16, 4:9] = CAT
        mask[6:12, 10:20] = DOG
    elif name == "b":
        mask[1:5, 1:5] = DOG
        mask[10:20, 20:28] = DOG
        mask[12:21, 2:9] = CAT
    elif name == "c":
        mask[0:3] = CAT
    return mask


def alone(name: str, index: int) -> np.ndarray:
    """The pixels of one object, also where another lies over it."""
    mask = np.zeros((HEIGHT, WIDTH), bool)
    for part in OBJECTS[name][index][1]:
        (left, top), (right, bottom) = np.min(part, 0), np.max(part, 0)
        mask[top:bottom, left:right] = True
        if len(part) == 6:
            mask[8:, 9:] = False
    return mask


def picture(path: Path, name: str) -> Path:
    """Write an image of noise, ``NAME.png`` or ``NAME.jpg``, into a folder."""
    path.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(ord(name[0])).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    file = path / f"{name}{SUFFIX.get(name, '.png')}"
    Image.fromarray(noise).save(file)
    return file


def runs(mask: np.ndarray) -> list[int]:
    """COCO's run lengths: down the columns, zeros first."""
    flat = mask.T.reshape(-1).astype(int)
    edges = [0, *(np.flatnonzero(np.diff(flat)) + 1).tolist(), flat.size]
    lengths = [end - start for start, end in itertools.pairwise(edges)]
    return [0, *lengths] if flat[0] else lengths


def compressed(lengths: list[int]) -> str:
    """COCO's text of run lengths: from the fourth on as difference to the last but one, five bits per letter."""
    text = ""
    for index, length in enumerate(lengths):
        value = length - lengths[index - 2] if index > 2 else length
        more = True
        while more:
            bits, value = value & 31, value >> 5
            more = value != (-1 if bits & 16 else 0)
            text += chr(48 + (bits | 32 * more))
    return text


def _flat(part: list[tuple[int, int]]) -> list[float]:
    return [float(number) for corner in part for number in corner]


def _box(part: list[list[tuple[int, int]]]) -> list[float]:
    corners = np.concatenate([np.array(one) for one in part])
    (left, top), (right, bottom) = corners.min(0), corners.max(0)
    return [float(left), float(top), float(right - left), float(bottom - top)]


def _coco(names: list[str], kind: str, folder: str = "", categories: list[dict[str, Any]] | None = None) -> Any:
    ids = {CAT: 3, DOG: 7}
    annotations = []
    for number, name in enumerate(names):
        for index, (label, parts) in enumerate(OBJECTS[name]):
            mask = alone(name, index)
            segmentation: Any = [_flat(part) for part in parts]
            if kind == "runs":
                segmentation = {"size": [HEIGHT, WIDTH], "counts": runs(mask)}
            elif kind == "compressed":
                segmentation = {"size": [HEIGHT, WIDTH], "counts": compressed(runs(mask))}
            annotations.append(
                {
                    "id": len(annotations) + 1, "image_id": 10 + number, "category_id": ids[label], "iscrowd": 0,
                    "area": int(mask.sum()), "bbox": _box(parts), "segmentation": segmentation,
                }
            )  # fmt: skip
    images = [
        {"id": 10 + number, "file_name": f"{folder}{name}{SUFFIX[name]}", "width": WIDTH, "height": HEIGHT}
        for number, name in enumerate(names)
    ]
    known = categories or [{"id": 3, "name": "cat", "supercategory": ""}, {"id": 7, "name": "dog", "supercategory": ""}]
    return {"info": {}, "licenses": [], "images": images, "annotations": annotations, "categories": known}


def _put(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")


def _of(side: str) -> list[str]:
    return [name for name, its in SIDES.items() if its == side]


def coco(root: Path, kind: str = "polygons") -> None:
    """``images/train``, ``images/val`` and ``annotations/instances_SIDE.json``."""
    for side in ("train", "val"):
        _put(root / "annotations" / f"instances_{side}.json", _coco(_of(side), kind))
        for name in _of(side):
            picture(root / "images" / side, name)


def coco_runs(root: Path) -> None:
    """Masks as lists of run lengths."""
    coco(root, "runs")


def coco_compressed(root: Path) -> None:
    """Masks as text of run lengths."""
    coco(root, "compressed")


def coco_one_file(root: Path) -> None:
    """One file without sides next to a folder of images, as labelling servers write it."""
    _put(root / "result.json", _coco(list(SIDES), "polygons", "images/"))
    for name in SIDES:
        picture(root / "images", name)


def roboflow_coco(root: Path) -> None:
    """``train/`` and ``valid/`` with ``_annotations.coco.json``, and a category 0 that only heads the others."""
    categories = [
        {"id": 0, "name": "animals", "supercategory": "none"},
        {"id": 3, "name": "cat", "supercategory": "animals"},
        {"id": 7, "name": "dog", "supercategory": "animals"},
    ]
    for side, folder in (("train", "train"), ("val", "valid")):
        _put(root / folder / "_annotations.coco.json", _coco(_of(side), "polygons", categories=categories))
        for name in _of(side):
            picture(root / folder, name)


def _yolo_lines(name: str) -> str:
    lines = []
    for label, parts in OBJECTS[name]:
        for part in parts:
            numbers = [f"{x / WIDTH:.6f} {y / HEIGHT:.6f}" for x, y in part]
            lines.append(f"{label - 1} {' '.join(numbers)}")
    return "\n".join(lines) + ("\n" if lines else "")


def yolo(root: Path) -> None:
    """Ultralytics' layout; names as a mapping."""
    _put(
        root / "data.yaml",
        "path: .\ntrain: images/train\nval: images/val\nnames:\n  0: cat\n  1: dog\n",
    )
    for name, side in SIDES.items():
        picture(root / "images" / side, name)
        if OBJECTS[name]:
            _put(root / "labels" / side / f"{name}.txt", _yolo_lines(name))


def roboflow_yolo(root: Path) -> None:
    """Roboflow's layout; names as a list, paths that begin above the folder."""
    _put(root / "data.yaml", "train: ../train/images\nval: ../valid/images\nnc: 2\nnames: ['cat', 'dog']\n")
    for name, side in SIDES.items():
        folder = root / ("train" if side == "train" else "valid")
        picture(folder / "images", name)
        _put(folder / "labels" / f"{name}.txt", _yolo_lines(name))


def labelme(root: Path) -> None:
    """A json next to every image that has objects."""
    for name in SIDES:
        file = picture(root, name)
        shapes = [
            {
                "label": NAMES[label], "points": part, "group_id": None, "description": "", "shape_type": "polygon",
                "flags": {}, "mask": None,
            }
            for label, parts in OBJECTS[name]
            for part in parts
        ]  # fmt: skip
        if shapes:
            content = {
                "version": "5.5.0", "flags": {}, "shapes": shapes, "imagePath": file.name, "imageData": None,
                "imageHeight": HEIGHT, "imageWidth": WIDTH,
            }  # fmt: skip
            _put(root / f"{name}.json", content)


def labelme_masks(root: Path) -> None:
    """LabelMe's shapes of the kinds mask (a PNG within its inclusive box) and rectangle."""
    labelme(root)
    for name in ("a", "b", "c"):
        content = json.loads((root / f"{name}.json").read_text())
        shapes = []
        for index, (label, parts) in enumerate(OBJECTS[name]):
            left, top, width, height = map(int, _box(parts))
            shape = {"label": NAMES[label], "group_id": None, "flags": {}, "shape_type": "mask"}
            if len(parts) == 1 and len(parts[0]) == 4:
                shape |= {"shape_type": "rectangle", "points": [parts[0][2], parts[0][0]]}
            else:
                shape["points"] = [[left, top], [left + width - 1, top + height - 1]]
                shape["mask"] = _png(alone(name, index)[top : top + height, left : left + width])
            shapes.append(shape)
        _put(root / f"{name}.json", content | {"shapes": shapes})


def _png(mask: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8) * 255).convert("1").save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def cvat(root: Path) -> None:
    """CVAT for images 1.1: polygons, a box and a mask; drawn by z_order, not by place."""
    rows = []
    for number, (name, side) in enumerate(SIDES.items()):
        picture(root / "images", name)
        shapes = []
        for index, (label, parts) in enumerate(OBJECTS[name]):
            common = f'label="{NAMES[label]}" source="manual" occluded="0" z_order="{index}"'
            if name == "a":
                points = ";".join(f"{x:.2f},{y:.2f}" for x, y in parts[0])
                shapes.append(f'<polygon {common} points="{points}"></polygon>')
            elif len(parts) == 1:
                x, y, width, height = _box(parts)
                shapes.append(f'<box {common} xtl="{x}" ytl="{y}" xbr="{x + width}" ybr="{y + height}"></box>')
            else:
                left, top, width, height = map(int, _box(parts))
                part = alone(name, index)[top : top + height, left : left + width]
                lengths = ", ".join(map(str, runs(part.T)))  # along the rows
                place = f'left="{left}" top="{top}" width="{width}" height="{height}"'
                shapes.append(f'<mask {common} rle="{lengths}" {place}></mask>')
        body = "\n".join(reversed(shapes))
        rows.append(
            f'<image id="{number}" name="{name}{SUFFIX[name]}" subset="{side}" width="{WIDTH}" height="{HEIGHT}">\n'
            f"{body}\n</image>"
        )
    labels = "".join(f"<label><name>{name}</name><color>#ff0000</color></label>" for name in NAMES[1:])
    _put(
        root / "annotations.xml",
        "<?xml version='1.0' encoding='utf-8'?>\n<annotations><version>1.1</version><meta><task>"
        f"<labels>{labels}</labels></task></meta>\n" + "\n".join(rows) + "\n</annotations>\n",
    )


COLOURS = ((0, 0, 0), (250, 50, 83), (51, 221, 255))


def cvat_masks(root: Path) -> None:
    """CVAT's segmentation mask 1.1: colour masks, ``labelmap.txt``, lists of the sides."""
    _masks(root)
    lines = ["# label:color_rgb:parts:actions"]
    lines += [f"{name}:{','.join(map(str, colour))}::" for name, colour in zip(NAMES, COLOURS, strict=True)]
    _put(root / "labelmap.txt", "\n".join(lines) + "\n")
    for name in SIDES:
        mask = np.array(COLOURS, np.uint8)[truth(name)]
        Image.fromarray(mask).save(root / "SegmentationClass" / f"{name}.png")


def voc(root: Path) -> None:
    """VOC's layout with palette masks and LabelMe's ``class_names.txt``, where ``__ignore__`` is no class."""
    _masks(root)
    for name in SIDES:
        mask = Image.fromarray(truth(name), mode="L").convert("P")
        mask.putpalette([*COLOURS[0], *(128, 0, 0), *(0, 128, 0)] + [0] * 759)
        mask.putdata(truth(name).reshape(-1).tolist())
        mask.save(root / "SegmentationClass" / f"{name}.png")
    _put(root / "class_names.txt", "_background_\ncat\ndog\n")


def _masks(root: Path) -> None:
    (root / "SegmentationClass").mkdir(parents=True)
    for side in ("train", "val"):
        _put(root / "ImageSets" / "Segmentation" / f"{side}.txt", "\n".join(_of(side)) + "\n")
        for name in _of(side):
            picture(root / "JPEGImages", name)


def roboflow_masks(root: Path) -> None:
    """Images side by side with ``_mask.png``, and ``_classes.csv``."""
    for name, side in SIDES.items():
        folder = root / ("train" if side == "train" else "valid")
        picture(folder, name)
        Image.fromarray(truth(name)).save(folder / f"{name}_mask.png")
        _put(folder / "_classes.csv", "Pixel Value, Class\n0, background\n1, cat\n2, dog\n")


def supervisely(root: Path) -> None:
    """Supervisely: ``meta.json``, and for every dataset ``img/`` and ``ann/``; bitmaps and polygons.

    Corners of a polygon are pixels, which belong to it.
    """
    classes = [
        {"title": "cat", "shape": "polygon", "color": "#FF0000", "id": 1},
        {"title": "dog", "shape": "bitmap", "color": "#00FF00", "id": 2},
    ]
    _put(root / "meta.json", {"classes": classes, "tags": [], "projectType": "images"})
    for name, side in SIDES.items():
        file = picture(root / side / "img", name)
        objects = []
        for index, (label, parts) in enumerate(OBJECTS[name]):
            left, top, width, height = map(int, _box(parts))
            row: dict[str, Any] = {"id": index, "classTitle": NAMES[label], "tags": []}
            if label == CAT:
                row["geometryType"] = "polygon"
                row["points"] = {"exterior": INNER[name], "interior": []}
            else:
                mask = alone(name, index)[top : top + height, left : left + width]
                data = base64.b64encode(zlib.compress(base64.b64decode(_png(mask)))).decode()
                row |= {"geometryType": "bitmap", "bitmap": {"data": data, "origin": [left, top]}}
            objects.append(row)
        content = {"description": "", "tags": [], "size": {"height": HEIGHT, "width": WIDTH}, "objects": objects}
        _put(root / side / "ann" / f"{file.name}.json", content)


# The outermost pixels of the cats.
INNER = {
    "a": [[4, 2], [13, 2], [13, 7], [8, 7], [8, 15], [4, 15]],
    "b": [[2, 12], [8, 12], [8, 20], [2, 20]],
    "c": [[0, 0], [31, 0], [31, 2], [0, 2]],
}


def label_studio(root: Path) -> None:
    """Label Studio's list of tasks: polygons in percent for cats, brush strokes for dogs, addresses for names."""
    tasks = []
    for number, name in enumerate(SIDES, 1):
        file = picture(root / "images", name)
        rows: list[dict[str, Any]] = []
        for index, (label, parts) in enumerate(OBJECTS[name]):
            value: dict[str, Any] = {"points": [[100 * x / WIDTH, 100 * y / HEIGHT] for x, y in parts[0]]}
            kind = "polygonlabels" if label == CAT else "brushlabels"
            if label == DOG:
                value = {"format": "rle", "rle": brush(alone(name, index))}
            row = {"original_width": WIDTH, "original_height": HEIGHT, "image_rotation": 0, "type": kind}
            rows.append(row | {"value": value | {kind: [NAMES[label]]}})
        upload = f"0123abcd-{file.name}"
        annotations = [{"id": number, "was_cancelled": False, "result": rows}]
        tasks.append({"id": number, "annotations": annotations, "data": {"image": f"/data/upload/1/{upload}"}})
    _put(root / "project-1.json", tasks)


def brush(mask: np.ndarray) -> list[int]:
    """Label Studio's bits for a stroke: RGBA values, in pieces that are runs, or single values where one is alone."""
    flat = np.where(mask[..., None], (7, 8, 9, 255), (0, 0, 0, 0)).reshape(-1)
    edges = [0, *(np.flatnonzero(np.diff(flat)) + 1).tolist(), flat.size]
    bits = f"{flat.size:032b}{8 - 1:05b}" + "".join(f"{size - 1:04b}" for size in (2, 4, 8, 16))
    for start, end in itertools.pairwise(edges):
        if end - start == 1:
            bits += f"0{0:02b}{0:02b}{flat[start]:08b}"
        else:
            bits += f"1{3:02b}{end - start - 1:016b}{flat[start]:08b}"
    bits += "0" * (-len(bits) % 8)
    return [int(bits[place : place + 8], 2) for place in range(0, len(bits), 8)]


class Format(NamedTuple):
    """A valid export."""

    write: Callable[[Path], None]
    sided: bool = True
    boxes: bool = False


FORMATS = {
    "coco": Format(coco),
    "coco-runs": Format(coco_runs),
    "coco-compressed": Format(coco_compressed),
    "coco-one-file": Format(coco_one_file, sided=False),
    "roboflow-coco": Format(roboflow_coco),
    "yolo": Format(yolo),
    "roboflow-yolo": Format(roboflow_yolo),
    "label-studio": Format(label_studio, sided=False),
    "labelme": Format(labelme, sided=False),
    "labelme-masks": Format(labelme_masks, sided=False, boxes=True),
    "cvat": Format(cvat, boxes=True),
    "cvat-masks": Format(cvat_masks),
    "voc": Format(voc),
    "roboflow-masks": Format(roboflow_masks),
    "supervisely": Format(supervisely),
}
