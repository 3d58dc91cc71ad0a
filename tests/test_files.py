"""A write either happens whole or leaves what was there."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from saccade.errors import InputError
from saccade.files import check_file, check_folder, locked, read_json, replacing, write_json


def test_an_interrupted_write_leaves_the_old_file(tmp_path):
    write_json(tmp_path / "a.json", {"old": 1})

    class Stop(Exception):
        pass

    def interrupted():
        with replacing(tmp_path / "a.json") as temporary:
            temporary.write_text('{"new"')
            raise Stop

    with pytest.raises(Stop):
        interrupted()
    assert read_json(tmp_path / "a.json") == {"old": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_a_full_disk_is_said_with_the_file_and_what_to_do(tmp_path):
    with (
        pytest.raises(ValueError, match=r"could not write .*a.json: No space left on device\nhint: free some space"),
        replacing(tmp_path / "a.json"),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert not list(tmp_path.iterdir())


def test_numbers_that_json_does_not_have_are_refused(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    assert not list(tmp_path.iterdir())


def test_a_broken_file_is_named(tmp_path):
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(ValueError, match=r"a.json is not valid JSON"):
        read_json(tmp_path / "a.json")


def test_a_lock_is_let_go_when_its_process_is_killed_though_a_child_lives_on(tmp_path):
    code = (
        "import os, sys; from pathlib import Path; from saccade.files import locked\n"
        "with locked(Path(sys.argv[1]), 'work'):\n"
        "    child = os.fork()\n"
        "    print(child, flush=True) if child else None\n"
        "    sys.stdin.read()\n"  # until the test ends
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], text=True, **pipes)
    child = int(process.stdout.readline())
    try:
        with pytest.raises(ValueError, match="another work is running"), locked(tmp_path, "work"):
            pass
        process.kill()
        process.wait()
        with locked(tmp_path, "work"):
            pass
    finally:
        process.kill()
        process.stdin.close()
        process.stdout.close()
        os.kill(child, signal.SIGKILL)


@pytest.mark.parametrize("name", ["x" * 300, "deep" + "/d" * 500, "deep" + "/d" * 2000, "deep" + "/d" * 2500])
def test_a_name_too_long_is_refused_before_anything_is_made(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    for check in (check_folder, check_file):
        with pytest.raises(InputError, match=f"cannot be written: {os.strerror(errno.ENAMETOOLONG)}|folders deep"):
            check(Path(name))
    assert not list(tmp_path.iterdir())
