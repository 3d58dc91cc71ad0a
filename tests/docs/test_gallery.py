"""The gallery shows every mechanism that has a schematic, in both languages alike, in small pictures that exist."""

import re
from pathlib import Path

import pytest

import saccade
from saccade.catalog import CATALOG
from saccade.inspection.schematics import has_schematic

DOCS = Path(__file__).parents[2] / "docs"
PAGES = ("gallery.md", "gallery.zh.md")


def numbers(page):
    return re.findall(
        r"^\| `(\w+)` \| ([\d.]+) \| ([\d.]+) \|$", (DOCS / page).read_text(encoding="utf-8"), re.MULTILINE
    )


@pytest.mark.parametrize("page", PAGES)
def test_every_mechanism_that_is_drawn_has_its_figure_and_its_schematic(page):
    shown = re.findall(r"!\[[^\]]+\]\(images/(\w+)/(\w+)\.(?:png|svg)\)", (DOCS / page).read_text(encoding="utf-8"))
    drawn = [name for name in saccade.list_mechanisms() if name in CATALOG and has_schematic(name)]
    expected = [(kind, name) for name in drawn for kind in ("gallery", "schematics")]
    assert shown == expected


def test_query_dependence_is_the_same_in_both_languages():
    english, chinese = map(numbers, PAGES)
    assert english == chinese
    assert [name for name, *_ in english] == ["non_local", "pam", "sagan", "fla"]
    assert all(0 < float(moved) < 1 and 0 < float(cosine) <= 0.5 for _, moved, cosine in english)


def test_pictures_are_small():
    sizes = [
        path.stat().st_size for folder in ("gallery", "schematics") for path in (DOCS / "images" / folder).iterdir()
    ]
    assert max(sizes) < 300_000
    assert sum(sizes) < 3_000_000
    assert all((DOCS / "images" / f"look-{name}.png").stat().st_size < 400_000 for name in ("demo", "photo"))
