"""Our codecs, losses, measures and networks for the recorded cases of pose, by kind, repository and arguments.

The folder of the cases is named by ``SACCADE_GOLDEN_POSE``. A mapper takes a case and returns what stands for each of
its recorded results, by their names; an argument that it does not know is an error.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from saccade.tasks.pose import Codec, codec
from saccade.tasks.pose.codecs import UNIT, Region
from saccade.tasks.pose.evaluation import Detection, Person, keypoint_scores
from saccade.tasks.pose.joints import COCO_PAIRS, COCO_SIGMAS, COCO_UPPER, COCO_WEIGHTS, mirror_points
from saccade.tasks.pose.losses import hardest_joints_loss, heatmap_loss, map_accuracy, offset_loss
from saccade.tasks.pose.suppression import rescored, similarity, suppress, suppress_softly
from saccade.tasks.pose.warping import inverse, transformed, warp
from tests.golden.cases import Recorded

DIRECTORY = Path(os.environ.get("SACCADE_GOLDEN_POSE") or Path(__file__).parent / "pose-data")
ORIENTATION = "true_heatmap_points"  # where noise was drawn around; no result of the authors' code

Results = dict[str, Tensor]


class PoseCase(Recorded):
    """A recorded function or network of key points."""

    @property
    def kind(self) -> str:
        return str(self.entry["case"])

    @property
    def released(self) -> bool:
        """Whether the case is of the authors' own code and not of UDP's branch of mmpose."""
        return "branch mmpose" not in self.entry["repo"]

    @property
    def convention(self) -> str:
        """Ours for the repository; of UDP, with one map per joint."""
        for repository, convention in _CONVENTIONS.items():
            if repository in self.entry["repo"]:
                return convention
        raise LookupError(f"{self.name}: no mapping for {self.entry['repo']}")

    @cached_property
    def recorded(self) -> dict[str, Tensor]:
        return load_file(self.directory / self.entry["file"])

    def settings(self, *names: str, **defaults: Any) -> list[Any]:
        """The values of these settings; any other setting is an error."""
        given = self.entry["settings"]
        unknown = sorted(set(given) - {*names, *defaults})
        if unknown:
            raise LookupError(f"{self.name}: unknown settings {unknown}; known: {[*names, *defaults]}")
        return [given[name] for name in names] + [given.get(name, value) for name, value in defaults.items()]


_CONVENTIONS = {
    "microsoft/human-pose-estimation.pytorch": "biased",
    "leoxiaobin/deep-high-resolution-net.pytorch": "biased",
    "ilovepose/DarkPose": "dark",
    "HuangJunJie2017/UDP-Pose": "udp",
}


def index(directory: Path = DIRECTORY) -> dict[str, Any]:
    path = directory / "index.json"
    if not path.is_file():
        raise FileNotFoundError(f"no golden cases of pose in {directory}: expected index.json with its files")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def cases(directory: Path = DIRECTORY) -> list[PoseCase]:
    """Every recorded case of a function; kinds that nobody maps are an error."""
    found = [PoseCase(entry, directory) for entry in index(directory).get("cases", [])]
    unknown = sorted({case.kind for case in found} - set(MAPPERS))
    if unknown:
        raise LookupError(f"golden cases of kinds that nobody maps: {', '.join(unknown)}")
    return found


def results(case: PoseCase) -> Results:
    return MAPPERS[case.kind](case)


def _size(given: Any) -> tuple[int, int]:
    width, height = given
    return int(width), int(height)


def _of_maps(case: PoseCase, shape: torch.Size, **options: Any) -> Codec:
    """The codec of a case that has maps; the size of the input is none of its arguments."""
    height, width = shape[-2:]
    name = options.pop("name", case.convention)
    return codec(name, (4 * width, 4 * height), map_size=(width, height), **options)


def _box_to_center_scale(case: PoseCase) -> Results:
    input_size, image, padding, unit = case.settings("input_size_wh", "image_wh", "padding", "pixel_std")
    made, boxes = codec(case.convention, _size(input_size)), case.recorded["boxes"]
    detected = made.regions(boxes, padding=padding)
    annotated = made.regions(boxes, _size(image), padding=padding)
    return {
        f"{what}_{kind}": tensor * (UNIT / unit if what == "scale" else 1)
        for kind, region in (("detected", detected), ("ground_truth", annotated))
        for what, tensor in region._asdict().items()
    }


def _affine(case: PoseCase) -> Results:
    input_size, map_size = case.settings("input_size_wh", "heatmap_size_wh")
    given = case.recorded
    made = codec(case.convention, _size(input_size), map_size=_size(map_size))
    region = Region(given["center"], given["scale"])
    matrix = made.matrix(*region, given["rotation_degrees"])
    back = inverse(matrix)
    return {
        "matrix": matrix,
        "matrix_image_to_output": matrix,
        "matrix_inverse": back,
        "matrix_output_to_image": back,
        "points_transformed": transformed(matrix, given["points"]),
        "heatmap_points_to_image": made.to_image(given["heatmap_points"], *region),
    }


def _warp(case: PoseCase) -> Results:
    case.settings(opencv=None)
    given = case.recorded
    size = _size(reversed(given["warped"].shape[1:3]))
    made, turns = codec(case.convention, size, map_size=size), given["rotation_degrees"]
    center, scale = (given[name].expand(len(turns), 2) for name in ("center", "scale"))
    found = warp(given["image"].permute(2, 0, 1), made.matrix(center, scale, turns), size)
    return {"warped": found.permute(0, 2, 3, 1)}


def _flip_joints(case: PoseCase) -> Results:
    width, pairs = case.settings("width", pairs=COCO_PAIRS)
    given = case.recorded
    points, seen = mirror_points(given["joints"][:, :2], given["visible"][:, 0], width, pairs)
    zero = torch.zeros_like(seen)
    return {
        "flipped": torch.cat([points, zero[:, None]], dim=1),
        "flipped_visible": torch.stack([seen, seen, zero], dim=1),
    }


def _half_body(case: PoseCase) -> Results:
    input_size, upper = case.settings("input_size_wh", upper_body_ids=COCO_UPPER)
    given = case.recorded
    made = codec(case.convention, _size(input_size))
    joints = given["joints"][..., :2].float()
    region, applies = made.half_body(joints, given["visible"][..., 0], given["normal_draw"], upper)
    return {"center_scale": torch.cat(region, dim=1), "applies": applies.to(torch.uint8)}


def _target(case: PoseCase) -> Results:
    input_size, map_size, sigma, kind, radius, weighted = case.settings(
        "input_size_wh", "heatmap_size_wh", "sigma", "kind", "radius", "per_joint_weights"
    )
    name, options = case.convention, {"map_size": _size(map_size), "sigma": sigma}
    if kind == "offset":
        name, options["radius"] = "udp_offset", radius if case.released else radius * map_size[1]
    elif kind == "msra_unbiased":
        name, options["variant"] = "dark", "mmpose"
    elif kind == "msra":
        name = "biased"
    elif kind != "gaussian":
        raise LookupError(f"{case.name}: no mapping for kind={kind!r}")
    made = codec(name, _size(input_size), **options)
    joints, visible = case.recorded["joints"][None, :, :2], case.recorded["visible"][None, :, 0]
    weights = COCO_WEIGHTS if weighted else None
    on_map = "heat-map coordinates" in case.entry["notes"]
    maps, found = (made.draw if on_map else made.encode)(joints, visible, weights)
    return {"target": maps[0], "target_weight": found[0, :, None]}


def _decode(case: PoseCase) -> Results:
    given = case.recorded
    made = _of_maps(case, given["heatmaps"].shape, **_decoder(case))
    points, scores = made.decode(given["heatmaps"], given["center"], given["scale"])
    return {"points_image": points, "score": scores[..., None]}


def _decoder(case: PoseCase) -> dict[str, Any]:
    """The options of the decoder; an offset decoder is told by its radius."""
    variant = "released" if case.released else "mmpose"
    if case.convention == "biased":
        (post_process,) = case.settings("post_process")
        return {"refine": "quarter" if post_process else "none"}
    if "radius" not in case.entry["settings"]:
        (kernel,) = case.settings("blur_kernel")
        return {"blur": kernel} | ({"variant": variant} if case.convention == "udp" else {})
    radius, kernel, disc, offset = case.settings("radius", blur_kernel=None, blur_disc=None, blur_offset=None)
    if not case.released:  # one kernel k: discs are blurred by 2 k + 1, offsets by k
        radius *= case.recorded["heatmaps"].shape[2]
        disc, offset = disc or 2 * kernel + 1, offset or kernel
    return {"name": "udp_offset", "radius": radius, "blur": disc, "offset_blur": offset}


def _flip_test(case: PoseCase) -> Results:
    shift, pairs = case.settings("shift", pairs=COCO_PAIRS)
    maps, mirrored = case.recorded["output"], case.recorded["output_of_mirrored"]
    options: dict[str, Any] = {"shift": shift} if case.convention == "biased" else {}
    if case.convention == "udp" and maps.shape[1] == 3 * len(COCO_SIGMAS):
        options["name"] = "udp_offset"
    return {"merged": _of_maps(case, maps.shape, **options).merge(maps, mirrored, pairs)}


def _loss(case: PoseCase) -> Results:
    hardest, weighted = case.settings(topk=None, use_target_weight="noweight" not in case.name)
    output = case.recorded["output"].requires_grad_()
    target, weights = case.recorded["target"], case.recorded["target_weight"].flatten(1)
    weights = weights if weighted else None
    kind = "smooth_l1" if "smooth" in case.name else "mse"
    if re.search("offset|combined", case.name):
        losses = offset_loss(output, target, weights, kind=kind, weighted_offsets=not case.released)
    elif found := re.search(r"ohkm(\d+)", case.name):
        losses = (hardest_joints_loss(output, target, weights, hardest=hardest or int(found[1])),)
    else:
        losses = (heatmap_loss(output, target, weights, kind=kind, factor=0.5 if case.released else 1.0),)
    total = torch.stack(losses).sum()
    (gradient,) = torch.autograd.grad(total, output)
    loss = torch.stack(losses) if len(case.recorded["loss"]) == len(losses) else total[None]
    return {"loss": loss.detach(), "grad_output": gradient}


def _pck_on_maps(case: PoseCase) -> Results:
    (threshold,) = case.settings("thr")
    fractions, mean, count = map_accuracy(
        case.recorded["output"], case.recorded["target"], threshold=threshold, axes="released"
    )
    return {
        "accuracy": torch.cat([mean[None], fractions]),
        "mean": mean[None],
        "count": torch.tensor([count]),
    }


def _oks_nms(case: PoseCase) -> Results:
    seen, threshold, sigmas = case.settings("in_vis_thre", "oks_thre", sigmas=COCO_SIGMAS)
    given = case.recorded
    similar = similarity(given["keypoints"], given["area"], sigmas)
    scores = rescored(given["box_score"], given["keypoints"][..., 2], threshold=seen)
    found = {"oks": similar}
    for name in given:
        if kept := re.fullmatch(r"keep_(soft_)?oks_nms_([\d.]+)", name):
            choose = suppress_softly if kept[1] else suppress
            found[name] = choose(similar, given["box_score"], threshold=float(kept[2]))
    for kind, choose in (("hard", suppress), ("soft", suppress_softly)):
        kept_ones = choose(similar, scores, threshold=threshold)
        found |= {f"rescored_{kind}": scores[kept_ones], f"rescored_index_{kind}": kept_ones}
    return found


def _coco_ap(case: PoseCase) -> Results:
    kind, most, sigmas = case.settings("iouType", "maxDets", sigmas=COCO_SIGMAS)
    if kind != "keypoints":
        raise LookupError(f"{case.name}: no mapping for iouType={kind!r}")
    given = case.recorded
    people = [
        Person(int(image), points, box.tolist(), float(area), bool(crowd))
        for image, points, box, area, crowd in zip(
            *(given[f"gt_{name}"] for name in ("image_id", "keypoints", "bbox", "area", "iscrowd")), strict=True
        )
    ]
    detections = [
        Detection(int(image), points, float(score))
        for image, points, score in zip(
            *(given[f"dt_{name}"] for name in ("image_id", "keypoints", "score")), strict=True
        )
    ]
    scores = keypoint_scores(people, detections, sigmas, images=given["image_ids"].tolist(), most=most)
    stats = [-1.0 if value is None else value for value in scores.values.values()]
    return {
        "stats": torch.tensor(stats, dtype=torch.float64),
        "precision": torch.from_numpy(scores.precision),
        "recall": torch.from_numpy(scores.recall),
        **{f"oks.{image}": torch.from_numpy(similar) for image, similar in scores.similarities.items()},
    }


MAPPERS: Mapping[str, Callable[[PoseCase], Results]] = {
    "box_to_center_scale": _box_to_center_scale,
    "affine": _affine,
    "warp": _warp,
    "flip_joints": _flip_joints,
    "half_body": _half_body,
    "target": _target,
    "decode": _decode,
    "flip_test": _flip_test,
    "loss": _loss,
    "pck_on_maps": _pck_on_maps,
    "oks_nms": _oks_nms,
    "coco_ap": _coco_ap,
}

INPUTS: Mapping[str, tuple[str, ...]] = {
    "box_to_center_scale": ("boxes",),
    "affine": ("center", "scale", "rotation_degrees", "points", "heatmap_points"),
    "warp": ("image", "center", "scale", "rotation_degrees"),
    "flip_joints": ("joints", "visible"),
    "half_body": ("joints", "visible", "normal_draw"),
    "target": ("joints", "visible"),
    "decode": ("heatmaps", "center", "scale", ORIENTATION),
    "flip_test": ("output", "output_of_mirrored"),
    "loss": ("output", "target", "target_weight"),
    "pck_on_maps": ("output", "target"),
    "oks_nms": ("keypoints", "area", "box_score"),
    "coco_ap": (
        "image_ids", "gt_image_id", "gt_keypoints", "gt_area", "gt_bbox", "gt_iscrowd", "gt_num_keypoints",
        "dt_image_id", "dt_keypoints", "dt_score",
    ),
}  # fmt: skip
