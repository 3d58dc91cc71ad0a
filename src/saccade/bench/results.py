"""Results of a measurement: as a document, as a table in the terminal and on a page, and as a picture."""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from saccade.bench.measure import MODES, Setting, growth, stamp
from saccade.bench.sizes import Case
from saccade.catalog import create
from saccade.errors import InputError, require
from saccade.outputs import Outputs

if TYPE_CHECKING:
    from rich.table import Table

SCHEMA = 1
BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"
_GROWTH = ("pam", "cam")
_SIDES = (16, 24, 32, 48, 64)


def described(setting: Setting, size: str) -> dict[str, Any]:
    """Describe the machine and the settings."""
    return described_machine(setting.device) | {
        "dtype": str(setting.dtype).removeprefix("torch."),
        "channels_last": setting.channels_last,
        "rounds": setting.rounds,
        "size": size,
        "measured": stamp(),
    }


def described_machine(device: torch.device) -> dict[str, Any]:
    """Describe the machine."""
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else _cpu(),
        "threads": torch.get_num_threads(),
        "platform": platform.platform(terse=True),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def document(
    rows: Sequence[dict[str, Any]], machine: Mapping[str, Any], limits: Mapping[str, float], not_compiled: str | None
) -> dict[str, Any]:
    """Return what `--json` prints: rows with entries of attention maps, the floor and the fraction of it reached."""
    for row in rows:
        flops, numbers, row["map_entries"] = _work(row)
        itemsize = torch.finfo(getattr(torch, machine["dtype"])).bits // 8
        for mode, times in zip(MODES, (1, 3), strict=True):
            # Forward reads and writes the map; backward reads both again with a gradient and writes one.
            moved = itemsize * numbers * (2 if mode == "forward" else 5)
            floor = max(times * flops / limits["gflops"] / 1e6, moved / limits["gb_per_s"] / 1e6)
            row[f"{mode}_floor_ms"] = floor
            row[f"{mode}_share"] = floor / row[mode]["saccade"]["ms"]
    return {
        "schema": SCHEMA,
        "machine": dict(machine),
        "limits": dict(limits),
        "not_compiled": not_compiled,
        "rows": list(rows),
    }


def table(found: Mapping[str, Any]) -> Table:
    """Return the table for the terminal."""
    from rich.table import Table

    machine = found["machine"]
    title = f"{machine['device']}, {machine['threads']} threads, torch {machine['torch']}, {machine['dtype']}"
    drawn = Table(title=title, caption=_caption(found))
    for heading in _HEADINGS:
        drawn.add_column(heading, justify="left" if heading in ("mechanism", "shape") else "right")
    for row in found["rows"]:
        drawn.add_row(*_cells(row))
    return drawn


def markdown(found: Mapping[str, Any]) -> str:
    """Return the table for a page."""
    lines = [_HEADINGS, ["---"] * len(_HEADINGS), *(_cells(row) for row in found["rows"])]
    machine = found["machine"]
    about = (
        f"{machine['device']}, {machine['threads']} threads, {machine['platform']}, torch {machine['torch']}, "
        f"{machine['dtype']}, {machine['rounds']} rounds, {machine['measured']} UTC. {_caption(found)}"
    )
    return "\n".join([about, "", *(f"| {' | '.join(line)} |" for line in lines)])


def into_page(found: Mapping[str, Any], page: Path) -> None:
    """Write the table between the two marks of a page."""
    text = page.read_text(encoding="utf-8")
    if BEGIN not in text or END not in text:
        raise InputError(f"{page}: expected the marks {BEGIN} and {END}")
    inside = f"{BEGIN}\n{markdown(found)}\n{END}"
    page.write_text(re.sub(f"{BEGIN}.*{END}", lambda _: inside, text, flags=re.DOTALL), encoding="utf-8")


