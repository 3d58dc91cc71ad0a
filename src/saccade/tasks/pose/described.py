"""The joints of a data set: names, mirror pairs, sigmas, skeleton and halves, from whatever says them.

Mirror pairs are read off the names where nothing lists them: ``left_eye`` and ``right_eye``, ``l_hip`` and ``r_hip``,
``LKnee`` and ``RKnee``, ``paw-L`` and ``paw-R``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from saccade.errors import InputError, near, require
from saccade.tasks.pose.joints import (
    COCO_JOINTS,
    COCO_PAIRS,
    COCO_SIGMAS,
    COCO_UPPER,
    CROWDPOSE_JOINTS,
    CROWDPOSE_SIGMAS,
    Pairs,
    mirrored_order,
)
from saccade.tasks.pose.suppression import checked_sigmas
from saccade.tasks.pose.wholebody import PARTS

DEFAULT_SIGMA = 0.05
"""Standard deviation of an annotator where the data say none, as a fraction of the object's scale."""

_LOWER = re.compile(r"hip|thigh|knee|ankle|shin|leg|foot|feet|heel|toe|hock|stifle", re.IGNORECASE)
_HALF = 3  # joints of a half that is worth a crop of its own
_MOST_BYTES = 1_000_000


@dataclass(frozen=True)
class Joints:
    """The joints of one kind of object.

    Args:
        names: K names, in the order of the points.
        pairs: Pairs of indices that a mirror swaps; None where it is not known, so that nothing is mirrored.
        sigmas: K standard deviations of an annotator, as fractions of the object's scale.
        skeleton: Pairs of indices between which lines are drawn.
        upper: Indices of the joints of the upper half; empty where objects have no halves.
        pairs_from: Source of the pairs, in words.
        sigmas_from: Source of the sigmas, in words.
    """

    names: tuple[str, ...]
    pairs: tuple[tuple[int, int], ...] | None = None
    sigmas: tuple[float, ...] = ()
    skeleton: tuple[tuple[int, int], ...] = ()
    upper: tuple[int, ...] = ()
    pairs_from: str = ""
    sigmas_from: str = ""

    def facts(self) -> dict[str, Any]:
        """Return the plain values that a trained network keeps."""
        return {
            "pairs": None if self.pairs is None else [list(pair) for pair in self.pairs],
            "sigmas": list(self.sigmas),
            "skeleton": [list(line) for line in self.skeleton],
            "upper": list(self.upper),
        }

    def said(self) -> list[str]:
        """Return sentences on pairs and sigmas."""
        names = self.names
        lines = []
        if self.pairs is None:
            lines.append(f"no mirror pairs ({self.pairs_from}): images are not mirrored, --joints FILE lists them")
        elif not self.pairs:
            lines.append(f"no joint changes its name in a mirror ({self.pairs_from})")
        else:
            pairs = ", ".join(f"{names[one]} - {names[other]}" for one, other in self.pairs)
            lines.append(f"mirror pairs ({self.pairs_from}): {pairs}")
        each = sorted(set(self.sigmas))
        shown = f"all {each[0]:g}" if len(each) == 1 else ", ".join(f"{sigma:g}" for sigma in self.sigmas)
        lines.append(f"sigmas ({self.sigmas_from}): {shown}")
        return lines


