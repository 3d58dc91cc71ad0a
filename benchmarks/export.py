"""What every mechanism is as a file: ``python -m benchmarks.export`` measures it and writes docs/export.md.

A small network around each mechanism is written, run in its runtime and compared with PyTorch by `saccade.export`
itself, with free and with fixed sizes, in half precision and in 8 bits; ExecuTorch and LiteRT, where they are not
installed, in environments made for it and thrown away. Results lie in benchmarks/results/export.json, and what is there
already is not measured again. ``--tables`` measures only attention over positions (512 channels at 96 x 96), the form
of its authors and ours, exported by the same exporter, in turns in one process of one thread for time and in one
process each for memory.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import venv
import warnings
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import saccade
from benchmarks.export_page import TEXTS
from saccade.bench.authors import AsAuthors
from saccade.catalog import parse
from saccade.errors import MissingExtraError
from saccade.exporting.export import WrongExportError
from saccade.exporting.targets import NAMES, target
from saccade.exporting.verifying import TOLERANCES, measured_peak, photographs
from saccade.files import write_json
from saccade.testing.subject import Subject
from saccade.training.inputs import standardised

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "export.json"
PAGES = {"en": ROOT / "docs" / "export.md", "zh": ROOT / "docs" / "export.zh.md"}
VARIANTS = (
    "non_local[pairwise=dot_product]", "non_local[pairwise=concatenation]", "cam[sign=printed]",
    "sagan[variant=popular]", "fla[lean=True]", "gsop[variant=sum]", "psa[variant=sequential]",
    "gc[fusion=mul]", "bam[combine=sum]",
)  # fmt: skip
WAYS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    **{
        way: (to, options)
        for to in ("onnx", "openvino", "torch-export", "torchscript")
        for way, options in (
            (to, {}),
            (f"{to}, fixed", {"size": (40, 56)}),
            (f"{to}, half", {"half": True}),
            *([(f"{to}, 8 bits", {"int8": True, "tolerance": 1.0})] if to in ("onnx", "openvino") else ()),
        )
    },
    "executorch": ("executorch", {}),
    "executorch, fixed": ("executorch", {"size": (40, 56)}),
    "litert, fixed": ("litert", {"size": (40, 56)}),
}
PACKAGES: Mapping[str, tuple[str, ...]] = {
    "onnx": ("torch", "onnx", "onnxscript", "onnxruntime"),
    "openvino": ("torch", "onnx", "onnxscript", "openvino", "nncf"),
    "torch-export": ("torch",),
    "torchscript": ("torch",),
    "executorch": ("torch", "executorch"),
    "litert": ("torch", "litert-torch", "ai-edge-litert"),
}
APART = {"executorch": "executorch", "litert": "litert_torch"}
"""Kinds of file that need not be installed, each with a module: without it an environment is made for the kind."""
DOT_PRODUCT = "non_local[pairwise=dot_product,sub_sample=false]"
TABLES = ("pam", DOT_PRODUCT, "sagan", "non_local", "dual", "cs")
CHANNELS, SIDE = 512, 96


def network(name: str) -> nn.Module:
    """A convolution, the mechanism away from its start, and a classifier of positions."""
    torch.manual_seed(0)
    subject = Subject.of(name)
    ends = nn.Conv2d(3, 32, 3, stride=2, padding=1), nn.Conv2d(32, 5, 1)
    return nn.Sequential(ends[0], nn.ReLU(), subject.awake(torch.float32), ends[1]).eval()


def measured(name: str, way: str) -> dict[str, Any]:
    """Export a mechanism in one way: the largest error, or why there is none."""
    kind, options = WAYS[way]
    given = dict(options)
    with tempfile.TemporaryDirectory() as folder:
        if given.pop("int8", False):
            given["int8"] = photographs(None)[0].parent
        try:
            found = saccade.export(
                network(name), to=kind, out=Path(folder) / "one", example_input=torch.zeros(1, 3, 40, 56), **given
            )
        except WrongExportError as wrong:
            errors = [case.error for case in wrong.cases if np.isfinite(case.error)]
            return {"wrong": max(errors, default=None), "why": str(wrong).splitlines()[-1][:300]}
        except (saccade.InputError, MissingExtraError) as wrong:
            return {"refused": wrong.message[:300]}
    if not found.verified:
        return {"unverified": found.notes[-1][:300]}
    agreements = [case.agreement for case in found.cases if case.agreement is not None]
    notes = [note for note in found.notes if note.startswith("8 bits")]
    return {"error": max(case.error for case in found.cases), "agreement": min(agreements), "notes": notes}


def measure_all(names: list[str], ways: list[str]) -> None:
    """Measure what is not in the results yet."""
    apart = [kind for kind, module in APART.items() if importlib.util.find_spec(module) is None]
    for way in ways:
        missing = [name for name in names if way not in results()["cells"].get(name, {})]
        kind = WAYS[way][0]
        if kind in apart and missing:
            measure_apart(kind, names, [way for way in ways if WAYS[way][0] == kind])
            continue
        for name in missing:
            if way in results()["cells"].get(name, {}):  # by another process, meanwhile
                continue
            started = time.perf_counter()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = measured(name, way)
            print(f"{way:18} {name:34} {time.perf_counter() - started:5.1f} s  {found}", flush=True)
            stored = results()  # again: another process may measure other parts
            stored["cells"].setdefault(name, {})[way] = found
            stored["versions"][kind] = {package: metadata.version(package) for package in PACKAGES[kind]}
            write_json(RESULTS, stored)


def measure_apart(kind: str, names: list[str], ways: list[str]) -> None:
    """Measure the ways of a kind of file in an environment that holds saccade and what writes and runs such files."""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = Path(folder) / ("Scripts" if os.name == "nt" else "bin") / "python"
        print(f"installing {kind}", flush=True)
        for words in (["pip", "install", "-q", "uv"], ["uv", "pip", "install", "-q", f"{ROOT}[{kind},demo]"]):
            subprocess.run([python, "-m", *words], check=True, env=os.environ | {"VIRTUAL_ENV": folder})
        path = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
        words = ["-m", "benchmarks.export", *names, "--ways", ",,".join(ways)]
        for more in (words, ["-m", "benchmarks.export", "--example", kind]):
            subprocess.run([python, *more], check=True, cwd=ROOT, env=os.environ | {"PYTHONPATH": path})


def run_example(kind: str) -> None:
    """Run the example of a kind of file without saccade, on a file that standardises and one that does not.

    Raises:
        RuntimeError: It prints other classes than the network has.
    """
    net, image = network("cbam"), np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8)
    x = torch.from_numpy(image).permute(2, 0, 1)[None]
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        np.save(Path(folder) / "image.npy", image)
        for pre in (False, True):
            file = saccade.export(
                net,
                to=kind,
                size=(40, 56),
                with_pre=pre,
                out=Path(folder) / f"net{pre:d}",
                verify=False,
                overwrite=True,
            ).file
            example = ROOT / "examples" / f"run_{kind}.py"
            alone = f"import sys, runpy; sys.modules['saccade'] = None; runpy.run_path(r'{example}')"
            words = [sys.executable, "-c", alone, str(file), str(Path(folder) / "image.npy")]
            said = subprocess.run(words, capture_output=True, text=True, check=True, cwd=folder).stdout
            numbers, counts = np.unique(net(standardised(x))[0].argmax(dim=0).numpy(), return_counts=True)
            wanted = [f"{n} {count / counts.sum():.1%}" for n, count in zip(numbers, counts, strict=True)]
            if said.splitlines() != wanted:
                raise RuntimeError(f"{example} printed {said!r} in the place of {wanted}")
            print(f"{example.name}, {'with' if pre else 'without'} standardisation in the file: right", flush=True)


def results() -> dict[str, Any]:
    """Return what was measured before."""
    empty = {"cells": {}, "tables": {}, "versions": {}}
    found: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else empty
    return found


def versions(stored: Mapping[str, Mapping[str, str]]) -> str:
    """Versions of what wrote and ran the files; of a package of several versions also the kinds of file."""
    kinds: dict[tuple[str, str], list[str]] = {}
    for kind in PACKAGES:
        for package, version in stored.get(kind, {}).items():
            kinds.setdefault((package, version), []).append(kind)
    packages = [package for package, _ in kinds]
    return ", ".join(
        f"{package} {version}" + (f" ({', '.join(of)})" if packages.count(package) > 1 else "")
        for (package, version), of in kinds.items()
    )


def of_512(name: str, form: str) -> nn.Module:
    """A mechanism of 512 channels, as its authors' code computes it or as ours."""
    torch.manual_seed(0)
    spec = parse(name)
    module = saccade.create(spec.name, CHANNELS, **spec.options).eval()
    with torch.no_grad():
        for parameter_name, parameter in module.named_parameters():
            if parameter_name.endswith("gamma"):
                parameter.fill_(0.7)
            elif not parameter.any():
                parameter.normal_(std=0.01)
    return AsAuthors(name.split("[")[0], module) if form == "authors" else module


