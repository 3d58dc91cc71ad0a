"""The options of training, evaluation and prediction, each declared once; those of recipes are in `training.recipe`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import KW_ONLY, dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal

from saccade.catalog.imports import Trust
from saccade.data.reading import Reading
from saccade.data.shard_names import plain_data
from saccade.files import at_home
from saccade.networks.order import Match
from saccade.options import Option, Options
from saccade.ranges import LARGEST_SIDE, Number, Whole
from saccade.training.recipe import BATCH, RATE, STEPS, RecipeOptions
from saccade.training.recipes import DEFAULT, DEFAULTS, PRETRAINED_RATE, RECIPES

_EPOCHS, _BATCH, _SIZE, _AUGMENT = (
    "{}, {} for segmentation, or that of the recipe".format(*(getattr(one, name) for one in DEFAULTS.values()))
    for name in ("epochs", "batch", "size", "augment")
)
EPOCHS, WORKERS = Number(0, 1e6, open=True), Whole(0, 256)
_RATE = f"{DEFAULT.values['learning_rate']}, {PRETRAINED_RATE} with pretrained weights, or that of the recipe"
_RECIPES = ", ".join(f"`{name}`" for name in RECIPES)


@dataclass(frozen=True)
class NetworkOptions(Options):
    """Options that name the data and the network."""

    data: Annotated[
        str | os.PathLike[str] | tuple[Any, Any],
        Option(
            "Your folder: `train/CLASS/*.jpg` and `val/CLASS/*.jpg`, or `CLASS/*.jpg` to be split; for segmentation "
            "`images/` and `masks/`, or Cityscapes, PASCAL VOC, PASCAL Context or ADE20K as unpacked; for key points "
            "images with COCO's JSON, or YOLO's labels.",
            typed=str,
            argument="DATA",
        ),
    ]
    network: Annotated[
        str,
        Option(
            'A named classifier (`se_resnet50`, with options `"se_resnet18[stem=cifar]"`), a segmentation network '
            '(`danet`, `"flanet[output_stride=16]"`), one for key points (`simple_baseline`, `hrnet`), a network of '
            "timm, or your own, by the import path of a function that makes it: `my_package.nets:make`."
        ),
    ]
    _: KW_ONLY
    backbone: Annotated[str | None, Option("The network, of timm or your own, under a segmentation head.")] = None
    mechanism: Annotated[
        str | None,
        Option(
            "Attention to insert into a network of timm or the segmentation network `fcn`, such as "
            '`"cbam[reduction=8]"`, or the attention of the network `head`; `saccade list` names them; your own have '
            "import paths, "
            "`my_package.blocks:MyBlock`."
        ),
    ] = None
    at: Annotated[
        str | None, Option("Where the mechanism goes, as for `saccade plan`.", default="its natural places")
    ] = None
    pretrained: Annotated[
        bool | str | os.PathLike[str],
        Option(
            "Start from trained weights: without PATH (in Python: True) those of timm, which are downloaded; with PATH "
            "those of a file, or of the folder of an earlier training.",
            typed=str | None,
            metavar="[PATH]",
        ),
    ] = False
    match: Annotated[
        Match,
        Option(
            "Which tensor of a file of weights is which: `names`, or `order` for a file with other names whose tensors "
            "have the order and shapes of the network's."
        ),
    ] = "names"
    size: Annotated[
        int | None, Option("Side of the training images or crops, in pixels.", Whole(8, LARGEST_SIDE), default=_SIZE)
    ] = None
    augment: Annotated[
        str | None,
        Option(
            "Changes of the training images: `imagenet`, `light`, `cifar`, `shift` or `none`; of images with masks "
            "`full`, `scale` or `shift`; of key points `full`, `light` or `none`.",
            default=_AUGMENT,
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class RunSpec(Reading, NetworkOptions):
    """Data, how their folder is read, and network of a run, with everything decided."""

    data: str
    """Absolute path of the folder, or what a data set is called."""
    network: str
    pretrained: bool | str = False
    """True if timm's weights are loaded, or the absolute path of a file."""
    size: int = DEFAULT.size
    augment: str = DEFAULT.augment

    @classmethod
    def decide(cls, options: TrainOptions) -> RunSpec:
        """Fill in the defaults; size and augmentation are decided with the task."""
        data, pretrained = options.data, options.pretrained
        names = (one.name for kind in (NetworkOptions, Reading) for one in fields(kind) if one.init)
        asked = {name: getattr(options, name) for name in names}
        decided = {
            "data": type(data[0]).__name__ if isinstance(data, tuple) else plain_data(data),
            "pretrained": pretrained if isinstance(pretrained, bool) else str(at_home(pretrained).resolve()),
            "size": options.size or DEFAULT.size,
            "augment": options.augment or DEFAULT.augment,
        }
        return cls(**asked | decided)


