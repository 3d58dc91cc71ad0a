"""Docstrings and messages are plain English: summaries and fields begin with what is named or done."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import saccade

SOURCE = Path(saccade.__file__).parent

FRAGMENT = re.compile(
    r"(What|Whether|How|Which|Whose|Who|Why|Of|As|At|By|For|From|In|On|To|With|Without|Where|Those|The one)\b"
)
FIELD = re.compile(r"^ +([a-z_]\w*): (\S.*)$", re.MULTILINE)
MOST_FRAGMENTS = 0.05

PER = (
    r"(step|second|image|line|channel|position|stage|core|seed|worker|class|process|GPU|sample|run|file|arm|place|row)"
)
CALQUES = {
    r"\bgo(es)? on\b": "resume, continue",
    r"\b(has|have) not([.,;:)]| (a|an|the|any|it|them)\b)": "lacks, does not have",
    r"(?<!there )(?<!There )\b(is|are) no (?!longer\b)": "is not a, is not",
    r"\bso many\b": "the number, n",
    r"\banew\b": "again",
    r"\b(whoever|somebody|nobody)\b": "name the actor",
    r"\b(behind|beside)\b": "after, next to, in addition to",
    rf"\b(images|steps|seconds|numbers?|one|two|kB|[KMG]iB|entries|factor|gate|logit|kernel|digit) an? {PER}\b": "per",
    r"\b(the|its|their|a|this|what) shares?\b(?! the\b)": "fraction, part",
}


class Text(NamedTuple):
    """One docstring or message and where it stands."""

    place: str
    text: str
    documents: bool


@cache
def texts() -> tuple[Text, ...]:
    return tuple(_texts())


def _texts() -> Iterator[Text]:
    for file in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            place = f"{file.relative_to(SOURCE)}:{getattr(node, 'lineno', 0)}"
            if (
                isinstance(node, ast.Expr)
                and isinstance(node.value, ast.Constant)
                and isinstance(node.value.value, str)
            ):
                yield Text(place, node.value.value.strip(), documents=True)
            elif isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("InputError", "Option"):
                yield from (Text(place, said, documents=False) for said in messages(node))


def messages(call: ast.Call) -> Iterator[str]:
    """The texts in the arguments of a call; a value in an f-string is three dots."""
    for argument in (*call.args, *(keyword.value for keyword in call.keywords)):
        for node in ast.walk(argument):
            if isinstance(node, ast.JoinedStr):
                yield "".join(part.value if isinstance(part, ast.Constant) else "..." for part in node.values)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def prose(text: str) -> str:
    """A docstring without its examples, in one line."""
    return " ".join(line.strip() for line in text.splitlines() if not line.strip().startswith((">>>", "...")))


def calques(text: str) -> list[str]:
    return [f"{found[0]!r} (say: {better})" for calque, better in CALQUES.items() if (found := re.search(calque, text))]


def test_summaries_name_or_do_something() -> None:
    summaries = [text for text in texts() if text.documents]
    fragments = [text for text in summaries if FRAGMENT.match(text.text)]
    listed = "\n".join(f"{place}: {text.splitlines()[0]}" for place, text, _ in fragments)
    assert len(summaries) > 1000
    assert len(fragments) < MOST_FRAGMENTS * len(summaries), f"{len(fragments)} fragments:\n{listed}"


def test_fields_name_or_do_something() -> None:
    documented = [(place, text) for place, text, documents in texts() if documents]
    fields = [(place, *field.groups()) for place, text in documented for field in FIELD.finditer(text)]
    fragments = [f"{place}: {name}: {said}" for place, name, said in fields if FRAGMENT.match(said)]
    assert len(fields) > 1000
    assert len(fragments) < MOST_FRAGMENTS * len(fields), f"{len(fragments)} fragments:\n" + "\n".join(fragments)


def test_no_calques() -> None:
    found = [f"{place}: {', '.join(said)}" for place, text, _ in texts() if (said := calques(prose(text)))]
    assert not found, "\n" + "\n".join(found)


def test_calques_are_recognised_and_plain_words_are_not() -> None:
    wrong = "the same command goes on; it has not the files; it is no class; 4 images a step; one a core; so many steps"
    assert len(calques(wrong)) == 5
    plain = (
        "there is no such folder; it is no longer there; the file has not changed; images per step; they share a map"
    )
    assert not calques(plain)