def described(
    names: Sequence[str],
    *,
    pairs: Pairs | None = None,
    sigmas: Sequence[float] | None = None,
    skeleton: Sequence[Sequence[int]] = (),
    upper: Sequence[int] | None = None,
    where: str = "the data",
) -> Joints:
    """Return joints with what is not given filled in: known sets, then the names, then the stated default.

    Args:
        names: K names.
        pairs: Mirror pairs; None: read off the names.
        sigmas: K sigmas; None: those of COCO's or CrowdPose's joints, or :data:`DEFAULT_SIGMA`.
        skeleton: Pairs of indices.
        upper: Indices of the upper half; None: read off the names.
        where: Source in messages.

    Raises:
        InputError: A name twice, pairs that do not mirror, or sigmas that do not fit.
    """
    names = tuple(str(name) for name in names)
    count = len(names)
    twice = sorted({name for name in names if names.count(name) > 1})
    if not names or twice:
        what = f"{twice[0]!r} is there twice" if twice else "there is none"
        raise InputError(f"{where}: expected a name of its own for each joint; {what}", "rename the joints")
    known = next((one for one in KNOWN.values() if one.names == _plain(names)), None)
    found: tuple[tuple[int, int], ...] | None
    if pairs is not None:
        found, pairs_from = tuple((int(one), int(other)) for one, other in _checked(pairs, count, where)), where
    elif known is not None:
        found, pairs_from = known.pairs, "by their names"
    else:
        found, pairs_from = pairs_by_name(names)
    if sigmas is not None:
        given, sigmas_from = tuple(checked_sigmas(sigmas, count).tolist()), where
    elif known is not None:
        given, sigmas_from = known.sigmas, known.sigmas_from
    else:
        given, sigmas_from = (DEFAULT_SIGMA,) * count, "a default, as the data say none: judge by PCK as well"
    halves = tuple(upper) if upper is not None else known.upper if known is not None else _upper(names)
    if any(len(line) != 2 for line in skeleton):
        raise InputError(f"{where}: expected skeleton to be pairs of joints; received {str(skeleton)[:80]}")
    lines = tuple((int(one), int(other)) for one, other in skeleton)
    wrong = [index for line in lines for index in line if not 0 <= index < count]
    wrong += [index for index in halves if not 0 <= index < count]
    if wrong:
        raise InputError(f"{where}: joint {wrong[0]} of the skeleton or of a half: there are {count} joints, from 0")
    return Joints(names, found, given, lines, halves, pairs_from, sigmas_from)


def pairs_by_name(names: Sequence[str]) -> tuple[tuple[tuple[int, int], ...] | None, str]:
    """Return the mirror pairs that names tell, and why there are none where they do not tell them.

    Raises:
        InputError: A joint has two partners by its name.
    """
    places = {name: place for place, name in enumerate(names)}
    partners: dict[str, set[str]] = {name: set() for name in names}
    alone = []
    for name in names:
        others = {other for other in _mirrored_names(name) if other != name}
        there = others & places.keys()
        for other in there:
            partners[name].add(other)
            partners[other].add(name)
        if others and not there and _says_side(name):
            alone.append(name)
    for name, found in partners.items():
        if len(found) > 1:
            raise InputError(
                f"joints: by its name {name!r} would be mirrored to {' and to '.join(sorted(found))}",
                "list the pairs: --joints FILE",
            )
    alone = [name for name in alone if not partners[name]]
    if alone:
        return None, f"{alone[0]} says a side, and no joint is its other side"
    pairs = {tuple(sorted((places[name], places[other]))) for name, found in partners.items() for other in found}
    if not pairs:
        return None, "the names say no left and right"
    return tuple(sorted((one, other) for one, other in pairs)), "by their names"


_SWAPS = (("left", "right"), ("Left", "Right"), ("LEFT", "RIGHT"), ("左", "右"))


def _mirrored_names(name: str) -> set[str]:
    """Return the names that a joint could have on the other side."""
    found = set()
    for one, other in _SWAPS:
        for old, new in ((one, other), (other, one)):
            if old in name:
                found.add(name.replace(old, new, 1))
    for old, new in (("l", "r"), ("r", "l"), ("L", "R"), ("R", "L")):
        upper = old.isupper()
        ends = r"(?=[\W_]|$)"
        patterns = [rf"(?:(?<=^)|(?<=[\W_])){old}{ends}", rf"(?<=^){old}(?=[A-Z])"]
        patterns += [rf"(?<=^){old}(?=\d)", rf"(?<=[a-z0-9]){old}{ends}"] if upper else []
        for pattern in patterns:
            found.update(name[: match.start()] + new + name[match.end() :] for match in re.finditer(pattern, name))
    return found


