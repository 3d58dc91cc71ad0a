"""Which networks insertion reaches: ``python -m benchmarks.coverage [--all]`` walks timm and writes docs/coverage.md.

The smallest network of each family is inserted into for real: SE at every place found, the outputs compared bit by bit
in evaluation and in training, everything taken off again. With ``--all`` every convolutional name is traced as well, on
the meta device: places found, mechanisms attached and called exactly once, removed. Without it, the second table of the
page stays as it is. The first table is checked by tests/insertion/test_families.py.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import re
import warnings
from dataclasses import astuple, dataclass, replace
from pathlib import Path

import timm
import torch
from torch import nn

import saccade
from saccade.errors import InputError
from saccade.insertion import attachments
from saccade.insertion.attach import Attachment
from saccade.insertion.places import KINDS, Places
from saccade.insertion.tracing import trace

PAGE = Path(__file__).parents[1] / "docs" / "coverage.md"
SIDES = (96, 128, 160, 192, 224, 256)
SE = "se[inner_channels=4]"


@dataclass(frozen=True)
class Row:
    """What was found in one network; the columns of the first table."""

    family: str
    model: str
    residual: int
    inner: int
    stage: int
    block: int
    equal: bool | None = None
    removed: bool | None = None
    note: str = ""

    @property
    def places(self) -> int:
        return self.residual + self.inner + self.stage + self.block


def on_meta(name: str) -> nn.Module:
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return timm.create_model(name)


def smallest_first() -> dict[str, list[str]]:
    """The names of every family by their number of parameters."""
    found: dict[str, list[str]] = {}
    for family in timm.list_modules():
        sizes = {name: sum(p.numel() for p in on_meta(name).parameters()) for name in timm.list_models(module=family)}
        if sizes:
            found[family] = sorted(sizes, key=sizes.__getitem__)
    return found


def refused(model: nn.Module) -> bool:
    try:
        saccade.plan(model, "se")
    except InputError as cause:
        return "expected a convolutional network" in cause.message
    return False


def look(family: str, name: str, model: nn.Module) -> Row:
    """The places of a network, and why there are none of a kind."""
    places = Places(trace(model, None, Attachment)[0])
    counts = [len(places.of(kind)) for kind in KINDS]
    return Row(family, name, *counts, note=_why(places))


def _why(places: Places) -> str:
    why = []
    if not places.residual:
        added = {
            reason: 0 for what, reason in places.unused.items() if "addition" in what or what.startswith("residual")
        }
        why.append(f"residual: {'; '.join(added) or 'it has no residual additions'}")
    if len(places.stage) < 3:
        missing = [key for key in places.unused if key.startswith("stage")]
        rest = "; other ends pass no module that is called once" if missing else ""
        why.append(f"stage: {len(places.stage)} found, no other map is on every way to the deepest one{rest}")
    return "; ".join(why)


def attach_everywhere(model: nn.Module, row: Row) -> nn.Module:
    return saccade.insert(model, SE, at=[kind for kind in KINDS if getattr(row, kind)])


def outputs(model: nn.Module, x: torch.Tensor, training: bool) -> list[torch.Tensor]:
    torch.manual_seed(1)
    with torch.no_grad():
        found = model.train(training)(x)
    return list(found) if isinstance(found, (tuple, list)) else [found]


def side_that_runs(model: nn.Module) -> int:
    """The smallest side that a network computes something at."""
    for side in SIDES:
        with contextlib.suppress(Exception):
            outputs(model, torch.zeros(2, 3, side, side), True)
            return side
    return int(model.default_cfg["input_size"][-1])


def check(row: Row) -> Row:
    """Insert for real, compare, remove: on the CPU, at the smallest size that runs."""
    torch.manual_seed(0)
    plain = timm.create_model(row.model)
    side = side_that_runs(plain)
    original = copy.deepcopy(plain.state_dict())
    x = torch.randn(2, 3, side, side)
    model = attach_everywhere(copy.deepcopy(plain), row)
    same, expected = True, outputs(plain, x, False)
    for training in (False, True):
        theirs = outputs(plain, x, True) if training else expected
        same &= all(map(torch.equal, outputs(model, x, training), theirs))
    new = model.state_dict()
    same &= all(torch.equal(new[key], value) for key, value in plain.state_dict().items())  # batch statistics too
    same &= not model.load_state_dict(original, strict=False).unexpected_keys
    saccade.remove(model)
    removed = list(model.state_dict()) == list(original) and not hooked(model)
    removed &= all(torch.equal(a, b) for a, b in zip(outputs(model, x, False), expected, strict=True))
    return replace(row, equal=bool(same), removed=bool(removed))


def check_traced(family: str, name: str) -> Row | None:
    """The same as far as the meta device can tell: attached, each called once, keys, removal. None if it is refused."""
    model = on_meta(name)
    row, keys = look(family, name, model), list(model.state_dict())
    try:
        attach_everywhere(model, row)
    except InputError as cause:
        if "expected a convolutional network" in cause.message:
            return None
        raise
    kept = [key for key in model.state_dict() if ".saccade" not in key] == keys and bool(attachments(model))
    saccade.remove(model)
    return replace(row, equal=kept, removed=list(model.state_dict()) == keys and not hooked(model))


def hooked(model: nn.Module) -> bool:
    return any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def representatives() -> list[Row]:
    """The first table of the page as it was written."""
    rows = []
    for line in PAGE.read_text(encoding="utf-8").split("\n## ")[1].splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 9 and cells[2].isdigit():
            rows.append(Row(cells[0], cells[1].strip("`"), *map(int, cells[2:6]), note=cells[8]))  # type: ignore[arg-type]
    return rows


def _line(cells: tuple[object, ...]) -> str:
    return f"| {' | '.join(str(cell) for cell in cells)} |"


def first_table(rows: list[Row]) -> list[str]:
    lines = [_line(("family", "network", *KINDS, "same outputs", "comes off", "note")), _line(("---",) * 9)]
    for row in rows:
        family, model, *counts, equal, removed, note = astuple(row)
        lines.append(_line((family, f"`{model}`", *counts, "yes" if equal else "NO", "yes" if removed else "NO", note)))
    return lines


def second_table(every: dict[str, list[Row]]) -> list[str]:
    lines = [
        _line(("family", "networks", "attached and removed", "with residual", "with stage", "places")),
        _line(("---",) * 6),
    ]
    everything = [row for rows in every.values() for row in rows]
    for family, rows in (*every.items(), ("**all**", everything)):
        passed = sum(bool(row.equal and row.removed) for row in rows)
        residual, stage = (sum(getattr(row, kind) > 0 for row in rows) for kind in ("residual", "stage"))
        lines.append(_line((family, len(rows), passed, residual, stage, sum(row.places for row in rows))))
    failed = [row for row in everything if not (row.equal and row.removed and row.stage)]
    return [*lines, *(f"\nNot so: `{row.model}`: {row.note}" for row in failed)]


ENGLISH = """# Coverage

