"""One declaration writes a document, reads it, and names what in it does not fit."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from saccade.errors import InputError
from saccade.schema import from_json, to_json


@dataclass(frozen=True)
class Part:
    name: str
    share: float | None = None


@dataclass(frozen=True)
class Whole:
    count: int
    kind: Literal["a", "b"]
    ends: tuple[float, float] | None
    parts: tuple[Part, ...]
    by_name: Mapping[str, Part] = field(default_factory=dict)
    flag: bool | str = False
    rest: Any = None


WHOLE = Whole(2, "a", (0.5, 1.0), (Part("x"), Part("y", 0.25)), {"z": Part("z")}, "file", {"of": [1, None]})


def test_what_is_written_is_read():
    assert from_json(Whole, json.loads(json.dumps(to_json(WHOLE))), source="it") == WHOLE


def test_fields_with_a_default_may_be_missing():
    assert from_json(Whole, {"count": 1, "kind": "b", "ends": None, "parts": []}, source="it") == Whole(
        1, "b", None, ()
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"count": "2"}, r"it: count: expected a whole number; received '2'"),
        ({"count": True}, r"it: count: expected a whole number; received True"),
        ({"kind": "c"}, r"it: kind: expected one of 'a', 'b'; received 'c'"),
        ({"ends": [1, 2, 3]}, r"it: ends: expected a list of 2; received \[1, 2, 3\]"),
        ({"ends": [1, "2"]}, r"it: ends\[1\]: expected a number; received '2'"),
        ({"parts": {}}, r"it: parts: expected a list"),
        (
            {"parts": [{"name": "x"}, {"nam": "y"}]},
            r"it: parts\[1\]\.nam: expected no such key \(did you mean name\?\)",
        ),
        ({"parts": [{}]}, r"it: parts\[0\]\.name: expected a value; received nothing"),
        ({"by_name": {"z": None}}, r"it: by_name\.z: expected an object; received None"),
        ({"by_name": {"z": {"name": "z", "share": []}}}, r"it: by_name\.z\.share: expected a number; received \[\]"),
        ({"flag": 1.5}, r"it: flag: expected true or false or a string; received 1\.5"),
    ],
)
def test_what_does_not_fit_is_named_with_its_place(change, said):
    with pytest.raises(InputError, match=said + r"[\s\S]*\nhint: look"):
        from_json(Whole, to_json(WHOLE) | change, source="it", hint="look")


def test_another_document_altogether():
    with pytest.raises(InputError, match="it: the document: expected an object; received 7"):
        from_json(Whole, 7, source="it")
