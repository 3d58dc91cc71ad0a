"""``saccade data``: what is in a folder of images, what in it is broken; and the demo as such a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from saccade.cli.answer import DONE, FOUND_WRONG, Answer, Given
from saccade.cli.options import default


def check(
    data: Annotated[str, Parameter(name="DATA")],
    /,
    *,
    sheet: Annotated[Path | None, default("saccade-check/NAME.png, where NAME is that of your folder")] = None,
    split_seed: int = 0,
    settings: Given,
) -> Answer:
    """Read every file of a folder once: name the bad ones, count the classes, find images that are there twice.

    The exit status is 1 if a file cannot be used, or if an image is both in training and validation.

    Args:
        data: Your folder, in any layout that `compare` and `train` take.
        sheet: File (PNG) for the contact sheet: images of each class side by side, or images with their masks.
        split_seed: Another number splits a folder without `val/` differently, as in training.
    """
    from saccade.comparison.progress import ComparisonProgress
    from saccade.data.check import check_data
    from saccade.data.sheet import draw_sheet

    folder = Path(data)
    with ComparisonProgress(shown=not settings.quiet, steps=0) as showing:
        found = check_data(
            folder,
            split_seed=split_seed,
            on_progress=lambda done, total: showing.counting(done, total, "reading images"),
        )
    drawn = draw_sheet(folder, sheet or Path("saccade-check") / f"{folder.resolve().name}.png", split_seed=split_seed)
    return Answer(found.to_json() | {"sheet": str(drawn)}, f"{found}\n\n{drawn}", DONE if found.good else FOUND_WRONG)


def demo(
    folder: Annotated[Path, Parameter(name="FOLDER")],
    /,
    *,
    train: int = 400,
    held_out: int = 100,
    seed: int = 0,
    settings: Given,
) -> Answer:
    """Write scenes of the embedded demo as a folder of images and masks, to try segmentation on; nothing is downloaded.

    Args:
        folder: Folder to make.
        train: Number of training scenes.
        held_out: Number of validation scenes.
        seed: Another number draws other scenes.
    """
    from saccade.comparison.progress import ComparisonProgress
    from saccade.data.demo_folder import write_demo

    with ComparisonProgress(shown=not settings.quiet, steps=0) as showing:
        write_demo(folder, train=train, held_out=held_out, seed=seed, on_progress=showing.counting)
    return Answer(
        {"folder": str(folder), "train": train, "held_out": held_out},
        f"{train} training and {held_out} validation scenes in {folder}",
    )


def import_(
    source: Annotated[Path, Parameter(name="SOURCE")],
    folder: Annotated[Path, Parameter(name="FOLDER")],
    /,
    *,
    format: Annotated[str | None, default("recognised")] = None,
    boxes: bool = False,
    overlap: Literal["order", "area"] = "order",
    unlabelled: Literal["background", "leave-out"] = "background",
    exif: Annotated[Literal["turned", "stored"] | None, default("by the size of the image")] = None,
    link: bool = False,
    settings: Given,
) -> Answer:
    """Write an export of a labelling tool as a folder of images and masks that every command takes.

    Exports of COCO (json), CVAT (images or masks), LabelMe, Roboflow (COCO, YOLO, masks), Supervisely, VOC and YOLO
    are read. What is not written is named, with the reason, in the answer and in FOLDER/import.json.

    Args:
        source: Folder of the export, unpacked.
        folder: Folder to write; new or empty.
        format: `coco`, `cvat`, `labelme`, `roboflow-masks`, `supervisely`, `voc` or `yolo`.
        boxes: Draw rectangles around objects as filled areas; otherwise they are left out and counted.
        overlap: `order` draws later objects over earlier ones, `area` smaller ones over larger ones.
        unlabelled: `background` writes images without labels with masks of background; `leave-out` leaves them out.
        exif: Pixels that labels refer to if an image is to be turned by its EXIF data and its size does not tell.
        link: Make hard links to the images instead of copies.
    """
    from saccade.comparison.progress import ComparisonProgress
    from saccade.data.importing import import_data

    with ComparisonProgress(shown=not settings.quiet, steps=0) as showing:
        done = import_data(
            source,
            folder,
            format=format,
            boxes=boxes,
            overlap=overlap,
            unlabelled=unlabelled,
            exif=exif,
            link=link,
            on_progress=showing.counting,
        )
    return Answer(done.to_json() | {"folder": str(folder)}, str(done))
