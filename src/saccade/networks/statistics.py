"""The mean and standard deviation that images are standardised by: those that pretrained weights were trained with."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from saccade import schema
from saccade.errors import InputError


@dataclass(frozen=True)
class Statistics:
    """Mean and standard deviation of each channel of RGB images with values from 0 to 1.

    Args:
        mean: Mean of red, green and blue.
        std: Their standard deviations, larger than 0.

    Raises:
        InputError: A number is not finite, or a deviation is not larger than 0.
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __post_init__(self) -> None:
        if not all(map(math.isfinite, (*self.mean, *self.std))) or min(self.std) <= 0:
            raise InputError(f"statistics of images: expected finite numbers and deviations above 0; received {self}")

    def __str__(self) -> str:
        mean, std = (", ".join(f"{value:g}" for value in part) for part in (self.mean, self.std))
        return f"mean {mean} and standard deviation {std}"

    def said(self) -> str:
        """Return what is done with images, for the statement of a run."""
        whose = "ImageNet's " if self == IMAGENET else ""
        return f"images are standardised as the pretrained weights expect: {whose}{self}"

    def to_json(self) -> dict[str, list[float]]:
        """Return plain values that :meth:`from_json` reads back."""
        return {"mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_json(cls, written: Any) -> Statistics:
        """Read what :meth:`to_json` returned; None, as in files of earlier versions, means those of ImageNet.

        Raises:
            InputError: It is something else.
        """
        return IMAGENET if written is None else schema.from_json(cls, written, source="statistics of images")


IMAGENET = Statistics((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def expected_by(net: nn.Module) -> Statistics:
    """Return the statistics that the pretrained weights of a network expect, as timm says; else those of ImageNet.

    Args:
        net: A network of timm, or one that contains it, such as a segmentation network.
    """
    for module in net.modules():
        config: Any = getattr(module, "pretrained_cfg", None)
        if isinstance(config, Mapping) and "mean" in config and "std" in config:
            mean, std = ([float(value) for value in config[name]] for name in ("mean", "std"))
            rgb = len(mean) == len(std) == 3
            return Statistics.from_json({"mean": mean, "std": std}) if rgb else IMAGENET
    return IMAGENET


def statistics_for(net: nn.Module, pretrained: bool | str) -> Statistics:
    """Return the statistics of the images that a network is to be trained on.

    Args:
        net: The network as it begins.
        pretrained: The weights it begins with. False: random weights, which have seen no images. True: timm's. A path:
            a file of the backbone's weights, or what a training run wrote, which says what it was trained with.

    Raises:
        InputError: The file is damaged.
    """
    if not pretrained:
        return IMAGENET
    if isinstance(pretrained, str):
        from saccade.saving.store import is_saved, network_file, read_header

        path = Path(pretrained)
        if is_saved(path):
            reading = read_header(network_file(path)).reading
            if reading is not None:
                return Statistics.from_json(reading.get("statistics"))
    return expected_by(net)
