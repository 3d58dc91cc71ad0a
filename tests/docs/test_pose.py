"""The lines of ``docs/pose.md`` run; both languages show the same code and the same numbers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

DOCS = Path(__file__).parents[2] / "docs"


def code(page: str) -> str:
    (block,) = re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL)
    return str(block)


def test_the_lines_run(capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    exec(compile(code("pose.md"), "docs/pose.md", "exec"), {})
    assert capsys.readouterr().out == "torch.Size([1, 17, 2]) torch.Size([1, 17])\n"


def test_both_languages_show_the_same() -> None:
    plain, other = (re.sub(r" *#.*", "", code(page)) for page in ("pose.md", "pose.zh.md"))
    assert plain == other
    numbers = [
        re.findall(r"\d[\d,.]*\d", (DOCS / page).read_text(encoding="utf-8")) for page in ("pose.md", "pose.zh.md")
    ]
    assert {n for n in numbers[0] if "," in n} == {n for n in numbers[1] if "," in n}
