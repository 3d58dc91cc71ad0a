"""The options of a comparison, each declared once."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from saccade.data.reading import Reading
from saccade.networks.order import Match
from saccade.options import Option, Options
from saccade.ranges import LARGEST_SIDE, SEED, Number, Whole
from saccade.runs.options import EPOCHS
from saccade.training.balance import BalanceOptions
from saccade.training.recipe import BATCH, RATE, STEPS

NONE = "none"
DEMO_ARMS = (NONE, "se", "cbam", "non_local", "conv3x3")
DEFAULT_BACKBONE = "resnet18"
DEFAULT_SEEDS, QUICK_SEEDS, MOST_SEEDS = 5, 3, 1000
DEMO_SIZE, DEFAULT_SIZE = 96, 160
DEMO_STEPS, DEFAULT_EPOCHS, FEWEST_STEPS, MOST_STEPS = 300, 10, 200, 2000
DEMO_BATCH = 16
FEWEST_TRIALS, MOST_TRIALS = 2, 1000

_STEPS = f"{DEMO_STEPS} in the demo, else {DEFAULT_EPOCHS} epochs, {FEWEST_STEPS} to {MOST_STEPS:,} steps"
_BATCH = f"that of the task: 32, segmentation 8; in the demo {DEMO_BATCH}"


@dataclass(frozen=True)
class ArmsOptions(Options):
    """Options that name the arms, the length of the training and the place of the results."""

    data: Annotated[
        str | os.PathLike[str] | None,
        Option(
            "Your folder. Classification: `train/CLASS/*.jpg` and `val/CLASS/*.jpg`, or `CLASS/*.jpg` to be split. "
            "Segmentation: `images/` and `masks/`, with files of the same names.",
            default="the embedded demo",
            typed=str | None,
            argument="DATA",
        ),
    ] = None
    mechanisms: Annotated[
        str | Sequence[str | Mapping[str, Any] | Callable[..., Any]] | None,
        Option(
            "The arms, separated by commas (in Python also a list), with options in brackets: "
            '`"none,se,psa[variant=sequential],cbam[reduction=8]"`. `none` is the control; a name given twice is a '
            "second arm on seeds of its own. `saccade list` names them; your own have import paths, "
            "`my_package.blocks:MyBlock`.",
            default=",".join(DEMO_ARMS),
            typed=str | None,
        ),
    ] = None
    _: KW_ONLY
    demo: Annotated[
        Literal["notes", "chips"] | None,
        Option(
            "An embedded demo instead of DATA: `notes` (segmentation: spoilt notes are read by looking at others) or "
            "`chips` (key points: a pin is named by a mark that may lie far away).",
            default="`notes` without DATA",
        ),
    ] = None
    preset: Annotated[
        str | None,
        Option(
            "The arms of an ablation in the literature: `se-ablation`, `dual`, `gates`, `context`, `polarized` "
            "or `pose-psa`.",
            recorded=False,
        ),
    ] = None
    backbone: Annotated[
        str | None,
        Option(
            "The network of timm that your data is learned with, or your own, by the import path of a function that "
            "makes it: `my_package.nets:make`.",
            default=f"{DEFAULT_BACKBONE}, the demo has its own",
        ),
    ] = None
    pretrained: Annotated[
        bool | str | os.PathLike[str],
        Option(
            "Start from trained weights: without PATH (in Python: True) those of timm, which are downloaded; with PATH "
            "those of a file, or of the folder of a training.",
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
    at: Annotated[
        str | None,
        Option(
            "Where all mechanisms go: `residual`, `inner`, `stage`, `stage:1-3`, `stage:-1`, `block`, names such as "
            '`"layer3.*.bn2"`, or `before:NAMES`.',
            default="the natural places of each",
        ),
    ] = None
    seeds: Annotated[
        int | None,
        Option(
            "Number of runs of each arm; fewer than 3 allow no claim.",
            Whole(1, MOST_SEEDS),
            default=f"{DEFAULT_SEEDS}, {QUICK_SEEDS} with quick",
        ),
    ] = None
    sequential: Annotated[
        bool,
        Option(
            "Add the seeds in stages, and stop each arm when it is decided or a decision has become unlikely; `seeds` "
            "is then the largest number. All stages together make a wrong claim in at most 5% of comparisons.",
        ),
    ] = False
    tune: Annotated[
        int | None,
        Option(
            "Before each run of every arm, control included, the same number of trials over the learning rate and the "
            "factor of the mechanism's own (`gate_lr_factor`), on a part of the training images alone; the verdict is "
            "then given untuned and tuned. Needs the extra `tune`.",
            Whole(FEWEST_TRIALS, MOST_TRIALS),
            default="none",
        ),
    ] = None
    quick: Annotated[bool, Option(f"Run fewer seeds: {QUICK_SEEDS}.", recorded=False)] = False
    steps: Annotated[int | None, Option("Length of each run, in steps of one batch.", STEPS, default=_STEPS)] = None
    epochs: Annotated[
        float | None,
        Option(
            "Length of each run, in passes through the data, instead of steps.",
            EPOCHS,
            default="see steps",
        ),
    ] = None
    size: Annotated[
        int | None,
        Option(
            "Height and width, in pixels, to which images are brought.",
            Whole(32, LARGEST_SIDE),
            default=f"{DEFAULT_SIZE}, the demo {DEMO_SIZE}",
        ),
    ] = None
    batch: Annotated[int | None, Option("Number of images per step.", BATCH, default=_BATCH)] = None
    learning_rate: Annotated[
        float | None,
        Option(
            "The largest learning rate of the schedule, the same for all arms.",
            RATE,
            default="0.001, 0.0003 with pretrained weights, in the demo 0.003",
        ),
    ] = None
    augment: Annotated[
        str | None,
        Option(
            "Changes of the training images: `light` (crops of 50% to 100%, mirrored half the time), `shift` (moved a "
            "little, never mirrored: for digits, text and whatever else has a left and a right) or `none`; of images "
            "with masks `scale` (a factor of 0.5 to 2, mirrored half the time), `shift` or `none`.",
            default="`light`, with masks `scale`; the demo has none",
        ),
    ] = None
    workers: Annotated[
        int | None,
        Option(
            "Number of threads that read the images before the runs begin.",
            Whole(1, 256),
            default="one per core, 8 at most",
            recorded=False,
        ),
    ] = None
    device: Annotated[str, Option("Where it runs: `auto` (a GPU if there is one), `cpu`, `cuda` or `cuda:1`.")] = "auto"
    out: Annotated[
        str | os.PathLike[str] | None,
        Option(
            "Folder for the results; with cluster also an address such as `s3://bucket/name`. The same command again "
            "resumes what is unfinished in it.",
            default="saccade-compare/NAME, where NAME is that of your folder or demo",
            recorded=False,
            typed=Path | None,
        ),
    ] = None
    jobs: Annotated[
        int | None,
        Option(
            "Number of runs at a time.",
            Whole(1, 1024),
            default="one per core, or one per GPU",
            recorded=False,
        ),
    ] = None
    cluster: Annotated[
        str | None,
        Option(
            "Do the runs on the nodes of a Ray cluster: `auto` finds the one that this machine belongs to; or the "
            "address of its head, such as `10.0.0.1:6379`. All nodes must see DATA, and a folder for the results, "
            "under the same names.",
            default="this machine alone",
            recorded=False,
        ),
    ] = None
    gpus_per_run: Annotated[
        float | None,
        Option(
            "With cluster, number of GPUs of each run; below 1 several runs share one.",
            Number(0, 64),
            default="0: runs are done on CPUs",
            recorded=False,
        ),
    ] = None
    cpus_per_run: Annotated[
        int | None,
        Option(
            "With cluster, number of cores of each run, which are its threads too.",
            Whole(1, 1024),
            default="1",
            recorded=False,
        ),
    ] = None
    checkpoint_seconds: Annotated[
        float, Option("Seconds between two checkpoints of a run.", Number(0, 1e9), recorded=False)
    ] = 20.0
    control_params: Annotated[
        bool,
        Option(
            "Add the arm `conv3x3`: a convolution with at least as many parameters as the largest mechanism.",
        ),
    ] = False
    control_field: Annotated[
        bool,
        Option(
            "Add the arm `dilated3x3`: dilated convolutions that together see the whole map, with at most as many "
            "parameters as the largest mechanism.",
        ),
    ] = False
    fresh_start: Annotated[
        bool,
        Option(
            "In the demo, train a new network for all arms to start from, for each seed.",
        ),
    ] = False
    scenes: Annotated[int, Option("In the demo, another number draws other scenes.", Whole(0, SEED))] = 0
    overwrite: Annotated[
        bool,
        Option(
            "Delete what an earlier comparison left in the folder, and start over.",
            recorded=False,
        ),
    ] = False
    dry_run: Annotated[
        bool,
        Option(
            "Show the plan, the costs and the estimated time, and train nothing.",
            recorded=False,
        ),
    ] = False
    detect: Annotated[
        float | None,
        Option(
            "With dry_run: the seeds, held-out images and time that find this difference of the score with 90%, from "
            "the finished runs in the folder of results, or from stated deviations.",
            Number(0, 1, open=True),
            recorded=False,
        ),
    ] = None
    seed_deviation: Annotated[
        float | None,
        Option(
            "With detect, instead of finished runs: the deviation of the score over seeds.",
            Number(0, 1),
            recorded=False,
        ),
    ] = None
    image_deviation: Annotated[
        float | None,
        Option(
            "With detect, instead of finished runs: the deviation of a difference over images; its standard error is "
            "this over the root of their number.",
            Number(0, 100),
            recorded=False,
        ),
    ] = None
    progress: Annotated[bool, Option("Show progress on stderr.", recorded=False, typed=None)] = True
    command: Annotated[
        str | None,
        Option(
            "The command line that the report prints.",
            default="the equivalent one",
            recorded=False,
            typed=None,
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class CompareOptions(BalanceOptions, Reading, ArmsOptions):
    """Options of :func:`saccade.compare` and ``saccade compare``."""
