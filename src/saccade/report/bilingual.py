"""Pairs of texts, English and Chinese, as HTML of which the page shows one."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from html import escape
from typing import Any

from saccade.errors import require
from saccade.report import numbers

LANGUAGES = (("en", "en"), ("zh", "zh-Hans"))
"""The class that CSS shows or hides, and the language tag."""

SPACE = '<span class="en"> </span>'
"""Space between two sentences, which Chinese does without."""


class Bilingual:
    """The texts of a page.

    Args:
        texts: English and Chinese text by key.
    """

    def __init__(self, texts: Mapping[str, tuple[str, str]]) -> None:
        self.texts = texts

    def say(self, key: str, language: int, /, **values: Any) -> str:
        """Return a text in one language (0 English, 1 Chinese) as HTML; a value may be a pair with a text for each."""
        chosen = {name: value[language] if isinstance(value, tuple) else value for name, value in values.items()}
        return self.texts[key][language].format(**{name: escape(str(value)) for name, value in chosen.items()})

    def pair(self, key: str, /, **values: Any) -> tuple[str, str]:
        """Return a text in both languages without markup, as a value for another text."""
        chosen = [{n: v[i] if isinstance(v, tuple) else v for n, v in values.items()} for i in (0, 1)]
        return self.texts[key][0].format(**chosen[0]), self.texts[key][1].format(**chosen[1])

    def both(self, key: str, /, **values: Any) -> str:
        """Return a text in both languages as HTML, of which the page shows the chosen one."""
        return shown(self.say(key, 0, **values), self.say(key, 1, **values))

    def attribute(self, name: str, key: str, /, **values: Any) -> str:
        """Return an attribute with a text, such as ``alt``, and its Chinese twin, which the script swaps in."""
        english, chinese = (escape(text) for text in self.pair(key, **values))
        return f'{name}="{english}" data-zh-{name}="{chinese}"'

    def environment(self, file: Callable[[str], str]) -> Any:
        """Return a jinja2 environment that renders pages with these texts and reads templates by `file`."""
        jinja2 = require("jinja2", extra="train")
        environment = jinja2.Environment(
            loader=jinja2.FunctionLoader(file), autoescape=True, trim_blocks=True, lstrip_blocks=True,
            undefined=jinja2.StrictUndefined,
        )  # fmt: skip
        safe = jinja2.utils.markupsafe.Markup
        environment.filters["html"] = safe
        environment.filters["breakable"] = lambda name: safe(breakable(name))
        environment.globals.update(
            t=lambda key, /, **values: safe(self.both(key, **values)),
            attribute=lambda name, key, /, **values: safe(self.attribute(name, key, **values)),
            n=numbers,
            space=safe(SPACE),
        )
        return environment

    def known(self, word: str) -> tuple[str, str]:
        """Return a word of the results, such as a verdict, in both languages, or itself if it has no text."""
        return self.texts.get(word, (word, word))


def shown(english: str, chinese: str) -> str:
    """Return two pieces of HTML of which the page shows the one in the chosen language."""
    if english == chinese:
        return english
    texts = zip(LANGUAGES, (english, chinese), strict=True)
    return "".join(f'<span class="{name}" lang="{tag}">{text}</span>' for (name, tag), text in texts)


def breakable(name: str) -> str:
    """Return a name as HTML with possible line breaks where its options begin: ``psa[``, ``variant=sequential]``."""
    return re.sub(r"([\[,])(?=\S)", r"\1<wbr>", escape(name))
