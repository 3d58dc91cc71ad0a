"""Formulas as MathML, which browsers draw by themselves: no script, no font, nothing from another host."""

from __future__ import annotations

import re

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.writers.html5 import HTML5Translator

# docutils knows the delimiters that say their side, as in \Bigl( and \Bigr), and not the shorter ones.
_SIDED = (
    (re.compile(r"\\([bB]igg?)(?=\s*(?:[(\[|]|\\\{))"), r"\\\1l"),
    (re.compile(r"\\([bB]igg?)(?=\s*(?:[)\]]|\\\}))"), r"\\\1r"),
)

_log = logging.getLogger(__name__)


def _inline(writer: HTML5Translator, node: nodes.math) -> None:
    writer.body.append(_mathml(node))
    raise nodes.SkipNode


def _block(writer: HTML5Translator, node: nodes.math_block) -> None:
    formulas = [part for part in node.astext().split("\n\n") if part.strip()]
    writer.body.append(f'<div class="math">{"".join(_mathml(node, part) for part in formulas)}</div>')
    raise nodes.SkipNode


def _mathml(node: nodes.Element, formula: str | None = None) -> str:
    text = formula or node.astext()
    for pattern, sided in _SIDED:
        text = pattern.sub(sided, text)
    try:
        return str(tex2mathml(text, as_block=formula is not None))
    except MathError as error:
        _log.warning("formula %r: %s", text, error, location=node)
        return ""


def setup(app: Sphinx) -> None:
    """Register the renderer ``mathml``."""
    app.add_html_math_renderer("mathml", inline_renderers=(_inline, None), block_renderers=(_block, None))
