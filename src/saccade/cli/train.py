"""``saccade train``: a network trained fully, in a folder of its own, that survives what happens to the machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

import saccade
from saccade.cli.answer import Answer, Given
from saccade.cli.compare import TIMM
from saccade.errors import InputError


def train(
    data: Annotated[str, Parameter(name="DATA")],
    /,
    *,
    network: str,
    backbone: str | None = None,
    mechanism: str | None = None,
    at: str | None = None,
    pretrained: Annotated[str | None, Parameter(metavar="[PATH]")] = None,
    recipe: str = "default",
    steps: int | None = None,
    epochs: float | None = None,
    batch: int | None = None,
    accumulate: int | None = None,
    size: int | None = None,
    augment: str | None = None,
    optimiser: str | None = None,
    learning_rate: float | None = None,
    lr_factor: tuple[str, ...] = (),
    weight_decay: float | None = None,
    schedule: str | None = None,
    warmup: float | None = None,
    label_smoothing: float | None = None,
    clip: float | None = None,
    ema: float | None = None,
    amp: Literal["bf16", "fp16"] | None = None,
    compile: bool = False,
    patience: int | None = None,
    evaluate_every: int | None = None,
    checkpoint_seconds: float | None = None,
    keep: int | None = None,
    seed: int = 0,
    split_seed: int = 0,
    device: str = "auto",
    workers: int | None = None,
    tensorboard: bool = False,
    out: Path | None = None,
    overwrite: bool = False,
    settings: Given,
) -> Answer | None:
    """Train a network on your images. The same command goes on where it was stopped, killed or cut off.

    - `saccade train photos --network resnet50 --mechanism cbam --pretrained --epochs 20`
    - `saccade train imagenet --network se_resnet50 --recipe eca --amp bf16`
    - `saccade train scenes --network danet --backbone resnet18 --pretrained`
    - `torchrun --nproc-per-node=4 -m saccade train ...` uses four GPUs

    Args:
        data: Your folder: `train/CLASS/*.jpg` and `val/CLASS/*.jpg`, or `CLASS/*.jpg` to be split; for segmentation
            `images/` and `masks/`, or Cityscapes, PASCAL VOC, PASCAL Context or ADE20K as unpacked.
        network: A named classifier (`se_resnet50`, with options `"se_resnet18[stem=cifar]"`), a segmentation network
            (`danet`, `"flanet[output_stride=16]"`) or a network of timm.
        backbone: The network of timm that a segmentation head is put on.
        mechanism: Inserted into a network of timm or into the segmentation network `fcn`, such as
            `"cbam[reduction=8]"`; `saccade list` names them. Of the segmentation network `head` the mechanism in it.
        at: Where the mechanism goes instead of its natural places, as for `saccade plan`.
        pretrained: Start from trained weights: without PATH those of timm, which are downloaded; with PATH a file of
            weights, or the folder of an earlier training.
        recipe: `default`, or of a paper: `eca` (ResNets on ImageNet), `eca-mobilenet`, `danet-cityscapes`,
            `fcn-cityscapes`.
        steps: Length in batches.
        epochs: Length in passes through the data; that of the recipe if neither is given.
        batch: Number of images in a step, over all processes.
        accumulate: Parts a process computes its images of a step in, to save memory.
        size: Height and width in pixels of what the network sees in training.
        augment: Changes of the training images: `imagenet`, `light`, `cifar`, `shift` or `none`; of images with masks
            `full`, `scale` or `shift`.
        optimiser: A name of timm's factory, such as `adamw`, `momentum`, `sgd` (Nesterov's), `lamb`.
        learning_rate: The largest rate of the schedule.
        lr_factor: Rate of some parameters relative to the rest, such as `"fc.*=10"`; may be given several times.
        weight_decay: Strength of weight decay.
        schedule: One of `one-cycle`, `cosine`, `poly`, `step`, `constant`.
        warmup: Share of the steps in which the rate rises.
        label_smoothing: Share of the target given to all classes evenly.
        clip: Largest norm of the gradient.
        ema: Decay of a moving average of the weights, such as 0.999, which is then scored and kept.
        amp: Mixed precision, `bf16` or `fp16`.
        compile: Compile the network first; needs a C++ compiler on a CPU.
        patience: Looks at the held-out images without a better score after which training ends.
        evaluate_every: Steps between such looks; about an epoch if not given.
        checkpoint_seconds: Seconds between checkpoints; 300 if not given.
        keep: Number of checkpoints kept; 3 if not given.
        seed: Another number draws other weights, another order, other crops.
        split_seed: Another number splits a folder without `val/` differently.
        device: `auto`, `cpu` or `cuda`.
        workers: Number of processes that read images; as many as cores if not given.
        tensorboard: Also write files for TensorBoard.
        out: Folder for the run; `saccade-train/NAME` if not given, with the name of your folder.
        overwrite: Delete an earlier training in that folder.
    """
    found = saccade.train(
        data, network, backbone=backbone, mechanism=mechanism, at=at,
        pretrained=pretrained == TIMM or pretrained or False, recipe=recipe, steps=steps, epochs=epochs, batch=batch,
        accumulate=accumulate, size=size, augment=augment, optimiser=optimiser, learning_rate=learning_rate,
        lr_factors=_factors(lr_factor), weight_decay=weight_decay, schedule=schedule, warmup=warmup,
        label_smoothing=label_smoothing, clip=clip, ema=ema, amp=amp, compile=compile or None, patience=patience,
        evaluate_every=evaluate_every, checkpoint_seconds=checkpoint_seconds, keep=keep, seed=seed,
        split_seed=split_seed, device=device, workers=workers, tensorboard=tensorboard, out=out, overwrite=overwrite,
        progress=not settings.quiet, command=settings.command,
    )  # fmt: skip
    return Answer(found.results | {"folder": str(found.folder)}, str(found)) if found.writes else None


def _factors(given: tuple[str, ...]) -> tuple[tuple[str, float], ...] | None:
    pairs = []
    for text in given:
        pattern, _, number = text.rpartition("=")
        try:
            pairs.append((pattern, float(number)))
        except ValueError:
            pattern = ""
        if not pattern:
            raise InputError(f"--lr-factor: expected NAMES=FACTOR; received {text!r}", 'such as --lr-factor "fc.*=10"')
    return tuple(pairs) or None