def measure_tables(names: Sequence[str] = TABLES) -> None:
    """Memory and time of attention over positions in ONNX Runtime and OpenVINO, of what is not in the results yet."""
    for name in names:
        if name in results()["tables"]:
            continue
        with tempfile.TemporaryDirectory() as folder:
            files = {}
            for to in ("onnx", "openvino"):
                for form in ("authors", "saccade"):
                    files[f"{to}, {form}"] = saccade.export(
                        of_512(name, form), to=to, out=Path(folder) / form, verify=False,
                        example_input=torch.randn(1, CHANNELS, 24, 32),
                    ).file  # fmt: skip
            found: dict[str, dict[str, float]] = {way: {"mib": peak_of(file)} for way, file in files.items()}
            for way, times in times_of(files).items():
                found[way]["s"] = statistics.median(times)
        stored = results()
        stored["tables"][name] = found
        print(name, found, flush=True)
        write_json(RESULTS, stored)


def _input() -> Any:
    draw = np.random.default_rng(0)
    return (0.3 * draw.standard_normal((1, CHANNELS, SIDE, SIDE))).astype(np.float32)


def _open(file: Path) -> Any:
    return target({".onnx": "onnx", ".xml": "openvino"}[file.suffix]).open(file)


def peak_of(file: Path) -> float:
    """Measure the memory of one run in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.export", "--peak", str(file)],
        capture_output=True, text=True, check=True, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    return float(done.stdout.split()[-1])


def print_peak(file: Path) -> None:
    """Print the memory of one run above what the process held before, in MiB, after one of a small map."""
    torch.set_num_threads(1)
    session = _open(file)
    x = _input()
    session.run(np.ascontiguousarray(x[:, :, :8, :8]))
    print(measured_peak(lambda: session.run(x))[0])


def times_of(files: Mapping[str, Path], rounds: int = 3) -> dict[str, list[float]]:
    """Measure the processor time of each file, in turns, in s."""
    torch.set_num_threads(1)
    sessions = {way: _open(file) for way, file in files.items()}
    x = _input()
    times: dict[str, list[float]] = {way: [] for way in files}
    for turn in range(rounds + 1):
        for way, session in sessions.items():
            started = time.process_time()
            session.run(x)
            if turn:
                times[way].append(time.process_time() - started)
    return times


def cell(found: Mapping[str, Any] | None, way: str) -> str:
    """One cell of the table."""
    if found is None:
        return ""
    if found.get("error") is None:
        return "wrong" if (found.get("wrong") or 0.0) > TOLERANCES["float32"] else "-"
    shown = f"{found['error']:.0e}".replace("e-0", "e-") if found["error"] else "0"
    return f"{shown}, {100 * found['agreement']:.0f}%" if "8 bits" in way else shown


def page(language: str) -> str:
    """The page in one language."""
    stored, texts = results(), TEXTS[language]
    cells = stored["cells"]
    ways = [way for way in WAYS if any(way in row for row in cells.values())]
    lines = [f"# {texts['title']}", "", texts["other"], "", texts["intro"], "", f"## {texts['cells']}", ""]
    counts = []
    for way in ways:
        rows = [row[way] for row in cells.values() if way in row]
        right = sum("error" in found for found in rows)
        counts.append(texts["count"].format(way=f"`{way}`", right=right, all=len(rows)))
    lines += ["; ".join(counts) + ("." if language == "en" else "。"), ""]
    lines += [f"| | {' | '.join(ways)} |", "| --- |" + " --- |" * len(ways)]
    lines += [f"| `{name}` | {' | '.join(cell(row.get(way), way) for way in ways)} |" for name, row in cells.items()]
    lines += ["", texts["cells_note"].format(versions=versions(stored["versions"])), ""]
    if any(way not in row for row in cells.values() for way in ways):
        lines += [texts["open"], ""]
    reasons: dict[str, list[str]] = {}
    for name, row in cells.items():
        for way, found in row.items():
            why = found.get("refused") or found.get("why") or found.get("unverified")
            if why:
                reasons.setdefault(f"{way}: {why.split(': ', 1)[-1][:160]}", []).append(f"`{name}`")
    if reasons:
        lines += [f"### {texts['why']}", "", *(f"- {why} ({', '.join(names)})" for why, names in reasons.items()), ""]
    if stored["tables"]:
        lines += [f"## {texts['tables']}", "", texts["tables_note"].format(side=SIDE), ""]
        lines += [f"| {' | '.join(texts['columns'])} |", "| --- | --- | --- | --- | --- | --- |"]
        for name, found in stored["tables"].items():
            for to in ("onnx", "openvino"):
                theirs, ours = found[f"{to}, authors"], found[f"{to}, saccade"]
                lines.append(
                    f"| `{name}` | {to} | {theirs['mib']:.0f} | {ours['mib']:.0f} "
                    f"({ours['mib'] / theirs['mib']:.2f}) | {theirs['s']:.2f} | {ours['s']:.2f} "
                    f"({ours['s'] / theirs['s']:.2f}) |"
                )
        lines.append("")
    return "\n".join([*lines, texts["limits"], ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="mechanisms; by default all, and some variants")
    parser.add_argument("--ways", default=",,".join(WAYS), help="columns of the table, separated by two commas")
    parser.add_argument("--tables", action="store_true", help="measure memory and time of attention over positions")
    parser.add_argument("--page", action="store_true", help="only write the pages from the results")
    parser.add_argument("--peak", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--example", choices=tuple(APART), help="only run the example of this kind, in its environment")
    given = parser.parse_args()
    if given.peak is not None:
        print_peak(given.peak)
        return
    if given.example:
        run_example(given.example)
        return
    if not given.page:
        names = given.names or [*(str(name) for name in saccade.list_mechanisms()), *VARIANTS]
        ways = [way for way in given.ways.split(",,") if WAYS[way][0] in NAMES]
        if given.tables:
            measure_tables(given.names or TABLES)
        else:
            measure_all(names, ways)
            measure_tables([] if given.names or given.ways != parser.get_default("ways") else TABLES)
    for language, file in PAGES.items():
        file.write_text(page(language), encoding="utf-8")


if __name__ == "__main__":
    main()
