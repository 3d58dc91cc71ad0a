"""The guide's pages, with GitHub's links turned into those of the site; and links that lead nowhere."""

import re

import pytest
from website import LANGUAGES
from website.links import dead_links
from website.pages import ROOT, guide_in_order, page, sources, write_pages


def test_both_languages_have_the_same_pages():
    english, chinese = (set(sources(language)) for language in LANGUAGES)
    assert english == chinese
    assert {"index", "training", "gallery", "contributing"} <= english


@pytest.mark.parametrize("language", LANGUAGES)
def test_links_lead_to_pages_of_the_same_language(language):
    for name, source in sources(language).items():
        text = page(source, language)
        links = [link for link in re.findall(r"\]\(([^)#\s]+)", text) if "://" not in link]
        assert all(link.removesuffix(".md") in sources(language) or link.startswith("images/") for link in links)
        assert ".zh.md)" not in text
        assert text.startswith("# "), name


def test_the_line_of_languages_is_left_to_the_switch():
    assert "[中文]" in (ROOT / "docs/training.md").read_text(encoding="utf-8")
    assert "[中文]" not in page(ROOT / "docs/training.md", "en")
    assert "[English]" not in page(ROOT / "README.zh.md", "zh")


def test_pages_in_english_alone_lead_to_the_guide_of_the_reader(monkeypatch):
    changelog = ROOT / "CHANGELOG.md"
    monkeypatch.setattr(type(changelog), "read_text", lambda *_, **__: "see [here](docs/training.md#recipes)")
    assert page(changelog, "zh") == "see [here](training.md#recipes)"


def test_the_readme_orders_the_guide():
    names = guide_in_order(page(ROOT / "README.md", "en"), "en")
    assert names[:2] == ["demo", "comparison"]
    assert set(names) == set(sources("en")) - {"index", "contributing", "changelog"}


def test_the_first_page_lists_all_others(tmp_path):
    write_pages(tmp_path, "zh", ["reference/index"])
    text = (tmp_path / "index.md").read_text(encoding="utf-8")
    listed = re.findall(r"^([\w/-]+)$", text[text.index("{toctree}") :], flags=re.M)
    assert set(listed) == {"reference/index"} | set(sources("zh")) - {"index"}
    assert (tmp_path / "images/schematics/cbam.svg").is_file()


def test_a_link_without_a_page_is_refused(tmp_path, monkeypatch):
    source = ROOT / "docs" / "training.md"
    monkeypatch.setattr(type(source), "read_text", lambda *_, **__: "see [the code](../src/saccade/errors.py)")
    with pytest.raises(ValueError, match=r"training.md: the site has no page for the link '../src/saccade/errors.py'"):
        page(source, "en")


def test_dead_links_are_found(tmp_path):
    (tmp_path / "en").mkdir()
    (tmp_path / "picture.png").touch()
    (tmp_path / "en/a.html").write_text(
        '<p id="here"></p><a href="#here">1</a><a href="b.html#there">2</a><a href="https://example.org">3</a>'
        '<img src="../picture.png"><a href="b.html#gone">4</a><a href="c.html">5</a><a href="../en">6</a>'
    )
    (tmp_path / "en/b.html").write_text('<p id="there"></p><a href="a.html?x=1">1</a>')
    assert list(dead_links(tmp_path)) == [
        "en/a.html: b.html#gone leads to no place of its page",
        "en/a.html: c.html leads to no file",
        "en/a.html: ../en leads to no file",
    ]
