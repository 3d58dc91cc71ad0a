"""Every form of the results says the same, whatever the groups are called."""

import json
import re
from dataclasses import replace
from typing import get_args, get_type_hints

import pytest

from saccade.cli.report import report
from saccade.comparison.results import Grouping, read_results
from saccade.report.renderers import RENDERERS
from tests.report.fixture import write_comparison


@pytest.fixture
def folder(tmp_path):
    return write_comparison(tmp_path, seeds=(0, 1, 2), logs=False, pictures=False)


def test_the_command_offers_what_there_is():
    assert get_args(get_type_hints(report)["format"]) == tuple(RENDERERS)


@pytest.mark.parametrize("name", RENDERERS)
def test_every_form_has_every_arm_with_its_score(folder, name):
    results = read_results(folder)
    shown = RENDERERS[name](results, folder)
    for arm in results.arms:
        score = repr(arm.mean) if name == "json" else f"{arm.mean:.3f}"
        assert re.search(rf"{re.escape(arm.name)}\b[\s\S]*?{re.escape(score)}", shown)


def test_text_is_aligned_and_names_equal_parts_by_their_group(folder):
    lines = RENDERERS["text"](read_results(folder), folder).splitlines()
    assert re.fullmatch(r"arm +mIoU +difference from none +verdict +params +MMACs +ms +peak MiB +train s", lines[0])
    assert len({line.index(word) for line, word in zip(lines[1:3], ("0.6", "0.7"), strict=True)}) == 1
    at = lines.index("") + 1
    assert re.fullmatch(
        r"mIoU by size and thinness +small +medium size +large +compact +medium thinness +thin", lines[at]
    )
    assert lines[-2].startswith("3 seeds, 300 steps, 500 validation images; ")
    assert re.search(r"a verdict had a chance of 90%: conv3x3 0\.\d+\.$", lines[-1])


def test_markdown_has_one_cell_per_column_even_with_a_bar_in_a_name(folder):
    results = read_results(folder)
    results = replace(results, arms=(results.arms[0], replace(results.arms[1], name="a|b")))
    table = RENDERERS["markdown"](results, folder).split("\n\n")[0].splitlines()
    assert table[1] == "| --- | --- | --- | --- | --: | --: | --: | --: | --: |"
    assert table[3].startswith(r"| a\|b | ")
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in table} == {10}


def test_json_is_the_file(folder):
    shown = RENDERERS["json"](read_results(folder), folder)
    assert json.loads(shown) == json.loads((folder / "results.json").read_text())


def test_a_group_that_no_text_knows_is_shown_by_its_name(folder):
    results = read_results(folder)
    arms = tuple(replace(arm, details={"<age>": {"young": 0.25, "old": None}}) for arm in results.arms)
    results = replace(results, groups={"<age>": Grouping(names=("young", "old"), limits=(40.0,))}, arms=arms)
    page = RENDERERS["html"](results, folder)
    caption = re.search(r"<caption>(.*?)</caption>", page)[1]
    assert "&lt;age&gt;</span>" in caption
    assert "limits 40.0" in caption
    section = page.partition('aria-labelledby="kinds"')[2].partition("</section>")[0]
    assert "young" in section
    assert "old" not in re.sub(r"<[^>]*>", "", section)  # no arm has a number for it
