"""The options of ``saccade export``, declared once."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from saccade.catalog.imports import Trust
from saccade.options import Option, Options
from saccade.ranges import Number, Whole

OPSETS = Whole(18, 24)


@dataclass(frozen=True)
class ExportOptions(Options):
    """Options of :func:`saccade.export` and ``saccade export``."""

    model: Annotated[
        Any,
        Option(
            "The folder of a training or of an arm of a comparison, or one file in it; or the name of a network, which "
            "then has random weights. In Python also a network itself.",
            typed=str,
            argument="MODEL",
        ),
    ]
    _: KW_ONLY
    to: Annotated[
        Literal["onnx", "openvino", "litert", "executorch", "torch-export", "torchscript"],
        Option("The kind of file."),
    ] = "onnx"
    out: Annotated[
        str | os.PathLike[str] | None,
        Option("The file to write.", default="NAME of the run, with the ending of its kind", typed=Path | None),
    ] = None
    size: Annotated[
        Any,
        Option(
            "Height and width of the images, such as `512,1024`, that the file is fixed to.",
            default="free, or the size in training where the kind of file cannot leave it free",
            typed=str | None,
            metavar="H,W",
        ),
    ] = None
    dynamic: Annotated[
        bool, Option("Insist on free sizes: a kind of file that cannot leave them free is then refused.")
    ] = False
    half: Annotated[bool, Option("Store the weights in half precision; inputs and outputs stay float32.")] = False
    int8: Annotated[
        str | os.PathLike[str] | None,
        Option(
            "Folder of images for calibration, for a file whose convolutions and matrices are in 8 bits.",
            typed=Path | None,
            metavar="FOLDER",
        ),
    ] = None
    opset: Annotated[int | None, Option("Version of the ONNX operators.", OPSETS, default="18, or 23 for OpenVINO")] = (
        None
    )
    with_pre: Annotated[
        bool, Option("Take images as uint8 (B, 3, H, W) in RGB: the file itself standardises them; it does not resize.")
    ] = False
    with_post: Annotated[
        bool,
        Option(
            "Return predictions in the place of logits: probabilities, or the class of each pixel at the full size."
        ),
    ] = False
    verify: Annotated[bool, Option("Run the file in its runtime and compare it with the network.", negative=True)] = (
        True
    )
    tolerance: Annotated[
        float | None,
        Option(
            "Largest difference from the network, relative to its largest output.",
            Number(0, 1),
            default="1e-4, 0.02 in half precision, 0.5 in 8 bits",
        ),
    ] = None
    classes: Annotated[int, Option("Number of classes of a network that is given by its name.", Whole(1, 100_000))] = (
        1000
    )
    backbone: Annotated[str | None, Option("Backbone of a segmentation network that is given by its name.")] = None
    mechanism: Annotated[str | None, Option("Mechanism to insert into a network that is given by its name.")] = None
    trust: Annotated[
        Trust,
        Option(
            "The import path of code of your own that the model needs and that may be imported for it, such as "
            "`my_package.blocks:MyBlock`; may be given several times.",
            typed=list[str] | None,
        ),
    ] = ()
    overwrite: Annotated[bool, Option("Replace an earlier export of the same name.")] = False
    example_input: Annotated[
        Any, Option("Tensor (B, C, H, W), for a network that does not read images of 3 channels.", typed=None)
    ] = None
    on_progress: Annotated[Callable[[str], None] | None, Option("Called with what is done next.", typed=None)] = None
