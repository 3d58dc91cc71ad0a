"""Turn the repository's Markdown, which links as GitHub shows it, into the pages of one language of the site."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PROJECT = {"contributing": "CONTRIBUTING.md", "changelog": "CHANGELOG.md"}
"""Pages that exist in English only, by their name on the site."""

CAPTIONS = {"en": ("Guide", "Reference", "Project"), "zh": ("指南", "参考", "项目")}
_LINK = re.compile(r"(!?\[[^\]]*\]\()([^)\s#]+)(#[^)\s]*)?\)")
_LANGUAGES_LINE = re.compile(r"^(?:\*\*)?\[?(?:English|中文)\b.*\.md\).*\n\n?", flags=re.M)


def write_pages(folder: Path, language: str, reference: list[str]) -> None:
    """Write the guide and the project's pages into `folder`, with the contents of the sidebar on the first page.

    Args:
        folder: Source folder of the language.
        language: ``"en"`` or ``"zh"``.
        reference: Names of the pages that the sidebar lists as reference.
    """
    shutil.copytree(ROOT / "docs" / "images", folder / "images")
    for name, source in sources(language).items():
        text = page(source, language)
        if name == "index":
            text += _contents(text, language, reference)
        (folder / f"{name}.md").write_text(text, encoding="utf-8")


def sources(language: str) -> dict[str, Path]:
    """Return the Markdown files of a language, by the names of their pages on the site."""
    ending = ".md" if language == "en" else f".{language}.md"
    guide = {
        path.name.removesuffix(ending): path
        for path in sorted((ROOT / "docs").glob("*.md"))
        if path.name.endswith(ending) and "." not in path.name.removesuffix(ending)
    }
    return {"index": ROOT / f"README{ending}", **guide, **{name: ROOT / file for name, file in PROJECT.items()}}


def page(source: Path, language: str) -> str:
    """Return the text of a page: without its line of languages, with links that lead to pages of the site."""
    text = source.read_text(encoding="utf-8")
    if source.name not in PROJECT.values():
        text = _LANGUAGES_LINE.sub("", text, count=1)
    # Pages that exist in English only link the English guide: on the site they lead to that of their reader's language.
    known = {path: name for one in ("en", language) for name, path in sources(one).items()}

    def target(found: re.Match[str]) -> str:
        opening, link, anchor = found.group(1), found.group(2), found.group(3) or ""
        if "://" in link:
            return found.group()
        path = (source.parent / link).resolve()
        if path in known:
            return f"{opening}{known[path]}.md{anchor})"
        if path.is_relative_to(ROOT / "docs" / "images"):
            return f"{opening}{path.relative_to(ROOT / 'docs').as_posix()})"
        raise ValueError(f"{source.name}: the site has no page for the link {link!r}")

    return _LINK.sub(target, text)


def guide_in_order(text: str, language: str) -> list[str]:
    """Return the names of the guide's pages as the first page links them, the last mention deciding."""
    names = [name for name in sources(language) if name != "index" and name not in PROJECT]
    links = list(_links(text))
    return sorted(names, key=lambda name: max((i for i, link in enumerate(links) if link == name), default=len(links)))


def _links(text: str) -> Iterator[str]:
    for found in _LINK.finditer(text):
        yield found.group(2).removesuffix(".md")


def _contents(text: str, language: str, reference: list[str]) -> str:
    groups = (guide_in_order(text, language), reference, list(PROJECT))
    blocks = (
        f"\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n" + "\n".join(names) + "\n```\n"
        for caption, names in zip(CAPTIONS[language], groups, strict=True)
    )
    return "".join(blocks)
