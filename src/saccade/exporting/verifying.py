"""Comparison of an exported file, in its runtime, with the network it was made of."""

from __future__ import annotations

import contextlib
import ctypes
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from saccade.errors import InputError
from saccade.exporting.subject import Subject
from saccade.exporting.targets import Array, Session, Shape

TOLERANCES = {"float32": 1e-4, "half": 0.02, "int8": 0.5}
"""Largest relative difference of each precision."""
_AGREEMENT = {"float32": 0.999, "half": 0.98, "int8": 0.8}
_ROUNDS, _MULTIPLE, _MOST, _LEAST = 3, 32, 3, 32


@dataclass(frozen=True)
class Agreement:
    """One comparison.

    Args:
        images: Kind of the images: ``"drawn"`` or ``"real"``.
        shape: Shape of the input.
        error: Largest difference relative to the network's largest output.
        agreement: Fraction of images or pixels with the same prediction; None where there is a single output.
        ms: Time of the runtime in ms, a median.
        torch_ms: Time of the network in PyTorch, likewise.
        peak_mib: Memory of the runtime above what it held before, in MiB; None where the system does not tell.
        torch_peak_mib: Memory of the network in PyTorch, likewise.
        problem: The words of the runtime, if it failed.
    """

    images: str
    shape: tuple[int, ...]
    error: float
    agreement: float | None
    ms: float
    torch_ms: float
    peak_mib: float | None
    torch_peak_mib: float | None
    problem: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain values; an infinite error is None."""
        error = self.error if np.isfinite(self.error) else None
        return {**asdict(self), "shape": list(self.shape), "error": error}


def is_right(case: Agreement, precision: str, tolerance: float | None) -> bool:
    """Return whether a file of a precision is as near to its network as it must be."""
    limit = TOLERANCES[precision] if tolerance is None else tolerance
    agrees = case.agreement is None or tolerance is not None or case.agreement >= _AGREEMENT[precision]
    return not case.problem and case.error <= limit and agrees


def compared(
    subject: Subject,
    net: nn.Module,
    session: Session,
    shape: Shape,
    photos: Sequence[Path],
    on_progress: Callable[[str], None] = lambda what: None,
    *,
    calibrated: bool = False,
) -> tuple[list[Agreement], list[str]]:
    """Run a file and its network at the given size and, where sizes are free, at four others.

    Args:
        subject: The network as it was exported.
        net: The network in float32, with the same steps before and after.
        session: The file in its runtime.
        shape: The sizes it takes.
        photos: Images for the last comparison; drawn ones are taken where there are none.
        on_progress: Called with what is done next.
        calibrated: True if ranges of values were found on photos like these: drawn images, which may lie outside of
            them, are not taken.

    Returns:
        The comparisons, and the sizes that the network does not take, in words.
    """
    drawn = not (calibrated and photos)

    def images(batch: int, size: tuple[int, int]) -> Tensor:
        if drawn:
            return subject.example(batch, size)
        return subject.fed(torch.cat([photo(photos[i % len(photos)], size) for i in range(batch)]))

    cases, left_out = [], []
    for batch, size in _sizes(shape, _LEAST if subject.channels == 3 else 2):
        found = _takes(images, net, batch, size)
        if found is None:
            left_out.append(f"the network does not take {batch} x {size[0]} x {size[1]}")
            continue
        on_progress(f"comparing at {' x '.join(map(str, found.shape))}")
        cases.append(_case("drawn" if drawn else "real", net, session, found, joints=subject.joints))
    if photos and subject.channels == 3:
        most = len(photos) if calibrated else _MOST
        real = torch.cat([photo(path, shape.size) for path in photos[: shape.batch or most]])
        cases.append(_case("real", net, session, subject.fed(real), joints=subject.joints))
    return cases, left_out


def _sizes(shape: Shape, least: int) -> Iterator[tuple[int, tuple[int, int]]]:
    """Yield the given size, then odd ones, another aspect, a smaller and a larger one, with batches of 1 and 3.

    A smaller one has sides of at least `least`, or those given: of less, networks make maps without a position.
    """
    height, width = shape.size
    yield shape.batch or 1, shape.size
    if not shape.free:
        if shape.batch is None:
            yield 3, shape.size
        return
    yield 3, (max(min(height, least), height - height // 7) | 1, (width + width // 9) | 1)
    low, narrow = (min(side, least) for side in (height, width))
    yield 1, (max(low, height // 2), width + width // 2)
    yield 3, (max(low, height // 3), max(narrow, width // 3))
    yield 1, (height + height // 8 + 1, width)


@torch.no_grad()
def _takes(
    images: Callable[[int, tuple[int, int]], Tensor], net: nn.Module, batch: int, size: tuple[int, int]
) -> Tensor | None:
    """Return an input near a size that the network takes: that size, or the next multiples of 32."""
    rounded = (-(-size[0] // _MULTIPLE) * _MULTIPLE, -(-size[1] // _MULTIPLE) * _MULTIPLE)
    for sides in (size, rounded):
        x = images(batch, sides)
        try:
            net(x)
        except (InputError, RuntimeError, ValueError):
            continue
        return x
    return None


@torch.no_grad()
def _case(images: str, net: nn.Module, session: Session, x: Tensor, *, joints: int) -> Agreement:
    given = x.numpy()
    torch_peak, expected = measured_peak(lambda: net(x))
    wanted = tuple(part.numpy() for part in (expected if isinstance(expected, tuple) else (expected,)))
    shape = tuple(x.shape)
    try:
        peak, found = measured_peak(lambda: session.outputs(given))
    except Exception as cause:  # a runtime may raise anything
        return Agreement(images, shape, float("inf"), None, 0.0, 0.0, None, torch_peak, _words(cause))
    shapes = [[part.shape for part in parts] for parts in (found, wanted)]
    if shapes[0] != shapes[1]:
        made, right = (", ".join(map(str, of)) for of in shapes)
        problem = f"its output has the shape {made}, that of the network {right}"
        return Agreement(images, shape, float("inf"), None, 0.0, 0.0, peak, torch_peak, problem)
    ours, theirs = [], []
    for _ in range(_ROUNDS):  # in turns, so a busy machine slows both alike
        ours.append(_ms(lambda: session.outputs(given)))
        theirs.append(_ms(lambda: net(x)))
    error = max(relative_error(ours, theirs) for ours, theirs in zip(found, wanted, strict=True))
    same = _same(found, wanted, joints)
    return Agreement(
        images, shape, error, same, statistics.median(ours), statistics.median(theirs), peak, torch_peak,
    )  # fmt: skip


def _same(found: Sequence[Array], wanted: Sequence[Array], joints: int) -> float | None:
    """Return the smallest agreement of the outputs: classes as they are, and what follows from the last output."""
    *predicted, output = zip(found, wanted, strict=True)
    each = [agreement(ours, theirs) for ours, theirs in predicted if not np.issubdtype(theirs.dtype, np.floating)]
    each.append(agreement_of(*output, joints))
    return min((one for one in each if one is not None), default=None)


def relative_error(found: Array, wanted: Array) -> float:
    """Return the largest difference divided by the largest expected magnitude; infinite where one is not finite.

    Of whole numbers, such as classes, there is no such error: it is 0.
    """
    if not np.issubdtype(wanted.dtype, np.floating):
        return 0.0
    if not np.isfinite(found).all():
        return float("inf")
    largest = float(np.abs(wanted).max(initial=0.0))
    return float(np.abs(found - wanted).max(initial=0.0)) / (largest or 1.0)


def agreement(found: Array, wanted: Array) -> float | None:
    """Return the fraction of predictions that are the same: the largest of axis 1, or whole numbers as they are."""
    if np.issubdtype(wanted.dtype, np.floating):
        if wanted.ndim < 2 or wanted.shape[1] < 2:
            return None
        found, wanted = found.argmax(axis=1), wanted.argmax(axis=1)
    return float((found == wanted).mean())


def agreement_of(found: Array, wanted: Array, joints: int) -> float | None:
    """Return the fraction of predictions that two outputs of a network share; with joints, of the peaks of maps."""
    return peaks_agreement(found, wanted, joints) if joints else agreement(found, wanted)


def peaks_agreement(found: Array, wanted: Array, joints: int) -> float | None:
    """Return the fraction of heat maps (B, K, H, W) whose highest pixels are at most a pixel apart.

    None where a joint has several maps, as discs with offsets.
    """
    if wanted.ndim != 4 or wanted.shape[1] != joints:
        return None
    width = wanted.shape[-1]
    peaks = [divmod(maps.reshape(*maps.shape[:2], -1).argmax(axis=-1), width) for maps in (found, wanted)]
    apart = [np.abs(ours - theirs) for ours, theirs in zip(*peaks, strict=True)]
    return float((np.maximum(*apart) <= 1).mean())


def measured_peak(step: Callable[[], Any]) -> tuple[float | None, Any]:
    """Return the memory of this process above what it held before a step, in MiB, and what the step returns."""
    with contextlib.suppress(OSError, AttributeError):  # what was freed goes back to the system first, with glibc
        ctypes.CDLL(None).malloc_trim(0)
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        before = _status("VmRSS")
    except OSError:
        return None, step()
    found = step()
    return max(0.0, (_status("VmHWM") - before) / 1024), found


def _status(key: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    return int(next(line for line in lines if line.startswith(key)).split()[1])


def _ms(step: Callable[[], Any]) -> float:
    started = time.perf_counter()
    step()
    return 1000 * (time.perf_counter() - started)


def photo(path: Path, size: tuple[int, int]) -> Tensor:
    """Read an image at a size, stretched to it: uint8 (1, 3, H, W)."""
    from saccade.data.images import read_image

    image = read_image(path).resize((size[1], size[0]))
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].contiguous()


def _words(cause: Exception) -> str:
    line = " ".join(str(cause).split())
    return f"{type(cause).__name__}: {line[:200]}{'...' if len(line) > 200 else ''}"


def photographs(folder: Path | None, most: int = _MOST) -> list[Path]:
    """Return a few real images: of a folder, else those that scikit-learn has with it; none where neither is there."""
    from saccade.data.layouts import images_in

    if folder is not None:
        found = images_in(folder)
        if found:
            count = min(most, len(found))
            return [found[i * (len(found) - 1) // max(1, count - 1)] for i in range(count)]
    try:
        import sklearn.datasets
    except ImportError:
        return []
    return sorted((Path(sklearn.datasets.__file__).parent / "images").glob("*.jpg"))


def table(cases: Sequence[Agreement]) -> str:
    """Return the comparisons as lines of text."""
    head = ("images", "input", "error", "same", "ms", "torch ms", "MiB", "torch MiB")
    rows = [
        (
            case.images,
            "x".join(map(str, case.shape)),
            f"{case.error:.1e}",
            "-" if case.agreement is None else f"{100 * case.agreement:.2f}%",
            f"{case.ms:.1f}",
            f"{case.torch_ms:.1f}",
            "-" if case.peak_mib is None else f"{case.peak_mib:.0f}",
            "-" if case.torch_peak_mib is None else f"{case.torch_peak_mib:.0f}",
        )
        for case in cases
    ]
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in (head, *rows)
    ]
    problems = [f"at {'x'.join(map(str, case.shape))}: {case.problem}" for case in cases if case.problem]
    return "\n".join([*lines, *problems])
