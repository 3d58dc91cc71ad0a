"""``saccade.export``: write a network for another runtime, run it there, and keep the file only if it is right."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from saccade.errors import InputError, MissingExtraError
from saccade.exporting.options import ExportOptions
from saccade.exporting.subject import (
    Subject,
    WithSteps,
    at_their_start,
    modules_of_mechanisms,
    names_of_outputs,
    subject_of,
)
from saccade.exporting.targets import NAMES, Plan, Session, Shape, Target, target
from saccade.exporting.verifying import TOLERANCES, Agreement, compared, is_right, photographs, table
from saccade.files import check_file, working_folder
from saccade.options import called_with
from saccade.outputs import Outputs
from saccade.training.signals import interrupt_on_signals

UNVERIFIED = "unverified"
_LARGEST = 16384
_IN_8_BITS = 8  # images that files in 8 bits are compared on


@dataclass(frozen=True)
class Exported:
    """A file for another runtime.

    Args:
        file: The file; its name says ``unverified`` if it was not run.
        to: Its kind.
        about: What the file says of itself.
        cases: Comparisons with the network; none if it was not run.
        notes: Remarks, such as why it was not run.
    """

    file: Path
    to: str
    about: dict[str, Any]
    cases: tuple[Agreement, ...]
    notes: tuple[str, ...]

    @property
    def verified(self) -> bool:
        """True if the file was run and is as near to the network as it must be."""
        return bool(self.cases)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "file": str(self.file), "to": self.to, "verified": self.verified, "about": self.about,
            "cases": [case.to_json() for case in self.cases], "notes": list(self.notes),
        }  # fmt: skip

    def __str__(self) -> str:
        state = "verified" if self.verified else "UNVERIFIED"
        lines = [f"{self.file}: {self.to}, {self.about['precision']}, {_taking(self.about)}, {state}"]
        return "\n".join([*lines, *([table(self.cases)] if self.cases else []), *self.notes])


class WrongExportError(RuntimeError):
    """A file was run and is not the network; nothing is left under its name.

    Args:
        message: What is wrong, with the comparisons.
        cases: The comparisons.
    """

    def __init__(self, message: str, cases: Sequence[Agreement] = ()) -> None:
        super().__init__(message)
        self.cases = tuple(cases)


@called_with(ExportOptions, "export")
def export_network(asked: ExportOptions) -> Exported:
    """Write a network as a file for another runtime, and verify it there.

    Batch, height and width are free where the kind of file allows it, unless `size` fixes them. The file is run in its
    own runtime at the given size and at four others, on drawn and on real images, and compared with the network in
    PyTorch; if it differs, nothing is left under its name. Where its runtime is not installed, the name of the file
    says ``unverified``. Attention over positions is computed without a table of all pairs of positions by ONNX Runtime
    and OpenVINO.

    Returns:
        The file, with the comparisons.

    Raises:
        InputError: Something given is wrong, the converter does not take the network, or the file cannot be written.
        WrongExportError: The file was run and differs from the network, or its runtime refuses it.
    """
    kind = target(asked.to)
    _check(asked, kind)
    say = asked.on_progress or (lambda what: None)
    say("opening the network")
    subject = subject_of(asked)
    shape = _shape(asked, kind, subject)
    subject = _tried(subject, shape)
    out = _named(asked, kind, subject)
    _check_place(out, kind, asked.overwrite)
    images = _calibration(asked, subject, shape)
    notes = [] if subject.trained else ["the weights are random: this network is not trained"]
    if idle := at_their_start(subject.net):
        notes.append(f"{idle} factors of attention are still 0, so what they multiply was not compared")
    about = {
        **subject.about, "to": kind.name, "runtime": kind.runtime,
        "size": list(shape.size), "free": _free(shape), "batch": shape.batch, "outputs": list(subject.outputs),
    }  # fmt: skip
    with _workshop(out) as place:
        made = place / out.name
        say(f"writing {kind.name}")
        plan = Plan(shape, asked.half, asked.opset, images, modules_of_mechanisms(subject.net), subject.joints, notes)
        _write(kind, subject, plan, made, about)
        about = plan.told(about)
        cases: list[Agreement] = []
        if asked.verify:
            session = _session(kind, made, notes)
            if session is not None:
                calibrated = asked.int8 is not None
                photos = photographs(Path(asked.int8), _IN_8_BITS) if asked.int8 else photographs(subject.folder)
                cases, left_out = compared(
                    subject, _reference(subject), session, shape, photos, say, calibrated=calibrated
                )
                notes += left_out if cases else []
                _judge(cases, str(about["precision"]), asked.tolerance, out, left_out)
                del session  # some systems do not move files that are open
        else:
            notes.append("unverified: it was not run, as asked")
        named = out if cases else out.with_name(f"{_stem(out, kind)}.{UNVERIFIED}{kind.suffixes[0]}")
        if named != out:
            _check_place(named, kind, asked.overwrite)
        _move(made, named, kind, asked.overwrite)
    return Exported(named, kind.name, about, tuple(cases), tuple(notes))


def _check(asked: ExportOptions, kind: Target) -> None:
    if asked.size is not None and asked.dynamic:
        raise InputError("export: --size fixes what --dynamic leaves free", "give one of them")
    if asked.dynamic and not kind.free_sizes:
        raise InputError(f"export: {kind.name} cannot leave sizes free", "fix them: --size H,W")
    if asked.half and not kind.half:
        raise InputError(f"export: {kind.name} is written in float32 only", "leave --half out")
    if asked.int8 is not None and not kind.int8:
        raise InputError(f"export: {kind.name} is not written in 8 bits", "--to onnx and --to openvino are")
    if asked.half and asked.int8 is not None:
        raise InputError("export: --half and --int8 exclude each other", "give one of them")
    if asked.opset is not None and kind.name not in ("onnx", "openvino"):
        raise InputError(f"export: --opset is for ONNX; {kind.name} has none", "leave it out")
    example = asked.example_input
    if example is not None and (not isinstance(example, torch.Tensor) or example.dim() != 4):
        raise InputError("export: example_input must be a tensor (B, C, H, W)")


def _shape(asked: ExportOptions, kind: Target, subject: Subject) -> Shape:
    """Return the sizes of the file; key points are decoded from maps of the size of training only."""
    size = subject.size if asked.size is None else _sides(asked.size)
    decoded = subject.post and subject.joints > 0
    if decoded and (asked.dynamic or size != subject.size):
        height, width = subject.size
        raise InputError(
            f"export: key points are decoded from maps of one size, that of crops of {height} x {width}",
            "leave --size and --dynamic out, or --with-post",
        )
    free = kind.free_sizes and asked.size is None and not decoded
    return Shape(size, free, None if kind.free_batch else 1)


def _sides(given: Any) -> tuple[int, int]:
    """Read height and width: ``"512,1024"``, ``"512x1024"``, one side, or numbers."""
    words = re.split(r"\s*[x,]\s*", given.strip()) if isinstance(given, str) else given
    try:
        sides = [int(word) for word in ([words] if isinstance(words, int) else words)]
    except (TypeError, ValueError):
        sides = []
    if len(sides) == 1:
        sides *= 2
    if len(sides) != 2 or not all(1 <= side <= _LARGEST for side in sides):
        raise InputError(
            f"export: --size must be height and width from 1 to {_LARGEST:,}; received {given!r}", "such as 512,1024"
        )
    return sides[0], sides[1]


def _named(asked: ExportOptions, kind: Target, subject: Subject) -> Path:
    """Return the name of the file."""
    if asked.out is None:
        return Path(re.sub(r"[^\w.-]+", "_", subject.name).strip("._") or "network").with_suffix(kind.suffixes[0])
    out = Path(asked.out)
    if out.suffix.lower() == kind.suffixes[0]:
        return out
    others = {target(name).suffixes[0]: name for name in NAMES if name != kind.name}
    if out.suffix.lower() in others:
        raise InputError(
            f"export: {out} is a name for {others[out.suffix.lower()]}; {kind.name} files end in {kind.suffixes[0]}",
            f"--to {others[out.suffix.lower()]}, or another name",
        )
    return out.with_name(out.name + kind.suffixes[0])


def _stem(out: Path, kind: Target) -> str:
    return out.name.removesuffix(out.suffix)


def _files(out: Path, kind: Target) -> list[Path]:
    """Return the names of all files that belong to one, itself last: then it never is there without the others."""
    return [out.with_name(_stem(out, kind) + suffix) for suffix in (*kind.suffixes[1:], kind.suffixes[0])]


def _check_place(out: Path, kind: Target, overwrite: bool) -> None:
    files = _files(out, kind)
    for path in files:
        check_file(path)
    Outputs(out.parent).check(files)
    if out.exists() and not overwrite:
        raise InputError(f"{out} exists", "--overwrite replaces it, or choose another name with --out")


@contextmanager
def _workshop(out: Path) -> Iterator[Path]:
    """Yield a folder next to the file, which is deleted at the end, by a signal too; a killed one's is at the next."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with interrupt_on_signals(), working_folder(out) as folder:
            yield folder
    except OSError as cause:
        raise InputError(
            f"could not write {out}: {cause.strerror or cause}", "free some space, or choose another folder with --out"
        ) from cause


