"""Read exports of labelling tools, and write them as folders of images and masks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from saccade.data import OnProgress
from saccade.data.importing.coco import is_coco, read_coco
from saccade.data.importing.cvat import is_cvat, read_cvat
from saccade.data.importing.export import Export, examples
from saccade.data.importing.key_points import KEY_POINTS, ImportedKeyPoints, import_key_points, key_points_in
from saccade.data.importing.label_studio import is_label_studio, read_label_studio
from saccade.data.importing.labelme import is_labelme, read_labelme
from saccade.data.importing.masks import is_roboflow_masks, is_voc, read_roboflow_masks, read_voc
from saccade.data.importing.source import Source
from saccade.data.importing.supervisely import is_supervisely, read_supervisely
from saccade.data.importing.writing import Frame, Writer, whole
from saccade.data.importing.yolo import is_yolo, read_yolo
from saccade.errors import InputError, near
from saccade.files import write_json
from saccade.version import __version__

RECORD = "import.json"
Overlap = Literal["order", "area"]

FORMATS: dict[str, tuple[Callable[[Source], bool], Callable[[Source], Export]]] = {
    "coco": (is_coco, read_coco),
    "cvat": (is_cvat, read_cvat),
    "label-studio": (is_label_studio, read_label_studio),
    "labelme": (is_labelme, read_labelme),
    "roboflow-masks": (is_roboflow_masks, read_roboflow_masks),
    "supervisely": (is_supervisely, read_supervisely),
    "voc": (is_voc, read_voc),
    "yolo": (is_yolo, read_yolo),
}
"""Test and reader of every format, by its name."""


@dataclass
class Imported:
    """The result of an import; the same stands in ``import.json``.

    Args:
        folder: Folder that was written.
        format: Name of the format.
        classes: Names of the classes, in the order of their indices.
        images: Numbers of images found and written, and names of those left out, by reason.
        sides: Number of images per side.
        unlabelled: Names of the images without labels, whose masks are background.
        objects: Numbers of objects found and written, and names of those left out, by reason; None for masks.
        objects_by_class: Number of objects per class.
        pixels_by_class: Number of pixels per class.
        overlapping_pixels: Number of times that a pixel of an object was drawn over by another.
        notes: Names of things that were written, yet not as they stood in the export, by reason.
        options: Options of the import.
    """

    folder: Path
    format: str
    classes: list[str]
    images: dict[str, Any]
    sides: dict[str, int]
    unlabelled: list[str]
    objects: dict[str, Any] | None
    objects_by_class: dict[str, int]
    pixels_by_class: dict[str, int]
    overlapping_pixels: int
    notes: dict[str, list[str]] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return vars(self) | {"folder": self.folder.name, "schema": 1, "saccade": __version__}

    def __str__(self) -> str:
        sides = ", ".join(f"{count} {side}" for side, count in self.sides.items() if side != "all")
        images, counted = self.images, self.objects
        where = f"{self.folder} ({sides})" if sides else str(self.folder)
        lines = [f"{self.format}: {images['written']} of {images['found']} images in {where}"]
        lines += [f"{counted['written']} of {counted['found']} objects"] if counted else []
        shown = [*self.classes, *({*self.pixels_by_class} - {*self.classes})]
        width = max(map(len, shown))
        for name in shown:
            objects = f"  {self.objects_by_class.get(name, 0):>8,} objects" if counted else ""
            lines.append(f"  {name:<{width}}  {self.pixels_by_class.get(name, 0):>14,} pixels{objects}")
        for what, account in (("images", images), ("objects", counted)):
            for reason, left in (account or {}).get("left_out", {}).items():
                lines.append(f"{left['count']} {what} left out: {reason} ({examples(left['names'])})")
        if "a box without a mask" in (counted or {}).get("left_out", {}):
            lines.append("  --boxes draws them as filled rectangles")
        if self.unlabelled:
            lines.append(f"{len(self.unlabelled)} images without labels are background ({examples(self.unlabelled)})")
            lines.append("  --unlabelled leave-out leaves them out")
        if self.overlapping_pixels:
            rule = "the smaller" if self.options.get("overlap") == "area" else "the later"
            lines.append(f"{self.overlapping_pixels:,} pixels of objects lie under others: {rule} object is on top")
        lines += [f"{reason}: {len(names)} ({examples(names)})" for reason, names in self.notes.items()]
        return "\n".join(lines)


def import_data(
    source: str | Path,
    folder: str | Path,
    *,
    format: str | None = None,
    boxes: bool = False,
    overlap: Overlap = "order",
    unlabelled: Literal["background", "leave-out"] = "background",
    exif: Frame | None = None,
    link: bool = False,
    on_progress: OnProgress | None = None,
) -> Imported | ImportedKeyPoints:
    """Read an export of a labelling tool, and write it as images, masks of class indices, and ``classes.txt``.

    Key points of DeepLabCut, SLEAP and Label Studio become images and ``annotations.json`` of COCO's form.

    Everything found is written or named in ``import.json``, with the reason. A pixel belongs to a polygon if its
    centre lies inside; corners of Supervisely's polygons are pixels, and belong to them. Crowd regions become 255,
    which is ignored, where no object lies. Images are copied byte by byte. No file outside `source` is read.

    Args:
        source: Folder of the export, unpacked.
        folder: Folder to write; new or empty.
        format: Name of the format, see :data:`FORMATS`, or of one of key points, ``"sleap"``, ``"deeplabcut"`` or
            ``"label-studio-keypoints"``; None recognises it.
        boxes: Draw rectangles around objects as filled areas; otherwise they are left out and counted.
        overlap: ``"order"`` draws later objects over earlier ones (by their z-order, if they have one), ``"area"``
            smaller ones over larger ones.
        unlabelled: ``"background"`` writes images without labels with masks of background; ``"leave-out"`` does not.
        exif: Pixels that labels refer to if an image is to be turned and its size does not tell: ``"turned"`` or
            ``"stored"``.
        link: Make hard links to the images instead of copies.
        on_progress: Called with (done, total, what).

    Raises:
        InputError: The format is not recognised, a file of the export is damaged, or nothing in it can be written.
        MissingExtraError: Pillow, PyYAML or sleap-io is missing.
    """
    source, folder = Path(source), Path(folder)
    for name, value, known in (
        ("format", format, (None, *FORMATS, *KEY_POINTS)),
        ("overlap", overlap, get_args(Overlap)),
        ("unlabelled", unlabelled, ("background", "leave-out")),
        ("exif", exif, (None, *get_args(Frame))),
    ):
        if value not in known:
            raise InputError(f"import: unknown {name}={value!r}", near(str(value), [one for one in known if one]))
    if folder.resolve().is_relative_to(source.resolve()):
        raise InputError(f"{folder} lies in {source}", "choose a folder outside of the export")
    files = Source(source)
    points = format if format in KEY_POINTS else key_points_in(files) if format is None else None
    if points is not None:
        if boxes or overlap != "order" or unlabelled != "background" or exif is not None:
            raise InputError(
                "boxes, overlap, unlabelled and exif are about masks; these are key points", "leave them out"
            )
        return import_key_points(files, folder, points, link=link, on_progress=on_progress)
    chosen = format or _recognised(files)
    export = FORMATS[chosen][1](files)
    for link_name in files.links:
        export.note("links are not followed: to folders, and to places outside of the export", link_name)
    with whole(folder) as place:
        writer = Writer(
            export,
            place,
            boxes=boxes,
            by_area=overlap == "area",
            unlabelled=unlabelled == "background",
            link=link,
            frame=exif,
        )
        writer.write(on_progress)
        options = {"overlap": overlap, "unlabelled": unlabelled, "boxes": boxes, "exif": exif, "link": link}
        done = _account(folder, chosen, export, writer, options)
        write_json(place / RECORD, done.to_json())
    return done


def _recognised(source: Source) -> str:
    found = [name for name, (test, _) in FORMATS.items() if test(source)]
    if len(found) > 1:
        raise InputError(
            f"{source.root} can be read as {' or as '.join(found)}", f"say which it is: --format {found[0]}"
        )
    if not found:
        kinds: dict[str, int] = {}
        for path in source.files:
            kinds[path.suffix.lower()] = kinds.get(path.suffix.lower(), 0) + 1
        seen = ", ".join(f"{count} files {suffix or 'without a suffix'}" for suffix, count in sorted(kinds.items()))
        advice = f"known formats: {', '.join(FORMATS)}"
        if any(_is_voc_boxes(path) for path in source.ending(".xml")):
            advice = "files with <annotation> are VOC's boxes, which are not masks: export the segmentation; " + advice
        raise InputError(f"{source.root} is not an export that is known; seen: {seen or 'nothing'}", advice)
    return found[0]


def _is_voc_boxes(path: Path) -> bool:
    with path.open("rb") as file:
        return b"<annotation>" in file.read(4096)


def _account(folder: Path, form: str, export: Export, writer: Writer, options: dict[str, Any]) -> Imported:
    """The accounts, which add up.

    Raises:
        InputError: No image was written, or no object.
    """
    images, objects = export.images, export.objects
    for account in (images, objects):
        assert account.balanced, account.to_json()
    masks = any(one.mask for one in export.pictures)
    if not images.written or not (masks or objects.written):
        what = [*images.lines(), *objects.lines()] or ["the export is empty"]
        boxes = "a box without a mask" in objects.left_out
        raise InputError(
            "no mask can be written: " + "; ".join(what),
            "boxes are not masks: export the segmentation, or draw them as filled rectangles with --boxes"
            if boxes
            else "see the reasons",
        )
    by_class, pixels = (
        {writer.names[index]: count for index, count in sorted(counts.items())}
        for counts in (writer.objects, writer.pixels)
    )
    return Imported(
        folder, form, writer.classes, images.to_json(), dict(writer.sides), writer.unlabelled_images,
        None if masks else objects.to_json(), by_class,
        pixels, writer.overlapping, export.notes, options,
    )  # fmt: skip