def draw_growth(cases: Sequence[Case], setting: Setting, path: Path) -> None:
    """Plot memory of forward and backward against the number of positions, on logarithmic axes (PNG)."""
    require("matplotlib", extra="train")
    from matplotlib.figure import Figure

    drawn = [case for case in cases if case.name in _GROWTH] or list(cases[:1])
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.subplots()
    for colour, case in zip(("#0b6bb5", "#c2500a", "#1b8a5a", "#a43f8f"), drawn, strict=False):
        for name, points in growth(case, _SIDES, setting).items():
            positions, heights = zip(*points, strict=True)
            style = "--" if name == "authors" else "-"
            axes.loglog(positions, heights, style, marker="o", markersize=4, color=colour, label=f"{case.name}, {name}")
    axes.set_xlabel("positions N = H W")
    axes.set_ylabel("memory, forward and backward (MiB)")
    axes.set_title("An N x N table grows with the square of N", fontsize=10)
    axes.grid(True, which="both", alpha=0.25)
    axes.legend(fontsize=8)
    with Outputs(path.parent).replacing(path) as temporary:
        figure.savefig(temporary, dpi=150, format="png")


_HEADINGS = [
    "mechanism", "shape", "map entries", "authors ms", "saccade ms", "ratio", "compiled authors", "compiled saccade",
    "MiB authors", "MiB saccade", "ratio of memory", "fraction of floor",
]  # fmt: skip


def _cells(row: Mapping[str, Any]) -> list[str]:
    """Format one row; each cell is forward / forward and backward."""

    def both(form: str, key: str, shown: str) -> str:
        values = [row[mode][form] for mode in MODES]
        return "-" if None in values else " / ".join(format(value[key], shown) for value in values)

    return [
        row["name"],
        "x".join(map(str, row["shape"])),
        f"{row['map_entries']:.3g}",
        both("authors", "ms", ".4g"),
        both("saccade", "ms", ".4g"),
        " / ".join(_with_spread(row[mode]["saccade"]) for mode in MODES),
        both("authors compiled", "ratio", ".2f"),
        both("saccade compiled", "ratio", ".2f"),
        both("authors", "peak_mib", ".4g"),
        both("saccade", "peak_mib", ".3g"),
        both("saccade", "memory_ratio", ".1f"),
        " / ".join(f"{100 * row[f'{mode}_share']:.0f} %" for mode in MODES),
    ]


def _with_spread(form: Mapping[str, Any]) -> str:
    low, high = form["spread"]
    return f"{form['ratio']:.2f} ({low:.2f} to {high:.2f})"


def _caption(found: Mapping[str, Any]) -> str:
    told = (
        "Each cell: forward / forward and backward. Ratios are to the authors' form, above 1 is faster or leaner; in "
        "brackets the middle half of the rounds."
    )
    return told if found["not_compiled"] is None else f"{told} Compiled forms: not measured, {found['not_compiled']}."


def _work(row: Mapping[str, Any]) -> tuple[int, int, int]:
    """Return floating-point operations of the lean form, numbers in the map, and entries of the attention maps."""
    from torch.utils.flop_counter import FlopCounterMode

    shape = row["shape"]
    with torch.device("meta"), FlopCounterMode(display=False) as counter, torch.no_grad():
        module = create(row["mechanism"], shape[1], **row.get("options", {})).eval()
        for layer in row.get("without", ()):
            setattr(module, layer, torch.nn.Identity())
        x = torch.empty(shape)
        module(x)
        return counter.get_total_flops(), x.numel(), _entries(row["mechanism"], module, x)


def _entries(mechanism: str, module: Any, x: torch.Tensor) -> int:
    """Count the entries of the attention maps as the mechanism defines them, whether or not they are ever stored."""
    if mechanism == "a2":  # two maps over its descriptors
        return int(2 * module.gather(x).numel())
    if mechanism == "gsop":
        return int(len(x) * module.dim**2)
    if mechanism == "psa":  # one map in each branch
        return int(2 * x[:, 0].numel())
    parts = [part for part in (module, *module.children()) if hasattr(part, "attention")]
    return sum(part.attention(x).numel() for part in parts)


def _cpu() -> str:
    try:
        found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    except OSError:
        found = None
    return found[1].strip() if found else platform.processor() or platform.machine()


def main() -> None:
    """Write one table of all rows into pages: ``python -m saccade.bench.results RESULTS.json ... PAGE.md ...``."""
    import sys

    documents = [json.loads(Path(name).read_text(encoding="utf-8")) for name in sys.argv[1:] if name.endswith(".json")]
    found = documents[0] | {"rows": [row for document in documents for row in document["rows"]]}
    for page in (name for name in sys.argv[1:] if name.endswith(".md")):
        into_page(found, Path(page))


if __name__ == "__main__":
    main()
