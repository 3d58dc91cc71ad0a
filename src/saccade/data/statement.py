"""The statement of what a folder was read as: said before any work, and kept with its results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from saccade import schema
from saccade.data.tree import LeftOut

_CLASSES, _REASONS = 12, 6  # shown of each


@dataclass(frozen=True, kw_only=True)
class Statement:
    """What a folder was read as.

    Args:
        note: The layout, in a sentence.
        layout: Name of the layout.
        split: Where the sides come from, in words.
        classes: Names of the classes in order; empty where only the files themselves tell.
        counts: Training and validation images of each class, by its name; empty where images have no class.
        train: Number of training images.
        val: Number of validation images.
        values: Range and depth of the values of images and masks, in sentences.
        left_out: Files that are not used, with the reasons.
        called: Word for what `classes` names.
    """

    note: str
    layout: str = ""
    split: str = ""
    classes: tuple[str, ...] = ()
    counts: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    train: int = 0
    val: int = 0
    values: tuple[str, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    called: str = "classes"

    def of(self, note: str, classes: Sequence[str], values: Sequence[str] = ()) -> Statement:
        """Return the same with what only the files themselves told."""
        return replace(self, note=note, classes=tuple(classes), values=(*self.values, *values))

    def lines(self) -> list[str]:
        """Return it as lines of text, about ten however many classes there are."""
        said = [self.note]
        if self.counts:
            pairs = [f"{name} {train:,} + {val:,}" for name, (train, val) in self.counts.items()]
            said.append(f"  {self.called} (training + validation): {_some(pairs, _CLASSES)}")
        elif self.classes:
            said.append(f"  {self.called}: {_some(self.classes, _CLASSES)}")
        if self.split and self.split not in self.note:
            said.append(f"  split: {self.split}")
        said += [f"  {line}" for line in self.values]
        said += [f"  {row}" for row in self.left_out[:_REASONS]]
        more = len(self.left_out) - _REASONS
        return said + ([f"  and {more} more reasons: saccade data check --json lists all"] if more > 0 else [])

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        found: dict[str, Any] = schema.to_json(self)
        return found

    def __str__(self) -> str:
        return "\n".join(self.lines())


def _some(words: Sequence[str], most: int) -> str:
    more = f" and {len(words) - most} more" if len(words) > most else ""
    return ", ".join(words[:most]) + more
