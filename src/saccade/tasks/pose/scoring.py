"""Scores of key points from what was collected of crops: grouped by image, rescored, suppressed, matched, counted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from saccade.tasks.evidence import Evidence, Floats
from saccade.tasks.pose.averages import Truths, average_precision, matched, measures, similarities
from saccade.tasks.pose.joints import Pairs, mirrored_order
from saccade.tasks.pose.samples import TRUTH
from saccade.tasks.pose.suppression import rescored, similarity, suppress

METRICS = ("AP", "AP50", "AP75", "PCK")
NEAR = 0.05
"""Distance of a joint that counts as found, as a fraction of the longer side of its object's box."""

_LEVELS = {"AP": range(10), "AP50": (0,), "AP75": (5,)}
_LABELLED, _FOUND, _COMPARED, _ERROR = range(4)


def settled(evidence: Evidence, sigmas: Floats, pairs: Pairs, turned: Sequence[int] = ()) -> Evidence:
    """Group the evidence of crops by image.

    The score of a detection is that of its box times the mean of its joints above 0.2; of detections that are more
    similar than 0.9 the better one is kept.

    Args:
        evidence: Rows per crop: ``place`` (image, sample, score of the box, area), ``points``, ``joint_scores`` and
            ``truths``.
        sigmas: (K,).
        pairs: Joints that change places in a mirror.
        turned: Joint that each one is taken for in an object turned by half; empty: not asked.

    Returns:
        Per image ``positives`` (3), ``detections_per_image``, ``joints`` (K, 4: labelled, found, compared, sum of
        errors in pixels), ``sides`` (2: objects with a labelled pair, those that fit better mirrored), ``turns`` (the
        same for turned objects) and ``sample``; per detection ``scores`` and ``states`` (3, 10).
    """
    if "truths" not in evidence:
        return evidence
    place, joints = evidence["place"], evidence["points"].shape[1]
    order = np.lexsort((place[:, 1], place[:, 0]))
    starts = np.flatnonzero(np.append(True, np.diff(place[order, 0]) != 0))
    parts: dict[str, list[Any]] = {
        name: []
        for name in ("positives", "detections_per_image", "joints", "sides", "turns", "sample", "scores", "states")
    }
    for rows in np.split(order, starts[1:]):
        known = evidence["truths"][rows]
        crop_of, slot = np.nonzero(~np.isnan(known[..., 0]))
        flat = known[crop_of, slot]
        rest = flat[:, 3 * joints :]
        truths = Truths(flat[:, : 3 * joints].reshape(-1, joints, 3), rest[:, :4], rest[:, 4], rest[:, 5].astype(bool))
        real, own = rest[:, 6].astype(bool), rest[:, TRUTH - 1].astype(bool)
        detected = np.isfinite(place[rows, 2])
        points, found = evidence["points"][rows], evidence["joint_scores"][rows]
        kept = _kept(points[detected], found[detected], place[rows][detected], sigmas)
        scores = _scores(found[detected], place[rows][detected])[kept]
        scores, states, positives = matched(points[detected][kept], scores, truths, sigmas)
        parts["positives"].append(positives)
        parts["detections_per_image"].append(len(scores))
        parts["scores"].append(scores)
        parts["states"].append(states)
        nearest = _partners(points, detected, truths, own, crop_of, sigmas)
        counts = _compared(points, truths, real, nearest)
        sides = _exchanged(points, truths, real, nearest, sigmas, mirrored_order(pairs, joints).numpy())
        turns = _exchanged(points, truths, real, nearest, sigmas, np.array(turned or range(joints)))
        parts["joints"].append(counts)
        parts["sides"].append(sides)
        parts["turns"].append(turns)
        parts["sample"].append(int(place[rows[0], 1]))
    whole = ("scores", "states")
    return {name: np.concatenate(values) if name in whole else np.array(values) for name, values in parts.items()}


def _scores(joint_scores: Floats, place: Floats) -> Floats:
    found: Floats = rescored(torch.from_numpy(place[:, 2]), torch.from_numpy(joint_scores)).numpy()
    return found


def _kept(points: Floats, joint_scores: Floats, place: Floats, sigmas: Floats) -> NDArray[np.int64]:
    """Return the detections of an image that are kept, in their order."""
    if len(points) < 2:
        return np.arange(len(points))
    similar = similarity(torch.from_numpy(points), torch.from_numpy(place[:, 3]), torch.from_numpy(sigmas))
    kept = suppress(similar, torch.from_numpy(_scores(joint_scores, place)))
    return np.sort(kept.numpy())


