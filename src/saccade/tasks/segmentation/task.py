"""Segmentation: one class per pixel; the metric is mean intersection over union, summed over all images first."""

from __future__ import annotations

import copy
import functools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset

from saccade.data import IGNORE, PADDING, Arrays, OnProgress
from saccade.data.decoding import UnreadableError, orientation_of, size_as_turned
from saccade.data.depth import ValueRange, check_values
from saccade.data.folder import read_arrays, values_key
from saccade.data.images import padded, read_turned
from saccade.data.layouts import Item, listed, relative
from saccade.data.reading import AS_IT_IS, OF_KEYPOINTS, Reading
from saccade.data.shard_names import is_shards, name_of
from saccade.data.shards import kinds_in, numbers_of
from saccade.errors import InputError, near
from saccade.networks.make import is_segmenter, segmentation_network
from saccade.networks.segmentation import Segmenter
from saccade.options import declared
from saccade.runs.options import RunSpec
from saccade.tasks.base import Files, Held, Side, TaskData, unequal
from saccade.tasks.evidence import Evidence, Floats, Group
from saccade.tasks.held import recorded_of
from saccade.tasks.ratios import RatioTask
from saccade.tasks.segmentation.crops import LabelledSamples, View, training_view
from saccade.tasks.segmentation.labelled import Colour, Labelled, Pair, aligned, palette
from saccade.tasks.segmentation.layout import PAIRS, SIDED_PAIRS, TOGETHER, masks_in, pair_doubts, pair_readings
from saccade.tasks.segmentation.mask_folder import (
    MaskFiles,
    examine_masks,
    find_files,
    is_published,
    labelled,
    refuse_white,
)
from saccade.tasks.segmentation.meaning import Meaning, ignored_values
from saccade.tasks.segmentation.meaning import from_json as meaning_from_json
from saccade.tasks.segmentation.objects import (
    SIZES,
    THINNESS,
    find_objects,
    has_background,
    iou_by_object,
    match_objects,
    middle_pixel,
)
from saccade.tasks.segmentation.protocols import Seen, protocol_for
from saccade.tasks.segmentation.shards import MASK_SHARDS
from saccade.tasks.segmentation.stored import turned_array

if TYPE_CHECKING:
    from saccade.report.scenes import Answer, Case, Gallery
    from saccade.runs.open import Opened
    from saccade.runs.predict import Options
    from saccade.tasks.segmentation.masks import Masks
    from saccade.training.sources import Augment


