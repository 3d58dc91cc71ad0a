"""The meaning of what masks store: from a survey of a data set to a class for every value, or to a question.

The rules, in short. Masks of class numbers mean these, and 255 is ignored. Masks that hold two values, such as 0 and
255, have two classes. Grey levels that are evenly spread, such as 0, 127 and 255, are classes in that order. Colours
need a list of classes. Everything else is an error that says what was seen and what to do.

A few masks that do not fit the others are named one by one where they are read, and training does not begin.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saccade.data import IGNORE
from saccade.data.decoding import UnreadableError
from saccade.errors import InputError
from saccade.tasks.segmentation.classes import ClassList
from saccade.tasks.segmentation.stored import StoredMask
from saccade.tasks.segmentation.survey import Colour, Survey, Tally, packed, unpacked

Ignore = int | str | None
"""Value of a mask that is ignored; several, as ``"0,255"``; ``"none"``; or None, where the masks are to say."""

NONE = "none"

_SHOWN = 8
_MOST_LEVELS = 16
_HALF_LISTED = "write classes.txt with a line 'NAME R G B' for each of them, next to images/ and masks/"


@dataclass(frozen=True)
class Meaning:
    """Reader of the masks of one data set.

    Args:
        names: Names of the classes, in order.
        values: Stored value to class index; 255 where it is ignored.
        colours: Colour to class index, likewise; empty without a list of colours.
        alpha: True if the opacity of pixels is the mask.
        notes: The same as sentences.
        listed: True if a list names the classes.
        odd: Masks that do not fit the list or the others, each with one value or colour that does not.
    """

    names: tuple[str, ...]
    values: Mapping[int, int]
    colours: Mapping[Colour, int] = field(default_factory=dict)
    alpha: bool = False
    notes: tuple[str, ...] = ()
    listed: bool = False
    odd: tuple[Path, ...] = ()

    def classes(self, mask: StoredMask) -> NDArray[np.uint8]:
        """Return class indices (H, W) uint8, 255 = ignored.

        Raises:
            UnreadableError: A value or a colour that has no meaning; the first such pixel is named.
        """
        if self.alpha:
            return self._by_value(np.full(mask.size, 255, np.uint8) if mask.alpha is None else mask.alpha)
        mask = _in_colours(mask, self.colours)
        if all(len(set(colour)) == 1 for colour in self.colours):  # grey, whether it is stored as grey or as colours
            mask = mask.in_grey()
        if mask.colours is not None and self.colours:
            return self._by_colour(mask.colours)
        mask = mask.in_grey()
        if mask.values is None:
            raise UnreadableError("it is a colour mask, and no classes.txt lists 'name R G B' for every class")
        return self._by_value(mask.values)

    def to_json(self) -> dict[str, Any]:
        """Return plain values from which :func:`from_json` makes the same reader; empty for plain class numbers."""
        if not (self.alpha or self.colours) and self.values == plain_values(len(self.names)):
            return {}
        colours = [[*colour, index] for colour, index in self.colours.items()]
        values = [[value, index] for value, index in self.values.items()]
        return {"values": values, "colours": colours, "alpha": self.alpha}

    def _by_value(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        top = max(self.values, default=0) + 1
        table = np.full(top + 1, -1, dtype=np.int16)  # the last entry stands for all larger values
        for value, index in self.values.items():
            table[value] = index
        found = table[np.where((values >= 0) & (values < top), values, top)]
        wrong = found < 0
        if wrong.any():
            y, x = _first(wrong)
            raise UnreadableError(f"class {values[y, x]} at pixel y={y}, x={x}, but {self._known()}")
        return found.astype(np.uint8)

    def _by_colour(self, colours: NDArray[np.uint8]) -> NDArray[np.uint8]:
        keys = packed(colours)
        known = np.array(sorted(packed_of(colour) for colour in self.colours))
        indices = np.array([self.colours[unpacked(int(key))] for key in known], dtype=np.uint8)
        place = np.searchsorted(known, keys).clip(max=len(known) - 1)
        wrong = known[place] != keys
        if wrong.any():
            y, x = _first(wrong)
            colour = tuple(int(part) for part in colours[y, x])
            raise UnreadableError(f"colour {colour} at pixel y={y}, x={x} is not in classes.txt")
        found: NDArray[np.uint8] = indices[place]
        return found

    def _known(self) -> str:
        classes = [value for value, index in self.values.items() if index != IGNORE]
        ignored = [value for value, index in self.values.items() if index == IGNORE]
        said = f"classes.txt lists {len(self.names)} classes, " if self.listed else "classes are "
        said += _spans(classes)
        return said + (f", and {_spans(ignored)} is ignored" if ignored else "")


def from_json(written: Mapping[str, Any], names: Sequence[str]) -> Meaning:
    """Make the reader that :meth:`Meaning.to_json` described."""
    if not written:
        return Meaning(tuple(names), plain_values(len(names)))
    colours = {(r, g, b): index for r, g, b, index in written["colours"]}
    return Meaning(tuple(names), dict(written["values"]), colours, alpha=written["alpha"])


def plain_values(count: int) -> dict[int, int]:
    """Return the meaning of plain class numbers: each its own, and 255 ignored."""
    return {index: index for index in range(count)} | {IGNORE: IGNORE}


def decide(found: Survey, known: ClassList | None, ignore: Ignore, *, where: str, whole: bool = True) -> Meaning:
    """Decide what the masks of a data set mean.

    Args:
        found: What they store.
        known: The list of classes; None without one.
        ignore: Value that is ignored, ``"none"``, or None to recognise it.
        where: The data in messages.
        whole: False if the survey is of a sample, so that a class may be missing from it by chance.

    Raises:
        InputError: The meaning cannot be told, or there is only one class; the message says what was seen, and the hint
            what to do.
    """
    asked = _Question(found, known, ignore, where, whole)
    meaning = asked.answer()
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(found.kinds.items(), key=lambda one: -one[1]))
    note = f"masks: {kinds}{'' if whole else ' (a sample)'}; {'; '.join(meaning.notes)}"
    return replace(meaning, notes=(note,), listed=known is not None)  # fmt: skip


@dataclass(frozen=True)
class _Question:
    found: Survey
    known: ClassList | None
    ignore: Ignore
    where: str
    whole: bool

    def answer(self) -> Meaning:
        found, colours = self.found, self.known.colours if self.known else {}
        if found.alpha is not None:
            meaning = self._of_values(found.alpha)
            note = "the opacity of pixels is the mask, their colour is the same everywhere"
            return Meaning(meaning.names, meaning.values, {}, True, (note, *meaning.notes))
        if colours:
            return self._of_colours(colours)
        if self._many(found.coloured):
            raise self._unlisted(found.colour)
        self._check_palettes()
        self._refuse_two_scales()
        meaning = self._of_values(found.grey)
        return replace(meaning, odd=(*meaning.odd, *found.coloured))

    def _many(self, masks: Iterable[Path]) -> bool:
        """Return True if masks are the rule in a data set, or half of it, rather than exceptions."""
        return 2 * len(set(masks)) >= max(2, self.found.masks)

    def _with(self, values: Iterable[int], *, coloured: bool = False) -> list[Path]:
        """Return the masks that hold one of some values, or of some colours."""
        wanted = set(values)
        held, colour = self.found.held, self.found.coloured
        return [path for path, there in held.items() if (path in colour) == coloured and there & wanted]

    # ---------------------------------------------------------------- colours

    def _of_colours(self, colours: Mapping[Colour, int]) -> Meaning:
        assert self.known is not None
        grey = {colour[0]: index for colour, index in colours.items() if len(set(colour)) == 1}
        by_value = grey if len(grey) == len(colours) else {index: index for index in range(len(self.known.names))}
        if self.ignore is None:
            by_value.setdefault(IGNORE, IGNORE)
        by_value |= dict.fromkeys(ignored_values(self.ignore), IGNORE)
        unknown = [key for key in self.found.colour.values if unpacked(key) not in colours]
        odd = self._with(unknown, coloured=True)
        if self._many(odd):
            edges = self.found.colour.edges(known_odd=True)
            if len(set(unknown) & set(edges)) * 2 > len(unknown):
                raise self._smoothed(self.found.colour, edges, lambda key: str(unpacked(key)))
            said = ", ".join(f"{unpacked(key)} in {self.found.colour.example[key].name}" for key in unknown[:_SHOWN])
            raise InputError(
                f"{self.where}: masks hold {_count(len(unknown), 'colour')} that classes.txt does not list: {said}",
                "add them, each as 'NAME R G B', or as 'ignore R G B' if they are not classes",
            )
        note = f"{_count(len(self.known.names), 'class', 'classes')} by the colours of the list"
        if len(grey) == len(colours) and self.found.grey.pixels:
            outside = [value for value in self.found.grey.values if value not in by_value]
            misfit = self._with(outside) if not self.found.palettes else []
            odd += misfit
            if self._many(misfit):
                edges = self.found.grey.edges()
                if edges:
                    raise self._smoothed(self.found.grey, edges, str)
                raise InputError(
                    f"{self.where}: masks hold grey {_spans(outside)}, which classes.txt does not list",
                    "add a line 'NAME V V V' for each value V",
                )
        return Meaning(self.known.names, by_value, colours, False, (note,), odd=tuple(odd))

    def _unlisted(self, tally: Tally) -> InputError:
        edges = tally.edges()
        if edges:
            return self._smoothed(tally, edges, lambda key: str(unpacked(key)))
        if len(tally.pixels) > IGNORE:
            return InputError(
                f"{self.where}: masks hold {len(tally.pixels):,} different colours, such as "
                f"{next(iter(tally.example.values())).name}: photographs rather than masks",
                "a mask has one number or colour per class",
            )
        seen = sorted(tally.values, key=lambda key: -tally.pixels[key])
        lines = ", ".join(str(unpacked(key)) for key in seen[:_SHOWN]) + (" ..." if len(seen) > _SHOWN else "")
        what = f"classes.txt lists names without colours, and masks hold {len(seen)} colours: {lines}"
        if self.known is None:
            what = f"masks hold {len(seen)} colours, and no list says which class each one is: {lines}"
        return InputError(
            f"{self.where}: {what}",
            f"{_HALF_LISTED}; for an export of CVAT, Roboflow or another tool, `saccade data import` does",
        )

    def _check_palettes(self) -> None:
        for place, colours in sorted(self.found.palettes.items()):
            if len(colours) > 1:
                (one, first), (other, second) = list(colours.items())[:2]
                raise InputError(
                    f"{self.where}: the palettes of masks differ: number {place} is {one} in {first.name} and {other} "
                    f"in {second.name}, so it is unclear whether numbers or colours say the class",
                    f"if colours do, {_HALF_LISTED}; if numbers do, save masks as grey PNG",
                )

    # ---------------------------------------------------------------- values

    def _refuse_two_scales(self) -> None:
        """Ask about 255 where some masks hold 0 and 255 alone, and others class numbers without any 255."""
        grey = {path: held for path, held in self.found.held.items() if path not in self.found.coloured}
        white = [path for path, held in grey.items() if held == {0, IGNORE}]
        numbered = [path for path, held in grey.items() if any(0 < value < IGNORE for value in held)]
        if self.ignore is not None or not white or not numbered or any(IGNORE in grey[path] for path in numbered):
            return
        raise self._refuse(
            f"{_count(len(white), 'mask')} of {len(grey)} hold only 0 and 255 ({white[0].name}), and others class "
            f"numbers without 255 ({numbered[0].name}): there 255 may be a class, or what is ignored",
            "if it is ignored, say so: --ignore 255; if it is class 1, save all masks alike, as class numbers",
        )

    def _of_values(self, tally: Tally) -> Meaning:
        values, ignored = list(tally.values), self._explicit()
        kept = [value for value in values if value not in ignored]
        if len(kept) < 2 and not (self.known is not None and not self.whole):
            raise self._one_class(values, ignored)
        if any(value < 0 for value in kept):
            raise self._refuse(f"masks hold values below 0: {_spans(values)}", "classes are numbered from 0")
        if self.known is not None:
            return self._listed(tally, kept, ignored)
        return self._unnamed(tally, kept, ignored)

    def _explicit(self) -> list[int]:
        """Return what the option says is ignored."""
        return ignored_values(self.ignore)

    def _listed(self, tally: Tally, kept: list[int], ignored: list[int]) -> Meaning:
        assert self.known is not None
        names = self.known.names
        count, automatic = len(names), self.ignore is None
        inside = [value for value in kept if value < count or (automatic and value == IGNORE)]
        two_levels = kept == [0, IGNORE] and automatic
        if ignored == [0] and kept and max(kept) == count:
            return self._made(names, {value: value - 1 for value in range(1, count + 1)}, ignored, "numbered from 1")
        if inside == kept and not (two_levels and self.whole) and not (two_levels and count == 2):
            also = [IGNORE] if automatic else ignored
            return self._made(names, {value: value for value in range(count)}, also, "class numbers")
        if len(kept) == count and (count == 2 or _evenly_spread(kept)):
            return self._made(names, _in_order(kept), ignored, self._levels(kept))
        if two_levels:
            raise self._refuse(
                f"masks hold only 0 and 255, and the list has {count} classes",
                "255 is ignored unless there are two classes: list the two, or save masks of class numbers",
            )
        edges = tally.edges(known_odd=True)
        if edges:
            raise self._smoothed(tally, edges, str)
        outside = [value for value in kept if value not in inside]
        odd = self._with(outside)
        if odd and not self._many(odd) and sum(value < count for value in kept) >= 2:
            also = [IGNORE] if automatic else ignored
            meaning = self._made(names, {value: value for value in range(count)}, also, "class numbers")
            return replace(meaning, odd=tuple(odd))
        few = ", ".join(f"{value} in {tally.example[value].name}" for value in outside[:3])
        advice = "give the list all classes, or say which value is ignored: --ignore VALUE"
        if kept and max(kept) == count:
            advice = "if masks are numbered from 1, list a first class for 0, such as 'background', or take --ignore 0"
        if len(kept) > 1 and max(kept) > IGNORE:
            advice = "numbers of single objects must become numbers of classes; " + advice
        raise self._refuse(
            f"the list has {count} classes, 0 to {count - 1}, and masks hold {_spans(kept)} ({few})",
            advice,
        )

    def _unnamed(self, tally: Tally, kept: list[int], ignored: list[int]) -> Meaning:
        automatic = self.ignore is None
        if len(kept) == 2 and not (ignored and kept[1] == IGNORE and kept[0] != 0):
            if automatic and kept[1] == IGNORE and kept[0] != 0:
                raise self._refuse(
                    f"masks hold only {kept[0]} and 255, and 255 may be a class or what is ignored",
                    "say which: --ignore none makes it a class, --ignore 255 does not",
                )
            return self._made(tuple(map(str, kept)), _in_order(kept), ignored, self._levels(kept))
        edges = tally.edges()
        if edges:
            raise self._smoothed(tally, edges, str)
        if _evenly_spread(sorted({*kept, *ignored})):
            return self._made(tuple(map(str, kept)), _in_order(kept), ignored, self._levels(kept))
        if ignored and IGNORE in kept:
            raise self._refuse(
                f"masks hold {_spans(kept)} besides what is ignored, and 255 may be a class or ignored too",
                f"ignore both, --ignore {','.join(map(str, (*ignored, IGNORE)))}, or list the classes in classes.txt",
            )
        numbers, also = kept, list(ignored)
        if automatic and IGNORE in kept:
            numbers, also = [value for value in kept if value != IGNORE], [IGNORE]
        top = max(numbers)
        if top >= IGNORE and not (self.ignore == NONE and top == IGNORE):
            raise self._refuse(
                f"masks hold values up to {top:,} ({len(numbers):,} different), such as in {tally.example[top].name}",
                "at most 255 classes are possible; numbers of single objects (instances) must become those of classes",
            )
        if self.ignore == NONE and top == IGNORE:  # 255 is a class after all the others
            rest = [value for value in numbers if value != IGNORE]
            if _dense(rest):
                order = [*range(max(rest) + 1), IGNORE]
                return self._made(tuple(map(str, order)), _in_order(order), [], "class numbers, and 255 is one too")
        if not _dense(numbers):
            edges = tally.edges(known_odd=True)
            if edges:
                raise self._smoothed(tally, edges, str)
            raise self._refuse(
                f"masks hold {len(numbers)} values that do not follow each other: {_spans(numbers)}",
                "if they are grey levels that stand for classes, write classes.txt with a line 'NAME V V V' for each "
                f"value V; if they are class numbers, write classes.txt with a line for each class, 0 to {top}",
            )
        order = [value for value in range(top + 1) if value not in also]
        return self._made(tuple(map(str, order)), _in_order(order), also, "class numbers")

    def _made(self, names: tuple[str, ...], values: dict[int, int], ignored: Sequence[int], how: str) -> Meaning:
        ignored = [value for value in ignored if value not in values]
        if self.ignore is None and IGNORE not in values and IGNORE not in ignored:
            ignored.append(IGNORE)
        meant = values | dict.fromkeys(ignored, IGNORE)
        note = f"values are {how}" + (f", and {_spans(ignored)} is ignored" if ignored else "")
        there = (self.found.alpha or self.found.grey).pixels.keys()
        if not there & set(ignored):
            note = f"values are {how}"
        if self.ignore is not None and set(ignored) - there:
            note += f" (no mask{'' if self.whole else ' of them'} holds {_spans(set(ignored) - there)})"
        return Meaning(names, meant, {}, False, (note,))

    def _levels(self, kept: Sequence[int]) -> str:
        return f"{' and '.join(map(str, kept)) if len(kept) == 2 else ', '.join(map(str, kept))}, one class each"

    # ---------------------------------------------------------------- refusals

    def _one_class(self, values: Sequence[int], ignored: Sequence[int]) -> InputError:
        what = f"class {values[0]}" if len(values) - len(ignored) == 1 and not ignored else "no class at all"
        if ignored and len(values) > len(ignored):
            what = f"only {_spans([value for value in values if value not in ignored])} but for what is ignored"
        elif list(values) == [IGNORE]:
            what = "no class at all, but 255 everywhere"
        elif len(values) == 1:
            what = f"class {values[0]}, everywhere"
        return self._refuse(
            f"only one class: the masks hold {what}; segmentation needs at least two",
            "masks hold 0 for the first class, 1 for the second, and so on; or 0 and 255 for two classes",
        )

    def _smoothed(self, tally: Tally, edges: Sequence[int], said: Callable[[int], str]) -> InputError:
        hard = sorted((value for value in tally.values if value not in set(edges)), key=lambda v: -tally.pixels[v])
        fraction = sum(tally.pixels[value] for value in edges) / sum(tally.pixels.values())
        example = tally.example[max(edges, key=lambda value: tally.pixels[value])].name
        shown = ", ".join(said(value) for value in hard[:_SHOWN]) + (" ..." if len(hard) > _SHOWN else "")
        return InputError(
            f"{self.where}: masks are smoothed at the edges of regions: {len(edges)} values are on edges only "
            f"({fraction:.1%} of the pixels, {example}), between {shown}",
            "they were resized by interpolation, drawn with smooth edges, or saved as JPEG: resize them by the nearest "
            "neighbour, or set each pixel to the nearest of the true values; if those values are classes, list them "
            "all in classes.txt",
        )

    def _refuse(self, message: str, hint: str | None) -> InputError:
        return InputError(f"{self.where}: {message}", hint)


def ignored_values(ignore: Ignore) -> list[int]:
    """Return the values that the option ``--ignore`` names."""
    return [] if ignore is None or ignore == NONE else [int(value) for value in str(ignore).split(",")]


def packed_of(colour: Colour) -> int:
    """Return a colour as one number."""
    return colour[0] << 16 | colour[1] << 8 | colour[2]


def _in_colours(mask: StoredMask, colours: Mapping[Colour, int]) -> StoredMask:
    """Return a palette mask in colours, if the list names the colour of every place that it uses."""
    if not colours or mask.palette is None or mask.values is None:
        return mask
    used = np.unique(mask.values)
    if used.max() >= len(mask.palette):
        return mask
    there = {tuple(int(part) for part in mask.palette[place]) for place in used}
    if not there <= set(colours):
        return mask
    return StoredMask(mask.kind, colours=mask.palette[mask.values], alpha=mask.alpha)


def _in_order(values: Sequence[int]) -> dict[int, int]:
    return {value: index for index, value in enumerate(values)}


def _evenly_spread(values: Sequence[int]) -> bool:
    """Return True for grey levels from 0 to white at equal steps, up to rounding."""
    top = next((white for white in (255, 65535) if white - 3 <= values[-1] <= white), None) or (
        256 if values[-1] == 256 else None
    )
    if top is None or values[0] != 0 or not 3 <= len(values) <= _MOST_LEVELS:
        return False
    step = values[-1] / (len(values) - 1)
    return all(abs(value - index * step) <= 2 for index, value in enumerate(values))


def _dense(values: Sequence[int]) -> bool:
    """Return True if numbers are those of classes, of which at most half, or eight, never occur."""
    return max(values) + 1 <= max(2 * len(values), len(values) + 8)


def _spans(values: Iterable[int]) -> str:
    """Say numbers in order, neighbours as ``3 to 7``."""
    spans: list[list[int]] = []
    for value in sorted(values):
        if spans and value == spans[-1][1] + 1:
            spans[-1][1] = value
        else:
            spans.append([value, value])
    said = [str(a) if a == b else f"{a}, {b}" if b == a + 1 else f"{a} to {b}" for a, b in spans]
    return ", ".join(said[:_SHOWN]) + (f" and {len(said) - _SHOWN} more" if len(said) > _SHOWN else "")


def _count(number: int, one: str, several: str | None = None) -> str:
    return f"{number} {one if number == 1 else several or one + 's'}"


def _first(wrong: NDArray[np.bool_]) -> tuple[int, int]:
    y, x = np.unravel_index(wrong.argmax(), wrong.shape)
    return int(y), int(x)