@dataclass(frozen=True, kw_only=True)
class LengthOptions(Options):
    """The recipe, and what is decided by it and by the data."""

    recipe: Annotated[str, Option(f"A recipe by name: {_RECIPES}; `saccade list --recipes` shows all values.")] = (
        "default"
    )
    steps: Annotated[
        int | None, Option("Length of the training in steps of one batch.", STEPS, default="see epochs")
    ] = None
    epochs: Annotated[
        float | None, Option("Length of the training in passes through the data.", EPOCHS, default=_EPOCHS)
    ] = None
    batch: Annotated[int | None, Option("Number of images per step, over all processes.", BATCH, default=_BATCH)] = None
    learning_rate: Annotated[
        float | None,
        Option(
            "The largest learning rate of the schedule.",
            RATE,
            default=_RATE,
        ),
    ] = None
    evaluate_every: Annotated[
        int | None, Option("Number of steps between two validations.", STEPS, default="about an epoch")
    ] = None
    log_every: Annotated[
        int | None, Option("Number of steps per row of the log.", STEPS, default="1, more in long trainings")
    ] = None


@dataclass(frozen=True, kw_only=True)
class TrainOptions(RecipeOptions, LengthOptions, Reading, NetworkOptions):
    """Options of :func:`saccade.train` and ``saccade train``."""

    device: Annotated[str, Option("Where it runs: `auto` (a GPU if there is one), `cpu` or `cuda`.")] = "auto"
    workers: Annotated[
        int | None, Option("Number of processes that read images.", WORKERS, default="one per core, 8 at most")
    ] = None
    tensorboard: Annotated[bool, Option("Write files for TensorBoard too.")] = False
    out: Annotated[
        str | os.PathLike[str] | None,
        Option(
            "Folder for the training. The same command again resumes what is unfinished in it.",
            default="saccade-train/NAME, where NAME is that of your folder",
            typed=Path | None,
        ),
    ] = None
    overwrite: Annotated[bool, Option("Delete an earlier training in the folder, and start over.")] = False
    progress: Annotated[bool, Option("Show progress on stderr.", typed=None)] = True
    command: Annotated[str | None, Option("The command line for the record.", typed=None)] = None

    @classmethod
    def default_in_words(cls, name: str, default: Any) -> str:
        """Return the value of the default recipe, with a word on other recipes where one of them has another."""
        values = {str(recipe.values.get(name, default)) for recipe in RECIPES.values()}
        words = super().default_in_words(name, DEFAULT.values.get(name, default))
        return f"{words}, or that of the recipe" if len(values) > 1 else words

    def changes(self) -> dict[str, Any]:
        """Return the values of the recipe that were asked for."""
        names = {*(one.name for one in fields(RecipeOptions)), "learning_rate", "evaluate_every", "log_every"}
        return {name: getattr(self, name) for name in sorted(self.given & names)}


