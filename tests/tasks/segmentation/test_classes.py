"""classes.txt is read, or refused by line."""

from __future__ import annotations

import pytest

from saccade.errors import InputError
from saccade.tasks.segmentation.classes import ClassList, read_classes


def listed(tmp_path, text: str) -> ClassList:
    (tmp_path / "classes.txt").write_bytes(text.encode())
    return read_classes(tmp_path / "classes.txt")


def test_names(tmp_path):
    assert listed(tmp_path, "road\r\n\r\ntraffic light\nroute 66\n") == ClassList(
        ("road", "traffic light", "route 66"), {}
    )


def test_names_with_colours(tmp_path):
    found = listed(tmp_path, "\ufeffroad 0 0 0\nignore 9 9 9\ntraffic light 250 170 30")
    assert found == ClassList(("road", "traffic light"), {(0, 0, 0): 0, (9, 9, 9): 255, (250, 170, 30): 1})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("road\nroad", "line 2: the class 'road' is listed twice"),
        ("a 0 0 0\nb 0 0 0", r"line 2: the colour \(0, 0, 0\) is listed twice"),
        ("a 0 0 0\nb 0 0 256", r"line 2: the colour \(0, 0, 256\) .* exceeds 255"),
        ("a 0 0 0\nb\nc 1 1 1", "some classes have a colour, 'b' has none"),
        ("road", "expected 2 to 255 classes, one per line; received 1"),
        ("\n", "received 0"),
        ("\n".join(f"c{i}" for i in range(256)), "received 256"),
    ],
)
def test_refuses(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        listed(tmp_path, text)


def test_refuses_other_encodings(tmp_path):
    (tmp_path / "classes.txt").write_bytes(b"stra\xdfe\nhaus")
    with pytest.raises(InputError, match="expected text in UTF-8"):
        read_classes(tmp_path / "classes.txt")
