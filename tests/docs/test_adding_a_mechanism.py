"""The worked example of ``docs/adding-a-mechanism.md``: its file and its row, and nothing else, make a mechanism."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "adding-a-mechanism.md"


def blocks(page: Path) -> list[str]:
    return re.findall(r"```\w+\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)


@pytest.fixture(scope="module")
def with_example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package and its tests, with the page's file and row."""
    copy = tmp_path_factory.mktemp("copy")
    leave = shutil.ignore_patterns("__pycache__", "data")
    shutil.copytree(ROOT / "src", copy / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    shutil.copytree(ROOT / "tests" / "mechanisms", copy / "tests" / "mechanisms", ignore=leave)
    for name in ("tests/__init__.py", "tests/conftest.py", "tests/test_catalog.py", "pyproject.toml"):
        shutil.copy(ROOT / name, copy / name)
    file, row, _ = blocks(PAGE)
    (copy / "src" / "saccade" / "mechanisms" / "spread.py").write_text(file)
    catalog = copy / "src" / "saccade" / "catalog.py"
    text = catalog.read_text()
    end = text.index(")  # fmt: skip\n\nCATALOG")
    catalog.write_text(text[:end] + row + text[end:])
    return copy


def run(copy: Path, *words: str) -> str:
    environment = os.environ | {"PYTHONPATH": str(copy / "src"), "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    done = subprocess.run([sys.executable, "-m", *words], cwd=copy, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_contract_holds(with_example: Path) -> None:
    tests = ("tests/mechanisms/test_contract.py", "tests/test_catalog.py")
    out = run(with_example, "pytest", "-q", "-p", "no:cacheprovider", *tests, "-k", "spread")
    run(with_example, "pytest", "-q", "-p", "no:cacheprovider", "--doctest-modules", "src/saccade/mechanisms/spread.py")
    passed = re.search(r"(\d+) passed", out)
    assert passed
    assert int(passed[1]) > 25


def test_the_commands_find_it(with_example: Path, tmp_path: Path) -> None:
    assert re.search(r"spread .* channel .* residual .* 2 C ", run(with_example, "saccade", "list", "--table"))
    assert "layer4.1.bn2" in run(with_example, "saccade", "plan", "resnet18", "spread[of=square]")
    compared = run(
        with_example, "saccade", "compare", "--mechanisms", "none,spread", "--dry-run", "--out", str(tmp_path)
    )
    assert "spread" in compared


def test_both_pages_have_the_same_code() -> None:
    assert blocks(PAGE) == blocks(PAGE.with_suffix(".zh.md"))
