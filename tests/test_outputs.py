"""Nothing of the user's is overwritten: saccade replaces only what it wrote itself."""

import json

import pytest

from saccade.errors import InputError
from saccade.outputs import RECORD, Outputs


def write(folder, name, text="ours"):
    with Outputs(folder).replacing(folder / name) as temporary:
        temporary.write_text(text)


def interrupt(*_):
    raise KeyboardInterrupt


def test_its_own_file_is_replaced(tmp_path):
    write(tmp_path / "out", "a/b.txt")
    write(tmp_path / "out", "a/b.txt", "newer")
    assert (tmp_path / "out" / "a" / "b.txt").read_text() == "newer"


def test_a_file_of_another_is_refused_before_and_while_writing(tmp_path):
    (tmp_path / "a.txt").write_text("mine")
    with pytest.raises(InputError, match=r"nothing was written: .*a.txt exists, and saccade did not write it"):
        Outputs(tmp_path).check([tmp_path / "b.txt", tmp_path / "a.txt"])
    with pytest.raises(InputError, match="did not write it"):
        write(tmp_path, "a.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "mine"


@pytest.mark.parametrize("how", ["edited", "record lost", "record damaged"])
def test_what_was_changed_or_is_not_known_any_more_is_refused(tmp_path, how):
    write(tmp_path, "a.txt")
    if how == "edited":
        (tmp_path / "a.txt").write_text("corrected by hand")
    elif how == "record lost":
        (tmp_path / RECORD).unlink()
    else:
        (tmp_path / RECORD).write_bytes(b"\xff{}\n[1, 2]\n[")
    with pytest.raises(InputError, match=r"changed since saccade wrote it|did not write it"):
        write(tmp_path, "a.txt")


def test_an_empty_file_may_be_filled(tmp_path):
    (tmp_path / "a.txt").touch()  # as mktemp leaves it
    write(tmp_path, "a.txt")
    assert (tmp_path / "a.txt").read_text() == "ours"


def test_a_kill_before_the_file_is_in_place_changes_nothing(tmp_path, monkeypatch):
    write(tmp_path, "a.txt")
    with monkeypatch.context() as patch:
        patch.setattr("os.replace", interrupt)
        with pytest.raises(KeyboardInterrupt):
            write(tmp_path, "a.txt", "not yet")
    assert (tmp_path / "a.txt").read_text() == "ours"
    write(tmp_path, "a.txt", "newer")


def test_many_are_counted_and_few_named(tmp_path):
    for number in range(9):
        (tmp_path / f"{number}.png").write_text("mine")
    with pytest.raises(InputError, match="and 6 more like it"):
        Outputs(tmp_path).check(tmp_path / f"{number}.png" for number in range(9))


def test_the_record_does_not_grow_for_ever(tmp_path):
    write(tmp_path, "a\nb.txt")
    line = (tmp_path / RECORD).read_text()
    (tmp_path / RECORD).write_text(line * 200)
    assert Outputs(tmp_path).wrote(tmp_path / "a\nb.txt")
    assert (tmp_path / RECORD).read_text() == line
    assert json.loads(line)[0] == "a\nb.txt"