def _partners(
    points: Floats, detected: NDArray[np.bool_], truths: Truths, own: NDArray[np.bool_], crop_of: Any, sigmas: Floats
) -> NDArray[np.int64]:
    """Return the crop that each object is compared with: its own, else the most similar detection; -1 without one."""
    partner = np.where(own, crop_of, -1)
    there = np.flatnonzero(detected)
    if len(there) and (partner < 0).any():
        close = similarities(points[there], truths, sigmas)
        partner = np.where(partner < 0, there[close.argmax(axis=0)], partner)
    return partner


def _compared(points: Floats, truths: Truths, real: NDArray[np.bool_], partner: NDArray[np.int64]) -> Floats:
    counts = np.zeros((points.shape[1], 4))
    for place in np.flatnonzero(real):
        known, box = truths.points[place], truths.boxes[place]
        seen = known[:, 2] > 0
        counts[:, _LABELLED] += seen
        if partner[place] < 0:
            continue
        given = points[partner[place]]
        apart = np.linalg.norm(given - known[:, :2], axis=1)
        counts[:, _FOUND] += seen & (apart <= NEAR * max(box[2], box[3]))
        counts[:, _COMPARED] += seen
        counts[:, _ERROR] += np.where(seen, apart, 0.0)
    return counts


def _exchanged(
    points: Floats,
    truths: Truths,
    real: NDArray[np.bool_],
    partner: NDArray[np.int64],
    sigmas: Floats,
    order: NDArray[np.int64],
) -> Floats:
    """Count objects with labelled joints that an exchange moves, and those that fit better after it (2)."""
    found = np.zeros(2)
    for place in np.flatnonzero(real & (partner >= 0)):
        known, given = truths.points[place], points[partner[place]]
        seen = known[:, 2] > 0
        both = np.flatnonzero((order != np.arange(len(order))) & seen & seen[order])
        if len(both):
            scale = 8 * sigmas[both] ** 2 * max(truths.areas[place], 1.0)
            plain, exchanged = (
                np.exp(-((given[ids] - known[both, :2]) ** 2).sum(axis=1) / scale).mean() for ids in (both, order[both])
            )
            found += (1, exchanged > plain)
    return found


def image_precision(metric: str, evidence: Evidence, weights: Floats) -> Floats:
    """Return one of the metrics for every row of weights (draws, n_images)."""
    if metric == "PCK":
        sums = np.einsum("di,ikc->dc", weights, evidence["joints"][..., :2])
        found: Floats = sums[:, _FOUND] / np.maximum(sums[:, _LABELLED], 1)
        return found
    return average_precision(
        evidence["scores"], evidence["states"], _owners(evidence), evidence["positives"], weights, _LEVELS[metric]
    )


def _owners(evidence: Evidence) -> NDArray[np.int64]:
    counts = evidence["detections_per_image"].astype(np.int64)
    return np.repeat(np.arange(len(counts)), counts)


def valued(metric: str, evidence: Evidence, weights: Floats | None, sigmas: Floats) -> dict[str, float]:
    """Return all scores, `metric` first; those of sizes that no object has, and of unknown sides, are left out."""
    rows = np.ones((1, len(evidence["positives"]))) if weights is None else weights[None]
    each = measures(evidence["scores"], evidence["states"], _owners(evidence), evidence["positives"], rows)
    found = {name: float(value[0]) for name, value in each.items() if not np.isnan(value[0])}
    joints = np.einsum("i,ikc->kc", rows[0], evidence["joints"])
    found["PCK"] = _ratio(joints[:, _FOUND].sum(), joints[:, _LABELLED].sum())
    small = sigmas < np.median(sigmas)
    if small.any() and joints[small, _LABELLED].sum():
        found["PCK of small joints"] = _ratio(joints[small, _FOUND].sum(), joints[small, _LABELLED].sum())
    if joints[:, _COMPARED].sum():
        found["mean error in px"] = _ratio(joints[:, _ERROR].sum(), joints[:, _COMPARED].sum())
    sides = rows[0] @ evidence["sides"]
    if sides[0]:
        found["sides exchanged"] = _ratio(sides[1], sides[0])
    turns = rows[0] @ evidence["turns"]
    if turns[0]:
        found["turned by half"] = _ratio(turns[1], turns[0])
    first = {metric: found.get(metric, 0.0)}
    return first | {name: value for name, value in found.items() if name != metric}


def joint_values(evidence: Evidence, names: Sequence[str]) -> dict[str, float | None]:
    """Return the fraction of each joint that was found; None for a joint without a label."""
    sums = evidence["joints"].sum(axis=0)
    return {
        name: float(row[_FOUND] / row[_LABELLED]) if row[_LABELLED] else None
        for name, row in zip(names, sums, strict=True)
    }


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole else 0.0