def _tried(subject: Subject, shape: Shape) -> Subject:
    """Run the network once at the size of the file: it must take it, and its outputs get their names."""
    height, width = shape.size
    try:
        with torch.no_grad():
            names = names_of_outputs(_reference(subject), subject.example(shape.batch or 1, shape.size))
    except (InputError, RuntimeError, ValueError) as cause:
        said = cause.message if isinstance(cause, InputError) else _line(cause)
        raise InputError(
            f"{subject.name} does not take images of {height} x {width}: {said}", "give another --size H,W"
        ) from cause
    return replace(subject, outputs=names)


def _write(kind: Target, subject: Subject, plan: Plan, path: Path, about: dict[str, Any]) -> None:
    try:
        kind.write(subject, plan, path, about)
    except (InputError, MissingExtraError, OSError, MemoryError):
        raise
    except Exception as cause:  # converters raise anything
        fixed = "" if not plan.shape.free else "try a fixed size: --size H,W"
        raise InputError(
            f"{kind.name} could not be made of {subject.name}: {type(cause).__name__}: {_line(cause)}",
            fixed or "--to onnx takes most networks",
        ) from cause


def _session(kind: Target, made: Path, notes: list[str]) -> Session | None:
    """Open the file in its runtime; None where that is not installed."""
    try:
        return kind.open(made)
    except MissingExtraError as cause:
        notes.append(f"unverified: {cause.message}; {cause.hint}")
        return None
    except Exception as cause:  # runtimes raise anything
        raise WrongExportError(f"{kind.runtime} refuses the file: {type(cause).__name__}: {_line(cause)}") from cause


