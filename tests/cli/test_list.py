"""``saccade list`` shows what the catalog holds."""

import json

import pytest

import saccade
from saccade.catalog import CATALOG
from saccade.cli import main


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


def test_the_table_holds_every_row_and_column(capsys):
    out = printed(capsys, "--table")
    assert all(heading in out for heading in ("name", "family", "attends", "place", "paper", "held to"))
    for name in saccade.list_mechanisms():
        row = next(line for line in out.splitlines() if line.startswith(f"│ {name} "))
        assert CATALOG[name].family in row


def test_json_says_where_and_of_which_paper(capsys):
    rows = {row["name"]: row for row in json.loads(printed(capsys, "--json"))}
    assert set(rows) == set(saccade.list_mechanisms())
    assert rows["non_local"]["place"] == "block, 1 of 2, at strides 8, 16"
    assert "arXiv:1711.07971" in rows["non_local"]["paper"]
    assert rows["se"]["held_to"] == CATALOG["se"].held_to
