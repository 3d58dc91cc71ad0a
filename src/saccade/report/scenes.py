"""The same validation images through every arm: its predictions, its errors, and where its attention went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from saccade import schema
from saccade.comparison.results import ArmResult, Results, Shown, ShownImage
from saccade.errors import InputError
from saccade.files import read_json
from saccade.inspection.colours import gate_limits
from saccade.inspection.pictures import PEAK, SOURCES
from saccade.report import attention, numbers, pictures
from saccade.report.pictures import Array
from saccade.report.texts import TEXTS, attribute, both, known, pair
from saccade.report.verdict import is_control
from saccade.runs.names import RESULTS
from saccade.runs.records import read_arrays
from saccade.tasks import from_json
from saccade.tasks.base import Task
from saccade.tasks.trees import gathered, taken

ROLES = {"failure": 1, "typical": 2}

_MOVED = "restore it from a copy; the report is made without pictures once the folder is moved elsewhere"


@dataclass(frozen=True)
class Box:
    """A mark on a picture; positions and sizes are per cent of the picture.

    Args:
        top: Distance from the top.
        left: Distance from the left.
        text: Text of the mark.
        wrong: True for a region that is mostly wrong.
        height: Height of the mark.
        width: Width of the mark.
    """

    top: float
    left: float
    text: str = ""
    wrong: bool = False
    height: float = 0.0
    width: float = 0.0


@dataclass(frozen=True)
class Layer:
    """A picture, alone or over the photograph.

    Args:
        uri: The picture as a data URI.
        alt: Its alternative text, an attribute in HTML.
        caption: Its caption in HTML.
        kind: Kind of picture, which the style sheet knows.
        boxes: Marks on it.
        live: Attention of other query points, as JSON for the script.
    """

    uri: str
    alt: str
    caption: str = ""
    kind: str = "regions"
    boxes: Sequence[Box] = ()
    live: str = ""


@dataclass(frozen=True)
class Guess:
    """A class with its probability.

    Args:
        name: Name of the class.
        probability: Its probability.
        true: True if it is the true class.
    """

    name: str
    probability: float
    true: bool


@dataclass
class Answer:
    """The prediction and the attention of one arm for one image.

    Args:
        index: Number of the arm.
        name: Name of the arm.
        regions: Prediction as a picture.
        guesses: Prediction as classes with probabilities.
        right: True if the first guess is right.
        words: Prediction in words.
        plain: True if the arm has no attention to show.
        attention: Pictures of its attention.
    """

    index: int
    name: str
    regions: Layer | None = None
    guesses: Sequence[Guess] = ()
    right: bool | None = None
    words: str = ""
    plain: bool = False
    attention: list[Layer] = field(default_factory=list)


@dataclass
class Case:
    """One validation image with everything that is shown of it.

    Args:
        number: Its place among the images.
        name: Name of the file.
        role: ``"success"``, ``"typical"`` or ``"failure"``.
        photo: The image as a data URI.
        alt: Its alternative text.
        query: The query point.
        gain: Gain of the best arm on it.
        truth: Target as a picture.
        truth_name: Target in words.
        answers: Prediction of each arm.
        ground: Class without colour, see :class:`Gallery`.
        frame: CSS that shows the image without its padding.
    """

    number: int
    name: str
    role: str
    photo: str
    alt: str
    query: Box
    gain: str = ""
    truth: Layer | None = None
    truth_name: str = ""
    answers: Sequence[Answer] = ()
    ground: int | None = None
    frame: str = ""


@dataclass(frozen=True)
class Gallery:
    """Everything that the report shows of a few images.

    Args:
        cases: The images.
        ground: Name of the class without colour; None if all have one.
        best: Name of the arm whose gains chose the images.
        metric: Name of what the gains are gains of, in both languages.
        has_attention: True if any arm shows attention.
        has_queries: True if any arm shows the weights of a query point.
        live: JSON for the script; empty where no map follows the pointer.
        legend: Lines of the legend (HTML).
    """

    cases: Sequence[Case]
    ground: str | None
    best: str | None
    metric: tuple[str, str]
    has_attention: bool
    has_queries: bool
    live: str = ""
    legend: Sequence[str] = ()


def load_gallery(directory: Path, results: Results) -> Gallery | None:
    """Read ``directory/pictures``; return None if it is missing or holds no image.

    Raises:
        InputError: A file of it is damaged, or does not fit the results.
    """
    folder = directory / "pictures"
    if not (folder / "index.json").is_file() or not (folder / "images.npz").is_file():
        return None
    try:
        return _gallery(folder, results)
    except InputError:
        raise
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as cause:
        raise InputError(
            f"{folder}: its arrays, {folder / 'index.json'} and {directory / RESULTS} do not fit together ({cause})",
            _MOVED,
        ) from cause


def _gallery(folder: Path, results: Results) -> Gallery | None:
    listed = schema.from_json(Shown, read_json(folder / "index.json"), source=str(folder / "index.json"), hint=_MOVED)
    shown = _arrays(folder / "images.npz")
    if not listed.images:
        return None
    described = {"task": results.task, "classes": results.data.classes, "size": results.size}
    task = from_json({**results.data.facts, **described})
    targets = gathered("targets", shown)
    ground = task.ground_of(targets)
    stored = {k: _arrays(folder / f"{arm.folder}.npz") for k, arm in enumerate(results.arms)}
    cases = []
    for number, entry in enumerate(listed.images):
        reader = _Reader(number, entry, shown["images"][number], task, taken(targets, number))
        case = reader.case(ground)
        case.answers = [reader.answer(case, k, arm, stored[k]) for k, arm in enumerate(results.arms) if stored[k]]
        cases.append(case)
    cases.sort(key=lambda case: ROLES.get(case.role, 0))
    layers = [layer for case in cases for answer in case.answers for layer in answer.attention]
    gallery = Gallery(
        cases,
        ground=None if ground is None else task.classes[ground],
        best=listed.best,
        metric=known(task.image_metric or results.metric),
        has_attention=bool(layers),
        has_queries=any(layer.kind == "weights" for layer in layers),
        live=_live_words() if any(layer.live for layer in layers) else "",
    )
    return replace(gallery, legend=task.legend(gallery))


def _live_words() -> str:
    words = {key: TEXTS[key] for key in ("weights", "signed_weights")}
    return attention.to_json({"settings": attention.settings(), "words": words})


def _arrays(path: Path) -> dict[str, Array]:
    return read_arrays(path, _MOVED) if path.is_file() else {}


@dataclass(frozen=True)
class _Reader:
    """Turns the arrays of one image into a :class:`Case`."""

    number: int
    entry: ShownImage
    image: Array
    task: Task
    target: Any

    @property
    def name(self) -> str:
        return self.entry.name

    def case(self, ground: int | None) -> Case:
        case = Case(
            number=self.number,
            name=self.name,
            role=self.entry.role,
            photo=pictures.photo(self.image),
            alt=attribute("alt", "alt_photo", name=self.name),
            query=self._query(),
            gain="" if self.entry.gain is None else numbers.signed_percent(self.entry.gain),
            ground=ground,
            frame=self._frame(),
        )
        self.task.draw_truth(case, self.target)
        return case

    def answer(self, case: Case, index: int, arm: ArmResult, stored: Mapping[str, Array]) -> Answer:
        plain = not arm.mechanism or is_control(arm)
        answer = Answer(index, arm.name, plain=plain, attention=self._attention(arm, stored))
        predictions = gathered("predictions", stored)
        if predictions is not None:
            self.task.draw_answer(case, answer, self.target, taken(predictions, self.number))
        return answer

    def _frame(self) -> str:
        """The shape of what is shown, and how many times as high and wide the whole picture is, as CSS."""
        height, width = self.task.extent(self.image, self.target)
        down, across = self.image.shape[0] / height, self.image.shape[1] / width
        return f"--aspect:{width / height:.4f};--down:{down:.4f};--across:{across:.4f}"

    def _query(self) -> Box:
        """The query point; the middle of the image if none was chosen."""
        height, width = self.image.shape[:2]
        query = self.entry.query or (height // 2, width // 2)
        return Box(100 * (query[0] + 0.5) / height, 100 * (query[1] + 0.5) / width)

    def _attention(self, arm: ArmResult, stored: Mapping[str, Array]) -> list[Layer]:
        """One picture of each kind at most: that of the deepest place, but channel gates of all places."""
        order = {place: k for k, place in enumerate(arm.place)}
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
            layers.append(replace(self._weights(arm.name, place, weights), live=self._live(place, weights, stored)))
        if "gate|spatial" in by_kind:
            layers.append(self._spatial(arm.name, *by_kind["gate|spatial"][-1]))
        for kind in ("channel_weights", "strip_weights"):
            if kind in by_kind:
                layers.append(self._channels(kind, arm.name, *by_kind[kind][-1]))
        if "gate|channel" in by_kind:
            layers.append(self._strips(arm.name, by_kind["gate|channel"]))
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
        if (
            weights.min() < 0 or abs(float(weights.sum()) - 1) > 0.01
        ):  # not fractions of 1: dot products may have any sign
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
        """Attention of other query points, for the script; empty if it was not stored."""
        if f"{place}|grid" not in stored:
            return ""
        whole, scales = stored[f"{place}|grid"][self.number], stored[f"{place}|grid_scales"][self.number]
        size = [int(length) for length in stored[f"{place}|grid_of"][self.number]]
        query = self._query()
        at = int(query.top * size[0] / 100), int(query.left * size[1] / 100)
        return attention.to_json(attention.stored_weights(whole, scales, size, [(at, weights)]))

    def _spatial(self, arm: str, place: str, gate: Array) -> Layer:
        low, high = float(gate.min()), float(gate.max())
        caption = both("spatial_gate", low=f"{low:.2f}", high=f"{high:.2f}")
        return Layer(
            pictures.heat_overlay(gate, *gate_limits(low, high)),
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
        return Layer(
            pictures.heat_strip(rows, *gate_limits(low, high)), self._alt(arm, "kind_channel", places), caption, "strip"
        )
