"""Search from disk, in Chinese and in English; formulas without a script."""

import pytest
from docutils import nodes
from sphinx.application import Sphinx
from website.formulas import _mathml
from website.search import Chinese

PAGES = {
    "index": "看一看\n======\n\n.. toctree::\n\n   other\n\n圆圈是查询点,双核笔记本。\n",
    "other": "另一页\n======\n\n空间注意力与通道门控 inserting\n",
}


def test_chinese_is_cut_into_characters_and_pairs():
    assert Chinese({}).split("用 non_local 查询点3") == ["用", "non_local", "查", "询", "点", "查询", "询点", "3"]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    for name, text in PAGES.items():
        (folder / f"{name}.rst").write_text(text, encoding="utf-8")
    settings = {"language": "zh_CN", "html_theme": "furo", "html_show_search_summary": False}
    app = Sphinx(folder, None, folder / "html", folder / "trees", "html", settings, status=None, warningiserror=True)
    app.add_search_language(Chinese)
    app.build()
    return folder / "html"


@pytest.mark.browser
@pytest.mark.parametrize(
    ("query", "found"),
    [("查询点", ["看一看"]), ("笔记", ["看一看"]), ("门", ["另一页"]), ("insert", ["另一页"]), ("注意力查询", [])],
)
def test_search_from_disk(open_page, site, query, found):
    page = open_page((site / "index.html").as_uri())
    page.fill("input.sidebar-search", query)
    page.press("input.sidebar-search", "Enter")
    page.wait_for_function("document.querySelector('.search-summary')?.innerText.trim()")
    page.wait_for_function(f"document.querySelectorAll('#search-results li').length === {len(found)}")
    assert page.locator("#search-results li a").all_inner_texts() == found


@pytest.mark.parametrize("formula", [r"\sigma\Big(\sum_p x_p\Big)", r"\big[ x \big]", r"\frac1M \mathrm{relu}(x)"])
def test_formulas_become_mathml(formula):
    assert _mathml(nodes.math(formula, formula)).startswith("<math")


def test_a_formula_that_cannot_be_drawn_is_a_warning(monkeypatch):
    said = []
    monkeypatch.setattr("website.formulas._log.warning", lambda text, *words, **_: said.append(text % words))
    assert _mathml(nodes.math("", r"\nosuchcommand x")) == ""
    assert len(said) == 1
    assert "nosuchcommand" in said[0]
