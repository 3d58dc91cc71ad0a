"""Schematics: one of each mechanism, whole, and nothing drawn over text."""

import itertools
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

import saccade
from saccade.catalog import CATALOG, registry
from saccade.errors import InputError
from saccade.inspection.schematic_table import SCHEMATICS
from saccade.inspection.schematics import has_schematic, schematic

SVG = "{http://www.w3.org/2000/svg}"
FOLDER = Path(__file__).parents[2] / "docs" / "images" / "schematics"


def extent(text):
    """Left, top, right and bottom of a line of text, with letters a little narrower than the drawing allows for."""
    x, y, size = (float(text.get(key)) for key in ("x", "y", "font-size"))
    width = 0.55 * size * len(text.text)
    left = x if text.get("text-anchor") == "start" else x - width / 2
    return left, y - size / 2, left + width, y + size / 2


def meet(a, b):
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def test_each_is_of_a_mechanism():
    assert set(SCHEMATICS) <= set(CATALOG)
    assert len(SCHEMATICS) >= 21
    with pytest.raises(InputError, match="unknown mechanism"):
        schematic("nothing")


def test_a_row_brings_its_own_or_none(monkeypatch):
    monkeypatch.setattr(registry, "_registered", {})
    saccade.register("bare", "nowhere:Bare")
    saccade.register("drawn", "nowhere:Drawn", schematic=SCHEMATICS["se"])
    assert (has_schematic("bare"), has_schematic("drawn"), has_schematic("")) == (False, True, False)
    assert schematic("drawn").count("<rect") == schematic("se").count("<rect") > 0
    with pytest.raises(InputError, match="bare: it has no schematic"):
        schematic("bare")


@pytest.mark.parametrize("name", SCHEMATICS)
def test_texts_stand_free(name):
    root = ET.fromstring(schematic(name))
    texts = [(text.text, extent(text)) for text in root.iter(f"{SVG}text")]
    for (one, a), (other, b) in itertools.combinations(texts, 2):
        assert not meet(a, b), f"{one!r} over {other!r}"
    boxes = [[float(box.get(key)) for key in ("x", "y", "width", "height")] for box in root.iter(f"{SVG}rect")]
    boxes = [(x, y, x + width, y + height) for x, y, width, height in boxes]
    for said, at in texts:
        for box in boxes:
            inside = box[0] < at[0] and at[2] < box[2] and box[1] < at[1] and at[3] < box[3]
            assert inside or not meet(box, at), f"{said!r} over the edge of a box"
    width, height = map(float, root.get("viewBox").split()[2:])
    assert all(at[0] >= 0 and at[1] >= 0 and at[2] <= width and at[3] <= height for _, at in texts)


@pytest.mark.parametrize("name", SCHEMATICS)
def test_ends_in_a_gate_or_a_sum(name):
    root = ET.fromstring(schematic(name))
    signs = [text.text for text in root.iter(f"{SVG}text") if text.text in "×+"]
    assert signs or name == "cs", "one module behind the other ends in the sum of the second"
    gated = name in ("se", "se_var1", "se_var2", "se_var3", "eca", "cbam", "bam", "psa", "gsop")
    if signs:
        assert ("×" in signs) == (gated or name == "sk")
    assert root.find(f"{SVG}title").text == f"{CATALOG[name].title}: from x to y"


@pytest.mark.parametrize("name", SCHEMATICS)
def test_the_pages_have_the_drawing_as_it_is_now(name):
    if CATALOG[name].family == "control":
        assert not (FOLDER / f"{name}.svg").exists()
        return
    written = (FOLDER / f"{name}.svg").read_text(encoding="utf-8")
    assert written == schematic(name, standalone=True) + "\n", "make gallery"
    assert re.search(r"prefers-color-scheme:dark", written)