def _says_side(name: str) -> bool:
    """Return True for a name with a whole word of a side."""
    return re.search(r"left|right|左|右", name, re.IGNORECASE) is not None and not re.search("bright|upright", name)


def pairs_of_order(order: Any, where: str) -> tuple[tuple[int, int], ...]:
    """Return the pairs of a list of partners, such as the ``flip_idx`` of a YOLO file.

    Raises:
        InputError: It is not a list of whole numbers, or mirroring twice would not give the joints back.
    """
    try:
        partners = [int(str(one)) for one in order]
    except (TypeError, ValueError) as cause:
        raise InputError(f"{where}: expected a list of whole numbers; received {str(order)[:80]}") from cause
    for place, partner in enumerate(partners):
        if not 0 <= partner < len(partners) or partners[partner] != place:
            raise InputError(
                f"{where}: joint {place} is mirrored to {partner}, and that one not back: mirroring twice must give "
                "every joint back",
                "write at each joint the index of its mirror image, its own on the axis",
            )
    return tuple((place, partner) for place, partner in enumerate(partners) if place < partner)


def given_joints(given: str, data: Joints | None) -> Joints:
    """Return the joints that ``--joints`` asks for: a known set, or a file that adds to what the data say.

    A file (JSON or YAML) has any of ``names``, ``pairs`` (of names or indices) or ``flip_idx``, ``sigmas``,
    ``skeleton`` and ``upper``.

    Args:
        given: Name of a known set, or path.
        data: Joints of the data; None where they say no names.

    Raises:
        InputError: An unknown name, a file that cannot be read, or what does not fit the data.
    """
    if given in KNOWN:
        known = KNOWN[given]
        if given in PARTS:
            return known
        if data is not None and len(data.names) != len(known.names):
            raise InputError(
                f"--joints {given}: these are {len(known.names)} joints, and the data have {len(data.names)}",
                "leave it out, or describe them in a file",
            )
        return known if data is None or not data.skeleton else replace(known, skeleton=data.skeleton)
    path = Path(given)
    content = _content(path)
    unknown = sorted(set(content) - {"names", "pairs", "flip_idx", "sigmas", "skeleton", "upper"})
    if unknown:
        raise InputError(
            f"--joints {path}: unknown key {unknown[0]!r}",
            near(unknown[0], ("names", "pairs", "flip_idx", "sigmas", "skeleton", "upper")),
        )
    names = content.get("names") or (data.names if data is not None else None)
    if not isinstance(names, (list, tuple)):
        raise InputError(f"--joints {path}: expected names, a list", "the data name no joints")
    if data is not None and len(names) != len(data.names):
        raise InputError(f"--joints {path}: {len(names)} names, and the data have {len(data.names)} joints")
    names = [str(name) for name in names]
    pairs: Pairs | None = None
    if "pairs" in content:
        pairs = [_indices(pair, names, path) for pair in _rows(content, "pairs", path)]
    if "flip_idx" in content:
        pairs = pairs_of_order(content["flip_idx"], f"{path}, flip_idx")
    skeleton = [_indices(line, names, path) for line in _rows(content, "skeleton", path)]
    upper = _indices(content["upper"], names, path) if "upper" in content else None
    base = described(
        names, pairs=pairs, sigmas=numbers(content.get("sigmas"), f"{path}, sigmas"), skeleton=skeleton, upper=upper,
        where=path.name,
    )  # fmt: skip
    if data is None:
        return base
    kept: dict[str, Any] = {}
    if pairs is None and data.pairs is not None:
        kept |= {"pairs": data.pairs, "pairs_from": data.pairs_from}
    if content.get("sigmas") is None and data.sigmas:
        kept |= {"sigmas": data.sigmas, "sigmas_from": data.sigmas_from}
    if not skeleton:
        kept["skeleton"] = data.skeleton
    return replace(base, **kept)


