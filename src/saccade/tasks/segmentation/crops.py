"""Images with masks as a torch Dataset, and the random views of them that segmentation networks are trained on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from saccade.data import IGNORE, PADDING
from saccade.errors import InputError, near, require
from saccade.tasks.segmentation.labelled import Labelled, Pair

Pixels = NDArray[np.uint8]
View = Callable[[Pixels, Pixels], tuple[Pixels, Pixels]]


class LabelledSamples(Dataset[tuple[Tensor, Tensor]]):
    """Dataset of (image (3, H, W), classes (H, W)) read from files, both uint8, 255 = ignored.

    Args:
        data: Dataset whose files are read.
        pairs: Images and masks of `data` to read.
        view: Changes image (H, W, 3) and mask, such as a `RandomView`; None keeps both, each at its own size.
    """

    def __init__(self, data: Labelled, pairs: Sequence[Pair], view: View | None = None) -> None:
        self.data, self.pairs, self.view = data, pairs, view

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.data.classes

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image, mask = self.data.load(self.pairs[index])
        if self.view is not None:
            image, mask = self.view(image, mask)
        return torch.from_numpy(image.transpose(2, 0, 1).copy()), torch.from_numpy(mask)

    def target(self, index: int) -> Pixels:
        """Classes (H, W) of the whole image of a sample."""
        return self.data.target(self.pairs[index])

    def name(self, index: int) -> str:
        """Path of a sample's image."""
        return str(self.pairs[index].image)


@dataclass(frozen=True)
class RandomView:
    """Enlarge or reduce, crop, mirror, change colours: the augmentation of the papers. Draws from torch's generator.

    If the scaled image is smaller than `size`, it is padded below and on the right: mean colour, ignored in the mask.

    Args:
        size: Height and width of the views.
        scales: Smallest and largest factor; factors are drawn evenly between them.
        mirror: If True, half of the views are mirrored.
        colour: Strength of changes of brightness, contrast and saturation; the hue changes by a tenth of it.

    Raises:
        InputError: A size below 1, factors that are not positive and in order, or a strength outside [0, 1].
    """

    size: tuple[int, int]
    scales: tuple[float, float] = (0.5, 2.0)
    mirror: bool = True
    colour: float = 0.4

    def __post_init__(self) -> None:
        low, high = self.scales
        if min(self.size) < 1 or not 0 < low <= high or not 0 <= self.colour <= 1:
            raise InputError(
                "RandomView: expected a size of at least 1, 0 < smallest <= largest factor and a colour strength of 0 "
                f"to 1; received size={self.size}, scales={self.scales}, colour={self.colour}"
            )

    def __call__(self, image: Pixels, mask: Pixels) -> tuple[Pixels, Pixels]:
        low, high = self.scales
        factor = low + (high - low) * _uniform()
        scaled = [max(1, round(factor * side)) for side in mask.shape]
        shown = [min(side, most) for side, most in zip(scaled, self.size, strict=True)]
        corner = [int(_uniform() * (side - part + 1)) for side, part in zip(scaled, shown, strict=True)]
        pixels = np.full((*self.size, 3), PADDING, dtype=np.uint8)
        classes = np.full(self.size, IGNORE, dtype=np.uint8)
        place = (slice(shown[0]), slice(shown[1]))
        pixels[place] = self._coloured(_window(image, scaled, corner, shown, "BILINEAR"))
        classes[place] = _window(mask, scaled, corner, shown, "NEAREST")
        if self.mirror and _uniform() < 0.5:
            pixels, classes = pixels[:, ::-1], classes[:, ::-1]
        return np.ascontiguousarray(pixels), np.ascontiguousarray(classes)

    def _coloured(self, pixels: Pixels) -> Pixels:
        if not self.colour:
            return pixels
        v2: Any = require("torchvision.transforms.v2", extra="train")
        jitter = v2.ColorJitter(self.colour, self.colour, self.colour, self.colour / 10)
        changed: Tensor = jitter(torch.from_numpy(pixels.transpose(2, 0, 1).copy()))
        return changed.permute(1, 2, 0).numpy()


def training_view(name: str, size: int) -> RandomView:
    """Return the augmentation called `name`, which ends in squares of side `size`.

    Args:
        name: ``"full"``: a factor of 0.5 to 2, a crop, mirrored half the time, changed colours; ``"scale"``: the same
            without the colours; ``"shift"``: a crop only, for what has a size and a left and a right.
        size: Side in pixels.

    Raises:
        InputError: An unknown name.
    """
    if name not in VIEWS:
        raise InputError(f"unknown augmentation {name!r}", near(name, VIEWS))
    if name == "shift":
        return RandomView((size, size), scales=(1.0, 1.0), mirror=False, colour=0.0)
    return RandomView((size, size)) if name == "full" else RandomView((size, size), colour=0.0)


VIEWS = ("full", "scale", "shift")


def _window(pixels: Pixels, scaled: list[int], corner: list[int], shown: list[int], mode: str) -> Pixels:
    """Return part of a scaled picture, of size `shown` from `corner`; only that part is computed."""
    pil: Any = require("PIL.Image", extra="train")
    ratio = [full / side for full, side in zip(pixels.shape, scaled, strict=False)]
    top, left = (c * r for c, r in zip(corner, ratio, strict=True))
    below, right = (min((c + s) * r, full) for c, s, r, full in zip(corner, shown, ratio, pixels.shape, strict=False))
    picture = pil.fromarray(pixels)
    resized = picture.resize((shown[1], shown[0]), pil.Resampling[mode], box=(left, top, right, below))
    return np.array(resized)


def _uniform() -> float:
    return float(torch.rand(()))
