r"""Codecs: the pixel conventions by which points of an image become heat maps, and heat maps points.

Three conventions are in use, and a target of one does not fit a decoder of another. A codec therefore owns everything
that depends on its convention: the region of a box, the warp, the target, the decoder, and the merge with the output
for the mirrored image. All of it works on whole batches, of any number of joints and on any device.

B. Xiao, H. Wu, Y. Wei, "Simple Baselines for Human Pose Estimation and Tracking", ECCV 2018, arXiv:1804.06208;
F. Zhang et al., "Distribution-Aware Coordinate Representation for Human Pose Estimation", CVPR 2020, arXiv:1910.06278;
J. Huang et al., "The Devil is in the Details: Delving into Unbiased Data Processing for Human Pose Estimation", CVPR
2020, arXiv:1911.07524.
"""

from __future__ import annotations

import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from torch import Tensor

from saccade.errors import InputError, near
from saccade.mechanisms.rules import choose
from saccade.ops.modes import exported
from saccade.ops.precision import full_precision, wide
from saccade.tasks.pose.blurring import (
    blurred,
    blurred_at,
    gaussian_kernel,
    highest,
    highest_blurred,
    lowest_blurred,
)
from saccade.tasks.pose.joints import Pairs, mirrored_order
from saccade.tasks.pose.warping import about, inverse, transformed, warp

UNIT = 200.0
"""Pixels that a scale of 1 stands for."""
_PADDING, _HALF_PADDING = 1.25, 1.5
_LEAST = 1e-10  # value of a map below which DARK's decoder does not tell values apart
_CUT = (0.001, 50.0)  # values of a map between which UDP's decoder tells values apart
_REACH = 3  # half the side of a drawn Gaussian, in sigmas


class Region(NamedTuple):
    """The part of an image that becomes the input of a network.

    Args:
        center: (N, 2) in pixels, x and y.
        scale: (N, 2) width and height in units of 200 pixels, of the aspect of the input.
    """

    center: Tensor
    scale: Tensor


class Decoded(NamedTuple):
    """Points that a batch of heat maps stands for.

    Args:
        points: (N, K, 2) in pixels of the image, float64.
        scores: (N, K) confidences; a joint of 0 or less was not found, and its point is that of the map's origin.
    """

    points: Tensor
    scores: Tensor


def codec(name: str, input_size: tuple[int, int], **options: Any) -> Codec:
    """Make a codec by name.

    Names, and their own options:

    * ``biased``: SimpleBaseline's and HRNet's. ``refine`` ("quarter", "none"), ``shift``: whether the mirrored maps
      move by one column;
    * ``dark``: DARK's. ``blur``: kernel of the decoder; ``variant`` ("released", "mmpose");
    * ``udp``: UDP's with Gaussian maps. ``blur``; ``variant`` ("released", "mmpose");
    * ``udp_offset``: UDP's with three maps per joint. ``radius`` of the disc in pixels of the map, ``blur`` and
      ``offset_blur``.

    Args:
        name: A name listed above.
        input_size: Width and height of the network's input in pixels.
        options: ``map_size`` (width and height of the maps, by default a quarter of the input's), ``sigma`` of the
            Gaussians in pixels of the map, and those of the codec.

    Raises:
        InputError: An unknown name or option, or a value out of range.

    Example:
        >>> import torch
        >>> from saccade.tasks.pose import codec
        >>> dark = codec("dark", (192, 256))
        >>> center, scale = dark.regions(torch.tensor([[20.0, 30.0, 90.0, 200.0]]))
        >>> joints = torch.tensor([[[51.5, 77.25], [80.0, 100.0]]])
        >>> on_input = dark.to_input(joints, center, scale)
        >>> maps, weights = dark.encode(on_input, torch.ones(1, 2))
        >>> maps.shape
        torch.Size([1, 2, 64, 48])
        >>> dark.decode(maps, center, scale).points.round(decimals=2).tolist()
        [[[51.5, 77.25], [80.0, 100.0]]]
    """
    if name not in CODECS:
        raise InputError(f"unknown codec {name!r}", near(str(name), CODECS))
    kind = CODECS[name]
    known = [key for key in inspect.signature(kind).parameters if key != "input_size"]
    for option in options:
        if option not in known:
            raise InputError(f"{name}: unknown option {option!r}", near(option, known))
    return kind(input_size, **options)


def list_codecs() -> tuple[str, ...]:
    """Names of :func:`codec`.

    Example:
        >>> from saccade.tasks.pose import list_codecs
        >>> list_codecs()
        ('biased', 'dark', 'udp', 'udp_offset')
    """
    return tuple(CODECS)


