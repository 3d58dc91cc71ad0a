"""What is measured is what happened: memory of a known allocation, every form in turn, ratios of the same rounds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from saccade import devices
from saccade.bench.measure import FORMS, MODES, Setting, growth, measure, why_not_compiled
from saccade.bench.results import BEGIN, END, described, document, into_page
from saccade.bench.sizes import PAPER, Case, cases
from saccade.comparison.costs import height_of
from saccade.errors import InputError

CPU = torch.device("cpu")
SMALL = Setting(CPU, rounds=4, compiled=False)
CASE = Case("pam", "pam", (1, 16, 12, 12))


def test_memory_is_that_of_a_known_allocation() -> None:
    def work() -> None:
        first = torch.empty(1 << 20)  # 4 MiB
        second = torch.empty(2 << 20)
        del first
        third = torch.empty(1 << 20)
        del second, third

    assert height_of(work, CPU) == pytest.approx(12.0, abs=0.01)


def test_a_row_has_every_form_that_was_asked_for() -> None:
    row = measure(CASE, SMALL)
    for mode in MODES:
        assert set(row[mode]) == set(FORMS)
        assert row[mode]["authors"]["ratio"] == 1
        assert row[mode]["saccade compiled"] is None
        low, high = row[mode]["saccade"]["spread"]
        assert low <= row[mode]["saccade"]["ratio"] <= high
        table = 4 * (12 * 12) ** 2 / 2**20
        assert row[mode]["authors"]["peak_mib"] > table
        assert row[mode]["authors"]["peak_mib"] > row[mode]["saccade"]["peak_mib"]


def test_compiled_forms_need_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices.shutil, "which", lambda _: None)
    assert why_not_compiled(Setting(CPU)) == "no compiler"
    assert why_not_compiled(SMALL) == "not requested"


@pytest.mark.full
def test_the_table_of_pairs_grows_with_the_square_and_ours_does_not() -> None:
    # Large enough that a block of ours is smaller than the whole table.
    found = growth(Case("pam", "pam", (1, 8, 1, 1)), (40, 80), SMALL)
    (_, theirs), (_, later) = found["authors"]
    assert later / theirs > 12
    (_, ours), (_, after) = found["saccade"]
    assert after / ours < 6


@pytest.mark.parametrize("case", PAPER, ids=lambda case: case.name)
def test_every_row_can_be_measured(case: Case) -> None:
    batch, channels, *sides = case.shape
    tiny = Case(case.name, case.mechanism, (1 + (batch > 1), min(channels, 64), *(min(side, 8) for side in sides)),
                {key: value for key, value in case.options.items() if not key.endswith("_channels")})  # fmt: skip
    row = measure(tiny, Setting(CPU, rounds=1, compiled=False))
    assert row["forward_backward"]["saccade"]["ms"] > 0


def test_rows_are_chosen_by_name_or_mechanism() -> None:
    assert [case.name for case in cases(["non_local dot product"], "paper", None)] == ["non_local dot product"]
    assert {case.mechanism for case in cases(["polarized"], "paper", None)} == {"psa"}
    assert len(cases([], "paper", None)) == len(PAPER)
    small = cases(["pam"], "small", None)
    assert small[0].shape == (1, 128, 48, 48)
    assert all(case.shape == (1, 64, 8, 8) for case in cases([], "small", (1, 64, 8, 8)))
    with pytest.raises(InputError, match="unknown mechanism 'pamm'") as error:
        cases(["pamm"], "paper", None)
    assert "pam" in str(error.value)
    with pytest.raises(InputError, match="se_var1 has no other formulation"):
        cases(["se_var1"], "paper", None)


def test_the_page_holds_the_table_between_its_marks(tmp_path: Path) -> None:
    found = document(
        [measure(CASE, SMALL)], described(SMALL, "small"), {"gflops": 100.0, "gb_per_s": 10.0}, "no compiler"
    )
    json.dumps(found, allow_nan=False)
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    into_page(found, page)
    text = page.read_text()
    assert text.startswith(f"before\n{BEGIN}\n")
    assert text.endswith(f"{END}\nafter\n")
    assert "| pam | 1x16x12x12 |" in text
    assert "old" not in text
    assert "not measured, no compiler" in text
    with pytest.raises(InputError, match="expected the marks"):
        into_page(found, _without_marks(tmp_path))


def _without_marks(folder: Path) -> Path:
    page = folder / "plain.md"
    page.write_text("nothing")
    return page