_MODEL = Option(
    "The folder of a training or of an arm of a comparison, or one file in it.",
    typed=Path,
)
_TRUST = Option(
    "The import path of code of your own that the model needs and that may be imported for it, such as "
    "`my_package.blocks:MyBlock`; may be given several times.",
    typed=list[str] | None,
)
_DEVICE = Option("Device to run on: `auto` (a GPU if there is one), `cpu` or `cuda`.")
_AT_A_TIME = 64


@dataclass(frozen=True)
class ScoringOptions(Options):
    """What is scored, on what, and how."""

    data: Annotated[
        str | os.PathLike[str],
        Option(
            "Your folder: its `val/` is scored, or the validation images of a folder that training split, or all "
            "images of any other folder, except those that training saw.",
            typed=str,
            argument="DATA",
        ),
    ]
    model: Annotated[str | os.PathLike[str], _MODEL]
    _: KW_ONLY
    trust: Annotated[Trust, _TRUST] = ()
    batch: Annotated[
        int, Option("Number of images at a time, in each process; images with masks are scored one by one.", BATCH)
    ] = _AT_A_TIME
    protocol: Annotated[
        Any,
        Option(
            "View of an image for segmentation networks: `whole`; in windows of the size of the training crops "
            "(`sliding`); or in such windows at six scales, mirrored too (`multi-scale`). Of networks for key points: "
            "with the mirrored image (`flip`), or without (`plain`).",
            default="whole; flip",
            typed=Literal["whole", "sliding", "multi-scale", "flip", "plain"],
        ),
    ] = None
    device: Annotated[str, _DEVICE] = "auto"
    workers: Annotated[
        int | None, Option("Number of processes that read images.", WORKERS, default="one per core, 8 at most")
    ] = None
    progress: Annotated[bool, Option("Say what the folder was read as, on stderr.", typed=None)] = True


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions(Reading, ScoringOptions):
    """Options of :func:`saccade.evaluate` and ``saccade evaluate``."""


@dataclass(frozen=True)
class PredictOptions(Options):
    """Options of :func:`saccade.predict` and ``saccade predict``."""

    images: Annotated[
        str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
        Option(
            'Files, folders, which are searched, or patterns such as `"photos/*.jpg"`.',
            typed=str,
            argument="IMAGES",
            several=True,
        ),
    ]
    model: Annotated[str | os.PathLike[str], _MODEL]
    _: KW_ONLY
    trust: Annotated[Trust, _TRUST] = ()
    out: Annotated[
        str | os.PathLike[str] | None,
        Option(
            "Folder for `predictions.csv`, with the five likeliest classes of each image; for segmentation, with "
            "masks, overlays, and the fraction of each class. Files that an earlier prediction wrote are replaced, "
            "others never.",
            default="nothing is written",
            typed=Path | None,
        ),
    ] = None
    batch: Annotated[
        int, Option("Number of images at a time; segmentation networks take images one by one.", BATCH)
    ] = _AT_A_TIME
    protocol: Annotated[
        Any,
        Option(
            "View of an image for segmentation networks: `whole`; in windows of the size of the training crops, if it "
            "is larger (`sliding`); or in such windows at six scales, mirrored too (`multi-scale`). Of networks for "
            "key points: with the mirrored image (`flip`), or without (`plain`).",
            default="sliding; flip",
            typed=Literal["whole", "sliding", "multi-scale", "flip", "plain"],
        ),
    ] = None
    boxes: Annotated[
        str | os.PathLike[str] | None,
        Option(
            "A file (COCO results, JSON) with the boxes of objects whose key points are looked for; image_id is a "
            "file name, or the number in it.",
            default="each image is one object",
            typed=Path | None,
        ),
    ] = None
    heat_maps: Annotated[
        bool, Option("Of key points, write the heat maps of every object too: `heatmaps/NAME-1.png`, ...")
    ] = False
    device: Annotated[str, _DEVICE] = "auto"
    on_progress: Annotated[Callable[[int, int], None] | None, Option("Called with (done, total).", typed=None)] = None