class Codec(ABC):
    """One pixel convention between points and heat maps.

    Args:
        input_size: Width and height of the network's input in pixels.
        map_size: Width and height of the maps; None: a quarter of the input's.
        sigma: Standard deviation of a drawn Gaussian in pixels of the map.

    Raises:
        InputError: A size or a sigma out of range.
    """

    name: ClassVar[str]
    maps_per_joint: ClassVar[int] = 1
    """Channels of the network's output for each joint."""
    _whole_pixels: int = 0
    """1 where the side of a box counts its first and its last pixel."""
    _direction: ClassVar[int] = -1
    """Sign of a rotation."""

    def __init__(
        self, input_size: tuple[int, int], *, map_size: tuple[int, int] | None = None, sigma: float = 2.0
    ) -> None:
        self.input_size = _size(self.name, "input_size", input_size)
        if map_size is None and any(side % 4 for side in self.input_size):
            raise InputError(
                f"{self.name}: `input_size` must be multiples of 4; received {input_size=}", "give map_size= as well"
            )
        self.map_size = _size(self.name, "map_size", map_size or tuple(side // 4 for side in self.input_size))
        if not isinstance(sigma, (int, float)) or not 0 < sigma < math.inf:
            raise InputError(f"{self.name}: `sigma` must be a number above 0; received {sigma=}")
        self.sigma = float(sigma)

    # Regions and warps

    def regions(self, boxes: Tensor, image_size: tuple[int, int] | None = None, *, padding: float = _PADDING) -> Region:
        """Return the regions of boxes, larger by a factor and of the aspect of the input.

        Args:
            boxes: (N, 4) left, top, width and height in pixels.
            image_size: Width and height of the image, to which annotated boxes are clipped first; None: the boxes of a
                detector, used as they are.
            padding: Factor of both sides.

        Raises:
            InputError: A box without area, or one that is not finite.
        """
        boxes = boxes.double()
        good = torch.isfinite(boxes).all(-1) & (boxes[..., 2:] > 0).all(-1)
        x, y, width, height = boxes.unbind(-1)
        if image_size is not None:
            x, width = self._clipped(x, width, image_size[0])
            y, height = self._clipped(y, height, image_size[1])
        if not bool((good & (width >= 0) & (height >= 0)).all()):
            raise InputError(
                f"{self.name}: expected boxes of an area above 0 inside the image, in finite numbers",
                "leave out objects without a box, or make the box from the joints",
            )
        center = torch.stack([x + (width - self._whole_pixels) / 2, y + (height - self._whole_pixels) / 2], dim=-1)
        return Region(center, self._scale(width, height, padding))

    def half_body(self, points: Tensor, visible: Tensor, draws: Tensor, upper: Sequence[int]) -> tuple[Region, Tensor]:
        """Return regions of one half of each object, and whether there are enough joints for it (N,).

        The upper half is taken if its draw is below 0.5 and more than two of its joints are labelled; otherwise the
        lower half if more than two of its joints are, else the upper one. The region is 1.5 times the extent of the
        joints. Where fewer than two are labelled it is NaN.

        Args:
            points: (N, K, 2) in pixels of the image.
            visible: (N, K); above 0: labelled.
            draws: (N,) random numbers; the authors draw them from a normal distribution.
            upper: Indices of the joints of the upper half.
        """
        points, labelled = points.double(), visible > 0
        above = torch.zeros(points.shape[-2], dtype=torch.bool, device=points.device)
        above[list(upper)] = True
        high, low = labelled & above, labelled & ~above
        takes_high = ((draws < 0.5) & (high.sum(-1) > 2)) | (low.sum(-1) <= 2)
        chosen = torch.where(takes_high[:, None], high, low)
        count = chosen.sum(-1)
        applies = count >= 2
        inside = chosen[..., None]
        center = torch.where(inside, points, 0.0).sum(-2) / count[:, None]
        most = torch.where(inside, points, -math.inf).amax(-2)
        least = torch.where(inside, points, math.inf).amin(-2)
        width, height = (most - least + self._whole_pixels).unbind(-1)
        region = Region(center, self._scale(width, height, _HALF_PADDING))
        return Region(*(torch.where(applies[:, None], values, math.nan) for values in region)), applies

    def matrix(
        self,
        center: Tensor,
        scale: Tensor,
        rotation: Tensor | float = 0.0,
        *,
        size: tuple[int, int] | None = None,
    ) -> Tensor:
        """Return the affine maps (N, 2, 3) from pixels of the image to those of the input, in float64.

        Args:
            center: (N, 2) of the regions.
            scale: (N, 2) of the regions.
            rotation: Degrees, one or (N,). The same number turns the other way in the two ``udp`` codecs.
            size: Width and height of another goal, such as the map; None: the input.

        Raises:
            InputError: A region without a size, as an annotated box of one pixel is in some conventions.
        """
        center, sides, size = center.double(), self._checked(scale.double()), size or self.input_size
        angle = torch.deg2rad(torch.as_tensor(rotation, dtype=torch.float64, device=center.device))
        turn = _turn(self._direction * angle.expand(center.shape[:-1]))
        return about(turn * self._zoom(sides, size)[..., None], center, _row(self._middle(size), center))

    def _checked(self, scale: Tensor) -> Tensor:
        """Return the sides of regions in pixels."""
        if not bool((scale > 0).all()):
            raise InputError(
                f"{self.name}: expected regions of a size above 0", "leave out boxes of no more than one pixel"
            )
        return scale * UNIT

    def warp(self, images: Tensor, matrix: Tensor) -> Tensor:
        """Return the inputs (N, C, H, W) that matrices cut out of images; see :func:`saccade.tasks.pose.warping.warp`.

        Args:
            images: One image (C, H, W), or a batch (N, C, H, W).
            matrix: (N, 2, 3), see :meth:`matrix`.
        """
        return warp(images, matrix, self.input_size)

    def to_input(self, points: Tensor, center: Tensor, scale: Tensor, rotation: Tensor | float = 0.0) -> Tensor:
        """Return points (N, K, 2) of the image in pixels of the input."""
        return transformed(self.matrix(center, scale, rotation), points)

    @abstractmethod
    def to_map(self, points: Tensor) -> Tensor:
        """Return points (..., 2) of the input in pixels of the map."""

    def on_input(self, points: Tensor) -> Tensor:
        """Return points (..., 2) of the map in pixels of the input; the opposite of :meth:`to_map`."""
        ends = torch.tensor([[0.0, 0.0], [1.0, 1.0]], dtype=torch.float64, device=points.device)
        mapped = self.to_map(ends)
        found: Tensor = (points.double() - mapped[0]) / (mapped[1] - mapped[0])
        return found

    def from_input(self, points: Tensor, center: Tensor, scale: Tensor) -> Tensor:
        """Return points (N, K, 2) of the input in pixels of the image, for regions that are not rotated."""
        return transformed(inverse(self.matrix(center, scale)), points)

    def to_image(self, points: Tensor, center: Tensor, scale: Tensor) -> Tensor:
        """Return points (N, K, 2) of the map in pixels of the image, for regions that are not rotated."""
        sides = self._checked(scale.double())
        zoom, middle = self._zoom(sides, self.map_size), self._middle(self.map_size)
        return (points.double() - _row(middle, points)) / zoom[..., None, :] + center.double()[..., None, :]

    # Targets

    def encode(
        self, points: Tensor, visible: Tensor, joint_weights: Sequence[float] | Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return target maps (N, C, H, W) in float32, and the weights (N, K) of their joints.

        Args:
            points: (N, K, 2) in pixels of the input.
            visible: (N, K) from 0 to 1; a joint is drawn above 0.5.
            joint_weights: K factors of the weights; None: 1.

        Raises:
            InputError: A labelled joint that is not finite.
        """
        return self.draw(self.to_map(points.double()), visible, joint_weights)

    def draw(
        self, points: Tensor, visible: Tensor, joint_weights: Sequence[float] | Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the targets of points that are in pixels of the map; see :meth:`encode`."""
        points, weights = points.double(), visible.float()
        labelled = weights > 0
        if not bool(torch.isfinite(points[labelled]).all()):
            raise InputError(
                f"{self.name}: expected finite coordinates of labelled joints", "give those without a place visible=0"
            )
        points = torch.where(labelled[..., None], points, 0.0)
        weights = torch.where(self._reaches(points), weights, 0.0)
        maps = self._drawn(points, weights > 0.5)
        if joint_weights is not None:
            weights = weights * torch.as_tensor(joint_weights, dtype=weights.dtype, device=weights.device)
        return maps, weights

    # Decoding

    def decode(self, maps: Tensor, center: Tensor, scale: Tensor) -> Decoded:
        """Return the points that maps stand for; the maps are left as they are.

        Args:
            maps: (N, C, H, W) output of a network.
            center: (N, 2) of the regions.
            scale: (N, 2) of the regions.
        """
        points, scores = self.locate(maps)
        return Decoded(self.to_image(points, center.to(points.device), scale.to(points.device)), scores)

    def locate(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Return the points (N, K, 2) that maps stand for, in pixels of the map, and their scores (N, K).

        Raises:
            InputError: Maps of another size, or of a number of channels that the codec does not have.
        """
        width, height = self.map_size
        if maps.dim() != 4 or maps.shape[2:] != (height, width) or maps.shape[1] % self.maps_per_joint:
            of = f"{self.maps_per_joint} K" if self.maps_per_joint > 1 else "K"
            raise InputError(
                f"{self.name}: expected maps (N, {of}, {height}, {width}); received shape {tuple(maps.shape)}",
                "make the codec with the map_size= and the kind of output of the network",
            )
        with full_precision(maps):
            return self._located(wide(maps.detach()))

    def merge(self, maps: Tensor, mirrored: Tensor, pairs: Pairs) -> Tensor:
        """Return the mean of the maps of an image and of its mirror image.

        Args:
            maps: (N, C, H, W) output for the image.
            mirrored: Output for the mirrored image, as the network gave it.
            pairs: Pairs of joints that change places in a mirror.

        Raises:
            InputError: Pairs that do not mirror, see :func:`saccade.tasks.pose.joints.mirrored_order`.
        """
        return (maps + self._mirrored(mirrored, pairs)) * 0.5

    # What a convention decides

    @abstractmethod
    def _zoom(self, sides: Tensor, size: tuple[int, int]) -> Tensor:
        """Return the factors (N, 2) from regions, whose sides are in pixels, to a goal of a size."""

    @abstractmethod
    def _middle(self, size: tuple[int, int]) -> tuple[float, float]:
        """Return the point of a goal in which the centre of a region comes to lie."""

    @abstractmethod
    def _reaches(self, points: Tensor) -> Tensor:
        """Return whether the square of each joint reaches the map."""

    @abstractmethod
    def _drawn(self, points: Tensor, drawn: Tensor) -> Tensor:
        """Return the maps of joints, empty where `drawn` is False."""

    @abstractmethod
    def _located(self, maps: Tensor) -> tuple[Tensor, Tensor]: ...

    def _mirrored(self, maps: Tensor, pairs: Pairs) -> Tensor:
        order = mirrored_order(pairs, maps.shape[1] // self.maps_per_joint).to(maps.device)
        return maps.flip(-1)[:, order]

    def _clipped(self, start: Tensor, length: Tensor, limit: int) -> tuple[Tensor, Tensor]:
        first = start.clamp(min=0)
        last = torch.minimum(first.new_tensor(limit - 1.0), first + (length - 1).clamp(min=0))
        return first, last - first + self._whole_pixels

    def _scale(self, width: Tensor, height: Tensor, padding: float) -> Tensor:
        aspect = self.input_size[0] / self.input_size[1]
        sides = torch.stack([torch.maximum(width, height * aspect), torch.maximum(height, width / aspect)], dim=-1)
        return sides / UNIT * padding

    def _corners_reach(self, centers: Tensor, *, whole: bool = True) -> Tensor:
        """Return whether squares of six sigmas around centres overlap the map, by the authors' test."""
        reach = _REACH * self.sigma
        low, high = centers - reach, centers + reach + 1
        if whole:
            low, high = low.trunc(), high.trunc()
        return ((low < _row(self.map_size, centers)) & (high >= 0)).all(-1)

    def _gaussians(self, means: Tensor, drawn: Tensor, centers: Tensor) -> Tensor:
        """Draw a Gaussian around each mean, within the square around each centre."""
        reach = int(_REACH * self.sigma)
        lines = []
        for pixels, mean, center in zip(
            self._windows(centers, reach), means.unbind(-1), centers.unbind(-1), strict=True
        ):
            values = torch.exp((pixels - mean[..., None]).square_() / (-2 * self.sigma**2))
            inside = ((pixels - center[..., None]).abs_() <= reach) & drawn[..., None]
            lines.append((pixels, torch.where(inside, values, 0.0).float()))
        (columns, across), (rows, down) = lines
        return self._pasted((down[..., :, None] * across[..., None, :])[..., None, :, :], columns, rows)

    def _windows(self, centers: Tensor, reach: int) -> tuple[Tensor, Tensor]:
        """Return columns and rows (N, K, n) of windows inside the map.

        They hold what the squares around whole pixels and the map have in common.
        """
        found = []
        for middle, side in zip(centers.unbind(-1), self.map_size, strict=True):
            count = min(side, 2 * reach + 1)
            first = (middle - reach).clamp(0, side - count)
            found.append(first[..., None] + torch.arange(count, dtype=torch.float64, device=centers.device))
        return found[0], found[1]

    def _pasted(self, patches: Tensor, columns: Tensor, rows: Tensor) -> Tensor:
        """Return maps (N, C, H, W) that are 0 but for patches (N, K, C / K, n, m) in windows inside them."""
        (width, height), (batch, joints, count) = self.map_size, patches.shape[:3]
        size, number = height * width, batch * joints
        # NumPy's zeros are memory that nobody has to write first.
        empty = np.zeros((number, count, height, width), np.float32)
        if patches.device.type == "cpu":
            windows = sliding_window_view(empty, patches.shape[-2:], axis=(2, 3), writeable=True)
            top, left = (lines[..., 0].long().flatten().numpy() for lines in (rows, columns))
            windows[np.arange(number), :, top, left] = patches.flatten(0, 1).numpy()
            return torch.from_numpy(empty).view(batch, joints * count, height, width)
        first = torch.arange(number * count, device=patches.device).view(batch, joints, count, 1)
        starts = (rows.long() * width)[:, :, None] + first * size
        index = starts[..., :, None] + columns.long()[:, :, None, None]
        maps = torch.from_numpy(empty).to(patches.device).flatten().scatter_(0, index.flatten(), patches.flatten())
        return maps.view(batch, joints * count, height, width)

    def __repr__(self) -> str:
        given = ", ".join(f"{key}={value!r}" for key, value in vars(self).items())
        return f"{type(self).__name__}({given})"


class Biased(Codec):
    """SimpleBaseline's and HRNet's convention: an image is as wide as its number of pixels.

    Targets are drawn at whole pixels, and a decoded peak moves a quarter of a pixel towards its higher neighbour. The
    maps of the mirrored image move by one column, as a peak would otherwise lie three quarters of a pixel away.

    Args:
        input_size: Width and height of the network's input in pixels.
        map_size: Width and height of the maps.
        sigma: Standard deviation of a drawn Gaussian in pixels of the map.
        refine: ``"quarter"``, or ``"none"``: the peak itself.
        shift: If True, the mirrored maps move one column to the right before the mean, the first column kept.
    """

    name = "biased"

    def __init__(
        self,
        input_size: tuple[int, int],
        *,
        map_size: tuple[int, int] | None = None,
        sigma: float = 2.0,
        refine: str = "quarter",
        shift: bool = True,
    ) -> None:
        super().__init__(input_size, map_size=map_size, sigma=sigma)
        choose(self.name, "refine", refine, ("quarter", "none"))
        choose(self.name, "shift", shift, (True, False))
        self.refine, self.shift = refine, shift

    def to_map(self, points: Tensor) -> Tensor:
        return points * _row(self.map_size, points) / _row(self.input_size, points)

    def _zoom(self, sides: Tensor, size: tuple[int, int]) -> Tensor:
        return (size[0] / sides[..., :1]).expand_as(sides)

    def _middle(self, size: tuple[int, int]) -> tuple[float, float]:
        return size[0] / 2, size[1] / 2

    def _reaches(self, points: Tensor) -> Tensor:
        return self._corners_reach((points + 0.5).trunc())

    def _drawn(self, points: Tensor, drawn: Tensor) -> Tensor:
        pixels = (points + 0.5).trunc()
        return self._gaussians(pixels, drawn, pixels)

    def _located(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        points, scores = peaks(maps)
        if self.refine == "none":
            return points, scores
        width, height = self.map_size
        inside = ((points > 1) & (points < _row((width - 1, height - 1), points))).all(-1) & (scores > 0)
        x, y = points.long().unbind(-1)
        peak = torch.where(inside, y * width + x, width + 1)[..., None]
        steps = torch.tensor([1, width, -1, -width], device=maps.device)
        after, before = maps.flatten(2).gather(2, (peak + steps).clamp_(max=width * height - 1)).chunk(2, dim=-1)
        return points + torch.where(inside[..., None], 0.25 * (after - before).sign(), 0.0), scores

    def _mirrored(self, maps: Tensor, pairs: Pairs) -> Tensor:
        found = super()._mirrored(maps, pairs)
        return torch.cat([found[..., :1], found[..., :-1]], dim=-1) if self.shift else found


class Dark(Codec):
    """DARK's convention: an image is as wide as the distance of its outer pixels, and points reach the map directly.

    Targets are whole Gaussians around real positions. A decoded peak takes one Newton step on the logarithm of the
    blurred map.

    Args:
        input_size: Width and height of the network's input in pixels.
        map_size: Width and height of the maps.
        sigma: Standard deviation of a drawn Gaussian in pixels of the map.
        blur: Kernel of the decoder's blur, odd; the authors' is 11, and 3 for maps of 32 x 32.
        variant: ``"released"``: the authors' convention; ``"mmpose"``: their targets and decoder in the convention of
            ``biased``.
    """

    name = "dark"
    _whole_pixels = 1

    def __init__(
        self,
        input_size: tuple[int, int],
        *,
        map_size: tuple[int, int] | None = None,
        sigma: float = 2.0,
        blur: int = 11,
        variant: str = "released",
    ) -> None:
        super().__init__(input_size, map_size=map_size, sigma=sigma)
        choose(self.name, "variant", variant, ("released", "mmpose"))
        gaussian_kernel(blur)
        self.blur, self.variant = blur, variant
        if variant == "mmpose":
            self._whole_pixels = 0

    def to_map(self, points: Tensor) -> Tensor:
        of_map, of_input = _row(self.map_size, points), _row(self.input_size, points)
        if self.variant == "mmpose":
            return points * of_map / of_input
        # Both matrices share their centre, and the zoom of both axes is that of the width.
        zoom = (self.map_size[0] - 1) / (self.input_size[0] - 1)
        return (points - (of_input - 1) / 2) * zoom + (of_map - 1) / 2

    def _zoom(self, sides: Tensor, size: tuple[int, int]) -> Tensor:
        less = self._whole_pixels
        width = sides[..., :1] - less
        if not bool((width > 0).all()):
            raise InputError(f"{self.name}: expected regions wider than {less} pixels", "leave out boxes that small")
        return ((size[0] - less) / width).expand_as(sides)

    def _middle(self, size: tuple[int, int]) -> tuple[float, float]:
        return (size[0] - self._whole_pixels) / 2, (size[1] - self._whole_pixels) / 2

    def _reaches(self, points: Tensor) -> Tensor:
        return self._corners_reach(points, whole=self.variant == "released")

    def _drawn(self, points: Tensor, drawn: Tensor) -> Tensor:
        lines = []
        for axis, length in enumerate(self.map_size):
            pixels = torch.arange(length, dtype=torch.float64, device=points.device)
            values = torch.exp(-((pixels - points[..., axis, None]) ** 2) / (2 * self.sigma**2))
            lines.append((values * drawn[..., None]).float())
        return lines[1][..., :, None] * lines[0][..., None, :]

    def _located(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        points, scores = peaks(maps)
        x, y = points.long().unbind(-1)
        patch = blurred_at(maps, x, y, 2, self.blur, "zero")
        inside = ((points > 1) & (points < _row(self.map_size, points) - 2)).all(-1) & (scores > 0)
        # The map is stretched to its old maximum, at least by a factor of 1, and cut off from below. The logarithm's
        # derivatives know of the factor only where something is cut off.
        cut = inside & (patch.flatten(2).amin(-1) < _LEAST)
        if exported():  # a program has no branches
            most = blurred(maps, self.blur, "zero").flatten(2).amax(-1).double()
            factor = torch.where(cut, scores / torch.where(most > 0, most, 1.0), 1.0)
            patch, inside = patch * factor[..., None, None], inside & (~cut | (most > 0))
        elif bool(cut.any()):
            most = blurred(maps[cut], self.blur, "zero").flatten(1).amax(-1).double()
            patch[cut] *= (scores[cut] / torch.where(most > 0, most, 1.0))[..., None, None]
            inside[cut] &= most > 0
        f = patch.clamp(min=_LEAST).log()
        gradient = torch.stack([f[..., 2, 3] - f[..., 2, 1], f[..., 3, 2] - f[..., 1, 2]], dim=-1) / 2
        twice = 2 * f[..., 2, 2]
        xx = (f[..., 2, 4] - twice + f[..., 2, 0]) / 4
        yy = (f[..., 4, 2] - twice + f[..., 0, 2]) / 4
        xy = (f[..., 3, 3] - f[..., 1, 3] - f[..., 3, 1] + f[..., 1, 1]) / 4
        return points + _newton(gradient, xx, xy, yy, inside), scores


class _Unbiased(Codec):
    """UDP's convention: sizes are distances between pixel centres, on either axis."""

    _direction = 1

    def to_map(self, points: Tensor) -> Tensor:
        return points * (_row(self.map_size, points) - 1) / (_row(self.input_size, points) - 1)

    def _zoom(self, sides: Tensor, size: tuple[int, int]) -> Tensor:
        return _row((size[0] - 1, size[1] - 1), sides) / sides

    def _middle(self, size: tuple[int, int]) -> tuple[float, float]:
        return (size[0] - 1) / 2, (size[1] - 1) / 2


class Udp(_Unbiased):
    """UDP's convention with one Gaussian map per joint.

    Targets are Gaussians around real positions, within a square. A decoded peak takes one Newton step on the
    logarithm of the blurred map.

    Args:
        input_size: Width and height of the network's input in pixels.
        map_size: Width and height of the maps.
        sigma: Standard deviation of a drawn Gaussian in pixels of the map.
        blur: Kernel of the decoder's blur, odd; by default 7, and 11 of the variant "mmpose".
        variant: ``"released"``: the blurred map is stretched from 0 to its old maximum; ``"mmpose"``: it is not, and a
            small number keeps the step finite.
    """

    name = "udp"

    def __init__(
        self,
        input_size: tuple[int, int],
        *,
        map_size: tuple[int, int] | None = None,
        sigma: float = 2.0,
        blur: int | None = None,
        variant: str = "released",
    ) -> None:
        super().__init__(input_size, map_size=map_size, sigma=sigma)
        choose(self.name, "variant", variant, ("released", "mmpose"))
        self.blur = (7 if variant == "released" else 11) if blur is None else blur
        self.variant = variant
        gaussian_kernel(self.blur)

    def _reaches(self, points: Tensor) -> Tensor:
        return self._corners_reach((points + 0.5).trunc())

    def _drawn(self, points: Tensor, drawn: Tensor) -> Tensor:
        return self._gaussians(points, drawn, (points + 0.5).trunc())

    def _located(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        points, scores = peaks(maps)
        x, y = points.long().unbind(-1)
        found = scores > 0
        patch = blurred_at(maps, x, y, 1, self.blur, "reflect")
        if self.variant == "released":
            patch, found = self._stretched(maps, scores.double(), patch, found)
        f = patch.clamp(*_CUT).log()
        gradient = torch.stack([f[..., 1, 2] - f[..., 1, 0], f[..., 2, 1] - f[..., 0, 1]], dim=-1) / 2
        twice = 2 * f[..., 1, 1]
        xx, yy = f[..., 1, 2] - twice + f[..., 1, 0], f[..., 2, 1] - twice + f[..., 0, 1]
        ends = f[..., 2, 2] + f[..., 0, 0]
        xy = (ends + twice - f[..., 1, 2] - f[..., 2, 1] - f[..., 1, 0] - f[..., 0, 1]) / 2
        more = torch.finfo(torch.float32).eps if self.variant == "mmpose" else 0.0
        return points + _newton(gradient, xx + more, xy, yy + more, found), scores

    def _stretched(self, maps: Tensor, scores: Tensor, patch: Tensor, found: Tensor) -> tuple[Tensor, Tensor]:
        """Return patches of the blurred maps stretched from 0 to the old maxima, and where there is such a factor.

        The logarithm's derivatives know of the factor only where a value is cut off. It is at least that of a map
        whose maximum the blur keeps; where nothing is cut off with this one, it stands for the right one.
        """
        low = lowest_blurred(maps, self.blur, "reflect").double()
        patch = patch - low[..., None, None]
        if exported():  # a program has no branches
            high = blurred(maps, self.blur, "reflect").flatten(2).amax(-1).double()
        else:
            high = torch.maximum(scores, low)
            least = patch.flatten(2).amin(-1) * scores / torch.where(found, high - low, 1.0)
            cut = found & ~((least > 1.01 * _CUT[0]) & (scores <= _CUT[1]))
            if bool(cut.any()):
                high[cut] = blurred(maps[cut], self.blur, "reflect").flatten(1).amax(-1).double()
        found = found & (high > low)
        factor = scores / torch.where(found, high - low, 1.0)
        return patch * factor[..., None, None], found


class UdpOffset(_Unbiased):
    r"""UDP's convention with three maps per joint: a disc, and in it the way to its centre.

    .. math:: d = [\,|q - m| \le r\,], \quad (o_x, o_y) = d\,(m - q) / r

    Args:
        input_size: Width and height of the network's input in pixels.
        map_size: Width and height of the maps.
        sigma: Unused by this codec, and kept so that all codecs take it.
        radius: r in pixels of the map; 4 in the published configuration, 3.5 in its first version. The mmpose branch
            has 0.0546875 times the height of the map.
        blur: Kernel of the blur of the discs, odd.
        offset_blur: Kernel of the blur of the offsets, odd.
    """

    name = "udp_offset"
    maps_per_joint = 3

    def __init__(
        self,
        input_size: tuple[int, int],
        *,
        map_size: tuple[int, int] | None = None,
        sigma: float = 2.0,
        radius: float = 4.0,
        blur: int = 15,
        offset_blur: int = 7,
    ) -> None:
        super().__init__(input_size, map_size=map_size, sigma=sigma)
        if not isinstance(radius, (int, float)) or not 0 < radius < math.inf:
            raise InputError(f"{self.name}: `radius` must be a number above 0; received {radius=}")
        self.radius, self.blur, self.offset_blur = float(radius), blur, offset_blur
        gaussian_kernel(blur)
        gaussian_kernel(offset_blur)

    def _reaches(self, points: Tensor) -> Tensor:
        return torch.ones(points.shape[:-1], dtype=torch.bool, device=points.device)

    def _drawn(self, points: Tensor, drawn: Tensor) -> Tensor:
        columns, rows = self._windows(points.round(), math.ceil(self.radius))
        x, y = (
            (mean[..., None] - pixels) / self.radius
            for mean, pixels in zip(points.unbind(-1), (columns, rows), strict=True)
        )
        across, down = (x * x)[..., None, :], torch.where(drawn[..., None], y * y, math.inf)[..., :, None]
        patches = torch.empty(*points.shape[:2], 3, *down.shape[-2:-1], *across.shape[-1:], device=points.device)
        disc = patches[:, :, 0].copy_(across + down <= 1)
        torch.mul(disc, x.float()[..., None, :], out=patches[:, :, 1])
        torch.mul(disc, y.float()[..., :, None], out=patches[:, :, 2])
        return self._pasted(patches, columns, rows)

    def _located(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        discs, *offsets = by_joint(maps).unbind(2)
        index, scores = highest_blurred(discs, self.blur, "reflect")
        points = _pixels(index, scores, discs.shape[-1])
        x, y = points.long().unbind(-1)
        steps = [blurred_at(offset, x, y, 0, self.offset_blur, "reflect")[..., 0, 0] for offset in offsets]
        moved = points + self.radius * torch.stack(steps, dim=-1)
        return torch.where(scores[..., None] > 0, moved, points), scores

    def _mirrored(self, maps: Tensor, pairs: Pairs) -> Tensor:
        threes = by_joint(maps.flip(-1))
        order = mirrored_order(pairs, threes.shape[1]).to(maps.device)
        signs = torch.tensor([1.0, -1.0, 1.0], dtype=maps.dtype, device=maps.device)
        return (threes[:, order] * signs[:, None, None]).flatten(1, 2)


def by_joint(maps: Tensor) -> Tensor:
    """Return the three maps of each joint, (N, K, 3, H, W)."""
    batch, channels, height, width = maps.shape
    return maps.reshape(batch, channels // 3, 3, height, width)


CODECS: dict[str, type[Codec]] = {kind.name: kind for kind in (Biased, Dark, Udp, UdpOffset)}


def peaks(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Return the first highest pixel of each map as (N, K, 2), x and y in float64, and its value (N, K).

    Where no value is above 0 the pixel is (0, 0).
    """
    index, scores = highest(maps.flatten(2))
    return _pixels(index, scores, maps.shape[-1]), scores


def _pixels(index: Tensor, scores: Tensor, width: int) -> Tensor:
    index = torch.where(scores > 0, index, 0)
    return torch.stack([index % width, index // width], dim=-1).double()


def _newton(gradient: Tensor, xx: Tensor, xy: Tensor, yy: Tensor, wanted: Tensor) -> Tensor:
    """Return the step to the extremum of a quadratic, and 0 where it is not wanted or there is none."""
    determinant = xx * yy - xy * xy
    x, y = gradient.unbind(-1)
    wanted = wanted & (determinant != 0)
    divisor = torch.where(wanted, determinant, 1.0)
    step = torch.stack([xy * y - yy * x, xy * x - xx * y], dim=-1) / divisor[..., None]
    return torch.where(wanted[..., None] & torch.isfinite(step), step, 0.0)


def _turn(angle: Tensor) -> Tensor:
    cosine, sine = angle.cos(), angle.sin()
    return torch.stack([torch.stack([cosine, -sine], dim=-1), torch.stack([sine, cosine], dim=-1)], dim=-2)


def _row(pair: tuple[float, float], like: Tensor) -> Tensor:
    return torch.tensor(pair, dtype=torch.float64, device=like.device)


def _size(name: str, option: str, given: Any) -> tuple[int, int]:
    whole = (
        isinstance(given, (tuple, list)) and len(given) == 2 and all(type(side) is int and side > 1 for side in given)
    )
    if not whole:
        raise InputError(
            f"{name}: `{option}` must be a width and a height of at least 2 pixels; received {option}={given!r}"
        )
    return given[0], given[1]
