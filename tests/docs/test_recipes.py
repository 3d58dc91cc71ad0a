"""``docs/recipes.md`` holds the recipes as they are, in both languages."""

import json
import re
from pathlib import Path

import pytest

from saccade.cli import main
from saccade.options import declared
from saccade.runs.options import TrainOptions
from saccade.training.recipes import RECIPES

DOCS = Path(__file__).parents[2] / "docs"


def printed(capsys, *words):
    with pytest.raises(SystemExit) as left:
        main(["list", "--recipes", *words])
    assert left.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("page", ["recipes.md", "recipes.zh.md"])
def test_the_page_ends_with_the_tables(page, capsys):
    tables = printed(capsys, "--markdown")
    assert tables.count("| `--epochs` |") == len(RECIPES)
    assert (DOCS / page).read_text(encoding="utf-8").endswith(tables), (
        f"docs/{page}: paste the output of saccade list --recipes --markdown"
    )


def test_every_option_of_the_tables_exists(capsys):
    known = {f"--{one.flag.replace('_', '-')}" for one in declared(TrainOptions)}
    assert set(re.findall(r"`(--[a-z-]+)`", printed(capsys, "--markdown"))) <= known


def test_the_text_and_the_document_say_the_same(capsys):
    text = printed(capsys)
    rows = json.loads(printed(capsys, "--json"))
    assert [row["name"] for row in rows] == list(RECIPES)
    for row in rows:
        assert row["about"] in text
        assert row["values"]["epochs"]["source"] in text
    assert rows[1]["values"]["learning_rate"] == {
        "value": 0.1,
        "source": "Wang et al., ECA-Net, CVPR 2020, section 4.1",
    }


def test_options_for_mechanisms_are_refused(capsys):
    with pytest.raises(SystemExit) as left:
        main(["list", "--recipes", "--family", "gate"])
    assert left.value.code == 2
    assert "--recipes goes with --markdown only" in capsys.readouterr().err
