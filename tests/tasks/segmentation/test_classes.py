"""classes.txt is read or refused by line, and masks become class indices or name their first wrong pixel."""

from __future__ import annotations

import numpy as np
import pytest

from saccade.data.images import UnreadableError
from saccade.errors import InputError
from saccade.tasks.segmentation.classes import ClassList, MaskReader, read_classes


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


NAMED = ClassList(("a", "b"), {})
COLOURED = ClassList(("a", "b"), {(0, 0, 0): 0, (1, 2, 3): 1, (9, 9, 9): 255})


def test_masks_become_indices():
    values = np.array([[0, 254, 255]])
    assert MaskReader(None).classes(values).tolist() == [[0, 254, 255]]
    assert MaskReader(None).classes(np.stack([values] * 3, 2).astype(np.uint8)).tolist() == [[0, 254, 255]]
    colours = np.array([[(1, 2, 3), (9, 9, 9), (0, 0, 0)]], np.uint8)
    found = MaskReader(COLOURED).classes(colours)
    assert (found.dtype, found.tolist()) == (np.uint8, [[1, 255, 0]])
    assert MaskReader(COLOURED).classes(np.array([[1, 0]])).tolist() == [[1, 0]]


@pytest.mark.parametrize(
    ("known", "values", "message"),
    [
        (NAMED, [[0, 1], [255, 2]], "class 2 at pixel y=1, x=1, but classes.txt lists 2 classes, 0 to 1"),
        (None, [[0, 1, 256]], "class 256 at pixel y=0, x=2, but classes are 0 to 254"),
        (None, [[0], [-1]], "class -1 at pixel y=1, x=0"),
        (COLOURED, [[(0, 0, 0)], [(3, 2, 1)]], r"colour \(3, 2, 1\) at pixel y=1, x=0 is not in classes.txt"),
        (NAMED, [[(0, 0, 1)]], "colour mask, and no classes.txt"),
    ],
)
def test_the_first_wrong_pixel_is_named(known, values, message):
    with pytest.raises(UnreadableError, match=message):
        MaskReader(known).classes(np.array(values))
