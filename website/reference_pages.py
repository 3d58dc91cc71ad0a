"""Write the pages of the reference, which the docstrings fill, and the help of every command."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sphinx.pycode import ModuleAnalyzer

from saccade import catalog
from saccade.cli.app import app
from website.pages import ROOT
from website.reference import MECHANISMS, Reference, reference

_TEXTS = {
    "en": {
        "title": "Python",
        "intro": "Every object that you may touch, from its docstring. What `saccade` itself offers comes first.",
        "mechanisms": "The mechanisms",
        "base": "What all of them share",
        "commands": "Commands",
        "see": "See :doc:`/reference/mechanisms/index` for what all mechanisms share.",
    },
    "zh": {
        "title": "Python",
        "intro": "用户可能用到的每个对象,内容取自源代码的文档字符串(英文)。首先是 `saccade` 本身提供的函数。",
        "mechanisms": "注意力机制",
        "base": "所有机制共有的部分",
        "commands": "命令",
        "see": "所有机制共有的部分见 :doc:`/reference/mechanisms/index`。",
    },
}


def write_reference(folder: Path, language: str) -> list[str]:
    """Write the pages into `folder`; return the names of those that the sidebar lists."""
    found, texts = reference(), _TEXTS[language]
    mechanisms = set(found.mechanisms)
    pages = [_module_page(title) for title in found.names]
    _write(folder / "reference/index.rst", _title(texts["title"]), texts["intro"].replace("`", "``"), _tree(pages))
    for title, names in found.names.items():
        if title == MECHANISMS:
            _write_mechanisms(folder / "reference/mechanisms", found, language)
            rest = [name for name in names if name not in mechanisms]
            tree = _tree([found.mechanisms[name] for name in names if name in mechanisms])
            body = (_title(texts["mechanisms"]), tree, _title(texts["base"], "-"), *map(_entry, rest))
            _write(folder / "reference/mechanisms/index.rst", *body)
        else:
            _write(folder / f"reference/{title}.rst", _title(title), _about(title), *map(_entry, names))
    _write_commands(folder / "commands", texts["commands"])
    return ["reference/index", "commands/index"]


def _module_page(title: str) -> str:
    return "mechanisms/index" if title == MECHANISMS else title


def _write_mechanisms(folder: Path, found: Reference, language: str) -> None:
    for path, name in found.mechanisms.items():
        entry = catalog.find(name)
        drawing = f".. image:: /images/schematics/{name}.svg\n   :alt: {name}"
        made = f'``saccade.create("{name}", channels)``, ``saccade.insert(model, "{name}")``'
        cited = ".. rst-class:: cited\n\n" + " ".join((f"{entry.title}.", entry.paper))
        has_drawing = (ROOT / f"docs/images/schematics/{name}.svg").exists()
        drawn = [drawing] if has_drawing else []
        see = _TEXTS[language]["see"]
        _write(folder / f"{name}.rst", _title(name), cited, made, *drawn, _entry(path), see)


def _about(module: str) -> str:
    """Return a directive that shows a module's docstring."""
    return f".. automodule:: {module}\n   :no-index:\n   :no-members:"


def _entry(name: str) -> str:
    if name == "saccade.__version__":
        return ".. py:data:: saccade.__version__\n   :type: str\n\n   Version of saccade."
    thing = _named(name)
    if inspect.isclass(thing):
        return f".. autoclass:: {name}\n   :members:\n   :show-inheritance:"
    return f".. autofunction:: {name}" if callable(thing) else f".. py:data:: {name}\n\n   {_said_of(name, thing)}"


def _said_of(name: str, value: Any) -> str:
    """Return the text that follows a constant where it is defined, which may not be where it is imported from."""
    constant = name.rpartition(".")[2]
    for module in [module for module in sys.modules if module.startswith("saccade.")]:
        if getattr(sys.modules[module], constant, None) is value:
            lines = ModuleAnalyzer.for_module(module).find_attr_docs().get(("", constant))
            if lines:
                return " ".join(lines).strip()
    raise ValueError(f"{name} has no text after its definition to say what it is")


def _named(name: str) -> Any:
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


def _write_commands(folder: Path, title: str) -> None:
    """Write one page for each command, and one for what stands before them."""
    # Cyclopts leaves "-m website" in the lines of usage, for that is how this process was started.
    text = re.sub(r"^(saccade .*?) -m website\b", r"\1", app.generate_docs(), flags=re.M)
    head, *sections = re.split(r"^(?=## saccade )", text, flags=re.M)
    head = re.sub(r"^## Table of Contents\n.*?(?=^\*\*Commands)", "", head, flags=re.M | re.S)
    pages = dict(_command_pages(sections))
    head = re.sub(r"\(#saccade-([\w-]+)\)", r"(\1.md)", head).replace("# saccade\n", f"# {title}\n", 1)
    tree = "\n```{toctree}\n:hidden:\n\n" + "\n".join(pages) + "\n```"
    _write(folder / "index.md", head, tree)
    for name, text in pages.items():
        _write(folder / f"{name}.md", text)


def _command_pages(sections: list[str]) -> Iterator[tuple[str, str]]:
    for section in sections:
        name = section.split("\n", 1)[0].removeprefix("## saccade ").strip()
        # One heading level up, but not within blocks of code.
        yield name, re.sub(r"^#(#+ saccade )", r"\1", section, flags=re.M)


def _title(text: str, line: str = "=") -> str:
    return f"{text}\n{line * 2 * len(text)}"


def _tree(names: list[str]) -> str:
    return "\n   ".join([".. toctree::\n   :maxdepth: 1\n", *names])


def _write(path: Path, *parts: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
