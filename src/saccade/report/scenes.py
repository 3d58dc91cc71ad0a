"""The same held-out images through every arm: what each predicted, where it was wrong, and what attention looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from saccade.data import IGNORE
from saccade.files import read_json
from saccade.inspection.pictures import PEAK, SOURCES
from saccade.report import attention, numbers, pictures
from saccade.report.pictures import Array
from saccade.report.texts import TEXTS, attribute, both, pair
from saccade.report.verdict import is_control

GROUND_SHARE = 0.4
"""A class that fills more of the shown images than this is the ground, and stays without colour."""
LABELS, LEAST_AREA = 12, 0.015
"""Regions that carry their name: at most so many, none smaller than this share of the picture."""
ROLES = {"failure": 1, "typical": 2}


@dataclass(frozen=True)
class Box:
    """Something drawn at a place of a picture; positions are per cent of it."""

    top: float
    left: float
    text: str = ""
    wrong: bool = False
    height: float = 0.0
    width: float = 0.0


@dataclass(frozen=True)
class Layer:
    """A picture, alone or above the photograph, with its alternative text (an attribute) and its caption (HTML).

    `live`: JSON for the script, with what other points attend to.
    """

    uri: str
    alt: str
    caption: str = ""
    kind: str = "regions"
    boxes: Sequence[Box] = ()
    live: str = ""


@dataclass(frozen=True)
class Guess:
    """A class with its probability."""

    name: str
    probability: float
    true: bool


@dataclass
class Answer:
    """What one arm made of one image; `plain`: it has no attention to show."""

    index: int
    name: str
    regions: Layer | None = None
    guesses: Sequence[Guess] = ()
    right: bool | None = None
    plain: bool = False
    attention: list[Layer] = field(default_factory=list)


@dataclass(frozen=True)
class Case:
    """One held-out image with everything that is shown of it."""

    number: int
    name: str
    role: str
    photo: str
    alt: str
    query: Box
    truth: Layer | None
    truth_name: str
    answers: Sequence[Answer]
    gain: str = ""


@dataclass(frozen=True)
class Gallery:
    """All cases; width over height of an image; the class without colour; the arm whose gains chose the images.

    `live`: JSON for the script where maps answer to the pointer.
    """

    cases: Sequence[Case]
    aspect: float
    ground: str | None
    best: str | None
    has_attention: bool
    has_queries: bool
    live: str = ""


def load_gallery(directory: Path, results: Mapping[str, Any]) -> Gallery | None:
    """Read ``directory/pictures``; None when it is missing or holds no image."""
    folder = directory / "pictures"
    if not (folder / "index.json").is_file() or not (folder / "images.npz").is_file():
        return None
    listed = read_json(folder / "index.json")
    index = listed["images"]
    shown = _arrays(folder / "images.npz")
    if not index:
        return None
    segmentation, classes = results["task"] == "segmentation", results["data"]["classes"]
    ground = _ground(shown["targets"]) if segmentation else None
    stored = {k: _arrays(folder / f"{arm['folder']}.npz") for k, arm in enumerate(results["arms"])}
    cases = []
    for number, entry in enumerate(index):
        reader = _Reader(number, entry, shown["images"][number], shown["targets"][number], classes, ground)
        answers = [reader.answer(k, arm, stored[k]) for k, arm in enumerate(results["arms"]) if stored[k]]
        cases.append(reader.case(answers, segmentation))
    cases.sort(key=lambda case: ROLES.get(case.role, 0))
    layers = [layer for case in cases for answer in case.answers for layer in answer.attention]
    height, width = shown["images"].shape[1:3]
    return Gallery(
        cases,
        aspect=round(width / height, 4),
        ground=None if ground is None else str(classes[ground]),
        best=listed.get("best"),
        has_attention=bool(layers),
        has_queries=any(layer.kind == "weights" for layer in layers),
        live=_live_words() if any(layer.live for layer in layers) else "",
    )


def _live_words() -> str:
    words = {key: TEXTS[key] for key in ("weights", "signed_weights")}
    return attention.to_json({"settings": attention.settings(), "words": words})


def _arrays(path: Path) -> dict[str, Array]:
    if not path.is_file():
        return {}
    with np.load(path, allow_pickle=False) as stored:
        return dict(stored)


def _ground(targets: Array) -> int | None:
    counts = np.bincount(targets[targets != IGNORE].astype(np.int64).ravel(), minlength=1)
    return int(counts.argmax()) if counts.max() > GROUND_SHARE * counts.sum() else None


@dataclass(frozen=True)
class _Reader:
    """One image on its way from arrays to a :class:`Case`."""

    number: int
    entry: Mapping[str, Any]
    image: Array
    target: Array
    classes: Sequence[str]
    ground: int | None

    @property
    def name(self) -> str:
        return str(self.entry["name"])

    def case(self, answers: Sequence[Answer], segmentation: bool) -> Case:
        truth = None
        if segmentation:
            nothing_wrong = np.zeros(self.target.shape, bool)
            alt = attribute("alt", "alt_truth", name=self.name)
            truth = self._regions(self.target, nothing_wrong, alt, both("truth"))
        return Case(
            number=self.number,
            name=self.name,
            role=str(self.entry.get("role", "typical")),
            photo=pictures.photo(self.image),
            alt=attribute("alt", "alt_photo", name=self.name),
            query=self._query(),
            truth=truth,
            truth_name="" if segmentation else str(self.classes[int(self.target)]),
            answers=answers,
            gain="" if self.entry.get("gain") is None else numbers.signed(float(self.entry["gain"])),
        )

    def answer(self, index: int, arm: Mapping[str, Any], stored: Mapping[str, Array]) -> Answer:
        plain = not arm["mechanism"] or is_control(arm)
        answer = Answer(index, arm["name"], plain=plain, attention=self._attention(arm, stored))
        if "predictions" not in stored:
            return answer
        prediction = stored["predictions"][self.number]
        if prediction.ndim == 1:
            true = int(self.target)
            best = np.argsort(-prediction, kind="stable")[:3]
            answer.guesses = [Guess(str(self.classes[k]), float(prediction[k]), int(k) == true) for k in best]
            answer.right = int(best[0]) == true
        else:
            wrong = (prediction != self.target) & (self.target != IGNORE)
            share = numbers.percent(float(wrong.sum()) / max(1, int((self.target != IGNORE).sum())))
            alt = attribute("alt", "alt_prediction", name=self.name, arm=arm["name"], share=share)
            answer.regions = self._regions(prediction, wrong, alt, both("wrong_pixels", share=share))
        return answer

    def _query(self) -> Box:
        """The pixel that attention was asked about; the middle, where none was singled out."""
        height, width = self.image.shape[:2]
        query = self.entry.get("query") or (height // 2, width // 2)
        return Box(100 * (query[0] + 0.5) / height, 100 * (query[1] + 0.5) / width)

    def _regions(self, classes: Array, wrong: Array, alt: str, caption: str) -> Layer:
        uri = pictures.region_overlay(classes, wrong, self.ground)
        step = max(1, max(classes.shape) // 96)  # names need no more detail than that
        coarse, coarse_wrong = classes[::step, ::step], wrong[::step, ::step]
        boxes = []
        for label, mask in pictures.components(coarse, self.ground)[:LABELS]:
            if mask.mean() < LEAST_AREA:
                break
            down, across = pictures.centre(mask)
            name = str(self.classes[label]) if label < len(self.classes) else str(label)
            boxes.append(Box(100 * down, min(max(100 * across, 8), 92), name, bool(coarse_wrong[mask].mean() > 0.5)))
        return Layer(uri, alt, caption, boxes=boxes)

    def _attention(self, arm: Mapping[str, Any], stored: Mapping[str, Array]) -> list[Layer]:
        """At most one picture of each kind: of the deepest place, but channel gates of all places."""
        order = {place: k for k, place in enumerate(arm.get("place", ()))}
        by_kind: dict[str, list[tuple[str, Array]]] = {}
        for key in stored:
            place, bar, kind = key.partition("|")
            if bar:
                by_kind.setdefault(kind, []).append((place, stored[key][self.number]))
        for found in by_kind.values():
            found.sort(key=lambda pair: order.get(pair[0], len(order)))
        layers = []
        if "weights" in by_kind:
            place, weights = by_kind["weights"][-1]
            layers.append(replace(self._weights(arm["name"], place, weights), live=self._live(place, weights, stored)))
        if "gate|spatial" in by_kind:
            layers.append(self._spatial(arm["name"], *by_kind["gate|spatial"][-1]))
        for kind in ("channel_weights", "strip_weights"):
            if kind in by_kind:
                layers.append(self._channels(kind, arm["name"], *by_kind[kind][-1]))
        if "gate|channel" in by_kind:
            layers.append(self._strips(arm["name"], by_kind["gate|channel"]))
        return layers

    def _alt(self, arm: str, kind: str, place: str) -> str:
        return attribute("alt", "alt_map", name=self.name, arm=arm, kind=pair(kind), place=place)

    def _weights(self, arm: str, place: str, weights: Array) -> Layer:
        height, width = weights.shape
        best = np.argsort(-weights, axis=None, kind="stable")[: min(SOURCES, weights.size)]
        boxes = [
            Box(
                100 * (k // width + 0.5) / height,
                100 * (k % width + 0.5) / width,
                height=100 / height,
                width=100 / width,
            )
            for k in best.tolist()
        ]
        if weights.min() < 0 or abs(float(weights.sum()) - 1) > 0.01:  # no shares: dot products may have any sign
            low, high = float(weights.min()), float(weights.max())
            caption = both("signed_weights", low=f"{low:.2g}", high=f"{high:.2g}")
            shown = pictures.heat_overlay(weights, low, high)
            return Layer(shown, self._alt(arm, "kind_weights", place), caption, "weights", boxes)
        total = float(weights.sum())
        top, even = float(weights.ravel()[best].sum()) / total, len(best) / weights.size
        high = max(float(weights.max()), PEAK * total / weights.size)
        caption = both("weights", cells=weights.size, top=numbers.percent(top), even=numbers.percent(even))
        return Layer(
            pictures.heat_overlay(weights, 0.0, high), self._alt(arm, "kind_weights", place), caption, "weights", boxes
        )

    def _live(self, place: str, weights: Array, stored: Mapping[str, Array]) -> str:
        """What other points attend to, for the script; empty where a comparison was made before they were stored."""
        if f"{place}|grid" not in stored:
            return ""
        whole, scales = stored[f"{place}|grid"][self.number], stored[f"{place}|grid_scales"][self.number]
        size = [int(length) for length in stored[f"{place}|grid_of"][self.number]]
        query = self._query()
        at = int(query.top * size[0] / 100), int(query.left * size[1] / 100)
        return attention.to_json(attention.stored_weights(whole, scales, size, [(at, weights)]))

    def _spatial(self, arm: str, place: str, gate: Array) -> Layer:
        caption = both("spatial_gate", low=f"{gate.min():.2f}", high=f"{gate.max():.2f}")
        return Layer(
            pictures.heat_overlay(gate, float(gate.min()), float(gate.max())),
            self._alt(arm, "kind_spatial", place),
            caption,
            "spatial",
        )

    def _channels(self, kind: str, arm: str, place: str, weights: Array) -> Layer:
        caption = both(kind, channels=weights.shape[0])
        return Layer(pictures.heat_square(weights), self._alt(arm, "kind_channel_weights", place), caption, "square")

    def _strips(self, arm: str, found: Sequence[tuple[str, Array]]) -> Layer:
        rows = [gate for _, gate in found]
        low, high = min(float(row.min()) for row in rows), max(float(row.max()) for row in rows)
        key = "channel_gates" if len(rows) == 1 else "channel_gates_rows"
        caption = both(key, places=len(rows), low=f"{low:.2f}", high=f"{high:.2f}")
        places = ", ".join(place for place, _ in found)
        return Layer(pictures.heat_strip(rows, low, high), self._alt(arm, "kind_channel", places), caption, "strip")
