"""Search in Chinese without a dictionary: a text and a query are cut into the same overlapping pairs of characters."""

from __future__ import annotations

import re

from sphinx.search.en import SearchEnglish

_PIECE = re.compile(r"[\u4e00-\u9fff]+|[^\W\u4e00-\u9fff]+")

_SPLIT_QUERY = r"""
var splitQuery = (query) =>
  (query.match(/[\u4e00-\u9fff]+|(?:(?![\u4e00-\u9fff])[\p{L}\p{N}_])+/gu) || []).flatMap((piece) =>
    /^[\u4e00-\u9fff]{2,}$/.test(piece)
      ? Array.from({ length: piece.length - 1 }, (_, start) => piece.slice(start, start + 2))
      : [piece]
  );
"""


class Chinese(SearchEnglish):
    """Words of Latin letters as in English; of Chinese, each character and each pair of neighbours.

    Sphinx's own Chinese needs the package jieba, and its page does not cut a query into words.
    """

    lang = "zh"
    language_name = "English"  # names the stemmer's class in the script
    js_splitter_code = _SPLIT_QUERY

    def split(self, input: str) -> list[str]:
        """Return the terms of a text; a query holds only pairs, or the one character that it consists of."""
        terms = []
        for piece in _PIECE.findall(input):
            if "\u4e00" <= piece[0] <= "\u9fff":
                terms += [*piece, *(piece[start : start + 2] for start in range(len(piece) - 1))]
            else:
                terms.append(piece)
        return terms
