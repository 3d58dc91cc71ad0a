"""``saccade list`` shows what the catalog holds."""

import html
import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

import saccade
from saccade.catalog import CATALOG
from saccade.cli import main
from saccade.inspection.schematics import has_schematic

DOCS = Path(__file__).parents[2] / "docs"


def printed(capsys, *words):
    with pytest.raises(SystemExit) as left:
        main(["list", *words])
    assert left.value.code == 0
    return capsys.readouterr().out


def test_names_one_a_line(capsys):
    assert printed(capsys).splitlines() == list(saccade.list_mechanisms())


def test_only_a_family_and_what_it_attends_to(capsys):
    out = printed(capsys, "--family", "gate", "--attends", "channel")
    assert out.splitlines() == list(saccade.list_mechanisms(family="gate", attends="channel"))


def test_the_table_holds_every_row_and_what_it_costs(capsys):
    out = printed(capsys, "--table")
    headings = ("name", "attends", "place", "keeps", "non-linear", "start", "params", "MACs", "map entries")
    assert all(heading in out for heading in headings)
    rows = {name: next(line for line in out.splitlines() if line.startswith(f"│ {name} ")) for name in CATALOG
            if name != "conv3x3"}  # fmt: skip
    assert set(rows) == set(saccade.list_mechanisms())
    assert all(CATALOG[name].attends in row for name, row in rows.items())
    assert "2 C h + h + C" in rows["se"]
    assert "identity" in rows["pam"]


def test_the_pages_hold_the_table_as_it_is_now(capsys):
    rows = [line for line in printed(capsys, "--markdown").splitlines() if line.startswith("| `")]
    assert len(rows) == len(saccade.list_mechanisms())
    drawn = [row for row in rows if has_schematic(row.split("`")[1])]
    for page in ("mechanisms.md", "mechanisms.zh.md"):
        written = [line for line in (DOCS / page).read_text().splitlines() if line.startswith("| `")]
        assert set(drawn) <= set(written) <= set(rows), f"docs/{page}: paste the output of saccade list --markdown"


def test_the_html_page_has_a_schematic_of_each(capsys):
    page = printed(capsys, "--html")
    ET.fromstring(re.sub(r"<(meta|link)([^>]*)>", r"<\1\2/>", page.removeprefix("<!doctype html>\n")))
    for name in saccade.list_mechanisms():
        section = page.partition(f'<h2 id="{name}">')[2].partition("<h2")[0]
        assert section.count("<svg") == has_schematic(name), name
        assert CATALOG[name].paper in html.unescape(section)
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")


def test_json_says_where_and_of_which_paper(capsys):
    rows = {row["name"]: row for row in json.loads(printed(capsys, "--json"))}
    assert set(rows) == set(saccade.list_mechanisms())
    assert rows["non_local"]["place"] == "block, 1 of 2, at strides 8, 16"
    assert "arXiv:1711.07971" in rows["non_local"]["paper"]
    assert rows["se"]["held_to"] == CATALOG["se"].held_to
