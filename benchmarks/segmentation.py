"""A training step of DANet, lean against the plain definitions: ``python -m benchmarks.segmentation``.

The same network with the same weights takes both; `saccade.ops.definitions()` decides. A step is forward, the loss of
all outputs, and backward, of the whole network or of its head on the backbone's map. Times are medians over rounds in
which both sides follow each other in alternating order: quote the ratio. Memory is the height of the allocator above
weights, gradients and images.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from itertools import product
from pathlib import Path
from typing import Any

import torch

import saccade
from saccade.comparison.costs import height_of, now
from saccade.environment import environment
from saccade.networks.features import widths
from saccade.networks.segmentation import Segmenter
from saccade.ops import definitions

Step = Callable[[], None]
SIDES: dict[str, Callable[[], AbstractContextManager[None]]] = {"lean": nullcontext, "definitions": definitions}


def step_of(net: Segmenter, part: str, size: int, batch: int, side: str, device: torch.device) -> Step:
    draw = torch.Generator().manual_seed(0)
    targets = torch.randint(0, 19, (batch, size, size), generator=draw).to(device)
    shape = (batch, 3, size, size) if part == "network" else (batch, widths(net.backbone)[-1], size // 8, size // 8)
    x = torch.randn(shape, generator=draw).to(device).requires_grad_(part == "head")

    def loss() -> torch.Tensor:
        if part == "head":
            return sum((y.square().mean() for y in net.classified([x], every=True)), torch.zeros((), device=device))
        total, count = net.loss(net(x), targets)
        return total / count

    def step() -> None:
        with SIDES[side]():
            loss().backward()
        for parameter in net.parameters():
            if parameter.grad is not None:
                parameter.grad.zero_()
        x.grad = None

    return step


def seconds(step: Step, device: torch.device) -> float:
    started = now(device)
    step()
    return now(device) - started


def times(steps: dict[str, Step], rounds: int, device: torch.device) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {side: [] for side in steps}
    for number in range(rounds):
        for side in sorted(steps, reverse=bool(number % 2)):
            found[side].append(seconds(steps[side], device))
    return found


def peak(step: Step, device: torch.device) -> float | None:
    """MiB; None where the device has too little."""
    try:
        return height_of(step, device)
    except torch.OutOfMemoryError:
        torch.cuda.empty_cache()
        return None


def measured(net: Segmenter, part: str, size: int, batch: int, rounds: int, device: torch.device) -> dict[str, Any]:
    steps = {side: step_of(net, part, size, batch, side, device) for side in SIDES}
    for parameter in net.parameters():
        parameter.grad = torch.zeros_like(parameter)  # there in every step, so in none of the heights
    peaks = {side: peak(step, device) for side, step in steps.items()}
    fitting = {side: step for side, step in steps.items() if peaks[side] is not None}
    medians = {side: statistics.median(t) for side, t in times(fitting, rounds, device).items() if t}
    return {"part": part, "crop": size, "batch": batch, "seconds": medians, "peak_mib": peaks}


def row(found: dict[str, Any]) -> str:
    taken, peaks = found["seconds"], found["peak_mib"]
    cells = [found["part"], f"{found['crop']} x {found['crop']}", str(found["batch"])]
    for values, unit in ((taken, "{:.2f} s"), (peaks, "{:,.0f} MiB")):
        lean, plain = (values.get(side) for side in SIDES)
        missing = "does not fit" if values is peaks else "-"
        cells += [missing if value is None else unit.format(value) for value in (lean, plain)]
        cells.append(f"{plain / lean:.2f}" if lean and plain else "-")
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description="A training step of DANet, lean against the plain definitions.")
    parser.add_argument("--network", default="danet", help="of saccade.segmenter (default: %(default)s)")
    parser.add_argument("--backbone", default="resnet50", help="of timm (default: %(default)s)")
    parser.add_argument("--sizes", type=int, nargs="+", default=[512, 768], help="of crops (default: %(default)s)")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 2], help="(default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="0: memory only (default: %(default)s)")
    parser.add_argument("--parts", nargs="+", default=["network", "head"], help="(default: %(default)s)")
    parser.add_argument("--json", type=Path, help="file that the results are added to")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    given = parser.parse_args()

    torch.manual_seed(0)
    device = torch.device(given.device)
    net = saccade.segmenter(given.network, 19, backbone=given.backbone).to(device).train()
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if name.endswith("gamma"):  # at 0 a lean form may skip what the definition computes
                parameter.fill_(0.5)
    place = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} threads"
    print(f"{given.network}, {given.backbone}, float32, {place}, torch {torch.__version__}, {given.rounds} rounds\n")
    print("| part | crop | batch | lean | definitions | ratio | lean, memory | definitions, memory | ratio |")
    print("|---|---|---|---|---|---|---|---|---|")
    rows = []
    for part, size, batch in product(given.parts, given.sizes, given.batches):
        rows.append(measured(net, part, size, batch, given.rounds, device))
        print(row(rows[-1]), flush=True)
    if given.json:
        before = json.loads(given.json.read_text())["rows"] if given.json.exists() else []
        where = environment(given.device, threads=torch.get_num_threads())
        about = {"network": given.network, "backbone": given.backbone, "rounds": given.rounds, "environment": where}
        given.json.write_text(json.dumps({**about, "rows": before + rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
