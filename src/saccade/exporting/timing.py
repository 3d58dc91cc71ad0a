"""Exported files side by side: time and memory of each in its runtime, on the same images."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from saccade.errors import InputError
from saccade.exporting.running import ExportedNetwork, open_exported
from saccade.exporting.verifying import measured_peak, relative_error

_WARM_UP = 2


def side_by_side(files: Sequence[Path], rounds: int, shape: tuple[int, ...] | None = None) -> dict[str, Any]:
    """Run files in turns, so that a busy machine slows all alike.

    Args:
        files: What ``saccade export`` wrote, of one network.
        rounds: Number of measured rounds, after two to warm up.
        shape: Shape of the images, (B, 3, H, W); by default that of the example of the first file, one image.

    Returns:
        ``{"shape": shape, "files": {file: {"ms": median, "ratio": its time divided by that of the first file,
        "peak_mib": memory of the first run, "error": difference from the first file, relative to its largest
        output}}}``.

    Raises:
        InputError: A file cannot be opened, does not take the shape, or has outputs of another shape than the first.
    """
    nets: dict[str, ExportedNetwork] = {}
    for file in files:
        net = open_exported(file).net
        assert isinstance(net, ExportedNetwork)
        nets[str(file)] = net
    first = next(iter(nets.values()))
    shape = shape or (1, 3, *first.size)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    found: dict[str, dict[str, Any]] = {}
    outputs = {}
    for name, net in nets.items():
        peak, outputs[name] = measured_peak(lambda net=net: net(x))  # type: ignore[misc]
        found[name] = {"peak_mib": peak}
    wanted = outputs[str(files[0])]
    for name, output in outputs.items():
        if output.shape != wanted.shape:
            raise InputError(
                f"{name}: its output has the shape {tuple(output.shape)}, that of {files[0]} {tuple(wanted.shape)}",
                "give files of one network",
            )
        found[name]["error"] = relative_error(output.numpy(), wanted.numpy())
    times: dict[str, list[float]] = {name: [] for name in nets}
    for turn in range(_WARM_UP + rounds):
        for name, net in nets.items():
            started = time.perf_counter()
            net(x)
            if turn >= _WARM_UP:
                times[name].append(1000 * (time.perf_counter() - started))
    for name in nets:
        found[name]["ms"] = statistics.median(times[name])
        found[name]["ratio"] = found[name]["ms"] / statistics.median(times[str(files[0])])
    return {"shape": list(shape), "files": found}


def as_text(found: dict[str, Any]) -> str:
    """Return the measurements as lines of text."""
    width = max(4, *(len(name) for name in found["files"]))
    lines = [f"{' x '.join(map(str, found['shape']))}", f"{'file':<{width}}        ms  ratio     MiB   error"]
    for name, one in found["files"].items():
        peak = "-" if one["peak_mib"] is None else f"{one['peak_mib']:.0f}"
        lines.append(f"{name:<{width}}  {one['ms']:8.2f}  {one['ratio']:5.2f}  {peak:>6}  {one['error']:.0e}")
    return "\n".join(lines)