class Segmentation(RatioTask):
    """One class per pixel, of at most 255 classes; pixels of value 255 are ignored.

    Args:
        classes: Their names.
        size: Side of the training crops in pixels; with `longer_side` that of the images themselves.
        palette: A colour (red, green, blue) per class; those of PASCAL VOC by default.
        longer_side: True if images are brought to a longer side of `size` before the network sees them.
    """

    name = "segmentation"
    metric = "mIoU"
    metrics = ("mIoU", "mIoU_present")
    layouts: ClassVar = {
        "train-val/images-masks": "train/images, train/masks, val/images, val/masks",
        "images-masks": "images/*.jpg and masks/*.png of the same names, split 80/20",
        "side-by-side": "NAME.jpg and NAME_mask.png in one folder, below train/ and val/ or split 80/20",
        MASK_SHARDS: "shards NAME-{000..127}.tar of WebDataset with NAME.jpg and NAME.seg.png",
        "cityscapes": "Cityscapes as unpacked",
        "voc": "PASCAL VOC as unpacked",
        "context": "PASCAL Context as unpacked",
        "ade20k": "ADE20K as unpacked",
    }
    competing = frozenset({PAIRS, SIDED_PAIRS, TOGETHER, MASK_SHARDS})
    reads = tuple(one.name for one in declared(Reading) if one.name not in OF_KEYPOINTS)
    recipe = "segmentation"
    image_metric = "right pixels"
    head_network = "fcn"
    compare_batch = 8
    unit = "pixels"

    def __init__(
        self,
        classes: Sequence[str],
        *,
        size: int = 512,
        palette: Sequence[Sequence[int]] = (),
        longer_side: bool = False,
        **facts: Any,
    ) -> None:
        colours = [list(colour) for colour in palette]
        super().__init__(classes, size=size, palette=colours, longer_side=longer_side, **facts)
        self.longer_side = longer_side
        self.own_loss: Any = None
        self.class_weights: Tensor | None = None

    @property
    def palette(self) -> tuple[Colour, ...]:
        """A colour per class."""
        given = self.facts["palette"]
        return tuple((r, g, b) for r, g, b in given) if given else palette(len(self.classes))

    @classmethod
    def recognises(cls, folder: Path, reading: Reading = AS_IT_IS) -> Mapping[str, str]:
        if is_shards(folder):
            kinds = kinds_in(folder)
            return {MASK_SHARDS: kinds["mask"]} if "mask" in kinds else {}
        published = is_published(folder)
        return pair_readings(folder, reading) if published is None else {published: cls.layouts[published]}

    @classmethod
    def files(cls, folder: Path, reading: Reading = AS_IT_IS) -> Files:
        return find_files(folder, reading)

    @classmethod
    def doubts(cls, folder: Path, reading: Reading, layout: str) -> tuple[str, str] | None:
        return pair_doubts(folder, reading) if layout in (PAIRS, SIDED_PAIRS) else None

    @classmethod
    def truths(cls, folder: Path) -> frozenset[Path]:
        return masks_in(folder)

    @classmethod
    def examined(
        cls, files: Files, reading: Reading = AS_IT_IS, *, where: str = "", on_progress: OnProgress | None = None
    ) -> Files:
        """Determine also what the values of masks mean, see :mod:`saccade.tasks.segmentation.meaning`."""
        files = super().examined(files, reading, where=where, on_progress=on_progress)
        found = examine_masks(files, reading, where=where, on_progress=on_progress)
        return found if found.reader.known is not None else replace(found, check=functools.partial(_check, found))

    @classmethod
    def load(cls, spec: RunSpec, on_progress: OnProgress | None = None) -> TaskData:
        """Training crops by :func:`~saccade.tasks.segmentation.crops.training_view`; validation images are whole."""
        path = Path(spec.data)
        files = cls.files(path, spec)
        examined = cls.examined(files, spec, where=str(path), on_progress=on_progress)
        data = labelled(path, examined)
        view = None if spec.augment == "none" else training_view(spec.augment, spec.size)
        train, val = _side(data, data.train, path, view), _side(data, data.val, path)
        split = tuple(val.names) if files.drawn else ()
        task = cls(data.classes, size=spec.size, palette=data.palette, **_facts(examined))
        return TaskData(
            task, train, val, data.note, (spec.size, spec.size),
            replace(files, check=examined.check).under(path, cls.name), split, examined.meaning,
        )  # fmt: skip

    @classmethod
    def load_arrays(
        cls,
        folder: Path,
        cache: Path,
        *,
        size: int,
        reading: Reading = AS_IT_IS,
        record: Path | None = None,
        on_progress: OnProgress | None = None,
    ) -> Arrays:
        """Bring the longer side of images and masks to `size` and pad them to a square, where the mask is ignored."""
        files = cls.files(folder, reading)
        examined = functools.cache(lambda: cls.examined(files, reading, where=str(folder), on_progress=on_progress))

        def row(item: Item, side: str) -> tuple[Any, Any]:
            image, asked = read_turned(item.image, white=examined().pixels.white)
            return padded(image, _mask(examined().reader, item, image.size, asked), size)

        def finish() -> dict[str, Any]:
            found = examined()
            return {"classes": list(found.classes), "values": list(found.meaning), **_facts(found)}

        shape = ((size, size, 3), (size, size), "uint8")
        splits, facts = read_arrays(
            folder, cls.name, files, cache, {"train": shape, "val": shape}, row, size=size, finish=finish,
            record=record, on_progress=on_progress, how=values_key(reading),
        )  # fmt: skip
        classes, values = tuple(facts.pop("classes")), tuple(facts.pop("values"))
        note = f"{files.note}: {cls.counted(len(classes), len(files.train), len(files.val))}"
        own = {"longer_side": True, "palette": [list(colour) for colour in files.reader.colours], **facts}
        return Arrays(name_of(folder), cls.name, classes, **splits, note=note, facts=own, values=values)

    @classmethod
    def of_datasets(
        cls, pair: tuple[Dataset[Any], Dataset[Any]], spec: RunSpec, classes: Sequence[str], shape: tuple[int, int]
    ) -> TaskData:
        target = pair[0][0][1]
        if not isinstance(target, Tensor) or tuple(target.shape) != shape:
            raise InputError(
                f"{type(pair[0]).__name__}: expected classes {shape} as the target of each image; received "
                f"{tuple(target.shape) if isinstance(target, Tensor) else type(target).__name__}"
            )
        data = super().of_datasets(pair, spec, classes, shape)
        sides = [replace(side, alike=False) for side in (data.train, data.val)]
        return replace(data, train=sides[0], val=sides[1])

    def held_out(self, folder: Path, recorded: Held | None, reading: Reading = AS_IT_IS) -> tuple[Side, str]:
        files = self.files(folder, reading)
        data = labelled(folder, self._as_trained(folder, files, reading))
        if data.classes != self.classes:
            unknown = [name for name in data.classes if name not in self.classes]
            raise InputError(
                f"{folder} has {len(data.classes)} classes, the network {len(self.classes)}"
                + (f"; it does not know {listed(unknown)}" if unknown else ""),
                f"it knows {listed(self.classes)}",
            )
        if not files.drawn:
            return _side(data, data.val, folder), f"the validation side of {data.name}"
        every = sorted([*data.train, *data.val])
        held, what = recorded_of({relative(pair.image, folder): pair for pair in every}, folder, recorded)
        return _side(data, held, folder), what

    def _as_trained(self, folder: Path, files: Files, reading: Reading) -> Files:
        """Give files the meaning that pixels and masks had in training, where the folder itself does not say it."""
        masks: MaskFiles = files.reader
        pixels = ValueRange(self.white)
        if masks.known is not None:
            return replace(files, pixels=pixels)
        if masks.names is not None or not all(name.isdigit() for name in self.classes):
            return replace(examine_masks(files, reading, where=str(folder)), pixels=pixels)
        meaning = meaning_from_json(self.facts.get("masks") or {}, self.classes)
        if reading.ignore is None:
            refuse_white(files, meaning, str(folder))
        also = dict.fromkeys(ignored_values(reading.ignore), IGNORE)
        meaning = replace(meaning, values={**meaning.values, **also})
        return replace(files, classes=self.classes, reader=masks._replace(reader=meaning), pixels=pixels)

    @classmethod
    def tally(cls, files: Files, item: Item, size: tuple[int, int]) -> Any:
        return np.bincount(_mask(files.reader, item, size, orientation_of(item.image)).ravel(), minlength=256)

    @classmethod
    def sheet_legend(cls, files: Files) -> list[tuple[str, Colour]]:
        colours = files.reader.colours or palette(len(files.classes))
        return list(zip(files.classes, colours, strict=False))

    @classmethod
    def illustrated(cls, files: Files, item: Item, image: Any) -> Any:
        from saccade.tasks.segmentation.pictures import blended

        classes = files.reader.classes(item.target)
        asked, (height, width) = orientation_of(item.image), classes.shape
        if asked >= 5 and (width - height) * (image.width - image.height) < 0:  # drawn on the stored pixels
            classes = turned_array(classes, asked)
        return blended(image, classes, files.reader.colours)

    @classmethod
    def owns(cls, network: str) -> bool:
        return is_segmenter(network)

    @classmethod
    def check_network(cls, spec: RunSpec) -> None:
        if not is_segmenter(spec.network):
            raise InputError(
                f"{spec.data} holds masks: it is for segmentation, and {spec.network} is not a segmentation network",
                f"put a head on it: --network fcn --backbone {spec.network}",
            )

    def network(self, spec: RunSpec) -> nn.Module:
        return segmentation_network(
            spec.network, len(self.classes), backbone=spec.backbone, mechanism=spec.mechanism, at=spec.at,
            pretrained=spec.pretrained, match=spec.match,
        )  # fmt: skip

    def fitted(
        self, net: nn.Module, *, label_smoothing: float = 0.0, class_weights: Sequence[float] | None = None
    ) -> Self:
        """Segmenters have a loss of their own, which weighs several outputs."""
        task = copy.copy(super().fitted(net, label_smoothing=label_smoothing))
        task.class_weights = unequal(class_weights)
        task.own_loss = net.loss if isinstance(net, Segmenter) else None
        return task

    def amounts(self, target: Any) -> tuple[Any, Any]:
        pixels = np.bincount(np.asarray(target).ravel(), minlength=IGNORE + 1)[: len(self.classes)]
        there = np.flatnonzero(pixels)
        return there, pixels[there]

    def loss(self, outputs: Any, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the network's own loss; of a network without one, the cross-entropy of logits at a stride.

        Each cell of the logits is held to the pixel in its middle.
        """
        if self.own_loss is not None:
            weighed = {} if self.class_weights is None else {"class_weights": self.class_weights}
            found: tuple[Tensor, Tensor] = self.own_loss(outputs, targets, **weighed)
            return found
        stride = targets.shape[-1] // outputs.shape[-1]
        if stride > 1:
            targets = targets[:, stride // 2 :: stride, stride // 2 :: stride]
        weight, valid = None if self.class_weights is None else self.class_weights.to(outputs), targets != IGNORE
        total = F.cross_entropy(outputs, targets.long(), weight=weight, ignore_index=IGNORE, reduction="sum")
        return total, valid.sum() if weight is None else weight[targets[valid].long()].sum()

    def predict(self, outputs: Any, size: tuple[int, int]) -> Tensor:
        """Classes (B, H, W) uint8 at the size of the images."""
        if outputs.shape[-2:] != size:
            outputs = F.interpolate(outputs.float(), size, mode="bilinear", align_corners=False)
        classes: Tensor = outputs.argmax(dim=1).to(torch.uint8)
        return classes

    def evidence(self, predictions: Tensor, targets: Tensor, *, full: bool = False) -> Evidence:
        """Per image: intersection and union of each class (K, 2), its pixels (K), right and valid pixels; objects.

        Objects only in full.
        """
        k, images, valid = len(self.classes), len(targets), targets != IGNORE
        offset = torch.arange(images, device=targets.device)[:, None, None] * (k * k)
        pairs = (offset + targets.long() * k + predictions.long())[valid]
        confusion = torch.bincount(pairs, minlength=images * k * k).view(images, k, k)
        hit = confusion.diagonal(dim1=1, dim2=2)
        union = confusion.sum(1) + confusion.sum(2) - hit
        found: Evidence = {
            "counts": torch.stack([hit, union], dim=2).cpu().numpy(),
            "pixels": torch.stack([hit.sum(1), confusion.sum((1, 2))], dim=1).cpu().numpy(),
            "there": confusion.sum(2).cpu().numpy(),
        }
        return found | (self._objects(predictions, targets) if full else {})

    def _objects(self, predictions: Tensor, targets: Tensor) -> Evidence:
        given, true = (part.cpu().numpy().astype(np.int64) for part in (predictions, targets))
        one_by_one = [match_objects(a[None], b[None], len(self.classes)) for a, b in zip(given, true, strict=True)]
        return {
            "objects": np.concatenate([rows for rows, _ in one_by_one]),
            "objects_per_image": np.array([len(rows) for rows, _ in one_by_one]),
            "false": np.stack([false for _, false in one_by_one]),
        }

    def sums(self, metric: str, evidence: Evidence, weights: Floats) -> Floats:
        """Compute intersections and unions for every row of weights.

        The mean ``mIoU`` is over the classes that are there or predicted, ``mIoU_present`` over those that are there.
        """
        sums = super().sums(metric, evidence, weights)
        if metric == "mIoU_present":
            sums[..., 1] *= weights @ evidence["there"] > 0
        return sums

    def scores(self, evidence: Evidence, weights: Floats | None = None) -> dict[str, float]:
        """Mean IoU in both ways, and the fraction of valid pixels that are right."""
        pixels = evidence["pixels"]
        right, valid = pixels.sum(axis=0) if weights is None else weights @ pixels
        return {**self.chosen_first(evidence, weights), "pixel accuracy": float(right / max(1, valid))}

    def image_scores(self, evidence: Evidence) -> Floats:
        """Fraction of the labelled pixels of each image that are right: a wrong one is in the unions of two classes."""
        right, union = np.moveaxis(evidence["counts"].sum(axis=1, dtype=np.float64), -1, 0)
        found: Floats = right / np.maximum(1, (right + union) / 2)
        return found

    def by_class(self, evidence: Evidence) -> dict[str, float | None]:
        """IoU of each class; None for a class that is neither there nor predicted."""
        hit, union = evidence["counts"].sum(axis=0).T
        return {name: float(h / u) if u else None for name, h, u in zip(self.classes, hit, union, strict=True)}

    def groups(self, evidence: Evidence) -> dict[str, Group]:
        """IoU of objects by their size and by their thinness."""
        rows, false = evidence["objects"], evidence["false"].sum(axis=0)
        found = iou_by_object(rows, false, background=has_background(self.classes))
        return {
            name: Group(dict(zip(names, by.iou.values(), strict=True)), by.limits)
            for name, names, by in zip(("size", "thinness"), (SIZES, THINNESS), found, strict=True)
        }

    def under(self, net: nn.Module, protocol: Any, *, default: str = "whole") -> tuple[nn.Module, str | None]:
        how = protocol_for(protocol or default, self.size, longer_side=self.longer_side)
        return Seen(net, how), str(how)

    def write_predictions(self, opened: Opened, images: Sequence[tuple[Path, Path]], options: Options) -> Masks:
        """Write a mask and an overlay per image."""
        from saccade.tasks.segmentation.masks import write_masks

        return write_masks(self, opened, images, options)

    def augment(
        self, images: Tensor, targets: Any, *, size: int, keys: Sequence[tuple[int, ...]]
    ) -> tuple[Tensor, Any]:
        from saccade.data.augment import scaled

        return scaled(images, targets, size=size, keys=keys)

    def augmentation(self, name: str | None) -> Augment | None:
        from saccade.data.augment import scaled, shifted

        known: dict[str | None, Augment | None] = {None: scaled, "scale": scaled, "shift": shifted, "none": None}
        if name not in known:
            raise InputError(
                f"unknown augmentation {name!r} of a comparison", near(str(name), ["scale", "shift", "none"])
            )
        return known[name]

    def query(self, target: Any, control: Any, best: Any) -> tuple[int, int] | None:
        """Choose the middle of the largest region where control and best arm disagree.

        Only pixels that one of the two got right count; None, if there is no such pixel.
        """
        differs = (control != best) & (target != IGNORE) & ((control == target) | (best == target))
        if not differs.any():
            return None
        regions = find_objects(np.where(differs, target.astype(np.int64) + 1, 0)[None])
        sizes = np.where(regions.label > 0, regions.area, 0)
        return middle_pixel(regions.paint(np.arange(len(sizes)) == sizes.argmax()).reshape(target.shape))

    def extent(self, image: Any, target: Any) -> tuple[int, int]:
        """Leave out what was padded to a square."""
        there = (target != IGNORE) | (image != PADDING).any(axis=-1)
        height, width = (int(np.flatnonzero(there.any(axis=axis)).max(initial=-1)) + 1 for axis in (1, 0))
        return (height, width) if self.longer_side and height and width else image.shape[:2]

    def ground_of(self, targets: Any) -> int | None:
        from saccade.tasks.segmentation.report import ground_of

        return ground_of(targets)

    def draw_truth(self, case: Case, target: Any) -> None:
        from saccade.tasks.segmentation.report import truth

        case.truth = truth(self, case, target)

    def draw_answer(self, case: Case, answer: Answer, target: Any, prediction: Any) -> None:
        from saccade.tasks.segmentation.report import regions

        answer.regions = regions(self, case, answer, target, prediction)

    def legend(self, gallery: Gallery) -> Sequence[str]:
        from saccade.tasks.segmentation.report import legend

        return legend(gallery)


def _side(data: Labelled, pairs: Sequence[Pair], folder: Path, view: View | None = None) -> Side:
    """Images with masks as samples; they are scored at their own sizes."""
    samples = LabelledSamples(data, pairs, view)
    names = [relative(pair.image, folder) for pair in pairs]
    shards = numbers_of([pair.image for pair in pairs])
    return Side(samples, samples.name, names, alike=False, target=samples.target, shards=shards)


def _mask(masks: MaskFiles, item: Item, size: tuple[int, int], asked: int) -> Any:
    """Classes (H, W) of an item's mask on its image, of that size (width, height) and EXIF orientation."""
    try:
        return aligned(masks.classes(item.target), item.target, size, asked)
    except UnreadableError as problem:
        problem.file = item.target
        raise


def _check(files: Files, item: Item) -> None:
    """Refuse an item whose image or mask has values without a meaning, or that differ in size."""
    check_values(item.image, files.pixels.white)
    _mask(files.reader, item, *size_as_turned(item.image))


def _facts(files: Files) -> dict[str, Any]:
    """Return what a network must know to read other images and masks as those of its training."""
    meaning = files.reader.reader
    masks = meaning.to_json() if isinstance(meaning, Meaning) else {}
    return files.facts | ({"masks": masks} if masks else {})