def _judge(
    cases: Sequence[Agreement], precision: str, tolerance: float | None, out: Path, left_out: Sequence[str]
) -> None:
    if not cases:
        raise WrongExportError(f"{out} was not written: it could not be compared ({'; '.join(left_out)})")
    wrong = [case for case in cases if not is_right(case, precision, tolerance)]
    if wrong:
        limit = TOLERANCES[precision] if tolerance is None else tolerance
        raise WrongExportError(
            f"{out} was not written: at {len(wrong)} of {len(cases)} inputs it differs from the network by more than "
            f"{limit:g} of its largest output, or predicts something else\n{table(cases)}",
            cases,
        )


def _reference(subject: Subject) -> Any:
    """Return the network in float32, which files of all precisions are compared with."""
    net = subject.net
    if not isinstance(net, WithSteps) or not net.half_precision:
        return net
    own = copy.deepcopy(net.net).float()
    return WithSteps(own, net.task, pre=net.pre, half=False, statistics=net.statistics).eval()


def _move(made: Path, out: Path, kind: Target, overwrite: bool) -> None:
    outputs = Outputs(out.parent)
    for source, final in zip(_files(made, kind), _files(out, kind), strict=True):
        if source.exists():
            with outputs.replacing(final) as temporary:
                source.replace(temporary)


def _calibration(asked: ExportOptions, subject: Subject, shape: Shape) -> Any:
    if asked.int8 is None:
        return None
    from saccade.exporting.quantising import calibration

    return calibration(Path(asked.int8), subject, shape)


def _free(shape: Shape) -> list[str]:
    return [*(["batch"] if shape.batch is None else []), *(["height", "width"] if shape.free else [])]


def _taking(about: dict[str, Any]) -> str:
    free = about["free"]
    height, width = about["size"]
    sizes = "any height and width" if "height" in free else f"{height} x {width}"
    return f"{sizes}, {'any batch' if 'batch' in free else 'one image at a time'}"


def _line(cause: BaseException) -> str:
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    text = " ".join(lines[:3])
    return text[:300] + ("..." if len(text) > 300 else "")
