"""``saccade data``: what is in a folder of images, what in it is broken; and the demo as such a folder."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from saccade.cli.answer import DONE, FOUND_WRONG, Answer, Given
from saccade.cli.options import takes, within
from saccade.data.reading import Reading
from saccade.files import at_home
from saccade.options import Option, Options
from saccade.outputs import Outputs
from saccade.ranges import SEED, Whole


@dataclass(frozen=True)
class DataOptions(Options):
    """The data of a check, and what it draws."""

    data: Annotated[str, Option("Your folder, in any layout that `compare` and `train` take.", argument="DATA")]
    _: KW_ONLY
    sheet: Annotated[
        Path | None,
        Option(
            "File (PNG) for the contact sheet: images of each class side by side, or images with their masks.",
            default="saccade-check/NAME.png, where NAME is that of your folder",
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class CheckOptions(Reading, DataOptions):
    """Options of ``saccade data check``."""


@takes(CheckOptions)
def check(data: str, /, *, settings: Given, **given: Any) -> Answer:
    """Read every file of a folder once: name the bad ones, count the classes, find images that are there twice.

    The exit status is 1 if a file cannot be used, or if an image is both in training and validation.
    """
    from saccade.comparison.progress import ComparisonProgress
    from saccade.data.check import check_data
    from saccade.data.shard_names import name_of
    from saccade.data.sheet import draw_sheet

    folder, sheet = at_home(data), given.pop("sheet", None)
    sheet = sheet or Path("saccade-check") / f"{name_of(folder)}.png"
    Outputs(sheet.parent).check([sheet])
    reading = Reading(**{name: value for name, value in given.items() if value is not None})
    with ComparisonProgress(shown=not settings.quiet, steps=0) as showing:
        found = check_data(
            folder,
            reading=reading,
            on_progress=lambda done, total: showing.counting(done, total, "reading images"),
        )
    drawn = draw_sheet(folder, sheet, reading=reading)
    return Answer(found.to_json() | {"sheet": str(drawn)}, f"{found}\n\n{drawn}", DONE if found.good else FOUND_WRONG)


def demo(
    folder: Annotated[Path, Parameter(name="FOLDER")],
    /,
    *,
    task: Literal["segmentation", "pose"] = "segmentation",
    train: Annotated[int, within(Whole(1, 10**6))] = 400,
    held_out: Annotated[int, within(Whole(1, 10**6))] = 100,
    seed: Annotated[int, within(Whole(0, SEED))] = 0,
    settings: Given,
) -> Answer:
    """Write pictures of the embedded demos as a folder of your own data would be; nothing is downloaded.

    Args:
        folder: Folder to make.
        task: `segmentation`: scenes of "notes" with masks; `pose`: pictures of "chips" with COCO's JSON of key points.
        train: Number of training pictures.
        held_out: Number of validation pictures.
        seed: Another number draws other pictures.
    """
    from saccade.comparison.progress import ComparisonProgress
    from saccade.data.demo_folder import write_demo

    with ComparisonProgress(shown=not settings.quiet, steps=0) as showing:
        write_demo(folder, task=task, train=train, held_out=held_out, seed=seed, on_progress=showing.counting)
    return Answer(
        {"folder": str(folder), "task": task, "train": train, "held_out": held_out},
        f"{train} training and {held_out} validation {'chips' if task == 'pose' else 'scenes'} in {folder}",
    )


@dataclass(frozen=True)
class ImportOptions(Options):
    """Options of ``saccade data import``."""

    source: Annotated[Path, Option("Folder of the export, unpacked.", argument="SOURCE")]
    folder: Annotated[Path, Option("Folder to write; new or empty.", argument="FOLDER")]
    _: KW_ONLY
    format: Annotated[
        str | None,
        Option(
            "`coco`, `cvat`, `label-studio`, `labelme`, `roboflow-masks`, `supervisely`, `voc` or `yolo`; of key "
            "points `sleap`, `deeplabcut` or `label-studio-keypoints`.",
            default="recognised by its files",
        ),
    ] = None
    boxes: Annotated[
        bool,
        Option("Draw rectangles around objects as filled areas; otherwise they are left out and counted."),
    ] = False
    overlap: Annotated[
        Literal["order", "area"],
        Option("`order` draws later objects over earlier ones, `area` smaller ones over larger ones."),
    ] = "order"
    unlabelled: Annotated[
        Literal["background", "leave-out"],
        Option("`background` gives images without labels masks of background, `leave-out` leaves them out."),
    ] = "background"
    exif: Annotated[
        Literal["turned", "stored"] | None,
        Option(
            "Pixels that labels refer to, if an image is to be turned by its EXIF data.",
            default="told by the size of the image",
        ),
    ] = None
    link: Annotated[bool, Option("Make hard links to the images instead of copies.")] = False


@takes(ImportOptions)
def import_(source: Path, folder: Path, /, *, settings: Given, **given: Any) -> Answer:
    """Write an export of a labelling tool as a folder of images and masks that every command takes.

    Exports of COCO (json), CVAT (images or masks), Label Studio, LabelMe, Roboflow (COCO, YOLO, masks), Supervisely,
    VOC and YOLO are read; key points of DeepLabCut, SLEAP and Label Studio become a folder of COCO's form. What is not
    written is named, with the reason, in the answer and in FOLDER/import.json.
    """
    from saccade.comparison.progress import ComparisonProgress
    from saccade.data.importing import import_data

    with ComparisonProgress(shown=not settings.quiet, steps=0) as showing:
        done = import_data(source, folder, on_progress=showing.counting, **given)
    return Answer(done.to_json() | {"folder": str(folder)}, str(done))
