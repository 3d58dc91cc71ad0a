"""Segmentation networks side by side on the embedded demo: ``python -m benchmarks.segmentation_networks FOLDER``.

One small backbone is trained as `fcn` on scenes whose notes are all clean, and every network starts from it, as
networks of papers start from ImageNet's. Then each is trained on scenes most of whose notes cannot be read alone, with
three seeds, by `saccade.train`, and scored on held-out scenes by `saccade.evaluate`. The same command goes on where it
was stopped; at the end it prints the table and writes it as JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

import saccade
from saccade.data.demo_folder import write_demo
from saccade.environment import environment
from saccade.tasks.segmentation.objects import SIZES, THINNESS

BACKBONE, SIZE, BATCH, RATE = "test_resnet", 96, 16, 6e-3
NETWORKS = ("fcn", "pam", "cam", "dual_nl", "cs_nl", "flanet", "psa", "gcnet[ratio=1/4]", "non_local")
HOW: dict[str, Any] = {
    "backbone": BACKBONE, "size": SIZE, "batch": BATCH, "learning_rate": RATE, "augment": "shift", "device": "cpu",
    "workers": 0, "progress": False,
}  # fmt: skip


def start(folder: Path, steps: int) -> Path:
    """The file of the backbone that all networks start from."""
    file = folder / "backbone.safetensors"
    if not file.exists():
        run = folder / "runs" / "start"
        saccade.train(folder / "clean", "fcn", steps=steps, evaluate_every=steps, out=run, **HOW)
        net: Any = saccade.load(run / "model.safetensors")
        save_file({name: tensor.contiguous() for name, tensor in net.backbone.state_dict().items()}, file)
    return file


def score(folder: Path, network: str, seed: int, steps: int) -> dict[str, Any]:
    """Train and score one network with one seed."""
    run = folder / "runs" / network.partition("[")[0] / str(seed)
    found = run / "scores.json"
    if not found.exists():
        saccade.train(
            folder / "notes", network, pretrained=folder / "backbone.safetensors", steps=steps, evaluate_every=steps,
            seed=seed, out=run, checkpoint_seconds=20.0, **HOW,
        )  # fmt: skip
        scored = saccade.evaluate(folder / "notes", run / "model.safetensors", device="cpu", workers=0)
        found.write_text(json.dumps(scored.results))
        print(f"{network}, seed {seed}: {scored.results['scores']['mIoU']:.4f}", file=sys.stderr, flush=True)
    return json.loads(found.read_text())


def row(runs: list[dict[str, Any]]) -> dict[str, list[float | None]]:
    values = {"mIoU": [run["scores"]["mIoU"] for run in runs]}
    for kind, names in (("by_size", SIZES), ("by_thinness", THINNESS)):
        values |= {f"{kind} {name}": [run[kind][name] for run in runs] for name in names}
    return values


def table(rows: dict[str, dict[str, list[float | None]]]) -> str:
    columns = list(next(iter(rows.values())))
    names = [name if name == "mIoU" else name.removeprefix("by_").replace("_", " ") for name in columns]
    lines = [f"| network | {' | '.join(names)} |"]
    lines.append("|---" * (1 + len(columns)) + "|")
    for network, values in rows.items():
        lines.append(f"| `{network.partition('[')[0]}` | {' | '.join(map(cell, values.values()))} |")
    return "\n".join(lines)


def cell(values: list[float | None]) -> str:
    """Mean and spread; "-" where there are no such objects."""
    known = [value for value in values if value is not None]
    return f"{100 * statistics.mean(known):.1f} ± {100 * statistics.stdev(known):.1f}" if len(known) > 1 else "-"


def main() -> None:
    parser = argparse.ArgumentParser(description="Segmentation networks side by side on the embedded demo.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=3, help="(default: %(default)s)")
    parser.add_argument("--steps", type=int, default=300, help="of each run (default: %(default)s)")
    parser.add_argument("--start-steps", type=int, default=400, help="of the backbone (default: %(default)s)")
    parser.add_argument("--networks", nargs="+", default=NETWORKS, help="(default: %(default)s)")
    parser.add_argument("--json", type=Path, help="file for the results")
    given = parser.parse_args()
    if given.seeds < 2:
        parser.error("--seeds: a spread needs at least 2")

    for name, kind, count in (("clean", "start", 1000), ("notes", "task", 1000)):
        if not (given.folder / name / "classes.txt").exists():
            write_demo(given.folder / name, train=count, held_out=200, kind=kind)
    start(given.folder, given.start_steps)
    runs = {
        network: [score(given.folder, network, seed, given.steps) for seed in range(given.seeds)]
        for network in given.networks
    }
    rows = {network: row(found) for network, found in runs.items()}
    print(table(rows))
    if given.json:
        about = {"steps": given.steps, "start_steps": given.start_steps, "backbone": BACKBONE, "batch": BATCH}
        place = environment("cpu", threads=torch.get_num_threads())
        limits = next(iter(runs.values()))[0]["limits"]
        content = {**about, "environment": place, "limits": limits, "rows": rows}
        given.json.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
