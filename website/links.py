"""Find links and pictures of a built site that lead nowhere."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.targets: list[str] = []
        self.anchors: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if value and name in ("href", "src"):
                self.targets.append(value)
            if value and name in ("id", "name"):
                self.anchors.add(value)


@cache
def _read(path: Path) -> _Page:
    page = _Page()
    page.feed(path.read_text(encoding="utf-8"))
    return page


def dead_links(folder: Path) -> Iterator[str]:
    """Yield a sentence for each link to a file or place of a page that `folder` does not hold.

    Args:
        folder: A built site, from which pages are opened without a server: a link to a folder is dead too.
    """
    _read.cache_clear()
    for page in sorted(folder.rglob("*.html")):
        for target in dict.fromkeys(_read(page).targets):
            parts = urlsplit(target)
            if parts.scheme or parts.netloc or target in ("#", ""):
                continue
            path = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            if not path.is_file():
                yield f"{page.relative_to(folder)}: {target} leads to no file"
            elif parts.fragment and path.suffix == ".html" and unquote(parts.fragment) not in _read(path).anchors:
                yield f"{page.relative_to(folder)}: {target} leads to no place of its page"
