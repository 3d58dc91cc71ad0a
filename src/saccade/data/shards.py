"""Shards in the format of WebDataset: tar archives whose files are read in place, as if they lay in a folder.

A sample is a row of files with one key, the name up to the first dot: ``0001.jpg`` and ``0001.cls``. Each archive is
listed once; the list is kept in the user's cache, so that later commands know the place of every file without reading
the archive. From then on a sample is read like one of a folder, in any order and by any process, and training,
resuming and counting are those of folders. Archives at an address (http, S3 and others) are fetched once.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tarfile
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from saccade.addresses import is_telling, state_of
from saccade.data.decoding import SUFFIXES
from saccade.data.layouts import Division, Item, divide
from saccade.data.members import Member, Shard
from saccade.data.names import TRAIN, VAL, shown, side_of_word
from saccade.data.reading import Reading
from saccade.data.shard_names import ADDRESS, END, text_of
from saccade.data.tree import Folder, LeftOut
from saccade.errors import InputError, require
from saccade.files import replacing

CACHE = "XDG_CACHE_HOME"
"""Environment variable of the folder for caches, where it is not ``~/.cache``."""

MASKS = ("mask", "masks", "seg", "segmentation", "label", "labels")
"""Ends of the names of masks, before that of the format: ``0001.seg.png``."""
LABELS = ("cls", "json")
"""Ends of the names of files that say the class, the first one first."""
KEYS = ("cls", "class", "label", "class_id", "class_name", "category")
"""Names in a JSON file that say the class, the first one first."""

_VERSION = 1  # raised when lists of archives change
_KEY = re.compile(r"((?:.*/)?[^/.]+)\.([^/]*)", re.DOTALL)
_TEXT_BYTES = 1 << 20  # of a file that says a class
_BLOCK = 512
_SHOWN = 3


class Sample(NamedTuple):
    """The files of a sample that are used, with their places in the archive.

    Args:
        key: The name that they share.
        image: Name, place and size of the image; None if there is none.
        mask: Likewise of the mask.
        label: What its class is said to be; None if nothing says it.
    """

    key: str
    image: tuple[str, int, int] | None
    mask: tuple[str, int, int] | None
    label: str | None


@dataclass(frozen=True)
class Listed:
    """A shard with its samples.

    Args:
        shard: The archive.
        side: Side that its name says; None if it says none.
        samples: Its samples, in order.
        others: Number of files in it that are not used.
    """

    shard: Shard
    side: str | None
    samples: tuple[Sample, ...]
    others: int


def list_shards(data: Path) -> list[Listed]:
    """List the samples of all shards.

    Args:
        data: A folder with archives, or their names as a path.

    Raises:
        InputError: An archive is missing, cannot be fetched, is damaged, or ends early.
    """
    names = _names(data)
    above = os.path.commonpath([os.path.dirname(name) for name in names]) if len(names) > 1 else None
    found = []
    with ThreadPoolExecutor(8) as pool:
        places = list(pool.map(_fetched, names))
    for number, (name, place) in enumerate(zip(names, places, strict=True)):
        inner = os.path.relpath(name, above) if above and not ADDRESS.match(name) else name.rsplit("/", 1)[-1]
        called = inner.replace(os.sep, "/")
        try:
            state = place.stat()
        except OSError as cause:
            raise InputError(
                f"{name}: no such shard ({cause.strerror or cause})", "give the names of shards that are there"
            ) from cause
        shard = Shard(place, called, number, state.st_mtime_ns)
        samples, others = _index(place, state.st_size, state.st_mtime_ns, name)
        found.append(Listed(shard, _side(called), samples, others))
    if len({one.shard.name for one in found}) < len(found):
        raise InputError(f"{text_of(data)}: a shard is listed twice", "list each once")
    return found


def image_of(data: Path, one: Listed, sample: Sample) -> Path:
    """Return the image of a sample as a path."""
    assert sample.image is not None
    return Member.of(data / one.shard.name, sample.image[0], one.shard, *sample.image[1:])


def mask_of(data: Path, one: Listed, sample: Sample) -> Path:
    """Return the mask of a sample as a path."""
    assert sample.mask is not None
    return Member.of(data / one.shard.name, sample.mask[0], one.shard, *sample.mask[1:])


def kinds_in(data: Path) -> dict[str, str]:
    """Return what the first sample has, ``"label"`` and ``"mask"``, each in words; quick, and never an error."""
    try:
        first = _names(data)[0]
        place = _fetched(first)
        state = place.stat()
        samples, _ = _index(place, state.st_size, state.st_mtime_ns, first)
    except (InputError, OSError, IndexError):  # said when all shards are listed
        return {"label": "a class for each image"}
    found = {}
    if any(sample.mask is not None for sample in samples[:1]):
        found["mask"] = "a mask for each image"
    if any(sample.label is not None for sample in samples[:1]) or not found:
        found["label"] = "a class for each image"
    return found


def divided(
    data: Path, listed: Sequence[Listed], items: Sequence[Sequence[Item]], reading: Reading,
    stratum: Callable[[Item], Hashable] = lambda item: 0,
) -> Division:  # fmt: skip
    """Divide samples by the sides that the names of their shards say, or as the reading says, in the order of shards.

    Args:
        data: The shards.
        listed: Their samples.
        items: Samples of each shard that are used.
        reading: How they are to be read.
        stratum: What is split evenly, such as the class.
    """
    found: dict[str | None, list[Item]] = {}
    for one, some in zip(listed, items, strict=True):
        side = one.side
        if reading.split_folders is not None:
            pairs = zip((TRAIN, VAL), reading.split_folders, strict=True)
            side = next((side for side, name in pairs if one.shard.name.startswith(name)), "")
        found.setdefault(side, []).extend(some)
    called = {side: f"{side} shards" for side in found if side}
    division = divide(found, Folder(data), reading, stratum, names=called)
    train, val = (tuple(sorted(some, key=lambda i: place_of(i.image))) for some in (division.train, division.val))
    return replace(division, train=train, val=val)


def left_out(listed: Sequence[Listed], division: Division, unused: Mapping[str, int]) -> tuple[LeftOut, ...]:
    """Give every file of the shards that is not used a reason.

    Args:
        listed: The shards.
        division: Images on both sides.
        unused: Samples that are on neither side by what they are, by reason.
    """
    rows = [LeftOut(reason, count, listed[0].shard.name) for reason, count in unused.items() if count]
    for reason in dict.fromkeys(division.left_out.values()):
        paths = [path for path, why in division.left_out.items() if why == reason]
        rows.append(LeftOut(reason, len(paths), shown(paths[0].name)))
    others = sum(one.others for one in listed)
    if others:
        first = next(one for one in listed if one.others)
        rows.append(LeftOut("neither image, class nor mask of a sample", others, first.shard.name))
    return tuple(sorted(rows, key=lambda row: (-row.count, row.reason)))


def refuse_incomplete(data: Path, listed: Sequence[Listed], what: str) -> None:
    """Refuse shards with a sample that lacks its image, its class or its mask.

    Args:
        data: The shards.
        listed: Their samples.
        what: ``"label"`` or ``"mask"``.

    Raises:
        InputError: Naming a few of the samples, with their shards.
    """
    words = {"image": "image", "label": "class (.cls or .json)", "mask": "mask (.seg.png or .mask.png)"}
    for part in ("image", what):
        missing = [(one, sample) for one in listed for sample in one.samples if getattr(sample, part) is None]
        if missing:
            said = "; ".join(f"{one.shard.name}: {shown(sample.key)}" for one, sample in missing[:_SHOWN])
            more = f"; and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
            total = sum(len(one.samples) for one in listed)
            raise InputError(
                f"{text_of(data)}: {len(missing)} of {total:,} samples have no {words[part]}: {said}{more}",
                "write these shards again; the files of a sample have one name up to the first dot, and follow each "
                "other",
            )


def class_list(data: Path) -> Path | None:
    """Return ``classes.txt`` next to the first shard; None if there is none."""
    first = _names(data)[0]
    path = Path(first).parent / "classes.txt"
    return path if not ADDRESS.match(first) and path.is_file() else None


def numbers_of(paths: Sequence[Path]) -> tuple[int, ...]:
    """Return the number of samples of each shard, where all paths are in shards and in their order; else nothing."""
    counts: list[int] = []
    last = -1
    for path in paths:
        if not isinstance(path, Member) or path.shard.number < last:
            return ()
        if path.shard.number > last:
            counts.append(0)
            last = path.shard.number
        counts[-1] += 1
    return tuple(counts)


def place_of(path: Path) -> tuple[int, int]:
    """Return shard and place of a file in it, by which samples are put back in their order."""
    assert isinstance(path, Member)
    return path.shard.number, path.offset


def _names(data: Path) -> list[str]:
    if data.is_dir():
        return sorted(str(path) for path in data.iterdir() if path.name.lower().endswith(END) and path.name[0] != ".")
    text = text_of(data)
    expand = require("webdataset.shardlists", extra="shards").expand_urls
    try:
        found: list[str] = expand(text)
    except Exception as cause:  # of an unbalanced brace
        raise InputError(f"{text}: not the names of shards ({cause})", "such as train-{000..127}.tar") from cause
    return found


def _side(name: str) -> str | None:
    """The side that a word of a name says, that of the file first."""
    folder, _, file = name[: -len(END)].rpartition("/")
    for part in (file, folder):
        said = [side for word in re.split(r"[\W\d_]+", part) if word and (side := side_of_word(word)) is not None]
        if said:
            return said[0]
    return None


def _cache() -> Path:
    return Path(os.environ.get(CACHE) or Path.home() / ".cache") / "saccade" / "shards"


_FETCHED: set[str] = set()  # by this process: what tells nothing but its size is fetched anew by another one


def _fetched(name: str) -> Path:
    """Return the file of a shard on this machine, which is fetched from an address unless it is there already."""
    if not ADDRESS.match(name):
        return Path(name)
    fsspec = require("fsspec", extra="shards")
    digest = hashlib.blake2b(name.encode(), digest_size=12).hexdigest()
    place = _cache() / digest / re.sub(r"[^\w.-]", "_", name.rsplit("/", 1)[-1].partition("?")[0])
    record = place.with_suffix(".json")
    try:
        system, path = fsspec.core.url_to_fs(name)
        state = state_of(system.info(path))
        same = place.exists() and record.exists() and json.loads(record.read_text(encoding="utf-8")) == state
        if same and (is_telling(state) or name in _FETCHED):
            return place
        with replacing(place) as temporary:
            system.get_file(path, str(temporary))
        with replacing(record) as temporary:
            temporary.write_text(json.dumps(state), encoding="utf-8")
        _FETCHED.add(name)
    except InputError:
        raise
    except Exception as cause:  # each kind of storage has errors of its own
        said = str(cause).strip().splitlines() or [type(cause).__name__]
        if isinstance(cause, FileNotFoundError):
            said = ["there is no such file"]
        raise InputError(
            f"{name}: the shard cannot be fetched ({said[0]})", "see whether the address is right"
        ) from cause
    return place


@lru_cache(maxsize=4096)
def _index(path: Path, size: int, mtime_ns: int, name: str) -> tuple[tuple[Sample, ...], int]:
    """The samples of an archive, from the cache if it has not changed since they were listed."""
    said = f"{_VERSION} {path.resolve()} {size} {mtime_ns}"
    kept = _cache() / "lists" / f"{hashlib.blake2b(said.encode(), digest_size=16).hexdigest()}.npz"
    try:
        with np.load(kept, allow_pickle=False) as stored:
            return _unpacked(stored)
    except Exception:  # absent or damaged: listed again
        samples, others = _list(path, size, name)
    try:
        with replacing(kept) as temporary, temporary.open("wb") as opened:
            np.savez(opened, allow_pickle=False, **_packed(samples, others))
    except InputError:  # a home that cannot be written only costs the time of listing it again
        pass
    return samples, others


def _packed(samples: Sequence[Sample], others: int) -> dict[str, Any]:
    rows = [[s.key, *((p[0] if p else "") for p in (s.image, s.mask)), s.label] for s in samples]
    places = [[*(p[1:] if p else (-1, -1))] for s in samples for p in (s.image, s.mask)]
    text = np.frombuffer(json.dumps(rows).encode(), dtype=np.uint8)
    return {"text": text, "places": np.array(places, dtype=np.int64).reshape(-1, 4), "others": np.array(others)}


def _unpacked(stored: Mapping[str, Any]) -> tuple[tuple[Sample, ...], int]:
    rows = json.loads(stored["text"].tobytes())
    samples = tuple(
        Sample(
            key,
            (image, at[0], at[1]) if at[1] >= 0 else None,
            (mask, at[2], at[3]) if at[3] >= 0 else None,
            label,
        )
        for (key, image, mask, label), at in zip(rows, stored["places"].tolist(), strict=True)
    )
    return samples, int(stored["others"])


def _list(path: Path, size: int, name: str) -> tuple[tuple[Sample, ...], int]:
    """Read the headers of an archive, and the files that say classes."""
    samples: list[Sample] = []
    seen: set[str] = set()
    files: dict[str, tuple[str, int, int]] = {}
    key, others = "", 0
    with path.open("rb") as file:

        def finish() -> None:
            nonlocal others
            if not files:
                return
            if key in seen:
                raise InputError(
                    f"{name}: the files of sample {shown(key)} do not follow each other",
                    "write the shard again, sorted by name",
                )
            seen.add(key)
            sample, unused = _sample(file, key, files, name)
            samples.append(sample)
            others += unused

        for member, offset, length in _members(file, size, name):
            found = _KEY.fullmatch(member)
            if found is None or member.rsplit("/", 1)[-1].startswith((".", "__")):
                others += 1
                continue
            if found[1] != key:
                finish()
                key, files = found[1], {}
            end = found[2].lower()
            if end in files:
                raise InputError(f"{name}: two files are called {shown(member)}", "write the shard again")
            files[end] = member, offset, length
        finish()
    return tuple(samples), others


def _members(file: Any, size: int, name: str) -> Iterator[tuple[str, int, int]]:
    """Name, place and size of each file of an archive.

    Raises:
        InputError: It is not an archive, is compressed, or ends early.
    """
    hint = "fetch or write this shard again"
    if size == 0:
        raise InputError(f"{name}: the shard is empty", hint)
    if file.read(2) == b"\x1f\x8b":
        raise InputError(f"{name}: the shard is compressed, so that nothing in it can be found", "unpack it: gunzip")
    file.seek(0)
    end = 0
    try:
        with tarfile.open(fileobj=file, mode="r:") as tar:
            for info in tar:
                tar.members = []  # type: ignore[attr-defined]  # else it keeps all of them
                if info.offset_data + (info.size if info.isreg() else 0) > size:
                    raise InputError(
                        f"{name}: the shard ends early: {shown(info.name)} would end at byte "
                        f"{info.offset_data + info.size:,} of {size:,}", hint,
                    )  # fmt: skip
                if info.sparse is not None:
                    raise InputError(f"{name}: {shown(info.name)} is stored with gaps", "write it without --sparse")
                if info.isreg():
                    yield info.name, info.offset_data, info.size
            end = tar.offset
    except tarfile.TarError as cause:
        raise InputError(f"{name}: the shard is damaged or ends early ({cause})", hint) from cause
    file.seek(end)
    mark = file.read(_BLOCK)
    if len(mark) < _BLOCK:
        raise InputError(f"{name}: the shard ends early, at byte {size:,}, without the mark of its end", hint)
    if mark.strip(b"\0"):
        raise InputError(f"{name}: the shard is damaged at byte {end:,}", hint)


def _sample(file: Any, key: str, files: Mapping[str, tuple[str, int, int]], name: str) -> tuple[Sample, int]:
    """The files of a sample by what they are, and the number of those that are not used."""
    masks = [end for end in files if end.partition(".")[0] in MASKS and f".{end.rpartition('.')[2]}" in SUFFIXES]
    images = [end for end in files if f".{end.rpartition('.')[2]}" in SUFFIXES and end not in masks]
    if len(images) > 1 or len(masks) > 1:
        several, what = (images, "images") if len(images) > 1 else (masks, "masks")
        raise InputError(
            f"{name}: sample {shown(key)} has {len(several)} {what}: {', '.join(f'.{end}' for end in several)}",
            "write the shard with one of each",
        )
    label, used = None, [*images, *masks]
    for end in LABELS:
        if end in files and label is None:
            label = _label(file, files[end], end, name)
            used += [end] if label is not None else []
    at = [files[some[0]] if some else None for some in (images, masks)]
    return Sample(key, at[0], at[1], label), len(files) - len(used)


def _label(file: Any, at: tuple[str, int, int], end: str, name: str) -> str | None:
    """The class that a file says; None if a JSON file says none.

    Raises:
        InputError: It cannot be read, or says something else than a number or a name.
    """
    member, offset, size = at
    here = file.tell()
    file.seek(offset)
    content = file.read(min(size, _TEXT_BYTES))
    file.seek(here)
    try:
        text = content.decode("utf-8-sig").strip()
        found = text if end == "cls" else _in_json(json.loads(text))
    except (ValueError, RecursionError) as cause:
        raise InputError(f"{name}: {shown(member)} cannot be read ({cause})", "write the shard again") from cause
    if found is None or (isinstance(found, (str, int)) and not isinstance(found, bool) and str(found)):
        return None if found is None else str(found)
    raise InputError(
        f"{name}: {shown(member)} says no class: expected a number or a name; received {found!r}",
        "write the shard again",
    )


def _in_json(content: Any) -> Any:
    if isinstance(content, Mapping):
        return next((content[key] for key in KEYS if key in content), None)
    return content if isinstance(content, (str, int)) else None
