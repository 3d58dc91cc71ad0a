"""What every mechanism is as a file: ``python -m benchmarks.export`` exports each to each target and writes docs/export.md.

A small network around each mechanism is written, run in its runtime and compared with PyTorch by `saccade.export`
itself, with free and with fixed sizes, in half precision and in 8 bits. Results lie in benchmarks/results/export.json,
and what is there already is not measured again. ``--tables`` measures the memory of attention over positions (PAM of
512 channels at 96 x 96), its authors' form and ours, exported by the same exporter, in turns in one process of one
thread for time and in one process each for memory.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import saccade
from saccade.bench.authors import AsAuthors
from saccade.errors import MissingExtraError
from saccade.exporting.export import WrongExportError
from saccade.exporting.targets import NAMES, target
from saccade.exporting.verifying import measured_peak, photographs
from saccade.files import write_json
from saccade.testing.subject import Subject

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "export.json"
PAGES = {"en": ROOT / "docs" / "export.md", "zh": ROOT / "docs" / "export.zh.md"}
VARIANTS = (
    "non_local[pairwise=dot_product]", "non_local[pairwise=concatenation]", "cam[sign=printed]", "sagan[variant=popular]",
    "fla[lean=True]", "gsop[variant=sum]", "psa[variant=sequential]", "gc[fusion=mul]", "bam[combine=sum]",
)  # fmt: skip
WAYS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "onnx": ("onnx", {}),
    "onnx, fixed": ("onnx", {"size": (40, 56)}),
    "onnx, half": ("onnx", {"half": True}),
    "onnx, 8 bits": ("onnx", {"int8": True, "tolerance": 1.0}),
    "openvino": ("openvino", {}),
    "openvino, half": ("openvino", {"half": True}),
    "openvino, 8 bits": ("openvino", {"int8": True, "tolerance": 1.0}),
    "torch-export": ("torch-export", {}),
    "torchscript": ("torchscript", {}),
    "executorch": ("executorch", {}),
    "litert, fixed": ("litert", {"size": (40, 56)}),
}
TABLES = ("pam", "sagan", "non_local", "dual", "cs", "non_local[pairwise=dot_product]")
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
    stored = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"cells": {}, "tables": {}}
    for way in ways:
        for name in names:
            if way in stored["cells"].get(name, {}):
                continue
            started = time.perf_counter()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                stored["cells"].setdefault(name, {})[way] = found = measured(name, way)
            print(f"{way:18} {name:34} {time.perf_counter() - started:5.1f} s  {found}", flush=True)
            stored["versions"] = versions()
            write_json(RESULTS, stored)


def versions() -> dict[str, str]:
    """Versions of what wrote and ran the files."""
    from importlib import metadata

    names = ("torch", "onnx", "onnxscript", "onnxruntime", "openvino", "nncf", "executorch", "litert-torch")
    found = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def of_512(name: str, form: str) -> nn.Module:
    """A mechanism of 512 channels, as its authors' code computes it or as ours."""
    torch.manual_seed(0)
    module = saccade.create(name, CHANNELS).eval()
    with torch.no_grad():
        for parameter_name, parameter in module.named_parameters():
            if parameter_name.endswith("gamma"):
                parameter.fill_(0.7)
            elif not parameter.any():
                parameter.normal_(std=0.01)
    return AsAuthors(name.split("[")[0], module) if form == "authors" else module


def measure_tables() -> None:
    """Memory and time of attention over positions in ONNX Runtime and OpenVINO."""
    stored = json.loads(RESULTS.read_text())
    for name in TABLES:
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