**English** · [中文](coverage.zh.md)

Written by `python -m benchmarks.coverage --all`, with timm {timm} and torch {torch}.
Pure transformers and mixers, which have no feature maps behind their stem, are refused:
{refused}.

{good} of {families} families attach, stay equal bit by bit and come off exactly.
`stage` finds places in {stage} of them, `residual` in {residual} of the {blocks} that add residual branches to maps.

## One network of each family

The smallest: SE at all places found, compared in evaluation and in training, removed. The counts are of places.

{first}

## Every network

Traced on the meta device: SE at all places found, each called exactly once, no key changed, removed.

{second}
"""
CHINESE = """# 覆盖范围

[English](coverage.md) · **中文**

由 `python -m benchmarks.coverage --all` 写成，timm {timm}，torch {torch}。
纯 transformer 与 mixer 在入口之后没有特征图，会被拒绝：
{refused}。

{families} 个系列中有 {good} 个能插入、输出逐位不变、并能完全取下。
`stage` 在其中 {stage} 个里找到位置；在特征图上有残差相加的 {blocks} 个里，`residual` 在 {residual} 个里找到。

## 每个系列一个网络

各取最小的：在找到的全部位置插入 SE，在评估与训练模式下比较输出，再取下。数字是位置数，备注为英文。

{first}

## 全部网络

在 meta 设备上追踪：在找到的全部位置插入 SE，每个恰好调用一次，键名不变，再取下。

{second}
"""
HEADINGS = {
    "family | network |": "系列 | 网络 |",
    "same outputs | comes off | note": "输出相同 | 可取下 | 备注",
    "family | networks | attached and removed | with residual | with stage | places": (
        "系列 | 网络数 | 插入并取下 | 有 residual | 有 stage | 位置数"
    ),
    "| yes | yes |": "| 是 | 是 |",
    "**all**": "**合计**",
}


def write(rows: list[Row], second: str, others: list[str]) -> None:
    """Both pages; the Chinese one has the same tables."""
    # A family without residual additions on maps has no such place; its note says what it has instead.
    blocks = [row for row in rows if row.residual or "makes or reads" in row.note]
    found = {
        "timm": timm.__version__, "torch": torch.__version__.split("+")[0],
        "families": len(rows), "blocks": len(blocks), "refused": ", ".join(f"`{name}`" for name in others),
        "good": sum(bool(row.equal and row.removed) for row in rows),
        "stage": sum(row.stage > 0 for row in rows), "residual": sum(row.residual > 0 for row in rows),
    }  # fmt: skip
    tables = {"first": "\n".join(first_table(rows)), "second": second}
    PAGE.write_text(ENGLISH.format(**found, **tables), encoding="utf-8")
    for english, chinese in HEADINGS.items():
        tables = {name: table.replace(english, chinese) for name, table in tables.items()}
    PAGE.with_suffix(".zh.md").write_text(CHINESE.format(**found, **tables), encoding="utf-8")


def old_second_table() -> str:
    old = PAGE.read_text(encoding="utf-8") if PAGE.is_file() else ""
    found = re.search(r"\n## Every network\n.*?\n(\|.*)", old, re.DOTALL)
    return found[1].strip() if found else "Not run yet."


def every_name(names: dict[str, list[str]]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for family, members in names.items():
        found[family] = [row for name in members if (row := check_traced(family, name))]
        print(family, len(found[family]), flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Walk timm's networks and write docs/coverage.md.")
    parser.add_argument("--all", action="store_true", help="trace every convolutional name as well (about 20 minutes)")
    given = parser.parse_args()
    names = smallest_first()
    others = [members[0] for members in names.values() if refused(on_meta(members[0]))]
    names = {family: members for family, members in names.items() if members[0] not in others}
    rows = []
    for family, members in names.items():
        rows.append(check(look(family, members[0], on_meta(members[0]))))
        print(rows[-1], flush=True)
    second = "\n".join(second_table(every_name(names))) if given.all else old_second_table()
    write(rows, second, others)


if __name__ == "__main__":
    main()
