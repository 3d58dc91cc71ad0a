"""What Sphinx is told; `python -m website` calls it once for each language, with the tag ``zh`` for Chinese."""

import builtins
import inspect
import re
from typing import Any, get_type_hints

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging
from sphinx.util.inspect import stringify_signature

from saccade.version import __version__
from website.reference import meaning, resolve
from website.search import Chinese

_CHINESE = tags.has("zh")  # type: ignore[name-defined]  # noqa: F821 - Sphinx puts it there

project = "saccade"
copyright = "The saccade authors, Apache-2.0"
version = release = __version__
language = "zh_CN" if _CHINESE else "en"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "website.formulas"]
html_math_renderer = "mathml"
myst_heading_anchors = 4
smartquotes = False  # they would turn the dashes of --options into one
default_role = "code"

add_module_names = False
autodoc_inherit_docstrings = False  # torch's own of `forward` says nothing of ours
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
python_maximum_signature_line_length = 88
python_use_unqualified_type_names = True
toc_object_entries_show_parents = "hide"

html_theme = "furo"
html_title = f"saccade {release}"
html_static_path = ["static"]
templates_path = ["templates"]
html_css_files = ["site.css"]
html_copy_source = html_show_sourcelink = False
html_show_search_summary = False  # it is fetched, which browsers refuse to pages that were opened from disk
html_domain_indices = False
html_theme_options = {"top_of_page_buttons": ["view"]}  # our template in its place: the switch of languages
html_context = {
    "other": {"code": "en", "folder": "en", "name": "English"}
    if _CHINESE
    else {"code": "zh-CN", "folder": "zh", "name": "中文"}
}

_LABEL = re.compile(r"^(Shape|Start|Cost|Differences[^:\n]*|Order|Needs): ")
_log = logging.getLogger(__name__)


def prepare(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Show labels such as ``Shape:`` in bold, and keep what stands before a colon from being read as a type.

    Types are in the annotations; the colon that is added says that none is in the text.
    """
    lines[:] = [_LABEL.sub(r"**\1:** ", line) for line in lines]
    if what in ("attribute", "property", "data") and lines:
        lines[0] = f": {lines[0]}"
    for index, line in enumerate(lines[:-1]):
        if line.strip() in ("Returns:", "Yields:"):
            first = lines[index + 1]
            lines[index + 1] = re.sub(r"^( *)", r"\1: ", first)


def set_signature(
    app: Sphinx, what: str, name: str, thing: Any, options: Any, signature: str | None, returns: str | None
) -> tuple[str | None, str | None]:
    """Write signatures that Python can parse: a default that is made for each object as dots, types without remarks."""
    if signature and "Annotated[" in signature:
        hints, plain = get_type_hints(thing), inspect.signature(thing)
        parameters = [one.replace(annotation=hints.get(one.name, one.annotation)) for one in plain.parameters.values()]
        signature = stringify_signature(plain.replace(parameters=parameters), unqualified_typehints=True)
        signature = signature.removesuffix(" -> None")
    return (signature.replace("<factory>", "...") if signature else signature), returns


def link(app: Sphinx, env: BuildEnvironment, node: pending_xref, shown: nodes.Element) -> nodes.Element | None:
    """Lead a name that docstrings or signatures use to its entry; warn of one that means nothing."""
    if node["refdomain"] != "py":
        return None
    target, module = node["reftarget"], node.get("py:module")
    known = resolve(target, module, node.get("py:class"))
    if known:
        domain = env.domains.python_domain
        matches = domain.find_obj(env, None, None, known, None)
        if matches:
            name, entry = matches[0]
            uri = app.builder.get_relative_uri(env.current_document.docname or node["refdoc"], entry.docname)
            return nodes.reference("", "", shown, internal=True, refuri=f"{uri}#{entry.node_id}", reftitle=name)
    if not known and not hasattr(builtins, target.split(".")[0]) and not meaning(target, module, node.get("py:class")):
        _log.warning("%r means nothing in %s", target, module, location=node)
    return shown


def set_dashes(app: Sphinx, doctree: nodes.document, page: str) -> None:
    """Set the dash between a parameter and what it means."""
    for text in list(doctree.findall(nodes.Text)):
        if text.astext() == " -- ":
            text.parent.replace(text, nodes.Text(" – "))


def setup(app: Sphinx) -> None:
    """Connect the above."""
    app.add_search_language(Chinese)
    app.connect("autodoc-process-docstring", prepare, priority=400)  # before napoleon
    app.connect("autodoc-process-signature", set_signature)
    app.connect("missing-reference", link)
    app.connect("doctree-resolved", set_dashes)
