"""Key points of objects, top down: each object is cut out by its box, and every joint is a heat map.

The metric is COCO's average precision over the similarity of key points (OKS).
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn

from saccade.catalog import name_and_options
from saccade.data import Arrays, OnProgress
from saccade.data.decoding import UnreadableError
from saccade.data.layouts import Item, listed, relative
from saccade.data.reading import AS_IT_IS, OF_KEYPOINTS, Reading
from saccade.errors import InputError, near
from saccade.networks.make import pose_network
from saccade.networks.pose_estimator import PoseEstimator, list_pose_estimators
from saccade.runs.options import RunSpec
from saccade.tasks import layout_of
from saccade.tasks.base import Files, Held, Side, Task, TaskData
from saccade.tasks.evidence import Evidence, Floats
from saccade.tasks.held import recorded_of
from saccade.tasks.pose.augmenting import augmented
from saccade.tasks.pose.codecs import Codec
from saccade.tasks.pose.described import Joints
from saccade.tasks.pose.layout import COCO, YOLO, find_files, findings, pose_readings
from saccade.tasks.pose.losses import hardest_joints_loss, heatmap_loss, offset_loss
from saccade.tasks.pose.marked import Marks
from saccade.tasks.pose.protocols import Mirrored, protocol_in_words
from saccade.tasks.pose.samples import (
    CropSamples,
    Entry,
    codec_for,
    crop_size,
    find_augmentation,
    scoring_entries,
    training_entries,
)
from saccade.tasks.pose.scoring import METRICS, NEAR, image_precision, joint_values, settled, valued

if TYPE_CHECKING:
    from saccade.report.scenes import Answer, Case, Gallery
    from saccade.runs.open import Opened
    from saccade.runs.predict import Options
    from saccade.training.sources import Augment


class Pose(Task):
    """Key points of one kind of object.

    Args:
        classes: Names of the joints.
        size: Height of the crops in pixels.
        pairs: Pairs of joints that change places in a mirror; None where they are not known.
        sigmas: Standard deviation of an annotator for each joint, as a fraction of the object's scale.
        skeleton: Pairs of joints between which lines are drawn.
        upper: Joints of the upper half.
        codec: Name of the codec.
        aspect: Width and height of crops, as a ratio.
        category: Name of the objects.
        sigma: Standard deviation of a drawn Gaussian in pixels of the map; None: that of the papers, in proportion.
    """

    name = "pose"
    metric = "AP"
    metrics = METRICS
    image_metric = "joints found"
    layouts: ClassVar = {
        COCO: "images and COCO's JSON of key points, one for each side (annotations_train.json) or one to be split",
        YOLO: "images and labels/*.txt with a YAML that says kpt_shape",
    }
    reads = ("layout", "split", "split_seed", "group", "bits", "allow_copies", *OF_KEYPOINTS)
    recipe = "pose"
    head_network = "simple_baseline"
    unit = "labelled points"
    called = "joints"
    takes_boxes = True

    def __init__(
        self,
        classes: Sequence[str],
        *,
        size: int = 256,
        pairs: Sequence[Sequence[int]] | None = None,
        sigmas: Sequence[float] = (),
        skeleton: Sequence[Sequence[int]] = (),
        upper: Sequence[int] = (),
        codec: str = "udp",
        aspect: Sequence[int] = (1, 1),
        category: str = "object",
        sigma: float | None = None,
        **facts: Any,
    ) -> None:
        self.joints = Joints(
            tuple(classes), None if pairs is None else tuple((one, other) for one, other in pairs), tuple(sigmas),
            tuple((one, other) for one, other in skeleton), tuple(upper),
        )  # fmt: skip
        own = {**self.joints.facts(), "codec": codec, "aspect": list(aspect), "category": category}
        own |= {} if sigma is None else {"sigma": sigma}
        super().__init__(classes, size=size, **own, **facts)
        self.crop = crop_size(size, aspect)
        self.codec: Codec = codec_for(codec, self.crop, sigma)
        self.hardest = 0

    @property
    def shape(self) -> tuple[int, int]:
        width, height = self.crop
        return height, width

    # ---------------------------------------------------------------- folders

    @classmethod
    def recognises(cls, folder: Path, reading: Reading = AS_IT_IS) -> Mapping[str, str]:
        return pose_readings(folder)

    @classmethod
    def files(cls, folder: Path, reading: Reading = AS_IT_IS) -> Files:
        return find_files(folder, reading, layout_of(cls, folder, reading))

    @classmethod
    def examined(
        cls, files: Files, reading: Reading = AS_IT_IS, *, where: str = "", on_progress: OnProgress | None = None
    ) -> Files:
        found = super().examined(files, reading, where=where, on_progress=on_progress)
        return replace(found, meaning=(*files.meaning, *found.meaning))

    @classmethod
    def load(cls, spec: RunSpec, on_progress: OnProgress | None = None) -> TaskData:
        """Crops of objects by their boxes; validation crops are those of the annotations, or of a detector."""
        folder = Path(spec.data)
        augmentation = find_augmentation(spec.augment)
        files = cls.files(folder, spec)
        data = files.under(folder, cls.name)
        listed_lines = len(files.meaning)  # which the statement of the data has already
        files = cls.examined(files, spec, where=str(folder), on_progress=on_progress)
        marks: Marks = files.reader
        task = cls(
            files.classes, size=spec.size, codec=marks.codec, aspect=marks.aspect, category=marks.category,
            **marks.joints.facts(), **files.facts,
        )  # fmt: skip
        train = task._samples(training_entries(marks, files.train), files, augmentation=augmentation)
        val = task._samples(scoring_entries(marks, files.val), files, scored=True)
        width, height = task.crop
        split = tuple(relative(item.image, folder) for item in files.val) if files.drawn else ()
        return TaskData(
            task, _side(train, folder), _side(val, folder), files.note, (height, width), data, split,
            files.meaning[listed_lines:],
        )  # fmt: skip

    def _samples(self, entries: Sequence[Entry], files: Files, **how: Any) -> CropSamples:
        return CropSamples(
            entries, self.joints, self.codec, files.reader.sizes, white=files.pixels.white or self.white, **how
        )

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
        """Cut out every object once; the crops of both sides are those of scoring."""
        from saccade.tasks.storing import stored

        spec = RunSpec(data=str(folder), network="", size=size, augment="none", **reading.plain())
        said = {name: value for name, value in reading.changed().items() if name in OF_KEYPOINTS}
        how = re.sub(r"[^\w-]", "_", "".join(f"-{name}{Path(str(value)).name}" for name, value in sorted(said.items())))
        return stored(cls, cls.load(spec, on_progress), folder, cache, record, on_progress, how=how)

    @classmethod
    def of_datasets(cls, *given: Any) -> TaskData:
        raise InputError(
            "key points are read from a folder: two Datasets do not say boxes, sizes and sigmas",
            "write COCO's JSON of key points, see docs/pose.md",
        )

    def held_out(self, folder: Path, recorded: Held | None, reading: Reading = AS_IT_IS) -> tuple[Side, str]:
        layout = layout_of(type(self), folder, reading)
        files = find_files(folder, reading, layout, scored=True)
        if files.classes != self.classes:
            raise InputError(
                f"{folder}: its joints are {listed(files.classes)}, those of the network {listed(self.classes)}",
                "give data of the same joints in the same order, or train a network for these",
            )
        files.under(folder, self.name)
        marks: Marks = files.reader
        what = f"the validation side, {marks.boxes_from}"
        items = list(files.val)
        if files.drawn:
            every = sorted([*files.train, *files.val], key=lambda item: item.image)
            items, which = recorded_of({relative(item.image, folder): item for item in every}, folder, recorded)
            what = f"{which}, {marks.boxes_from}"
        entries = scoring_entries(marks, items)
        if not entries:
            raise InputError(f"{folder}: these images hold no object that can be scored", "see saccade data check")
        return _side(self._samples(entries, files, scored=True), folder), what

    @classmethod
    def tally(cls, files: Files, item: Item, size: tuple[int, int]) -> Any:
        marks: Marks = files.reader
        if size != marks.sizes[item.image]:
            given = marks.sizes[item.image]
            raise UnreadableError(
                f"it is {size[0]} x {size[1]} px, and its annotations are for {given[0]} x {given[1]} px"
            )
        people = [one for one in marks.people[item.image] if not one.crowd]
        return sum((one.points[:, 2] > 0 for one in people), np.zeros(len(files.classes), np.int64))

    @classmethod
    def findings(cls, files: Files) -> Iterable[str]:
        return findings(files.reader, {"training": files.train, "validation": files.val})

    @classmethod
    def illustrated(cls, files: Files, item: Item, image: Any) -> Any:
        from saccade.tasks.pose.sketch import sketched

        return sketched(files.reader, item, image)

    @classmethod
    def sheet_rows(cls, files: Files, columns: int) -> list[tuple[str, list[Item]]]:
        rows = []
        for title, items in (("training", files.train), ("validation", files.val)):
            some = [item for item in items if files.reader.people.get(item.image)][: columns * 3]
            rows += [
                (title if not start else "", some[start : start + columns]) for start in range(0, len(some), columns)
            ]
        return rows

    @staticmethod
    def counted(classes: int, train: int, val: int) -> str:
        return f"{classes} joints, {train} training and {val} validation objects"

    # ---------------------------------------------------------------- networks

    @classmethod
    def owns(cls, network: str) -> bool:
        return name_and_options(network)[0] in list_pose_estimators()

    @classmethod
    def check_network(cls, spec: RunSpec) -> None:
        if not cls.owns(spec.network):
            raise InputError(
                f"{spec.data} holds key points, and {spec.network} is not a network for them",
                f"put a head on it: --network simple_baseline --backbone {spec.network}; or "
                + near(spec.network, list_pose_estimators()),
            )

    def network(self, spec: RunSpec) -> nn.Module:
        net = pose_network(
            spec.network, len(self.classes), backbone=spec.backbone, mechanism=spec.mechanism, at=spec.at,
            pretrained=spec.pretrained, match=spec.match, maps_per_joint=self.codec.maps_per_joint,
        )  # fmt: skip
        self._check_fits(net)
        return net

    def _check_fits(self, net: nn.Module) -> None:
        """Refuse a network of another number of joints or maps.

        Raises:
            InputError: Naming both numbers.
        """
        if not isinstance(net, PoseEstimator):
            return
        if net.num_keypoints != len(self.classes):
            raise InputError(
                f"the network is for {net.num_keypoints} joints, the data have {len(self.classes)}",
                "its last layer, head.final, has a map for each joint: train a network for these data",
            )
        if net.maps_per_joint != self.codec.maps_per_joint:
            raise InputError(
                f"--codec {self.codec.name} has {self.codec.maps_per_joint} maps for each joint, the network "
                f"{net.maps_per_joint}",
                "udp_offset goes with networks of [head=offset], the other codecs with [head=gaussian]",
            )

    def fitted(
        self, net: nn.Module, *, label_smoothing: float = 0.0, class_weights: Sequence[float] | None = None
    ) -> Self:
        self._check_fits(net)
        return super().fitted(net, label_smoothing=label_smoothing, class_weights=class_weights)

    def with_hardest(self, joints: int) -> Self:
        if joints > len(self.classes) or (joints and self.codec.maps_per_joint > 1):
            what = f"there are {len(self.classes)}" if joints > len(self.classes) else "discs and offsets have none"
            raise InputError(f"--hardest-joints {joints}: {what}", "leave it out, or give fewer joints")
        task = copy.copy(self)
        task.hardest = joints
        return task

    # ---------------------------------------------------------------- training and scoring

    def loss(self, outputs: Any, targets: Any) -> tuple[Tensor, Tensor]:
        """Compute the loss of heat maps, its mean times the number of crops, and that number."""
        maps, weights = self.codec.encode(targets["points"].to(outputs.device), targets["visible"].to(outputs.device))
        maps, weights = maps.to(outputs), weights.to(outputs)
        if self.codec.maps_per_joint > 1:
            discs, offsets = offset_loss(outputs, maps, weights)
            found = discs + offsets
        elif self.hardest:
            found = hardest_joints_loss(outputs, maps, weights, hardest=self.hardest)
        else:
            found = heatmap_loss(outputs, maps, weights)
        return found * len(outputs), torch.tensor(len(outputs), device=outputs.device)

    def predict(self, outputs: Any, size: tuple[int, int]) -> dict[str, Tensor]:
        """Points (B, K, 2) in pixels of the crop, and confidences (B, K).

        A point that the last step of a decoder moves out of the crop, as flat maps make it, stays on its edge.
        """
        found, scores = self.codec.locate(outputs.float())
        most = torch.tensor(self.codec.input_size, dtype=torch.float64, device=found.device) - 1
        points = torch.minimum(self.codec.on_input(found).clamp(min=0), most)
        return {"points": points.float(), "scores": scores.float()}

    def evidence(self, predictions: Any, targets: Any, *, full: bool = False) -> Evidence:
        """Per crop: its points in the image, confidences, and the annotated objects; see :meth:`settled`."""
        points, scores = predictions["points"].double().cpu(), predictions["scores"].double().cpu()
        region = targets["region"].double().cpu()
        placed = self.codec.from_input(points, region[:, :2], region[:, 2:])
        area = (region[:, 2:] * 200).prod(dim=1)
        rows = [
            targets["image"].double().cpu(),
            targets["sample"].double().cpu(),
            targets["box_score"].double().cpu(),
            area,
        ]
        return {
            "place": torch.stack(rows, dim=1).numpy(),
            "points": placed.numpy(),
            "joint_scores": scores.numpy(),
            "truths": targets["truths"].double().cpu().numpy(),
        }

    def settled(self, evidence: Evidence) -> Evidence:
        return settled(evidence, np.array(self.joints.sigmas), self.joints.pairs or (), self.facts.get("turned", ()))

    def scores(self, evidence: Evidence, weights: Floats | None = None) -> dict[str, float]:
        """COCO's ten measures, PCK, the mean error in pixels, small joints alone, and exchanged sides."""
        return valued(self.metric, evidence, weights, np.array(self.joints.sigmas))

    def score(self, evidence: Evidence, weights: Floats | None = None) -> float:
        rows = np.ones((1, len(evidence["positives"]))) if weights is None else weights[None]
        return float(image_precision(self.metric, evidence, rows)[0])

    def resampled(self, evidence: Evidence, weights: Floats) -> Floats:
        return image_precision(self.metric, evidence, weights)

    def image_scores(self, evidence: Evidence) -> Floats:
        labelled, found = evidence["joints"][..., 0].sum(axis=1), evidence["joints"][..., 1].sum(axis=1)
        fraction: Floats = found / np.maximum(1, labelled)
        return fraction

    def pictured(self, evidence: Evidence) -> Any:
        return evidence["sample"]

    def by_class(self, evidence: Evidence) -> dict[str, float | None]:
        """PCK of each joint; None for a joint without a label."""
        return joint_values(evidence, self.classes)

    # ---------------------------------------------------------------- using a trained network

    def under(self, net: nn.Module, protocol: Any, *, default: str = "whole") -> tuple[nn.Module, str | None]:
        known = ("flip", "plain")
        if protocol is not None and protocol not in known:
            raise InputError(
                f"protocol {protocol!r} is for segmentation; this network is for {self.name}",
                f"choose {' or '.join(known)}",
            )
        self._check_fits(net)
        flips = protocol != "plain" and self.joints.pairs is not None
        if protocol == "flip" and not flips:
            raise InputError(
                "protocol flip: the mirror pairs of these joints are not known",
                "train with --joints FILE that lists them, or leave the protocol out",
            )
        wrapped = Mirrored(net, self.codec, self.joints.pairs or ()) if flips else net
        return wrapped, protocol_in_words(flips=flips, codec=self.codec.name)

    def row(self, prediction: Any) -> dict[str, Any]:
        return {
            name: {"x": round(float(x), 3), "y": round(float(y), 3), "score": float(score)}
            for name, (x, y), score in zip(self.classes, prediction["points"], prediction["scores"], strict=True)
        }

    def said(self, row: Mapping[str, Any]) -> str:
        return ", ".join(f"{name} ({one['x']:.0f}, {one['y']:.0f}) {one['score']:.2f}" for name, one in row.items())

    def write_predictions(self, opened: Opened, images: Any, options: Options) -> Any:
        from saccade.tasks.pose.predictions import write_keypoints

        return write_keypoints(self, opened, images, options)

    # ---------------------------------------------------------------- comparisons

    def augmentation(self, name: str | None) -> Augment | None:
        known: dict[str | None, str] = {None: "light", "light": "light", "full": "full"}
        if name == "none":
            return None
        if name not in known:
            raise InputError(
                f"unknown augmentation {name!r} of a comparison on key points",
                near(str(name), ("light", "full", "none")),
            )
        how = find_augmentation(known[name])
        assert how is not None
        return augmented(how, self.codec, self.joints)

    def query(self, target: Any, control: Any, best: Any) -> tuple[int, int] | None:
        """Choose the labelled joint on whose place control and best arm differ most, at its true place."""
        apart = np.linalg.norm(np.asarray(control["points"]) - np.asarray(best["points"]), axis=-1)
        apart = np.where(np.asarray(target["visible"]) > 0, apart, -1)
        if not (apart > 0).any():
            return None
        x, y = np.asarray(target["points"])[int(apart.argmax())]
        width, height = self.crop
        return int(np.clip(round(float(y)), 0, height - 1)), int(np.clip(round(float(x)), 0, width - 1))

    def draw_truth(self, case: Case, target: Any) -> None:
        labelled = int((np.asarray(target["visible"]) > 0).sum())
        case.truth_name = f"{labelled} of {len(self.classes)} joints labelled"
        from saccade.tasks.pose import report

        case.truth = report.truth(self, case, target)

    def draw_answer(self, case: Case, answer: Answer, target: Any, prediction: Any) -> None:
        seen = np.asarray(target["visible"]) > 0
        apart = np.linalg.norm(np.asarray(prediction["points"]) - np.asarray(target["points"]), axis=-1)
        near_ones = int((apart[seen] < NEAR * max(self.crop)).sum())
        mean = f", {apart[seen].mean():.1f} px off in the mean" if seen.any() else ""
        answer.words = f"{near_ones} of {int(seen.sum())} joints found{mean}"
        from saccade.tasks.pose import report

        answer.regions = report.skeleton(self, case, answer, prediction)

    def legend(self, gallery: Gallery) -> Sequence[str]:
        from saccade.tasks.pose.report import legend

        return legend()


def _side(samples: CropSamples, folder: Path) -> Side:
    names = [relative(entry.image, folder) for entry in samples.entries]
    return Side(samples, samples.name, names)
