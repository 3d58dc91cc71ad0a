"""The worked example of ``docs/adding-a-mechanism.md``: its file is a mechanism, and with its row one of saccade."""

from __future__ import annotations

import doctest
import importlib.util
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import saccade
from saccade.catalog import Cost, Entry, NaturalPlace, imports, registry
from saccade.cli import main
from saccade.testing import check_mechanism
from tests import test_catalog
from tests.mechanisms import test_contract
from tests.mechanisms.contract import Form

PAGE = Path(__file__).parents[2] / "docs" / "adding-a-mechanism.md"
MODULE = "saccade.mechanisms.spread"


def blocks(page: Path) -> list[tuple[str, str]]:
    return re.findall(r"```(\w+)\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)


def block(kind: str, number: int = 0) -> str:
    return [text for found, text in blocks(PAGE) if found == kind][number]


@pytest.fixture
def nothing_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_registered", {})
    monkeypatch.setattr(imports, "_named", {})


@pytest.fixture
def entry(nothing_kept: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Entry]:
    """The page's file under the name it has in the package, and its row in the registry."""
    file = tmp_path / "spread.py"
    file.write_text(block("python"))
    spec = importlib.util.spec_from_file_location(MODULE, file)
    module = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
    spec.loader.exec_module(module)  # type: ignore[union-attr]
    monkeypatch.setitem(sys.modules, MODULE, module)
    (row,) = eval(block("text"), {"Entry": Entry, "Cost": Cost, "_RESIDUAL": NaturalPlace("residual")})
    return saccade.register(row)


def command(*words: str) -> None:
    with pytest.raises(SystemExit) as left:
        main(words)
    assert not left.value.code


@pytest.mark.full
def test_the_contract_holds(entry: Entry) -> None:
    """Every check that the rows of the table go through, in process."""
    check_mechanism("spread", backend="eager")
    of_all = (test_contract.every_form.mark, test_contract.every_row.mark)
    checks = [
        check
        for name, check in vars(test_contract).items()
        if name.startswith("test_") and any(mark in of_all for mark in getattr(check, "pytestmark", ()))
        if list(inspect.signature(check).parameters) == ["form"]
    ]
    assert len(checks) > 5
    for check in (*checks, test_contract.test_its_gates_lie_between_0_and_1):
        check(Form(entry))


def test_its_row_says_what_is_so(entry: Entry) -> None:
    for size in test_catalog.SIZES:
        test_catalog.test_has_the_parameters_it_says(entry, size)
        test_catalog.test_makes_the_multiply_adds_it_says(entry, size)
        test_catalog.test_has_the_map_entries_it_says(entry, size)
    test_catalog.test_starts_as_it_says(entry)
    test_catalog.test_takes_the_options_it_says_with_these_defaults(entry)
    test_catalog.test_attends_to_what_it_says(entry)


def test_its_docstring_runs(entry: Entry) -> None:
    found = doctest.DocTestFinder(exclude_empty=True).find(entry.load(), "SpreadGate")
    failed = sum(doctest.DocTestRunner().run(example).failed for example in found)
    assert [example.name for example in found if example.examples] == ["SpreadGate"]
    assert failed == 0


def test_the_commands_find_it(entry: Entry, capsys: pytest.CaptureFixture[str]) -> None:
    command("list", "--table")
    assert re.search(r"spread .* channel .* residual .* 2 C ", capsys.readouterr().out)
    command("list", "--html")
    assert '<h2 id="spread">' in capsys.readouterr().out
    command("plan", "resnet18", "spread[of=square]")
    assert "layer4.1.bn2" in capsys.readouterr().out


@pytest.mark.full
def test_a_comparison_forecasts_it(entry: Entry, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command("compare", "--mechanisms", "none,spread", "--dry-run", "--out", str(tmp_path / "out"))
    assert "spread" in capsys.readouterr().out


@pytest.mark.full
def test_the_file_alone_works_from_a_folder_of_your_own(
    nothing_kept: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "spread.py").write_text(block("python"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    used: dict[str, object] = {}
    try:
        exec(block("python", 1), used)
        gates = saccade.insertion.attachments(used["net"]).values()  # type: ignore[arg-type]
        assert {gate.mechanism.of for gate in gates} == {"square"}
        exec(block("python", 2), used)  # the contract
        exec(block("python", 3), used)
        assert "spread" in saccade.list_mechanisms(family="gate")
        command("plan", "resnet18", "spread:SpreadGate[of=square]")
    finally:
        sys.modules.pop("spread", None)


def test_both_pages_have_the_same_code() -> None:
    assert blocks(PAGE) == blocks(PAGE.with_suffix(".zh.md"))