TEXTS = {
    "en": {
        "other": "**English** · [中文](export.zh.md)",
        "title": "Export",
        "intro": """`saccade export` writes a trained network as a file for another runtime, runs the file there, and keeps it only if it is
the same network:

```
saccade export saccade-train/photos --to onnx --out photos.onnx
saccade predict photos --model photos.onnx
saccade evaluate photos --model photos.onnx
```

Batch, height and width are free, unless `--size H,W` fixes height and width. The file is compared with the network at the given size
and at four others (odd sides, other aspects, batches of 1 and 3), on drawn images and on images of the training's folder; the table
that is printed has the relative error, the agreement of predictions, time and memory. If a difference exceeds the tolerance, nothing
is left under the name and the exit status is 1. Where the runtime is not installed, the name says `unverified`.

`--with-pre` puts the standardisation into the file, which then takes uint8 images (B, 3, H, W) in RGB; it never resizes. `--with-post`
returns probabilities, or the class of each pixel. Classes, sizes, mechanisms, source, versions and licence stand in the metadata of
the file under `saccade`, as JSON. `examples/` shows each runtime without saccade, with numpy alone.

| extra | for |
| --- | --- |
| `saccade-attention[onnx]` | `--to onnx`, run by ONNX Runtime |
| `saccade-attention[openvino]` | `--to openvino` |
| `saccade-attention[executorch]` | `--to executorch`, with the kernels of XNNPACK |
| `saccade-attention[litert]` | `--to litert`; it may need a torch of its own |

`--half` stores weights in half precision; the energies of attention between channels and covariances stay float32. `--int8 FOLDER`
calibrates 8 bits with the images of a folder; softmax and gates stay in float, and the command says what 8 bits in the layers of
the attention cost.""",
        "cells": "Largest relative error, each mechanism in a small network",
        "cells_note": "Over all sizes compared; in 8 bits also the smallest agreement of predictions, with random weights. Measured with {versions}.",
        "count": "{way}: {right} of {all}",
        "tables": "Attention over positions",
        "tables_note": "512 channels, {side} x {side}, float32, one thread: peak memory above what the process held, and processor time, of the authors' form and of ours, exported by the same exporter. In ONNX files softmax attention runs over blocks of queries (`Scan`), made of standard operators; in OpenVINO it is one operator. Neither holds the table of all pairs of positions. The concatenation form of non-local attention still does.",
        "columns": ("mechanism", "runtime", "authors' MiB", "ours", "authors' s", "ours"),
        "why": "Why cells are empty",
        "limits": """- Attention over positions in `torch-export`, `torchscript`, `executorch` and `litert` files is the definition, with its table.
- LiteRT: litert-torch cannot leave sizes free, so `--size` or the size of training fixes them.
- Other exporters take networks with mechanisms too: `torch.onnx.export` in both forms, `torch.jit.trace`, and OpenVINO's own
  conversion give right numbers at any size. OpenVINO fuses a traced softmax(X Xᵀ) X over the wrong axes; here the maximum is
  written out, which keeps it from that.""",
    },
    "zh": {
        "other": "[English](export.md) · **中文**",
        "title": "导出",
        "intro": """`saccade export` 把训练好的网络写成另一个运行时的文件,在那里运行,只有与原网络相同才保留:

```
saccade export saccade-train/photos --to onnx --out photos.onnx
saccade predict photos --model photos.onnx
saccade evaluate photos --model photos.onnx
```

批量、高和宽都不固定,除非用 `--size H,W` 固定高宽。文件在给定的尺寸和另外四个尺寸(奇数边长、其他宽高比、批量 1 和 3)上,
用绘制的图像和训练文件夹里的图像与原网络比较;打印的表格包括相对误差、预测的一致比例、时间和内存。差异超过容限时,
该名称下不留任何文件,退出状态为 1。没有安装运行时的,文件名里会写明 `unverified`。

`--with-pre` 把标准化放进文件,文件于是接受 uint8 的 RGB 图像 (B, 3, H, W);它从不缩放。`--with-post` 返回概率,或每个像素的类别。
类别、尺寸、机制、来源、版本和许可证以 JSON 写在文件元数据的 `saccade` 一项里。`examples/` 为每个运行时给出不依赖 saccade、只用 numpy 的例子。

| 附加组件 | 用途 |
| --- | --- |
| `saccade-attention[onnx]` | `--to onnx`,由 ONNX Runtime 运行 |
| `saccade-attention[openvino]` | `--to openvino` |
| `saccade-attention[executorch]` | `--to executorch`,使用 XNNPACK 的内核 |
| `saccade-attention[litert]` | `--to litert`;可能需要单独的 torch |

`--half` 以半精度存储权重;通道注意力的能量和协方差仍为 float32。`--int8 FOLDER` 用文件夹里的图像校准 8 位量化;softmax 和门保持浮点,
命令会说明注意力各层用 8 位的代价。""",
        "cells": "最大相对误差:每种机制放在一个小网络里",
        "cells_note": "取所有比较过的尺寸;8 位另给出预测的最小一致比例,权重为随机。测量所用版本:{versions}。",
        "count": "{way}:{all} 个中的 {right} 个",
        "tables": "位置之间的注意力",
        "tables_note": "512 通道,{side} x {side},float32,单线程:作者写法与我们的写法由同一导出器导出后,超出进程原有内存的峰值,以及处理器时间。ONNX 文件里 softmax 注意力按查询分块运行(`Scan`),只用标准算子;OpenVINO 里是一个算子。两者都不保存所有位置对的大表。非局部注意力的 concatenation 形式仍然保存。",
        "columns": ("机制", "运行时", "作者写法 MiB", "我们的", "作者写法 s", "我们的"),
        "why": "为什么有空格",
        "limits": """- `torch-export`、`torchscript`、`executorch` 和 `litert` 文件里,位置之间的注意力是定义形式,含大表。
- LiteRT:litert-torch 不能让尺寸自由,因此由 `--size` 或训练尺寸固定。
- 其他导出器同样可用于含机制的网络:两种形式的 `torch.onnx.export`、`torch.jit.trace` 和 OpenVINO 自己的转换,在任何尺寸都给出正确的数。
  OpenVINO 会把跟踪得到的 softmax(X Xᵀ) X 沿错误的轴融合;这里把最大值写出来,就不会被融合。""",
    },
}


def cell(found: Mapping[str, Any] | None, way: str) -> str:
    """One cell of the table."""
    if found is None:
        return ""
    if found.get("error") is None:
        return "wrong" if "wrong" in found else "-"
    shown = f"{found['error']:.0e}".replace("e-0", "e-")
    return f"{shown}, {100 * found['agreement']:.0f}%" if "8 bits" in way else shown


def page(language: str) -> str:
    """The page in one language."""
    stored, texts = json.loads(RESULTS.read_text()), TEXTS[language]
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
    used = ", ".join(f"{name} {version}" for name, version in stored["versions"].items())
    lines += ["", texts["cells_note"].format(versions=used), ""]
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
    given = parser.parse_args()
    if given.peak is not None:
        print_peak(given.peak)
        return
    if not given.page:
        names = given.names or [*(str(name) for name in saccade.list_mechanisms()), *VARIANTS]
        ways = [way for way in given.ways.split(",,") if WAYS[way][0] in NAMES]
        if given.tables:
            measure_tables()
        else:
            measure_all(names, ways)
    for language, file in PAGES.items():
        file.write_text(page(language), encoding="utf-8")


if __name__ == "__main__":
    main()
