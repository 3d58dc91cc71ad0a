"""One look at everything below a folder: what is in it, and what of it was not used and why."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from saccade.data.images import SUFFIXES
from saccade.data.names import Role, role_of, shown
from saccade.files import LOCK
from saccade.outputs import RECORD, written_in

# Known to be no images; whatever is neither in this list nor an image that can be read is called a format.
_PLAIN = (
    ".txt .md .rst .json .jsonl .xml .csv .tsv .yaml .yml .toml .ini .cfg .html .htm .pdf .doc .docx .xls .xlsx .py "
    ".ipynb .sh .bat .m .log .zip .tar .gz .tgz .7z .rar .bz2 .xz .pkl .pth .pt .db .lnk .url .mp4 .avi .mov .mkv .wav "
    ".mp3 .cache .lst .names .data .pbtxt .sha256 .md5 .bin .h5 .hdf5 .parquet .tfrecord .safetensors"
)
_NO_IMAGES = frozenset(_PLAIN.split())
ELSEWHERE = "a link to a folder that is read elsewhere"
WRITTEN = "saccade wrote it; copied into another folder it counts"
_RUNS = ("run.json", "settings.json")  # next to the lock, the folder of a training or a comparison
_PRIVATE = ("__",)  # folders of systems and tools, such as __MACOSX


@dataclass
class Folder:
    """A folder as it was found; hidden files and folders are not in it.

    Args:
        path: Its path.
        images: Files that may be images that can be read, in order of name.
        others: All other files.
        folders: Folders in it, by name as text, in order of name.
        problem: Reason why it could not be listed; empty if it could.
        written: Files that saccade wrote, by the records in the folders, also those of folders that hold nothing else.
        run: True for the folder of a training or a comparison, all of which saccade wrote.
    """

    path: Path
    images: list[Path] = field(default_factory=list)
    others: list[Path] = field(default_factory=list)
    folders: dict[str, Folder] = field(default_factory=dict)
    problem: str = ""
    written: list[Path] = field(default_factory=list)
    run: bool = False

    @property
    def name(self) -> str:
        """Its name as text."""
        return shown(self.path.name)

    @property
    def role(self) -> Role | None:
        """What its name says."""
        return role_of(self.path.name)

    def walk(self) -> Iterator[Folder]:
        """Yield it and every folder below it."""
        waiting = [self]
        while waiting:
            one = waiting.pop()
            yield one
            waiting += reversed(one.folders.values())

    def every_image(self) -> list[Path]:
        """Return every image below it, in order of name."""
        found = [image for one in self.walk() for image in one.images]
        return sorted(found, key=lambda path: path.relative_to(self.path).as_posix())

    def files(self) -> Iterator[Path]:
        """Yield every file below it."""
        for one in self.walk():
            yield from one.images
            yield from one.others

    def all_written(self) -> list[Path]:
        """Return every file below it that saccade wrote."""
        return [path for one in self.walk() for path in one.written]

    @property
    def has_images(self) -> bool:
        """True if there is an image below it."""
        return any(one.images for one in self.walk())

    @property
    def has_files(self) -> bool:
        """True if there is a file below it, or a folder that could not be listed."""
        return any(one.images or one.others or one.problem for one in self.walk())

    @property
    def private(self) -> bool:
        """True for a folder of a system or a tool, such as ``__MACOSX``."""
        return self.path.name.startswith(_PRIVATE)

    def visible(self) -> list[Folder]:
        """Return the folders in it, without those of systems and tools."""
        return [one for one in self.folders.values() if not one.private]

    def inside(self) -> list[Folder]:
        """Return the folders in it that hold an image somewhere, without those of systems and tools."""
        return [one for one in self.visible() if one.has_images]

    def under(self, name: str) -> Folder | None:
        """Return the folder at a path with slashes below it; None if there is none."""
        found: Folder | None = self
        for part in name.strip("/").split("/"):
            found = found.folders.get(part) if found is not None else None
        return found


@dataclass(frozen=True)
class LeftOut:
    """Files or folders that were not used.

    Args:
        reason: Why, in words.
        count: Number of them.
        example: Path of one, relative to the data.
        folders: True if folders are counted, which are in no sum of files.
    """

    reason: str
    count: int
    example: str
    folders: bool = False

    def __str__(self) -> str:
        what = ("folder" if self.folders else "file") + ("" if self.count == 1 else "s")
        return f"{self.count:,} {what} left out: {self.reason} ({self.example})"


_REMEMBERED: dict[Path, Folder] | None = None


@contextmanager
def remembered() -> Iterator[None]:
    """List each folder once for as long as this lasts, for several tasks that look at it in turn."""
    global _REMEMBERED
    before, _REMEMBERED = _REMEMBERED, {} if _REMEMBERED is None else _REMEMBERED
    try:
        yield
    finally:
        _REMEMBERED = before


def scan(path: Path) -> Folder:
    """List everything below a folder once, through symbolic links too; a folder that several links reach is read once.

    A folder that cannot be listed is in the result with the reason.
    """
    if _REMEMBERED is None:
        return _scan(path)
    if path not in _REMEMBERED:
        _REMEMBERED[path] = _scan(path)
    return _REMEMBERED[path]


def _scan(path: Path) -> Folder:
    top = Folder(path)
    seen = {parent.resolve() for parent in path.resolve().parents}  # a link upwards is a circle, or leads elsewhere
    written: set[Path] = set()
    real, links = [top], deque[Folder]()  # links come last, so that none takes the place of a folder, or renames it
    while real or links:
        one = real.pop() if real else links.popleft()
        place = one.path.resolve()
        if place in seen:
            one.problem = ELSEWHERE if one is not top else ""
            continue
        seen.add(place)
        inner = sorted(_list(one, written), key=lambda each: each.path.name)
        links += (each for each in inner if each.path.is_symlink())
        real += reversed([each for each in inner if not each.path.is_symlink()])
    for one in reversed(list(top.walk())):
        _set_aside(one)
    return top


def _set_aside(one: Folder) -> None:
    """Move what saccade wrote out of a folder, after its inner folders: that is not part of the data."""
    for name, inner in list(one.folders.items()):
        if inner.written and not (inner.images or inner.others or inner.folders or inner.problem):
            one.written += inner.written
            del one.folders[name]
    if one.run:
        one.written += [path for each in one.walk() for path in (*each.images, *each.others)]
        one.images, one.others, one.folders = [], [], {}


def _list(one: Folder, written: set[Path]) -> Iterable[Folder]:
    try:
        with os.scandir(one.path) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except OSError as cause:
        one.problem = f"it cannot be listed ({cause.strerror or cause})"
        return ()
    names = {entry.name for entry in found}
    one.run = LOCK in names and not names.isdisjoint(_RUNS)
    if RECORD in names:
        written |= written_in(one.path)
    for entry in found:
        if entry.name.startswith("."):
            continue
        path = one.path / entry.name
        try:
            folder, file = entry.is_dir(), entry.is_file()
        except OSError:  # a link to itself
            folder = file = False
        if folder:
            one.folders[shown(entry.name)] = Folder(path)
        elif path in written:
            one.written.append(path)
        elif file and path.suffix.lower() in SUFFIXES:
            one.images.append(path)
        else:
            one.others.append(path)
    return one.folders.values()


def account(
    top: Folder, used: Iterable[Path], why: Callable[[Path], str | None] | Mapping[Path, str] | None = None
) -> tuple[LeftOut, ...]:
    """Give every file that was not used a reason.

    Args:
        top: The whole folder.
        used: Files that were used, also those outside it.
        why: The reason why an image was not used, where the layout knows it.

    Returns:
        A row per reason, the largest first; the counts of rows of files and `used` below the folder add up to all
        files, hidden ones aside.
    """
    known, ask = set(used), why.get if isinstance(why, Mapping) else why
    found: dict[tuple[str, bool], list[Path]] = {}
    for one in top.walk():
        if one.problem:
            found.setdefault((one.problem, True), []).append(one.path)
        elif not (one.images or one.others or one.folders or one.written):
            found.setdefault(("it is empty", True), []).append(one.path)
        images = set(one.images)
        for path in (*one.images, *one.others):
            if path in known:
                continue
            reason = (ask(path) if ask is not None else None) or _private(path, top)
            reason = reason or ("it is not part of the layout" if path in images else other_reason(path))
            found.setdefault((reason, False), []).append(path)
        if one.written:
            found.setdefault((WRITTEN, False), []).extend(one.written)
    rows = [
        LeftOut(reason, len(paths), shown(paths[0].relative_to(top.path)), folders)
        for (reason, folders), paths in found.items()
    ]
    return tuple(sorted(rows, key=lambda row: (row.folders, -row.count, row.reason)))


def other_reason(path: Path) -> str:
    """Return why a file that is not taken for an image was not used."""
    suffix = path.suffix.lower()
    if not path.is_file():
        return "a link to nothing" if path.is_symlink() else "not a file"
    if not suffix or suffix in _NO_IMAGES:
        return "not an image"
    return f"images of the format {shown(suffix)} are not read"


def _private(path: Path, top: Folder) -> str | None:
    parts = path.relative_to(top.path).parts[:-1]
    return "in a folder of a system" if any(part.startswith(_PRIVATE) for part in parts) else None