def numbers(given: Any, where: str) -> list[float] | None:
    """Return a list of numbers of a file, which may have been read as text; None stays None.

    Raises:
        InputError: It is something else.
    """
    if given is None:
        return None
    try:
        if isinstance(given, (str, Mapping)):
            raise TypeError("not a list")
        return [float(one) for one in given]
    except (TypeError, ValueError, OverflowError) as cause:
        raise InputError(f"{where}: expected a list of numbers; received {str(given)[:80]}") from cause


def _checked(pairs: Pairs, count: int, where: str) -> Pairs:
    try:
        mirrored_order(pairs, count)
    except InputError as problem:
        raise InputError(f"{where}: {problem.message}", problem.hint) from problem
    return pairs


def _content(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise InputError(f"--joints {path}: larger than 1 MB; expected a description of joints")
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix.lower() in (".yaml", ".yml"):
            yaml: Any = require("yaml", extra="train")
            content = yaml.safe_load(text)
        else:
            content = json.loads(text)
    except InputError:
        raise
    except OSError as cause:
        raise InputError(
            f"--joints {path}: cannot be read ({cause.strerror or cause})",
            f"give a file, or one of {', '.join(KNOWN)}",
        ) from cause
    except Exception as cause:  # whatever a parser says of a damaged file
        raise InputError(f"--joints {path}: neither JSON nor YAML ({str(cause)[:120]})") from cause
    if not isinstance(content, dict):
        raise InputError(f"--joints {path}: expected names, pairs, sigmas, ...; received {type(content).__name__}")
    return content


def _rows(content: Mapping[str, Any], key: str, path: Path) -> list[Any]:
    rows = content.get(key) or []
    if not isinstance(rows, list):
        raise InputError(f"--joints {path}: expected {key} to be a list; received {str(rows)[:80]}")
    return rows


def _indices(given: Any, names: Sequence[str], path: Path) -> list[int]:
    found = []
    for one in given if isinstance(given, list) else [given]:
        if isinstance(one, int) and not isinstance(one, bool):
            found.append(one)
        elif one in names:
            found.append(list(names).index(one))
        else:
            raise InputError(f"--joints {path}: {one!r} is not a joint", near(str(one), names))
    return found


def _plain(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(re.sub(r"[\s-]+", "_", name.strip().lower()) for name in names)


def _upper(names: Sequence[str]) -> tuple[int, ...]:
    """Return the joints that are not of hips, legs and feet, where both halves have three joints."""
    upper = tuple(place for place, name in enumerate(names) if not _LOWER.search(name))
    return upper if len(upper) >= _HALF and len(names) - len(upper) >= _HALF else ()


KNOWN: Mapping[str, Joints] = {
    "coco": Joints(
        COCO_JOINTS, COCO_PAIRS, COCO_SIGMAS,
        tuple(
            (one - 1, other - 1)
            for one, other in (
                (16, 14), (14, 12), (17, 15), (15, 13), (12, 13), (6, 12), (7, 13), (6, 7), (6, 8), (7, 9), (8, 10),
                (9, 11), (2, 3), (1, 2), (1, 3), (2, 4), (3, 5), (4, 6), (5, 7),
            )
        ),
        COCO_UPPER, "by their names", "COCO's",
    ),
    "crowdpose": Joints(
        CROWDPOSE_JOINTS, tuple((left, left + 1) for left in range(0, 12, 2)), CROWDPOSE_SIGMAS,
        ((12, 13), (13, 0), (13, 1), (0, 2), (2, 4), (1, 3), (3, 5), (13, 7), (13, 6), (7, 9), (9, 11), (6, 8),
         (8, 10)),
        (0, 1, 2, 3, 4, 5, 12, 13), "by their names", "CrowdPose's",
    ),
    **{
        name: Joints(
            part.names, part.pairs, part.sigmas, upper=COCO_UPPER if len(part.names) > 100 else (),
            pairs_from="COCO-WholeBody's" if part.pairs is not None else "its mirror image is that of the other hand",
            sigmas_from="COCO-WholeBody's",
        )
        for name, part in PARTS.items()
    },
}  # fmt: skip
"""Known sets of joints by name."""
