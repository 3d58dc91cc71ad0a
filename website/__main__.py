"""``python -m website``: build the site into the folder ``site``; a warning or a dead link is an error."""

from __future__ import annotations

import multiprocessing
import shutil
import sys
from pathlib import Path

from sphinx.cmd.build import main as sphinx

from website import LANGUAGES
from website.links import dead_links
from website.pages import ROOT, write_pages
from website.reference_pages import write_reference

SITE = ROOT / "site"
_SOURCES = ROOT / "build" / "site"


def main() -> int:
    """Build both languages at a time; return the exit status."""
    for folder in (SITE, _SOURCES):
        shutil.rmtree(folder, ignore_errors=True)
    fork = multiprocessing.get_context("fork")  # each copy has what the reference imports, torch above all
    builds = [fork.Process(target=_build, args=(language,)) for language in LANGUAGES]
    for language in LANGUAGES:
        source = _SOURCES / language
        source.mkdir(parents=True)
        write_pages(source, language, write_reference(source, language))
    for build in builds:
        build.start()
    for build in builds:
        build.join()
    if any(build.exitcode for build in builds):
        print("the site has warnings, which are errors here", file=sys.stderr)
        return 1
    shutil.copy(Path(__file__).parent / "index.html", SITE)
    dead = list(dead_links(SITE))
    print("\n".join(dead) if dead else f"{SITE / 'index.html'}: {sum(1 for _ in SITE.rglob('*.html'))} pages")
    return 1 if dead else 0


def _build(language: str) -> None:
    words = ["-b", "html", "-W", "--keep-going", "-q", "-c", str(Path(__file__).parent), "-t", language]
    doctrees = ["-d", str(_SOURCES / f"doctrees-{language}")]
    sys.exit(sphinx(words + doctrees + [str(_SOURCES / language), str(SITE / language)]))


if __name__ == "__main__":
    sys.exit(main())
